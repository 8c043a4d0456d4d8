//! Where a response body ends (RFC 9112, section 6).

/// Longest chunk-size line or trailer section accepted, in bytes.
const MAX_LINE: usize = 8 * 1024;

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The connection's end.
    UntilClose,
}

/// Why a body could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The chunked coding is broken.
    #[error("malformed chunked body: {0}")]
    Malformed(&'static str),
    /// The connection ended first.
    #[error("body truncated")]
    Truncated,
}

/// Walks through a body as bytes arrive. Holds no data.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Done,
    Length(u64),
    UntilClose,
    /// Reading hexadecimal digits; `digits` so far.
    Size {
        value: u64,
        digits: u8,
    },
    /// Skipping a chunk extension up to the line feed.
    Extension {
        value: u64,
        seen: usize,
    },
    Data(u64),
    /// The line end after chunk data; true once the carriage return came.
    DataEnd(bool),
    /// Trailer lines: bytes of the current line, bytes in all.
    Trailer {
        line: usize,
        seen: usize,
    },
}

impl BodyReader {
    /// A reader at the start of a body.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size { value: 0, digits: 0 },
            Framing::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes bytes, hands content to `content`, and says how many bytes belonged to this body.
    pub fn feed(&mut self, input: &[u8], mut content: impl FnMut(&[u8])) -> Result<usize, BodyError> {
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            match &mut self.state {
                State::Done => break,
                State::UntilClose => {
                    content(rest);
                    at = input.len();
                }
                State::Length(left) => {
                    let take = clamp(*left, rest.len());
                    content(&rest[..take]);
                    at += take;
                    *left -= take as u64;
                    if *left == 0 {
                        self.state = State::Done;
                    }
                }
                State::Data(left) => {
                    let take = clamp(*left, rest.len());
                    content(&rest[..take]);
                    at += take;
                    *left -= take as u64;
                    if *left == 0 {
                        self.state = State::DataEnd(false);
                    }
                }
                _ => {
                    self.state = self.state.step(rest[0])?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    /// The peer closed: fine only where closing is the delimiter.
    pub fn close(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyError::Truncated),
        }
    }
}

impl State {
    /// One byte of chunked syntax.
    fn step(&self, byte: u8) -> Result<Self, BodyError> {
        Ok(match *self {
            Self::Size { value, digits } => match byte {
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => {
                    if digits >= 15 {
                        return Err(BodyError::Malformed("chunk size too large"));
                    }
                    let digit = (byte as char).to_digit(16).unwrap_or(0);
                    Self::Size {
                        value: value * 16 + u64::from(digit),
                        digits: digits + 1,
                    }
                }
                _ if digits == 0 => return Err(BodyError::Malformed("no chunk size")),
                b'\n' => Self::after_size(value),
                b'\r' | b';' | b' ' | b'\t' => Self::Extension { value, seen: 0 },
                _ => return Err(BodyError::Malformed("chunk size is not hexadecimal")),
            },
            Self::Extension { value, seen } => match byte {
                b'\n' => Self::after_size(value),
                _ if seen >= MAX_LINE => return Err(BodyError::Malformed("chunk extension too long")),
                _ => Self::Extension { value, seen: seen + 1 },
            },
            Self::DataEnd(seen_cr) => match (byte, seen_cr) {
                (b'\r', false) => Self::DataEnd(true),
                (b'\n', _) => Self::Size { value: 0, digits: 0 },
                _ => return Err(BodyError::Malformed("chunk longer than its size")),
            },
            Self::Trailer { line, seen } => match byte {
                b'\n' if line == 0 => Self::Done,
                b'\n' => Self::Trailer {
                    line: 0,
                    seen: seen + 1,
                },
                b'\r' => Self::Trailer { line, seen: seen + 1 },
                _ if seen >= MAX_LINE => return Err(BodyError::Malformed("trailers too long")),
                _ => Self::Trailer {
                    line: line + 1,
                    seen: seen + 1,
                },
            },
            Self::Done | Self::Length(_) | Self::UntilClose | Self::Data(_) => self.clone(),
        })
    }

    fn after_size(value: u64) -> Self {
        if value == 0 {
            Self::Trailer { line: 0, seen: 0 }
        } else {
            Self::Data(value)
        }
    }
}

fn clamp(left: u64, available: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(available)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn read(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), BodyError> {
        let mut reader = BodyReader::new(framing);
        let mut out = Vec::new();
        let mut used = 0;
        for piece in pieces {
            used += reader.feed(piece, |bytes| out.extend_from_slice(bytes))?;
        }
        Ok((out, reader.is_done(), used))
    }

    #[test]
    fn length_stops_where_it_says() {
        assert_eq!(
            read(Framing::Length(3), &[b"ab", b"cdef"]).unwrap(),
            (b"abc".to_vec(), true, 3)
        );
    }

    #[test]
    fn chunks_extensions_and_trailers() {
        let body = b"4;ext=1\r\nWiki\r\n5\r\npedia\r\n0\r\nX-T: 1\r\n\r\n";
        assert_eq!(
            read(Framing::Chunked, &[body]).unwrap(),
            (b"Wikipedia".to_vec(), true, body.len())
        );
    }

    #[test]
    fn broken_chunks_are_refused() {
        for body in [&b"zz\r\n"[..], b"\r\n", b"2\r\nabc\r\n", b"ffffffffffffffffffff\r\n"] {
            assert!(
                matches!(read(Framing::Chunked, &[body]), Err(BodyError::Malformed(_))),
                "{body:?}"
            );
        }
    }

    #[test]
    fn closing_early_is_a_truncation() {
        let mut reader = BodyReader::new(Framing::Length(10));
        reader.feed(b"123", |_| ()).unwrap();
        assert_eq!(reader.close(), Err(BodyError::Truncated));
        assert_eq!(BodyReader::new(Framing::UntilClose).close(), Ok(()));
    }

    proptest! {
        #[test]
        fn chunked_survives_any_split(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..8), cut in 1usize..9) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let pieces: Vec<&[u8]> = wire.chunks(cut).collect();
            let (out, done, used) = read(Framing::Chunked, &pieces).unwrap();
            prop_assert_eq!(out, chunks.concat());
            prop_assert!(done);
            prop_assert_eq!(used, wire.len());
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(Framing::Chunked, &[&bytes]);
        }
    }
}
