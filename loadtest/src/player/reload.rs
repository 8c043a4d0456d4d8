//! When a media playlist is loaded again: RFC 8216, 6.3.4, and what hls.js does where that leaves a choice.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

/// The schedule of one rendition's playlists, of which one is played.
#[derive(Clone, Debug, Default)]
pub(super) struct Reload {
    /// Nothing until another playlist is played. Apart, since there are many viewers and most tracks stay with one.
    past: Option<Box<Past>>,
}

/// What was played before.
#[derive(Clone, Debug, Default)]
struct Past {
    /// When the playlist that is played was due before it was left, until its first answer since.
    before: Option<Duration>,
    /// The others: one for each rung and pathway at most.
    left: Vec<(Arc<Url>, Left)>,
}

/// What stays of a playlist that is not played any more.
#[derive(Clone, Copy, Debug)]
struct Left {
    /// First and last sequence number.
    edges: (u64, u64),
    due: Duration,
}

impl Reload {
    /// Turns from the playlist `from`, which was seen with `edges` and is due at `due`, to `to`; gives the edges that that one
    /// had, if it was played before.
    pub(super) fn turn(
        &mut self,
        from: Arc<Url>,
        edges: Option<(u64, u64)>,
        due: Duration,
        to: &Arc<Url>,
    ) -> Option<(u64, u64)> {
        let past = self.past.get_or_insert_default();
        if let Some(edges) = edges {
            past.left.push((from, Left { edges, due }));
        }
        let known = past.left.iter().position(|(uri, _)| uri == to);
        let known = known.map(|index| past.left.swap_remove(index).1);
        past.before = known.map(|known| known.due);
        known.map(|known| known.edges)
    }

    /// When to load again, after an answer at `now` to a request that was due at `begun`: a target duration later if it
    /// changed, half of one if it did not. A reload that is late already comes at once, and those that were missed
    /// meanwhile are not made up for.
    pub(super) fn next(&mut self, target: Duration, changed: bool, begun: Duration, now: Duration) -> Duration {
        let wait = if changed { target } else { target / 2 };
        match self.past.as_mut().and_then(|past| past.before.take()) {
            None => (begun + wait).max(now),
            // One that was played before goes on with its schedule. If that is long past, hls.js asks again at once, and
            // its browser answers from its cache: nothing has changed.
            Some(before) if before + wait < now => now + target / 2,
            Some(before) if before <= now => before + wait,
            Some(before) => before,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TARGET: Duration = Duration::from_secs(2);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn url(rung: &str) -> Arc<Url> {
        Arc::new(Url::parse(&format!("http://h/{rung}/index.m3u8")).unwrap())
    }

    /// A schedule whose playlist `a` was due at 3 s when it was left for `b`.
    fn left() -> Reload {
        let mut reload = Reload::default();
        let due = reload.next(TARGET, true, ms(1000), ms(1100));
        assert_eq!(
            (due, reload.turn(url("a"), Some((1, 5)), due, &url("b"))),
            (ms(3000), None)
        );
        reload
    }

    #[test]
    fn a_playlist_is_due_a_target_duration_or_half_of_one_later() {
        let mut reload = Reload::default();
        assert_eq!(reload.next(TARGET, true, ms(1000), ms(1100)), ms(3000));
        assert_eq!(reload.next(TARGET, false, ms(3000), ms(3100)), ms(4000));
        assert_eq!(reload.next(TARGET, true, ms(4000), ms(9000)), ms(9000), "late");
    }

    #[test]
    fn one_that_is_played_for_the_first_time_has_no_schedule() {
        assert_eq!(left().next(TARGET, true, ms(2000), ms(2100)), ms(4000));
    }

    #[test]
    fn one_that_is_played_again_goes_on_with_its_schedule() {
        for (now, due) in [(2500, 3000), (4000, 5000), (9000, 10_000)] {
            let mut reload = left();
            let later = reload.next(TARGET, true, ms(2000), ms(2100));
            assert_eq!(reload.turn(url("b"), Some((2, 6)), later, &url("a")), Some((1, 5)));
            assert_eq!(
                reload.next(TARGET, true, ms(now - 50), ms(now)),
                ms(due),
                "back at {now}"
            );
            // And from there as ever.
            assert_eq!(reload.next(TARGET, true, ms(due), ms(due + 50)), ms(due + 2000));
        }
    }

    #[test]
    fn one_that_never_came_leaves_nothing() {
        let mut reload = Reload::default();
        assert_eq!(reload.turn(url("a"), None, ms(0), &url("b")), None);
        assert_eq!(reload.turn(url("b"), None, ms(0), &url("a")), None);
    }
}
