//! The player against a simulated network, in virtual time: days of playback in a second.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::format_push_string)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use url::Url;

use super::{Identity, Player};
use crate::player::{Action, Device, Event, Failure, Fetch, Fetched, MediaPolicy, PlaybackState, PlayerSettings};
use crate::telemetry::{ErrorKind, PathwaySwitchReason, RequestClass, SessionEnd, SessionEvent};

const SEGMENT: Duration = Duration::from_secs(2);
/// From a request to the first and the last byte when the weather is slow.
const SLOW: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(13));

/// How the simulated network treats a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Weather {
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
type Forecast = Vec<(Duration, [Weather; 2])>;

struct Simulation {
    player: Player,
    now: Duration,
    rng: SmallRng,
    forecast: Forecast,
    frozen: [Option<u64>; 2],
    /// When each is answered, when it was sent, and what it was.
    waiting: Vec<(Duration, Duration, Fetch)>,
    pathways: &'static [&'static str],
    steering: Option<&'static str>,
    bits_per_second: u64,
    /// What the answer to a request for an initialisation section takes, and whether it is one.
    init: (Duration, bool),
    log: Vec<(Duration, SessionEvent)>,
    asked: Vec<Fetch>,
    ended: bool,
}

impl Simulation {
    fn new(seed: u64, steering: Option<&'static str>, forecast: Forecast) -> Self {
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
    fn run(&mut self, length: Duration) -> SessionEnd {
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

    fn tell(&mut self, event: Event) {
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

    fn count(&self, wanted: impl Fn(&SessionEvent) -> bool) -> usize {
        self.log.iter().filter(|(_, event)| wanted(event)).count()
    }

    /// Sequence numbers of video segments, in the order asked for.
    fn sequence(&self) -> Vec<u64> {
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
    fn stays_on_its_pathway(&self) -> bool {
        self.asked
            .iter()
            .filter(|fetch| !fetch.pathway.is_empty())
            .all(|fetch| {
                let rendition = fetch.url.path_segments().unwrap().next().unwrap().to_owned();
                fetch.url.host_str() == Some(&*fetch.pathway) && ["hi", "lo", "audio"].contains(&&*rendition)
            })
    }
}

fn failed_after(kind: ErrorKind, total: Duration) -> Failure {
    Failure {
        kind,
        bytes: 0,
        first_byte: None,
        total,
    }
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_good_stream_plays_without_a_stall() {
    let mut simulation = Simulation::new(1, Some("east"), vec![]);
    let end = simulation.run(s(600));
    assert_eq!(
        (end.started, end.fatal, end.stalls, end.skipped_ms),
        (true, false, 0, 0)
    );
    assert!(end.startup_ms < 700, "{end:?}");
    assert_eq!(end.startup_ms + end.played_ms, 600_000);
    assert!((1000..=4000).contains(&end.gap_max_ms), "{end:?}");
    assert!(
        (4000..=9000).contains(&end.live_latency_ms),
        "three target durations behind: {end:?}"
    );
    let sequence = simulation.sequence();
    assert!(
        sequence.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "every segment once, in order"
    );
    assert_eq!(
        (end.rung_switches, end.mean_bitrate),
        (0, 800_000),
        "it begins with the rung that is listed first, and 20 Mbit/s carry it"
    );
    let polls = simulation
        .asked
        .iter()
        .filter(|fetch| fetch.class == RequestClass::Steering)
        .count();
    assert!((118..=121).contains(&polls), "one poll a TTL: {polls}");
}

#[test]
fn a_narrow_line_comes_down_from_the_first_rung_and_stays_down() {
    let mut simulation = Simulation::new(1, None, vec![]);
    simulation.bits_per_second = 600_000;
    let end = simulation.run(s(120));
    assert_eq!((end.rung_switches, end.fatal), (1, false));
    assert!((200_000..=230_000).contains(&end.mean_bitrate), "{end:?}");
}

#[test]
fn a_dead_pathway_is_left_within_ten_seconds() {
    for weather in [Weather::Down, Weather::Silent] {
        let mut simulation = Simulation::new(2, Some("east"), vec![(s(30), [weather, Weather::Good])]);
        let end = simulation.run(s(90));
        assert_eq!(
            (end.fatal, &*end.pathway, end.pathway_switches),
            (false, "west", 1),
            "{weather:?}"
        );
        let first = simulation
            .log
            .iter()
            .find(|(_, event)| matches!(event, SessionEvent::FirstSegmentOnPathway { .. }))
            .map(|(at, _)| *at)
            .unwrap();
        assert!(first <= s(1000 + 40), "{weather:?}: {first:?}");
        let switched = |event: &SessionEvent| {
            matches!(
                event,
                SessionEvent::PathwaySwitched {
                    reason: PathwaySwitchReason::Errors,
                    ..
                }
            )
        };
        assert_eq!(simulation.count(switched), 1);
    }
}

#[test]
fn everything_down_is_fatal_after_the_grace_and_not_before() {
    let all = [Weather::Down, Weather::Down];
    let mut simulation = Simulation::new(3, Some("east"), vec![(s(20), all), (s(40), [Weather::Good; 2])]);
    assert!(!simulation.run(s(120)).fatal, "twenty seconds are survived");
    let mut simulation = Simulation::new(3, Some("east"), vec![(s(20), all)]);
    let end = simulation.run(s(120));
    assert!(end.fatal && end.stalled_ms > 0, "{end:?}");
    let length = end.startup_ms + end.played_ms + end.stalled_ms;
    assert!((50_000..65_000).contains(&length), "{end:?}");
    let requests = simulation
        .asked
        .iter()
        .filter(|fetch| fetch.class == RequestClass::Playlist)
        .count();
    assert!(requests < 100, "retries back off: {requests}");
}

#[test]
fn what_comes_slowly_is_left_for_another_pathway() {
    let forecast = vec![(s(20), [Weather::Slow, Weather::Good])];
    let end = Simulation::new(6, Some("east"), forecast).run(s(60));
    assert_eq!((&*end.pathway, end.fatal), ("west", false), "{end:?}");
    assert!(end.stalled_ms < 4000, "{end:?}");
}

/// What was given up had to be fetched from its first byte again.
#[test]
fn what_comes_slowly_is_waited_for_where_there_is_nowhere_else_to_go() {
    let forecast = vec![(s(20), [Weather::Slow; 2]), (s(36), [Weather::Good; 2])];
    let mut simulation = Simulation::new(6, None, forecast);
    simulation.pathways = &["east"];
    let end = simulation.run(s(90));
    assert!(!end.fatal && end.stalls >= 1 && end.stalled_ms > 5000, "{end:?}");
    assert_eq!(simulation.count(|event| matches!(event, SessionEvent::Error { .. })), 0);
    let segments = simulation
        .asked
        .iter()
        .filter(|fetch| fetch.class == RequestClass::Segment);
    let mut seen = BTreeSet::new();
    for segment in segments {
        assert!(seen.insert(segment.url.path()), "{} twice", segment.url);
    }
    let limits = |class| {
        let of = simulation.asked.iter().filter(move |fetch| fetch.class == class);
        of.map(|fetch| (fetch.deadlines.first_byte, fetch.deadlines.total))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(limits(RequestClass::Playlist), [(s(10), s(20))].into());
    for class in [RequestClass::Segment, RequestClass::Audio, RequestClass::Init] {
        assert_eq!(limits(class), [(s(10), s(120))].into(), "{class:?}");
    }
}

/// Negative control.
#[test]
fn the_patience_of_many_pathways_does_not_do_for_one() {
    let forecast = vec![(s(20), [Weather::Slow; 2]), (s(36), [Weather::Good; 2])];
    let mut simulation = Simulation::new(6, None, forecast);
    simulation.pathways = &["east"];
    simulation.player.settings = Arc::new(PlayerSettings {
        alone: PlayerSettings::default().media,
        ..PlayerSettings::default()
    });
    simulation.run(s(90));
    assert!(simulation.count(|event| matches!(event, SessionEvent::Error { .. })) > 0);
}

#[test]
fn silence_is_fatal_where_there_is_nowhere_else_to_go() {
    let end = |alone| {
        let mut simulation = Simulation::new(6, None, vec![(s(20), [Weather::Silent; 2])]);
        simulation.pathways = &["east"];
        simulation.player.settings = Arc::new(PlayerSettings {
            alone,
            ..PlayerSettings::default()
        });
        let end = simulation.run(s(120));
        assert!(end.fatal, "{end:?}");
        end.startup_ms + end.played_ms + end.stalled_ms
    };
    let (patient, hurried) = (end(MediaPolicy::alone()), end(MediaPolicy::with_alternatives()));
    assert!((60_000..75_000).contains(&patient), "{patient}");
    assert!((50_000..patient).contains(&hurried), "{hurried}");
}

#[test]
fn nothing_plays_before_its_initialisation_section_is_there() {
    let startup = |init| {
        let mut simulation = Simulation::new(1, Some("east"), vec![]);
        simulation.init = (init, true);
        let end = simulation.run(s(60));
        assert_eq!((end.started, end.stalls), (true, 0), "{end:?}");
        let sequence = simulation.sequence();
        let distinct: BTreeSet<u64> = sequence.iter().copied().collect();
        assert_eq!(sequence.len(), distinct.len(), "{sequence:?}");
        end.startup_ms
    };
    let usual = startup(Duration::from_millis(20));
    // Video's first, then audio's.
    assert!((usual + 5000..usual + 6100).contains(&startup(s(3))), "{usual}");
}

#[test]
fn a_rendition_without_its_initialisation_section_is_never_played() {
    // Before its segment is there, soon after, and long after.
    for millis in [20, 60, 1000] {
        for pathways in [&["east"][..], &["east", "west"]] {
            let mut simulation = Simulation::new(1, None, vec![]);
            simulation.pathways = pathways;
            simulation.init = (Duration::from_millis(millis), false);
            let end = simulation.run(s(120));
            assert!(end.fatal && !end.started, "{end:?}");
            let first = |event: &SessionEvent| matches!(event, SessionEvent::FirstSegmentOnPathway { .. });
            assert_eq!(simulation.count(first), 0);
            assert!(simulation.asked.len() < 150, "{}", simulation.asked.len());
        }
    }
}

#[test]
fn what_the_device_takes_comes_on_top() {
    let startup = |open: u64, first_frame: u64| {
        let mut simulation = Simulation::new(1, Some("east"), vec![]);
        simulation.player.settings = Arc::new(PlayerSettings {
            device: Device {
                open: Duration::from_millis(open),
                first_frame: Duration::from_millis(first_frame),
            },
            ..PlayerSettings::default()
        });
        let end = simulation.run(s(60));
        assert_eq!((end.started, end.stalls, end.skipped_ms), (true, 0, 0), "{end:?}");
        end.startup_ms
    };
    let network = startup(0, 0);
    assert_eq!(startup(0, 700), network + 700);
    let both = startup(300, 700);
    // What is asked for later may take a little longer or shorter.
    assert!((network + 950..network + 1050).contains(&both), "{network} {both}");
}

#[test]
fn a_frozen_playlist_stalls_and_shows_as_a_gap() {
    let both = [Weather::Frozen, Weather::Frozen];
    let mut simulation = Simulation::new(4, Some("east"), vec![(s(20), both), (s(50), [Weather::Good; 2])]);
    let end = simulation.run(s(120));
    assert!(!end.fatal && end.stalls >= 1, "{end:?}");
    assert!((28_000..36_000).contains(&end.gap_max_ms), "{end:?}");
    let told = simulation.log.iter().filter_map(|(_, event)| match event {
        SessionEvent::StreamGap { ms } => Some(*ms),
        _ => None,
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [end.gap_max_ms],
        "told when it ended, and nothing shorter was"
    );
    assert!((20_000..30_000).contains(&end.stalled_ms), "{end:?}");
    assert!(end.skipped_ms > 0, "what left the window meanwhile was skipped");
}

#[test]
fn time_that_runs_backwards_and_strange_events_are_harmless() {
    let mut simulation = Simulation::new(5, None, vec![]);
    simulation.tell(Event::Start);
    let player = &mut simulation.player;
    player.on(Event::Wake, Duration::ZERO);
    player.on(Event::Start, s(1001));
    player.on(
        Event::Failed(crate::player::FetchId(999), failed_after(ErrorKind::Closed, s(1))),
        s(1002),
    );
    assert!(
        player
            .on(Event::Stop, s(1003))
            .iter()
            .any(|action| matches!(action, Action::End))
    );
    assert!(player.on(Event::Wake, s(1004)).is_empty());
    assert_eq!(player.next_wake(), None);
}

fn weather() -> impl Strategy<Value = Weather> {
    prop_oneof![
        3 => Just(Weather::Good),
        1 => Just(Weather::Down),
        1 => Just(Weather::Silent),
        1 => Just(Weather::Slow),
        1 => Just(Weather::Frozen),
        3 => Just(Weather::Stormy),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the network does: the accounts balance, order is kept, renditions belong to their pathway, reports agree.
    #[test]
    fn invariants_hold_in_any_weather(
        seed: u64,
        steered: bool,
        alone: bool,
        kbps in 200u64..20_000,
        forecast in prop::collection::vec((0u64..180, weather(), weather()), 0..8),
    ) {
        let mut forecast: Forecast = forecast.into_iter().map(|(at, east, west)| (s(at), [east, west])).collect();
        forecast.sort_by_key(|(at, _)| *at);
        let mut simulation = Simulation::new(seed, steered.then_some("west"), forecast);
        simulation.bits_per_second = kbps * 1000;
        if alone {
            simulation.pathways = &["east"];
        }
        simulation.forecast.push((s(200), [Weather::Good; 2]));
        // Long enough for what was asked for last in bad weather to be given up.
        let end = simulation.run(s(400));
        let length = end.startup_ms + end.played_ms + end.stalled_ms;
        prop_assert!(end.fatal || length == 400_000, "{:?}", end);
        if let Some((since, _)) = simulation.log.iter().rfind(|(_, event)| matches!(event, SessionEvent::StallStarted { .. })) {
            let ended = simulation.log.iter().any(|(at, event)| at >= since && matches!(event, SessionEvent::StallEnded { .. }));
            prop_assert!(end.fatal || ended, "it hangs: {:?}", end);
        }
        prop_assert!(simulation.stays_on_its_pathway());
        let started = simulation.count(|event| matches!(event, SessionEvent::StallStarted { .. }));
        let stopped = simulation.count(|event| matches!(event, SessionEvent::StallEnded { .. }));
        prop_assert_eq!(started, end.stalls as usize);
        prop_assert!(started - stopped <= 1);
        prop_assert_eq!(end.started, simulation.count(|event| matches!(event, SessionEvent::Startup { .. })) == 1);
        // Asked for again after a failure, or later ones: never one from before.
        let sequence = simulation.sequence();
        prop_assert!(sequence.windows(2).all(|pair| pair[1] >= pair[0]), "{:?}", sequence);
        let distinct: BTreeSet<u64> = sequence.iter().copied().collect();
        prop_assert!(end.played_ms <= distinct.len() as u64 * 2000, "nothing is played twice");
    }
}
