//! Giving up a segment that comes too slowly, after hls.js's `_abandonRulesCheck`: looked at from half the segment's length on,
//! every 100 ms, and dropped for a lower rung if that one would be there sooner and in time.

use std::time::Duration;

use super::Player;
use crate::http::Transferred;
use crate::player::FetchId;

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(100);

/// A video segment on its way that is not of the lowest rung.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    pub id: FetchId,
    /// When it was asked for.
    pub sent: Duration,
    /// Its length.
    pub duration: Duration,
    /// When to look at it.
    pub look: Duration,
}

impl Watched {
    pub(super) fn new(id: FetchId, now: Duration, duration: Duration) -> Self {
        Self {
            id,
            sent: now,
            duration,
            look: now + duration / 2,
        }
    }
}

/// Where to go instead, and what to assume of the line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Retreat {
    rung: usize,
    /// Replaces the estimate, in bit/s.
    assume: Option<f64>,
}

impl Player {
    /// The fetch whose progress is to be told with [`crate::player::Event::Progress`] instead of a plain wake-up.
    #[must_use]
    pub fn curious(&self, now: Duration) -> Option<FetchId> {
        self.watched
            .filter(|watched| watched.look <= now)
            .map(|watched| watched.id)
    }

    /// A look is due: the next one comes later, whether or not anything was seen.
    pub(super) fn looked(&mut self) {
        let now = self.now;
        if let Some(watched) = self.watched.as_mut().filter(|watched| watched.look <= now) {
            watched.look = now + EVERY;
        }
    }

    pub(super) fn on_progress(&mut self, id: FetchId, seen: Transferred) {
        let Some(watched) = self.watched.filter(|watched| watched.id == id) else {
            return;
        };
        let Some(retreat) = self.retreat(watched, seen) else {
            return;
        };
        self.watched = None;
        if let Some(assume) = retreat.assume {
            self.bandwidth.restart(assume);
        }
        self.cancel(id);
        self.forced = true;
        if let Some(video) = &mut self.video {
            video.segment.succeeded();
        }
        self.play_rung(retreat.rung);
    }

    /// Whether a lower rung would be there sooner and in time. Samples the line if so.
    fn retreat(&mut self, watched: Watched, seen: Transferred) -> Option<Retreat> {
        let loading = self.rung;
        let loading_for = self.now.saturating_sub(watched.sent).as_secs_f64();
        let wait = self.bandwidth.first_byte();
        if loading == 0 || loading_for <= wait.as_secs_f64() {
            return None;
        }
        let left = self.video.as_ref().map_or(0.0, |video| video.buffered().as_secs_f64());
        let duration = watched.duration.as_secs_f64();
        let estimate = self.bandwidth.estimate();
        let first_byte = seen.first_byte.filter(|_| seen.bytes > 0);
        // Bytes per second, of what has come.
        let rate = first_byte.map(|first_byte| seen.bytes as f64 / (loading_for - first_byte.as_secs_f64()).max(0.001));
        let rungs = self.rungs();
        let rung = rungs.get(loading)?;
        let usual = rung.average.unwrap_or(rung.bandwidth) as f64 * duration / 8.0;
        let expected = seen.length.map_or(usual, |length| length as f64).max(seen.bytes as f64);
        let remaining = match rate {
            Some(rate) => (expected - seen.bytes as f64) / rate,
            None => expected * 8.0 / estimate + wait.as_secs_f64(),
        };
        if remaining <= left {
            return None;
        }
        let bits_per_second = rate.map_or(estimate, |rate| rate * 8.0);
        // The lowest rung is where it ends, not what is looked for: its time is never computed.
        let (mut lower, mut instead) = (loading - 1, f64::INFINITY);
        while lower > 0 {
            let bits = rungs.get(lower)?.bandwidth as f64 * duration;
            // Its playlist has to be loaded first.
            instead = 2.0 * wait.as_secs_f64() + bits / bits_per_second;
            if instead < left.min(duration + wait.as_secs_f64()) {
                break;
            }
            lower -= 1;
        }
        if instead >= remaining || instead > duration * 10.0 {
            return None;
        }
        let (lowest, next) = (rungs.first()?.bandwidth as f64, rungs.get(lower)?.bandwidth as f64);
        let elapsed = Duration::from_secs_f64(loading_for);
        self.bandwidth.sample_part(seen.bytes, first_byte, elapsed);
        let optimistic = self.bandwidth.estimate() * self.settings.up_factor > next;
        if lower > 0 && remaining > instead * 2.0 {
            return Some(Retreat {
                rung: 0,
                assume: Some(lowest),
            });
        }
        Some(Retreat {
            rung: lower,
            assume: optimistic.then_some(next),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use url::Url;

    use super::*;
    use crate::player::{Action, Device, Event, Failure, Fetch, Fetched, Identity, PlayerSettings};
    use crate::telemetry::{ErrorKind, RequestClass};

    const LADDER: [(&str, u64); 3] = [("hi", 800_000), ("mid", 400_000), ("lo", 200_000)];

    fn body(fetch: &Fetch) -> String {
        match fetch.class {
            RequestClass::Multivariant => LADDER.iter().fold("#EXTM3U\n".to_owned(), |text, (name, bandwidth)| {
                text + &format!("#EXT-X-STREAM-INF:BANDWIDTH={bandwidth}\n{name}/index.m3u8\n")
            }),
            _ => (10..20).fold(
                "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:10\n".to_owned(),
                |text, n| text + &format!("#EXTINF:2.000,\nseg_{n}.m4s\n"),
            ),
        }
    }

    /// A player whose first segment, of the upper rung, has been on its way since the returned moment.
    fn loading() -> (Player, Fetch, Duration) {
        let identity = Identity {
            viewer: 1,
            channel: "one".into(),
            url: Arc::new(Url::parse("http://h/m.m3u8").unwrap()),
            seed: 1,
        };
        // One answer leads to the next request at once.
        let settings = PlayerSettings {
            device: Device {
                open: Duration::ZERO,
                first_frame: Duration::ZERO,
            },
            ..PlayerSettings::default()
        };
        let mut player = Player::new(identity, Arc::new(settings));
        let mut now = Duration::from_secs(100);
        let mut event = Event::Start;
        loop {
            let actions = player.on(event, now);
            let fetch = actions.into_iter().find_map(|action| match action {
                Action::Fetch(fetch) => Some(fetch),
                _ => None,
            });
            let fetch = fetch.unwrap();
            if fetch.class == RequestClass::Segment {
                return (player, fetch, now);
            }
            now += Duration::from_millis(10);
            event = Event::Fetched(
                fetch.id,
                Fetched {
                    status: 200,
                    body: Some(body(&fetch).into_bytes()),
                    bytes: 500,
                    first_byte: Duration::from_millis(10),
                    total: Duration::from_millis(10),
                    url: Arc::clone(&fetch.url),
                },
            );
        }
    }

    /// Tells the player after 1.2 s that `bytes` of 200 kB have come; gives what it does and what it plays then.
    fn after(bytes: u64) -> (Vec<Action>, usize) {
        let (mut player, fetch, sent) = loading();
        assert!(fetch.watched && fetch.url.path().contains("/hi/"));
        assert_eq!(
            player.curious(sent + Duration::from_millis(900)),
            None,
            "it is left alone for half its length"
        );
        let now = sent + Duration::from_millis(1200);
        assert_eq!(player.curious(now), Some(fetch.id));
        let seen = Transferred {
            bytes,
            length: Some(200_000),
            first_byte: (bytes > 0).then_some(Duration::from_millis(10)),
        };
        let actions = player.on(Event::Progress(fetch.id, seen), now);
        (actions, player.rung)
    }

    fn cancels(actions: &[Action]) -> bool {
        actions.iter().any(|action| matches!(action, Action::Cancel(_)))
    }

    #[test]
    fn a_hopeless_segment_is_given_up_for_the_lowest_rung() {
        // 100 kbit/s: the rest would take 15 s, a segment of the middle rung 8 s.
        let (actions, rung) = after(15_000);
        assert!(cancels(&actions), "{actions:?}");
        assert_eq!(rung, 0);
        let asked = actions.iter().find_map(|action| match action {
            Action::Fetch(fetch) => Some(fetch.url.path().to_owned()),
            _ => None,
        });
        assert_eq!(asked.as_deref(), Some("/lo/index.m3u8"));
    }

    /// The estimate after the first segment failed so, of which 10 kB had come in 9 s.
    fn after_failure(kind: ErrorKind) -> u64 {
        let (mut player, fetch, sent) = loading();
        let failure = Failure {
            kind,
            bytes: 10_000,
            first_byte: Some(Duration::from_millis(100)),
            total: Duration::from_secs(9),
        };
        player.on(Event::Failed(fetch.id, failure), sent + failure.total);
        player.estimate()
    }

    #[test]
    fn a_segment_that_timed_out_tells_how_fast_the_line_is() {
        assert_eq!(after_failure(ErrorKind::Timeout), 80_000 * 10 / 89);
        assert_eq!(after_failure(ErrorKind::Closed), 800_000, "the line had no part in it");
    }

    #[test]
    fn a_segment_that_is_nearly_there_is_waited_for() {
        // Three quarters in 1.2 s: the rest takes 0.4 s, which is sooner than anything else.
        let (actions, rung) = after(150_000);
        assert!(!cancels(&actions), "{actions:?}");
        assert_eq!(rung, 2);
    }

    #[test]
    fn the_rung_stays_until_a_segment_of_it_came() {
        let (mut player, fetch, sent) = loading();
        let now = sent + Duration::from_millis(1200);
        let seen = Transferred {
            bytes: 15_000,
            length: Some(200_000),
            first_byte: Some(Duration::from_millis(10)),
        };
        player.on(Event::Progress(fetch.id, seen), now);
        player.fetched_any = true;
        player.bandwidth.restart(9_000_000.0);
        assert!(!player.switch_rung(), "or the two rules would chase each other");
    }
}
