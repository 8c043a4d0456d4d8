//! What the player makes of good and bad networks.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::simulation::{Forecast, Simulation, Weather, failed_after};
use crate::player::{Action, Device, Event, MediaPolicy, PlayerSettings};
use crate::telemetry::{ErrorKind, PathwaySwitchReason, RequestClass, SessionEvent};

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

/// One pathway only, with this patience.
fn alone(patience: MediaPolicy, forecast: Forecast) -> Simulation {
    let mut simulation = Simulation::new(6, None, forecast);
    simulation.pathways = &["east"];
    simulation.player.settings = Arc::new(PlayerSettings {
        alone: patience,
        ..PlayerSettings::default()
    });
    simulation
}

fn slow_for_a_while(patience: MediaPolicy) -> Simulation {
    alone(patience, vec![(s(20), [Weather::Slow; 2]), (s(36), [Weather::Good; 2])])
}

/// What was given up had to be fetched from its first byte again.
#[test]
fn what_comes_slowly_is_waited_for_where_there_is_nowhere_else_to_go() {
    let mut simulation = slow_for_a_while(MediaPolicy::alone());
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
    let mut simulation = slow_for_a_while(MediaPolicy::with_alternatives());
    simulation.run(s(90));
    assert!(simulation.count(|event| matches!(event, SessionEvent::Error { .. })) > 0);
}

#[test]
fn silence_is_fatal_where_there_is_nowhere_else_to_go() {
    let end = |patience| {
        let end = alone(patience, vec![(s(20), [Weather::Silent; 2])]).run(s(120));
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
