//! Moves the bytes of one connection, under whatever the network does to them.

use super::shaper::Shaper;
use super::state::{Conditions, SharedState, Way};
use super::traffic::PodCounters;
use crate::key::Peer;
use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

const BUFFER: usize = 64 * 1024;
/// Bytes under way on a delayed path: what a TCP window of Linux's default maximum would hold.
const WINDOW: usize = 4 * 1024 * 1024;
/// Full buffers moved before faults are looked at and other tasks get their turn.
const RUN: usize = 16;
/// Buffers kept for reuse. Idle connections hold none.
const POOLED: usize = 64;

/// Why a connection was cut rather than closed.
#[derive(Debug)]
pub(crate) enum Cut {
    /// One side failed, or a fault ended it: both sides get a reset.
    Reset,
    /// Nothing moved for too long.
    Idle,
}

impl From<io::Error> for Cut {
    fn from(_: io::Error) -> Self {
        Self::Reset
    }
}

/// Reusable buffers.
#[derive(Debug, Default)]
pub(crate) struct BufferPool(Mutex<Vec<Box<[u8]>>>);

impl BufferPool {
    fn take(&self) -> Box<[u8]> {
        let pooled = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        pooled.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice())
    }

    fn give(&self, buffer: Box<[u8]>) {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < POOLED {
            pool.push(buffer);
        }
    }
}

/// The time of the last byte of a connection, either way.
#[derive(Debug)]
pub(crate) struct Activity {
    base: Instant,
    last_ms: AtomicU64,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            base: Instant::now(),
            last_ms: AtomicU64::new(0),
        }
    }

    fn touch(&self, now: Instant) {
        self.last_ms
            .store((now - self.base).as_millis() as u64, Ordering::Relaxed);
    }

    /// Returns once nothing has moved for `limit`.
    pub(crate) async fn idle(&self, limit: Duration) {
        loop {
            let last = self.base + Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            if Instant::now() >= last + limit {
                return;
            }
            sleep_until(last + limit).await;
        }
    }
}

/// One way of one connection.
pub(crate) struct Flow {
    pub(crate) state: Arc<SharedState>,
    pub(crate) pool: Arc<BufferPool>,
    pub(crate) conditions: watch::Receiver<Arc<Conditions>>,
    pub(crate) from: Peer,
    pub(crate) to: Peer,
    pub(crate) sender: Option<Arc<PodCounters>>,
    pub(crate) receiver: Option<Arc<PodCounters>>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) shaper: Shaper,
    /// How long a partition may last before the connection is reset.
    pub(crate) hang: Duration,
}

struct Chunk {
    at: Instant,
    data: Vec<u8>,
    written: usize,
}

#[derive(Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, at: Instant, data: Vec<u8>) {
        self.bytes += data.len();
        self.chunks.push_back(Chunk { at, data, written: 0 });
    }

    fn front_at(&self) -> Option<Instant> {
        self.chunks.front().map(|chunk| chunk.at)
    }

    /// Writes what is due, as far as the socket takes it.
    fn write_due(&mut self, writer: &WriteHalf<'_>, now: Instant) -> io::Result<()> {
        while let Some(chunk) = self.chunks.front_mut() {
            if chunk.at > now {
                return Ok(());
            }
            match writer.try_write(&chunk.data[chunk.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    chunk.written += n;
                    self.bytes -= n;
                    if chunk.written == chunk.data.len() {
                        self.chunks.pop_front();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

impl Flow {
    fn resolve(&mut self) -> (Way, bool) {
        let conditions = Arc::clone(&self.conditions.borrow_and_update());
        let way = self.state.way(&conditions, &self.from, &self.to);
        (way, conditions.faults.severed(&self.from, &self.to))
    }

    fn count(&self, bytes: usize, now: Instant) {
        if let Some(sender) = &self.sender {
            sender.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        if let Some(receiver) = &self.receiver {
            receiver.received.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        self.activity.touch(now);
    }

    /// Pumps until the sender closes; then closes the receiver's side for writing.
    pub(crate) async fn run(mut self, reader: ReadHalf<'_>, mut writer: WriteHalf<'_>) -> Result<(), Cut> {
        let mut queue = Queue::default();
        let mut closed = false;
        let (mut way, mut severed) = self.resolve();
        let mut frozen_since: Option<Instant> = None;
        loop {
            if self.conditions.has_changed().unwrap_or(false) {
                (way, severed) = self.resolve();
            }
            let now = Instant::now();
            if severed {
                let deadline = *frozen_since.get_or_insert(now) + self.hang;
                tokio::select! {
                    changed = self.conditions.changed() => changed.map_err(|_| Cut::Reset)?,
                    () = sleep_until(deadline) => return Err(Cut::Reset),
                }
                (way, severed) = self.resolve();
                continue;
            }
            frozen_since = None;
            if closed && queue.chunks.is_empty() {
                return writer.shutdown().await.map_err(Cut::from);
            }
            let front = queue.front_at();
            let due = front.is_some_and(|at| at <= now);
            let room = if way.is_clear() {
                queue.chunks.is_empty()
            } else {
                queue.bytes < WINDOW
            };
            let paced = self.shaper.read_after.filter(|after| *after > now);
            let wants = !closed && room;
            tokio::select! {
                changed = self.conditions.changed() => {
                    changed.map_err(|_| Cut::Reset)?;
                    (way, severed) = self.resolve();
                }
                ready = writer.writable(), if due => {
                    ready?;
                    queue.write_due(&writer, Instant::now())?;
                }
                ready = reader.readable(), if wants && paced.is_none() => {
                    ready?;
                    closed = self.transfer(&reader, &writer, &mut queue, &way)?;
                }
                () = until(front), if !due => {}
                () = until(paced), if wants => {}
            }
        }
    }

    /// Reads what is there and passes it on or queues it. Whether the sender has closed.
    fn transfer(
        &mut self,
        reader: &ReadHalf<'_>,
        writer: &WriteHalf<'_>,
        queue: &mut Queue,
        way: &Way,
    ) -> Result<bool, Cut> {
        let mut buffer = self.pool.take();
        let result = if way.is_clear() && queue.chunks.is_empty() {
            self.copy(reader, writer, queue, &mut buffer)
        } else {
            self.shape(reader, queue, way, &mut buffer)
        };
        self.pool.give(buffer);
        result
    }

    fn copy(
        &self,
        reader: &ReadHalf<'_>,
        writer: &WriteHalf<'_>,
        queue: &mut Queue,
        buffer: &mut [u8],
    ) -> Result<bool, Cut> {
        for _ in 0..RUN {
            let n = match reader.try_read(buffer) {
                Ok(0) => return Ok(true),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            let now = Instant::now();
            self.count(n, now);
            let written = match writer.try_write(&buffer[..n]) {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error.into()),
            };
            if written < n {
                queue.push(now, buffer[written..n].to_vec());
                return Ok(false);
            }
        }
        Ok(false)
    }

    fn shape(&mut self, reader: &ReadHalf<'_>, queue: &mut Queue, way: &Way, buffer: &mut [u8]) -> Result<bool, Cut> {
        let lock =
            |bucket: &super::state::SharedBucket| bucket.lock().unwrap_or_else(PoisonError::into_inner).quantum();
        let most = way
            .buckets
            .iter()
            .map(lock)
            .min()
            .unwrap_or(buffer.len())
            .min(buffer.len());
        let n = match reader.try_read(&mut buffer[..most]) {
            Ok(0) => return Ok(true),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        self.count(n, now);
        let released = way
            .buckets
            .iter()
            .map(|bucket| bucket.lock().unwrap_or_else(PoisonError::into_inner).reserve(now, n))
            .max()
            .unwrap_or(now);
        let at = self.shaper.admit(now, n, released, &way.effective).ok_or(Cut::Reset)?;
        queue.push(at, buffer[..n].to_vec());
        Ok(false)
    }
}

/// Makes the peer see a reset instead of an orderly close.
pub(crate) fn reset(stream: TcpStream) {
    // A socket that is gone already needs no reset.
    let _ = stream.set_zero_linger();
    drop(stream);
}
