//! Where the time of a session goes: starting, playing or stalled. Nothing is lost and nothing counts twice.

use std::time::Duration;

/// What the viewer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaybackState {
    /// No first frame yet.
    Starting,
    /// Moving pictures.
    Playing,
    /// Buffer empty.
    Stalled,
    /// Session over.
    Ended,
}

/// The accounts of one session. `startup + played + stalled` is always the time since it began.
#[derive(Clone, Debug)]
pub struct PlaybackClock {
    state: PlaybackState,
    began: Duration,
    at: Duration,
    stalled_since: Duration,
    startup: Duration,
    played: Duration,
    stalled: Duration,
    stalls: u32,
}

/// What happened while time passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Advance {
    /// Media played.
    pub consumed: Duration,
    /// Set if the buffer ran empty: when.
    pub stalled_at: Option<Duration>,
}

impl PlaybackClock {
    /// A session that begins at `now`.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self {
            state: PlaybackState::Starting,
            began: now,
            at: now,
            stalled_since: now,
            startup: Duration::ZERO,
            played: Duration::ZERO,
            stalled: Duration::ZERO,
            stalls: 0,
        }
    }

    /// Time passes to `now` with `buffered` media ahead of the playhead at the previous moment.
    pub(super) fn advance(&mut self, now: Duration, buffered: Duration) -> Advance {
        let passed = now.saturating_sub(self.at);
        let from = self.at;
        self.at = self.at.max(now);
        match self.state {
            PlaybackState::Starting => self.startup += passed,
            PlaybackState::Stalled => self.stalled += passed,
            PlaybackState::Ended => {}
            PlaybackState::Playing => {
                let consumed = passed.min(buffered);
                self.played += consumed;
                // An exactly empty buffer is a stall that starts now: there is nothing for the next instant.
                if consumed == buffered {
                    self.state = PlaybackState::Stalled;
                    self.stalls += 1;
                    self.stalled_since = from + consumed;
                    self.stalled += passed.saturating_sub(consumed);
                    return Advance {
                        consumed,
                        stalled_at: Some(self.stalled_since),
                    };
                }
                return Advance {
                    consumed,
                    stalled_at: None,
                };
            }
        }
        Advance::default()
    }

    /// There is enough to play. Returns how long the viewer waited, if they did.
    pub(super) fn play(&mut self) -> Option<Duration> {
        let waited = match self.state {
            PlaybackState::Starting => self.startup,
            PlaybackState::Stalled => self.at.saturating_sub(self.stalled_since),
            PlaybackState::Playing | PlaybackState::Ended => return None,
        };
        self.state = PlaybackState::Playing;
        Some(waited)
    }

    pub(super) fn end(&mut self) {
        self.state = PlaybackState::Ended;
    }

    /// The stream itself is over and all of it was shown: the stall that this looked like was none.
    pub(super) fn forget_stall(&mut self) {
        self.stalls = self.stalls.saturating_sub(1);
    }

    /// State now.
    pub fn state(&self) -> PlaybackState {
        self.state
    }
    /// Time until the first frame, so far.
    pub fn startup(&self) -> Duration {
        self.startup
    }
    /// Time playing.
    pub fn played(&self) -> Duration {
        self.played
    }
    /// Time stalled.
    pub fn stalled(&self) -> Duration {
        self.stalled
    }
    /// How often the buffer ran empty.
    pub fn stalls(&self) -> u32 {
        self.stalls
    }
    /// Time since the session began.
    pub fn length(&self) -> Duration {
        self.at.saturating_sub(self.began)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn stall_starts_when_the_buffer_ends_not_when_someone_looks() {
        let mut clock = PlaybackClock::new(ms(100));
        clock.advance(ms(600), Duration::ZERO);
        assert_eq!(clock.play(), Some(ms(500)));
        let step = clock.advance(ms(3600), ms(2000));
        assert_eq!(
            step,
            Advance {
                consumed: ms(2000),
                stalled_at: Some(ms(2600))
            }
        );
        clock.advance(ms(4600), Duration::ZERO);
        assert_eq!(clock.play(), Some(ms(2000)));
        assert_eq!(
            (clock.startup(), clock.played(), clock.stalled(), clock.stalls()),
            (ms(500), ms(2000), ms(2000), 1)
        );
        assert_eq!(clock.length(), ms(4500));
    }

    proptest! {
        #[test]
        fn accounts_balance(steps in prop::collection::vec((0u64..5000, 0u64..4000, any::<bool>()), 0..60)) {
            let mut clock = PlaybackClock::new(ms(7));
            let (mut now, mut buffer) = (ms(7), Duration::ZERO);
            for (passes, appended, play) in steps {
                now += ms(passes);
                let step = clock.advance(now, buffer);
                prop_assert!(step.consumed <= buffer);
                buffer -= step.consumed;
                buffer += ms(appended);
                if play && !buffer.is_zero() {
                    clock.play();
                }
                prop_assert_eq!(clock.startup() + clock.played() + clock.stalled(), clock.length());
                prop_assert_eq!(clock.length() + ms(7), now);
            }
        }
    }
}
