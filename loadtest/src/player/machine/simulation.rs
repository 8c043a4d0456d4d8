//! A simulated network for the player, in virtual time: days of playback in a second.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use url::Url;

use super::{Identity, Player};
use crate::player::{Action, Event, Failure, Fetch, Fetched, PlaybackState, PlayerSettings};
use crate::telemetry::{ErrorKind, RequestClass, SessionEnd, SessionEvent};

const SEGMENT: Duration = Duration::from_secs(2);
/// From a request to the first and the last byte when the weather is slow.
const SLOW: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(13));

/// How the simulated network treats a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Weather {
    /// Answers after a moment.
    Good,
    /// Refuses connections.
    Down,
    /// Says nothing until the deadline.
    Silent,
    /// Lets wait for a first byte, and longer for the last.
    Slow,
    /// The playlist stands still.
    Frozen,
    /// A mix of everything, by chance.
    Stormy,
}

/// Weather of the two pathways from a moment on.
pub(super) type Forecast = Vec<(Duration, [Weather; 2])>;

pub(super) struct Simulation {
    pub(super) player: Player,
    now: Duration,
    rng: SmallRng,
    pub(super) forecast: Forecast,
    frozen: [Option<u64>; 2],
    /// When each is answered, when it was sent, and what it was.
    waiting: Vec<(Duration, Duration, Fetch)>,
    pub(super) pathways: &'static [&'static str],
    pub(super) steering: Option<&'static str>,
    pub(super) bits_per_second: u64,
    /// What the answer to a request for an initialisation section takes, and whether it is one.
    pub(super) init: (Duration, bool),
    pub(super) log: Vec<(Duration, SessionEvent)>,
    pub(super) asked: Vec<Fetch>,
    ended: bool,
}

impl Simulation {
    pub(super) fn new(seed: u64, steering: Option<&'static str>, forecast: Forecast) -> Self {
        let identity = Identity {
            viewer: 1,
            channel: "one".into(),
            url: Arc::new(Url::parse("http://steer/play/one/multivariant.m3u8").unwrap()),
            seed,
        };
        Self {
            player: Player::new(identity, Arc::new(PlayerSettings::default())),
            now: Duration::from_secs(1000),
            rng: SmallRng::seed_from_u64(seed),
            forecast,
            frozen: [None; 2],
            waiting: Vec::new(),
            pathways: &["east", "west"],
            steering,
            bits_per_second: 20_000_000,
            init: (Duration::from_millis(20), true),
            log: Vec::new(),
            asked: Vec::new(),
            ended: false,
        }
    }

    fn weather(&self, pathway: usize, at: Duration) -> Weather {
        let since = at.saturating_sub(Duration::from_secs(1000));
        self.forecast
            .iter()
            .rev()
            .find(|(from, _)| *from <= since)
            .map_or(Weather::Good, |(_, weather)| weather[pathway])
    }

    /// Plays until `length` has passed or the session ended.
    pub(super) fn run(&mut self, length: Duration) -> SessionEnd {
        let end = Duration::from_secs(1000) + length;
        self.tell(Event::Start);
        for _ in 0..200_000 {
            if self.ended {
                break;
            }
            let answer = self.waiting.iter().map(|(at, ..)| *at).min();
            let Some(next) = [answer, self.player.next_wake(), Some(end)].into_iter().flatten().min() else {
                break;
            };
            assert!(
                next >= self.now || self.player.next_wake() == Some(next),
                "time runs forwards"
            );
            self.now = self.now.max(next);
            if self.now >= end {
                self.tell(Event::Stop);
            } else if let Some(index) = self.waiting.iter().position(|(at, ..)| *at <= self.now) {
                let (_, sent, fetch) = self.waiting.swap_remove(index);
                let event = self.answer(&fetch, sent);
                self.tell(event);
            } else {
                self.tell(Event::Wake);
            }
        }
        assert!(
            self.ended,
            "the player spins: {:?}",
            &self.log[self.log.len().saturating_sub(5)..]
        );
        match &self.log.last().unwrap().1 {
            SessionEvent::Ended(end) => end.clone(),
            other => panic!("the last report is {other:?}"),
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        for action in self.player.on(event, self.now) {
            assert!(!self.ended, "nothing follows the end");
            match action {
                Action::Fetch(fetch) => {
                    assert!(fetch.due <= self.now, "nothing is sent before it is due");
                    let at = self.now + self.delay(&fetch);
                    self.asked.push(fetch.clone());
                    self.waiting.push((at, self.now, fetch));
                }
                Action::Cancel(id) => self.waiting.retain(|(.., fetch)| fetch.id != id),
                Action::Report(event) => self.log.push((self.now, event)),
                Action::End => self.ended = true,
            }
        }
        let clock = self.player.clock();
        assert_eq!(
            clock.startup() + clock.played() + clock.stalled(),
            clock.length(),
            "time is accounted for"
        );
        if self.player.state() == PlaybackState::Playing {
            assert!(
                self.player
                    .next_wake()
                    .is_some_and(|wake| wake <= self.now + self.player.buffered())
            );
        }
        let segments = self
            .waiting
            .iter()
            .filter(|(.., fetch)| fetch.class == RequestClass::Segment)
            .count();
        assert!(segments <= 1, "one video segment at a time");
    }

    fn pathway(fetch: &Fetch) -> Option<usize> {
        ["east", "west"]
            .iter()
            .position(|host| fetch.url.host_str() == Some(host))
    }

    fn delay(&mut self, fetch: &Fetch) -> Duration {
        let weather = Self::pathway(fetch).map_or(Weather::Good, |pathway| self.weather(pathway, self.now));
        let transfer = Self::size(fetch) * 8_000_000 / self.bits_per_second;
        match weather {
            Weather::Silent => fetch.deadlines.first_byte,
            Weather::Slow if SLOW.0 > fetch.deadlines.first_byte => fetch.deadlines.first_byte,
            Weather::Slow => SLOW.1,
            Weather::Stormy => Duration::from_millis(self.rng.random_range(1..6000)).min(fetch.deadlines.total),
            _ if fetch.class == RequestClass::Init => self.init.0,
            _ => Duration::from_millis(20) + Duration::from_micros(transfer),
        }
    }

    fn size(fetch: &Fetch) -> u64 {
        match fetch.class {
            RequestClass::Segment if fetch.url.path().contains("/hi/") => 200_000,
            RequestClass::Segment => 50_000,
            RequestClass::Audio => 16_000,
            _ => 1000,
        }
    }

    fn answer(&mut self, fetch: &Fetch, sent: Duration) -> Event {
        let pathway = Self::pathway(fetch);
        let [before, weather] = [sent, self.now].map(|at| pathway.map_or(Weather::Good, |way| self.weather(way, at)));
        let total = self.now.saturating_sub(sent);
        let failure = match weather {
            Weather::Down => Some(ErrorKind::Connect),
            Weather::Silent => Some(ErrorKind::Timeout),
            _ if before == Weather::Slow && SLOW.0 > fetch.deadlines.first_byte => Some(ErrorKind::Timeout),
            Weather::Stormy if self.rng.random_bool(0.3) => Some(ErrorKind::Closed),
            _ => None,
        };
        if let Some(kind) = failure {
            return Event::Failed(fetch.id, failed_after(kind, total));
        }
        let live = self.now.as_secs() / SEGMENT.as_secs();
        let edge = pathway.map_or(live, |pathway| {
            if weather != Weather::Frozen {
                self.frozen[pathway] = None;
            }
            let edge = *self.frozen[pathway].get_or_insert(live);
            if weather == Weather::Frozen { edge } else { live }
        });
        let missing = fetch.class == RequestClass::Init && !self.init.1;
        let status = if missing || (weather == Weather::Stormy && self.rng.random_bool(0.1)) {
            404
        } else {
            200
        };
        let stormy = weather == Weather::Stormy;
        let gap = (stormy && self.rng.random_bool(0.2)).then_some(edge);
        let body = (fetch.capture > 0).then(|| self.body(fetch, edge, gap).into_bytes());
        let first_byte = if before == Weather::Slow {
            SLOW.0
        } else {
            Duration::from_millis(20)
        };
        Event::Fetched(
            fetch.id,
            Fetched {
                status,
                body,
                bytes: Self::size(fetch),
                first_byte,
                total,
                url: fetch.url.clone(),
            },
        )
    }

    fn body(&self, fetch: &Fetch, edge: u64, gap: Option<u64>) -> String {
        match fetch.class {
            RequestClass::Multivariant => {
                let mut text = String::from("#EXTM3U\n");
                if let Some(pathway) = self.steering {
                    text += &format!("#EXT-X-CONTENT-STEERING:SERVER-URI=\"/steer/one\",PATHWAY-ID=\"{pathway}\"\n");
                }
                for id in self.pathways {
                    text += &format!(
                        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{id}\",NAME=\"a\",DEFAULT=YES,URI=\"http://{id}/audio/index.m3u8\"\n"
                    );
                    for (rung, bandwidth) in [("hi", 800_000), ("lo", 200_000)] {
                        text += &format!(
                            "#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},AUDIO=\"{id}\",PATHWAY-ID=\"{id}\"\nhttp://{id}/{rung}/index.m3u8\n"
                        );
                    }
                }
                text
            }
            RequestClass::Steering => {
                format!(
                    r#"{{"VERSION":1,"TTL":5,"PATHWAY-PRIORITY":["{}"]}}"#,
                    self.steering.unwrap_or("east")
                )
            }
            _ => {
                let first = edge - 9;
                let mut text = format!(
                    "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-MAP:URI=\"init.mp4\"\n"
                );
                for number in first..=edge {
                    text += if gap == Some(number) { "#EXT-X-GAP\n" } else { "" };
                    text += &format!("#EXTINF:2.000,\nseg_{number}.m4s\n");
                }
                text
            }
        }
    }

    pub(super) fn count(&self, wanted: impl Fn(&SessionEvent) -> bool) -> usize {
        self.log.iter().filter(|(_, event)| wanted(event)).count()
    }

    /// Sequence numbers of video segments, in the order asked for.
    pub(super) fn sequence(&self) -> Vec<u64> {
        let segments = self.asked.iter().filter(|fetch| fetch.class == RequestClass::Segment);
        segments
            .map(|fetch| {
                let name = fetch.url.path_segments().unwrap().next_back().unwrap();
                name.trim_start_matches("seg_")
                    .trim_end_matches(".m4s")
                    .parse()
                    .unwrap()
            })
            .collect()
    }

    /// Every media request names a rendition of the pathway it was made on.
    pub(super) fn stays_on_its_pathway(&self) -> bool {
        self.asked
            .iter()
            .filter(|fetch| !fetch.pathway.is_empty())
            .all(|fetch| {
                let rendition = fetch.url.path_segments().unwrap().next().unwrap().to_owned();
                fetch.url.host_str() == Some(&*fetch.pathway) && ["hi", "lo", "audio"].contains(&&*rendition)
            })
    }
}

pub(super) fn failed_after(kind: ErrorKind, total: Duration) -> Failure {
    Failure {
        kind,
        bytes: 0,
        first_byte: None,
        total,
    }
}
