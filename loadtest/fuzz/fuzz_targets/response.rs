//! HTTP responses, as they come from the network: the head, then the body in pieces of any size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use showrunner_loadtest::http::{BodyError, BodyReader, Framing, MAX_HEAD, parse_head};

fuzz_target!(|data: &[u8]| {
    // The first byte says how the rest is cut into pieces.
    let Some((&piece, data)) = data.split_first() else {
        return;
    };
    let piece = usize::from(piece).max(1);
    match parse_head(data) {
        Ok(Some((head, length))) => {
            assert!(length <= data.len() && length <= MAX_HEAD, "{length} bytes of head");
            assert!((100..=999).contains(&head.status), "status {}", head.status);
            assert!(head.location.is_none() || (300..400).contains(&head.status));
            assert!(!head.keep_alive || head.framing != Framing::UntilClose);
            assert_eq!(parse_head(&data[..length]), Ok(Some((head.clone(), length))));
            for cut in [0, length / 2, length - 1] {
                assert_eq!(parse_head(&data[..cut]), Ok(None), "an incomplete head is waited for");
            }
            body(head.framing, &data[length..], piece);
        }
        Ok(None) => assert!(data.len() < MAX_HEAD, "a head does not grow for ever"),
        Err(error) => assert!(error.to_string().len() < 1024),
    }
    body(Framing::Chunked, data, piece);
    chunked_reads_back(data, piece);
});

type Outcome = (Vec<u8>, usize, Result<bool, BodyError>);

fn read<'a>(framing: Framing, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let (mut reader, mut content, mut used) = (BodyReader::new(framing), vec![], 0);
    for piece in pieces {
        match reader.feed(piece, |bytes| content.extend_from_slice(bytes)) {
            Ok(taken) => {
                assert!(taken <= piece.len());
                assert!(
                    taken == piece.len() || reader.is_done(),
                    "only a complete body leaves bytes"
                );
                used += taken;
            }
            Err(error) => return (content, used, Err(error)),
        }
        if reader.is_done() {
            assert_eq!(reader.feed(piece, |_| panic!("content after the end")), Ok(0));
            break;
        }
    }
    let done = reader.is_done();
    let closed = reader.close();
    assert_eq!(closed.is_ok(), done || framing == Framing::UntilClose);
    (content, used, Ok(done))
}

/// However a body is cut into pieces, the same is read.
fn body(framing: Framing, data: &[u8], piece: usize) {
    let (whole, used, end) = read(framing, std::iter::once(data));
    assert!(whole.len() <= data.len() && used <= data.len());
    if let Framing::Length(length) = framing {
        assert_eq!(whole.len() as u64, length.min(data.len() as u64));
    }
    let (pieces, pieces_used, pieces_end) = read(framing, data.chunks(piece));
    assert_eq!((&whole, end), (&pieces, pieces_end));
    if end.is_ok() {
        assert_eq!(used, pieces_used);
    }
}

/// What is encoded is decoded, and what follows is left alone.
fn chunked_reads_back(data: &[u8], piece: usize) {
    let mut encoded = vec![];
    for chunk in data.chunks(piece) {
        encoded.extend_from_slice(format!("{:x};n=v\r\n", chunk.len()).as_bytes());
        encoded.extend_from_slice(chunk);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
    let length = encoded.len();
    encoded.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    let (content, used, end) = read(Framing::Chunked, encoded.chunks(piece));
    assert_eq!((content.as_slice(), used, end), (data, length, Ok(true)));
}
