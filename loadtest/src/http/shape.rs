//! The viewer's access network: bandwidth as a token bucket on the reading side, and a round-trip time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::HostList;

/// Bytes that may be read now, refilled at a steady rate. Time is an argument.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    bytes_per_second: f64,
    burst: f64,
    /// Negative after a read that took more than there was.
    tokens: f64,
    filled: Duration,
}

impl TokenBucket {
    /// A full bucket that holds 50 ms of traffic.
    #[must_use]
    pub fn new(bits_per_second: u64) -> Self {
        let bytes_per_second = (bits_per_second as f64 / 8.0).max(1.0);
        let burst = (bytes_per_second * 0.05).max(1460.0);
        Self {
            bytes_per_second,
            burst,
            tokens: burst,
            filled: Duration::ZERO,
        }
    }

    /// How much may be read at `now` (time since any fixed origin), or how long to wait until something may.
    pub fn allowance(&mut self, now: Duration) -> Result<usize, Duration> {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + passed * self.bytes_per_second).min(self.burst);
        // A full packet at least, so that a slow line does not wake up for every byte.
        let packet = self.burst.min(1460.0);
        if self.tokens >= packet {
            Ok(self.tokens as usize)
        } else {
            Err(Duration::from_secs_f64((packet - self.tokens) / self.bytes_per_second))
        }
    }

    /// Takes what was read.
    pub fn take(&mut self, bytes: usize) {
        self.tokens -= bytes as f64;
    }
}

/// One viewer's access network, shared by all its connections.
#[derive(Debug)]
pub struct Access {
    bucket: Option<Mutex<TokenBucket>>,
    rtt: Duration,
    receive_buffer: Option<u32>,
    origin: Instant,
    /// Where it may lead; anywhere if `None`.
    hosts: Option<Arc<HostList>>,
}

impl Access {
    /// A line of `bits_per_second` (`None`: not shaped) with `rtt` added to every request and every connection.
    #[must_use]
    pub fn new(bits_per_second: Option<u64>, rtt: Duration) -> Self {
        // The kernel would otherwise swallow megabytes ahead of the bucket; 100 ms of line rate keeps it honest.
        let receive_buffer = bits_per_second.map(|bits| {
            u32::try_from(bits / 80)
                .unwrap_or(u32::MAX)
                .clamp(16 * 1024, 512 * 1024)
        });
        Self {
            bucket: bits_per_second.map(|bits| Mutex::new(TokenBucket::new(bits))),
            rtt,
            receive_buffer,
            origin: Instant::now(),
            hosts: None,
        }
    }

    /// The same, leading to `hosts` only. Connections are held to it, wherever their URL came from.
    #[must_use]
    pub fn allowing(self, hosts: Arc<HostList>) -> Self {
        Self {
            hosts: Some(hosts),
            ..self
        }
    }

    /// Whether a connection to a URL's host may be opened.
    pub(super) fn allows(&self, url: &Url) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| hosts.allows(url))
    }

    /// As fast as the machine goes.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(None, Duration::ZERO)
    }

    /// The round-trip time added.
    pub fn rtt(&self) -> Duration {
        self.rtt
    }

    /// The socket's receive buffer, where limited.
    pub(super) fn receive_buffer(&self) -> Option<u32> {
        self.receive_buffer
    }

    /// Whether bandwidth is limited.
    pub(super) fn is_shaped(&self) -> bool {
        self.bucket.is_some()
    }

    /// Waits until something may be read, and says how much.
    pub(super) async fn allowance(&self) -> usize {
        let Some(bucket) = &self.bucket else { return usize::MAX };
        loop {
            let now = self.origin.elapsed();
            let answer = match bucket.lock() {
                Ok(mut bucket) => bucket.allowance(now),
                Err(_) => return usize::MAX,
            };
            match answer {
                Ok(bytes) => return bytes,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    pub(super) fn take(&self, bytes: usize) {
        if let Some(Ok(mut bucket)) = self.bucket.as_ref().map(Mutex::lock) {
            bucket.take(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_run_rate_is_the_line_rate() {
        let mut bucket = TokenBucket::new(8_000_000);
        let (mut now, mut read) = (Duration::ZERO, 0usize);
        while now < Duration::from_secs(10) {
            match bucket.allowance(now) {
                Ok(bytes) => {
                    bucket.take(bytes);
                    read += bytes;
                }
                Err(wait) => now += wait,
            }
        }
        let expected = 10.0 * 1_000_000.0;
        assert!((read as f64 - expected).abs() / expected < 0.01, "{read}");
    }
}
