//! When a container that ended may start again (CrashLoopBackOff).

use std::time::Duration;

/// Settings of the restart back-off. The defaults are the kubelet's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashBackoff {
    /// The wait before the second restart; it doubles from there.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
    /// A container that ran this long starts afresh.
    pub reset_after: Duration,
}

impl Default for CrashBackoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(10),
            max: Duration::from_mins(5),
            reset_after: Duration::from_mins(10),
        }
    }
}

/// The back-off of one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackoffState {
    next: Option<Duration>,
}

impl BackoffState {
    /// The wait before the next start, given how long the container ran. The first restart is immediate.
    pub fn after(&mut self, ran: Duration, settings: &CrashBackoff) -> Duration {
        if ran >= settings.reset_after {
            self.next = None;
        }
        match self.next {
            None => {
                self.next = Some(settings.base.min(settings.max));
                Duration::ZERO
            }
            Some(wait) => {
                self.next = Some((wait * 2).min(settings.max));
                wait
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_ceiling_and_starts_over_after_a_long_run() {
        let settings = CrashBackoff::default();
        let mut state = BackoffState::default();
        let mut wait = |ran| state.after(Duration::from_secs(ran), &settings).as_secs();
        let waits: Vec<u64> = (0..8).map(|_| wait(1)).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(wait(599), 300, "not long enough");
        assert_eq!(wait(600), 0);
        assert_eq!(wait(1), 10);
    }
}
