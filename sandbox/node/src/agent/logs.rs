//! Container logs on disk, in the CRI's line format, bounded by rotation.

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

/// The longest line kept whole; longer ones are split, as container runtimes do.
const LONGEST_LINE: usize = 16 * 1024;
const READ: usize = 16 * 1024;
/// A follower also looks by itself, should it miss a signal.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The log of one run of one container: the file and at most one rotated predecessor.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    limit: u64,
    inner: Mutex<(File, u64)>,
    written: watch::Sender<u64>,
}

impl LogFile {
    /// A new log; `limit` bytes per file.
    pub(super) fn create(path: PathBuf, limit: u64) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = File::create(&path)?;
        Ok(Self {
            path,
            limit,
            inner: Mutex::new((file, 0)),
            written: watch::Sender::new(0),
        })
    }

    fn append(&self, stream: &str, line: &[u8], whole: bool) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.1 >= self.limit {
            fs::rename(&self.path, rotated(&self.path))?;
            *inner = (File::create(&self.path)?, 0);
        }
        let mut record = format!("{:.9} {stream} {} ", Timestamp::now(), if whole { 'F' } else { 'P' }).into_bytes();
        record.extend_from_slice(line);
        record.push(b'\n');
        inner.0.write_all(&record)?;
        inner.1 += record.len() as u64;
        self.written.send_modify(|bytes| *bytes += record.len() as u64);
        Ok(())
    }

    /// Copies a stream into the log until it ends.
    pub(super) async fn copy(self: Arc<Self>, stream: &'static str, mut from: impl AsyncRead + Unpin) {
        let mut pending: Vec<u8> = Vec::new();
        let mut buffer = vec![0u8; READ];
        loop {
            let n = match from.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(n) => n,
            };
            pending.extend_from_slice(&buffer[..n]);
            let mut start = 0;
            while let Some(end) = pending[start..].iter().position(|byte| *byte == b'\n') {
                self.write(stream, &pending[start..start + end], true);
                start += end + 1;
            }
            pending.drain(..start);
            while pending.len() >= LONGEST_LINE {
                self.write(stream, &pending[..LONGEST_LINE], false);
                pending.drain(..LONGEST_LINE);
            }
        }
        if !pending.is_empty() {
            self.write(stream, &pending, true);
        }
    }

    fn write(&self, stream: &str, line: &[u8], whole: bool) {
        if let Err(error) = self.append(stream, line, whole) {
            tracing::warn!(%error, file = %self.path.display(), "a log line is lost");
        }
    }

    /// Where the log is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Changes whenever something is written; closes with the log.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }
}

fn rotated(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// The text of one record: without its header, or with its time.
fn render(record: &[u8], timestamps: bool, output: &mut Vec<u8>) {
    let mut parts = record.splitn(4, |byte| *byte == b' ');
    let (Some(time), Some(_), Some(tag), Some(line)) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return;
    };
    if timestamps {
        output.extend_from_slice(time);
        output.push(b' ');
    }
    output.extend_from_slice(line);
    if tag == b"F" || timestamps {
        output.push(b'\n');
    }
}

/// A log as it is now: the wanted lines, and where to go on reading.
fn existing(path: &Path, tail: Option<u64>, timestamps: bool) -> io::Result<(Vec<u8>, File)> {
    let mut records: VecDeque<Vec<u8>> = VecDeque::new();
    let wanted = tail.map_or(usize::MAX, |lines| usize::try_from(lines).unwrap_or(usize::MAX));
    let mut collect = |file: &mut BufReader<File>| -> io::Result<()> {
        let mut record = Vec::new();
        while file.read_until(b'\n', &mut record)? > 0 {
            if record.last() != Some(&b'\n') {
                // Half a record: its writer is at work, and a follower will read it whole.
                file.seek_relative(-(record.len() as i64))?;
                return Ok(());
            }
            record.pop();
            records.push_back(std::mem::take(&mut record));
            if records.len() > wanted {
                records.pop_front();
            }
        }
        Ok(())
    };
    if let Ok(old) = File::open(rotated(path)) {
        collect(&mut BufReader::new(old))?;
    }
    let mut current = BufReader::new(File::open(path)?);
    collect(&mut current)?;
    let position = current.stream_position()?;
    let mut file = current.into_inner();
    file.seek(SeekFrom::Start(position))?;
    let mut output = Vec::new();
    for record in records {
        render(&record, timestamps, &mut output);
    }
    Ok((output, file))
}

/// The lines of a finished or running log.
pub(super) fn read(path: &Path, tail: Option<u64>, timestamps: bool) -> io::Result<Vec<u8>> {
    existing(path, tail, timestamps).map(|(text, _)| text)
}

struct Follow {
    file: File,
    path: PathBuf,
    partial: Vec<u8>,
    timestamps: bool,
    written: watch::Receiver<u64>,
    ended: bool,
}

/// The lines so far, then each new one until the log's writer is gone.
pub(super) fn follow(
    log: &LogFile,
    tail: Option<u64>,
    timestamps: bool,
) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
    let written = log.subscribe();
    let (text, file) = existing(log.path(), tail, timestamps)?;
    let state = Follow {
        file,
        path: log.path().to_owned(),
        partial: Vec::new(),
        timestamps,
        written,
        ended: false,
    };
    let first = stream::iter((!text.is_empty()).then(|| Ok(Bytes::from(text))));
    Ok(first.chain(stream::unfold(state, step)).boxed())
}

async fn step(mut state: Follow) -> Option<(io::Result<Bytes>, Follow)> {
    loop {
        state.written.mark_unchanged();
        match state.more() {
            Ok(text) if !text.is_empty() => return Some((Ok(Bytes::from(text)), state)),
            Ok(_) if state.ended => return None,
            Ok(_) => {}
            Err(error) => {
                state.ended = true;
                return Some((Err(error), state));
            }
        }
        // The sender is gone once the run is over; one more look takes what was written last.
        if let Ok(Err(_)) = tokio::time::timeout(LOOK_AGAIN, state.written.changed()).await {
            state.ended = true;
        }
    }
}

impl Follow {
    fn more(&mut self) -> io::Result<Vec<u8>> {
        let mut output = Vec::new();
        self.drain(&mut output)?;
        // After a rotation the path names another file; the old one has been read to its end just now.
        if let Ok(current) = fs::metadata(&self.path)
            && current.ino() != self.file.metadata()?.ino()
        {
            self.drain(&mut output)?;
            self.file = File::open(&self.path)?;
            self.drain(&mut output)?;
        }
        Ok(output)
    }

    fn drain(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        self.file.read_to_end(&mut self.partial)?;
        let mut start = 0;
        while let Some(end) = self.partial[start..].iter().position(|byte| *byte == b'\n') {
            render(&self.partial[start..start + end], self.timestamps, output);
            start += end + 1;
        }
        self.partial.drain(..start);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn lines_tails_and_timestamps() {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(LogFile::create(dir.path().join("0.log"), 1 << 20).unwrap());
        Arc::clone(&log).copy("stdout", &b"one\ntwo\nthree"[..]).await;
        assert_eq!(text(&read(log.path(), None, false).unwrap()), "one\ntwo\nthree\n");
        assert_eq!(text(&read(log.path(), Some(1), false).unwrap()), "three\n");
        let stamped = read(log.path(), Some(1), true).unwrap();
        let (time, line) = text(&stamped).split_once(' ').unwrap();
        assert_eq!(line, "three\n");
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
    }

    #[tokio::test]
    async fn rotation_bounds_the_files_and_long_lines_are_split() {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(LogFile::create(dir.path().join("0.log"), 10_000).unwrap());
        let line = "x".repeat(99) + "\n";
        Arc::clone(&log).copy("stdout", line.repeat(1000).as_bytes()).await;
        let size: u64 = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().metadata().unwrap().len())
            .sum();
        assert!(size < 21_000, "{size}");
        assert!(read(log.path(), None, false).unwrap().len() >= 7_000);
        let long = "y".repeat(40_000) + "\n";
        Arc::clone(&log).copy("stderr", long.as_bytes()).await;
        assert!(text(&read(log.path(), Some(3), false).unwrap()).ends_with(&long[long.len() - 100..]));
    }

    #[tokio::test]
    async fn followers_see_everything_across_rotation_and_end_with_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(LogFile::create(dir.path().join("0.log"), 500).unwrap());
        Arc::clone(&log).copy("stdout", &b"before\n"[..]).await;
        let follower = follow(&log, None, false).unwrap();
        let writer = tokio::spawn(async move {
            for index in 0..50 {
                Arc::clone(&log)
                    .copy("stdout", format!("line {index}\n").as_bytes())
                    .await;
                tokio::task::yield_now().await;
            }
        });
        let chunks: Vec<_> = tokio::time::timeout(Duration::from_secs(20), follower.collect::<Vec<_>>())
            .await
            .unwrap();
        writer.await.unwrap();
        let all: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.unwrap().to_vec()).collect();
        assert!(text(&all).starts_with("before\n"));
        assert!(text(&all).ends_with("line 49\n"));
    }
}
