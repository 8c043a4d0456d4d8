//! What an impairment does to one way of one connection: a pure machine that turns chunks into delivery times.

use super::fault::Effective;
use rand::Rng;
use rand::rngs::SmallRng;
use std::time::Duration;
use tokio::time::Instant;

/// Payload of one packet on an Ethernet-sized path: how many packets a chunk stands for.
const SEGMENT: usize = 1_448;
/// Linux's smallest retransmission timeout.
const RETRANSMISSION_TIMEOUT: Duration = Duration::from_millis(200);
/// The first timeout of a SYN.
const SYN_TIMEOUT: Duration = Duration::from_secs(1);
/// A fast retransmit costs a round trip; this stands for the loopback's.
const FAST_RETRANSMIT: Duration = Duration::from_millis(1);
/// Packets that must follow a lost one for the receiver to ask for it at once.
const DUPLICATE_ACKS: usize = 3;
/// Consecutive losses of one packet after which the connection is given up.
const MAX_RETRANSMISSIONS: u32 = 6;

/// What loss does to a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing was lost.
    None,
    /// Retransmission held the stream up this long.
    Stall(Duration),
    /// The sender gave up.
    Reset,
}

/// Draws the fate of `packets` sent under `percent` loss. `first_timeout` doubles with each further loss.
pub fn draw_loss(rng: &mut SmallRng, percent: f64, packets: usize, first_timeout: Duration) -> Loss {
    let probability = (percent / 100.0).clamp(0.0, 1.0);
    if probability <= 0.0 {
        return Loss::None;
    }
    let any_lost = 1.0 - (1.0 - probability).powi(i32::try_from(packets.max(1)).unwrap_or(i32::MAX));
    if rng.random::<f64>() >= any_lost {
        return Loss::None;
    }
    let (mut stall, mut timeout) = if packets > DUPLICATE_ACKS {
        (FAST_RETRANSMIT, first_timeout)
    } else {
        (first_timeout, first_timeout * 2)
    };
    for _ in 0..MAX_RETRANSMISSIONS {
        if rng.random::<f64>() >= probability {
            return Loss::Stall(stall);
        }
        stall += timeout;
        timeout *= 2;
    }
    Loss::Reset
}

/// The delay before a connection is established, or `None` when its SYN never gets through.
pub(super) fn handshake(rng: &mut SmallRng, out: &Effective, back: &Effective) -> Option<Duration> {
    let mut wait = out.delay + back.delay;
    for way in [out, back] {
        match draw_loss(rng, way.loss_percent, 1, SYN_TIMEOUT) {
            Loss::None => {}
            Loss::Stall(stall) => wait += stall,
            Loss::Reset => return None,
        }
    }
    Some(wait)
}

/// The state of one way of one connection.
#[derive(Debug)]
pub struct Shaper {
    rng: SmallRng,
    /// No further byte is taken from the sender before this.
    pub read_after: Option<Instant>,
    last_delivery: Option<Instant>,
}

impl Shaper {
    /// A fresh connection's shaper with its own random stream.
    pub fn new(rng: SmallRng) -> Self {
        Self {
            rng,
            read_after: None,
            last_delivery: None,
        }
    }

    /// A chunk of `bytes` was read at `now` and the rate limits release it at `released`; when may it be written?
    /// `None` means that the connection is lost.
    pub fn admit(&mut self, now: Instant, bytes: usize, released: Instant, way: &Effective) -> Option<Instant> {
        let mut ready = released.max(now);
        match draw_loss(
            &mut self.rng,
            way.loss_percent,
            bytes.div_ceil(SEGMENT),
            RETRANSMISSION_TIMEOUT,
        ) {
            Loss::None => {}
            // A stalled stream does not send on meanwhile.
            Loss::Stall(stall) => ready += stall,
            Loss::Reset => return None,
        }
        if ready > now {
            self.read_after = Some(ready);
        }
        let jitter = if way.jitter.is_zero() {
            0.0
        } else {
            self.rng.random_range(-1.0..=1.0) * way.jitter.as_secs_f64()
        };
        let delay = Duration::from_secs_f64((way.delay.as_secs_f64() + jitter).max(0.0));
        // TCP delivers in order: a chunk never overtakes the one before it.
        let at = self.last_delivery.map_or(ready + delay, |last| last.max(ready + delay));
        self.last_delivery = Some(at);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::SeedableRng;

    fn shaper() -> Shaper {
        Shaper::new(SmallRng::seed_from_u64(7))
    }

    #[test]
    fn delay_is_pipelined_not_summed() {
        let way = Effective {
            delay: Duration::from_millis(100),
            ..Effective::default()
        };
        let mut shaper = shaper();
        let now = Instant::now();
        for _ in 0..1000 {
            assert_eq!(
                shaper.admit(now, 65_536, now, &way),
                Some(now + Duration::from_millis(100))
            );
        }
        assert_eq!(shaper.read_after, None, "latency alone does not slow the reader");
    }

    #[test]
    fn jitter_never_reorders() {
        let way = Effective {
            delay: Duration::from_millis(50),
            jitter: Duration::from_millis(40),
            ..Effective::default()
        };
        let mut shaper = shaper();
        let start = Instant::now();
        let mut last = start;
        let mut distinct = 0;
        for tick in 0..200 {
            let now = start + Duration::from_millis(20) * tick;
            let at = shaper.admit(now, 1000, now, &way).unwrap();
            assert!(at >= last && at >= now + Duration::from_millis(10) && at <= now + Duration::from_millis(90));
            distinct += usize::from(at != last);
            last = at;
        }
        assert!(distinct > 100);
    }

    #[test]
    fn loss_draws_follow_the_percentage() {
        let mut rng = SmallRng::seed_from_u64(1);
        let count = |rng: &mut SmallRng, percent: f64, packets| {
            (0..10_000)
                .filter(|_| draw_loss(rng, percent, packets, RETRANSMISSION_TIMEOUT) != Loss::None)
                .count()
        };
        assert_eq!(count(&mut rng, 0.0, 40), 0);
        let one = count(&mut rng, 10.0, 1);
        assert!((800..1200).contains(&one), "{one}");
        let many = count(&mut rng, 10.0, 10);
        assert!((6200..6900).contains(&many), "1 - 0.9^10 = 0.65, got {many}");
        assert_eq!(draw_loss(&mut rng, 100.0, 1, RETRANSMISSION_TIMEOUT), Loss::Reset);
    }

    #[test]
    fn the_same_seed_gives_the_same_fate() {
        let draw = || {
            let mut rng = SmallRng::seed_from_u64(9);
            (0..100)
                .map(|_| draw_loss(&mut rng, 30.0, 2, RETRANSMISSION_TIMEOUT))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
    }

    #[test]
    fn a_handshake_pays_both_ways() {
        let way = Effective {
            delay: Duration::from_millis(30),
            ..Effective::default()
        };
        let mut rng = SmallRng::seed_from_u64(1);
        assert_eq!(handshake(&mut rng, &way, &way), Some(Duration::from_millis(60)));
        let dead = Effective {
            loss_percent: 100.0,
            ..Effective::default()
        };
        assert_eq!(handshake(&mut rng, &dead, &way), None);
    }
}
