//! When a rendition last had something new, and for how long it had not.

use std::time::Duration;

/// The newest segment that is known, and the waits between such.
#[derive(Clone, Debug, Default)]
pub(super) struct Freshness {
    /// Its number, and since when it is known.
    newest: Option<(u64, Duration)>,
    longest: Duration,
}

impl Freshness {
    /// Takes in the last segment of a playlist that arrived at `now`; `restarted`: its numbering began anew. Gives the time for
    /// which nothing was new, if that ends now.
    pub(super) fn note(&mut self, last: u64, now: Duration, restarted: bool) -> Option<Duration> {
        if self.newest.is_some_and(|(newest, _)| last <= newest) && !restarted {
            return None;
        }
        let before = self.newest.replace((last, now));
        let gap = before.map(|(_, at)| now.saturating_sub(at))?;
        self.longest = self.longest.max(gap);
        Some(gap)
    }

    /// The newest segment, and since when it is known.
    pub(super) fn newest(&self) -> Option<(u64, Duration)> {
        self.newest
    }

    /// The longest wait that is over.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_when_it_ends_and_the_longest_is_kept() {
        let mut freshness = Freshness::default();
        let s = Duration::from_secs;
        let told =
            [(10, 1), (11, 3), (11, 4), (12, 12), (13, 14)].map(|(last, now)| freshness.note(last, s(now), false));
        assert_eq!(told, [None, Some(s(2)), None, Some(s(9)), Some(s(2))]);
        assert_eq!((freshness.longest(), freshness.newest()), (s(9), Some((13, s(14)))));
        assert_eq!(freshness.note(1, s(15), true), Some(s(1)), "numbering began anew");
    }
}
