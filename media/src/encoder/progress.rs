//! Whether an ffmpeg is worth keeping. Pure: time is an argument.

use std::{collections::BTreeMap, time::Duration};

use crate::epoch::{Lock, Timeline};

/// Segment lengths without a complete segment after which ffmpeg counts as stuck.
const STUCK_SEGMENTS: u32 = 4;
/// Segment lengths that a stream may run behind the clock.
const BEHIND_SEGMENTS: u32 = 3;
/// Seconds that it may run behind in any case.
const BEHIND_LEAST: Duration = Duration::from_secs(5);
/// Late or broken segments in a row that are one too many.
const STRIKES: u32 = 3;

/// Why ffmpeg has to start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No complete segment for too long.
    Stuck,
    /// The stream fell behind the clock and does not catch up.
    Behind,
    /// Segments do not stand where their numbers say.
    Slipped,
}

impl Fault {
    /// For logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::Behind => "behind",
            Self::Slipped => "slipped",
        }
    }
}

/// What one run of ffmpeg has achieved.
#[derive(Clone, Debug)]
pub struct Progress {
    timeline: Timeline,
    newest: BTreeMap<String, Option<u64>>,
    complete: Option<u64>,
    moved: Duration,
    late: u32,
    broken: u32,
}

impl Progress {
    /// A run that begins at `lock`: nothing can be complete before the end of the first segment.
    pub fn new(timeline: Timeline, renditions: &[String], lock: Lock) -> Self {
        let newest = renditions.iter().map(|name| (name.clone(), None)).collect();
        Self {
            timeline,
            newest,
            complete: None,
            moved: timeline.end(lock.number),
            late: 0,
            broken: 0,
        }
    }

    /// Segment `number` of `rendition` came at `now`.
    pub fn made(&mut self, rendition: &str, number: u64, now: Duration) {
        let Some(newest) = self.newest.get_mut(rendition) else {
            return;
        };
        *newest = (*newest).max(Some(number));
        self.broken = 0;
        let complete = self.newest.values().copied().min().flatten();
        if complete > self.complete {
            self.complete = complete;
            self.moved = now;
            self.late = if self.lag(now) > self.allowed_lag() {
                self.late + 1
            } else {
                0
            };
        }
    }

    /// A segment came that must not be published.
    pub fn broken(&mut self) {
        self.broken += 1;
    }

    /// The newest number that every rendition has.
    pub fn complete(&self) -> Option<u64> {
        self.complete
    }

    /// How long after its end the newest complete segment came, at best zero.
    pub fn lag(&self, now: Duration) -> Duration {
        self.complete
            .map_or(Duration::ZERO, |number| now.saturating_sub(self.timeline.end(number)))
    }

    /// Time since the last complete segment.
    pub fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.moved)
    }

    /// Whether the run has to end.
    pub fn fault(&self, now: Duration) -> Option<Fault> {
        if self.silence(now) > self.timeline.length() * STUCK_SEGMENTS {
            Some(Fault::Stuck)
        } else if self.broken >= STRIKES {
            Some(Fault::Slipped)
        } else if self.late >= STRIKES {
            Some(Fault::Behind)
        } else {
            None
        }
    }

    fn allowed_lag(&self) -> Duration {
        (self.timeline.length() * BEHIND_SEGMENTS).max(BEHIND_LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Progress {
        Progress::new(
            Timeline::new(2),
            &["hi".into(), "audio".into()],
            Lock {
                second: 1000,
                number: 500,
            },
        )
    }

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn one_rendition_alone_is_no_progress() {
        let mut progress = run();
        progress.made("hi", 500, at(1002.1));
        assert_eq!(progress.complete(), None);
        progress.made("audio", 500, at(1002.2));
        assert_eq!(progress.complete(), Some(500));
        assert_eq!(progress.fault(at(1010.1)), None);
        assert_eq!(progress.fault(at(1010.3)), Some(Fault::Stuck));
    }

    #[test]
    fn a_start_may_take_its_first_segment() {
        assert_eq!(run().fault(at(1009.9)), None);
        assert_eq!(run().fault(at(1010.1)), Some(Fault::Stuck));
    }

    #[test]
    fn falling_behind_shows_after_three_segments() {
        let mut progress = run();
        for number in 500..503 {
            assert_eq!(progress.fault(at(1009.0)), None);
            for rendition in ["hi", "audio"] {
                progress.made(rendition, number, at((number * 2) as f64 + 8.5));
            }
        }
        assert_eq!(progress.fault(at(1013.0)), Some(Fault::Behind));
    }

    #[test]
    fn broken_segments_in_a_row_are_a_slip() {
        let mut progress = run();
        progress.broken();
        progress.broken();
        progress.made("hi", 500, at(1002.1));
        progress.broken();
        progress.broken();
        assert_eq!(progress.fault(at(1003.0)), None);
        progress.broken();
        assert_eq!(progress.fault(at(1003.0)), Some(Fault::Slipped));
    }
}
