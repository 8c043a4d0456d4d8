//! What viewers met in the last seconds: sliding windows over telemetry, and the conditions that end a run.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use showrunner_crds::scenario::{StopCondition, StopMetric};

use crate::telemetry::{EventBody, PopulationSample, SecondSample, SessionEnd, SessionEvent, TelemetryEvent};

/// Longest window that is kept, in seconds: the longest that a scenario may ask for, and a second that is not over.
const KEPT: u64 = 601;
/// Waiting for longer than this without a first frame is a failed start, in milliseconds: sooner it may have been whim.
const GAVE_UP_MS: u64 = 5000;
/// Seconds over which the rate of requests is averaged: what is due at once may go out in one.
pub const RATE_SECONDS: u64 = 5;
/// Silence about viewers, while some should be there, after which nothing is known of them.
pub const SILENCE: Duration = Duration::from_secs(10);

/// Counts of one second.
#[derive(Clone, Debug, Default)]
struct Second {
    index: u64,
    requests: u64,
    errors: u64,
    playing: u64,
    stalled: u64,
    ended: u64,
    fatal: u64,
    startups: u64,
    failed_startups: u64,
    /// Viewers in a session at its end, by region.
    active: Vec<(Arc<str>, u32)>,
    /// Whether any viewer was heard of.
    heard: bool,
}

/// The last seconds of a run.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    /// By time, without gaps between those that say something being filled.
    seconds: VecDeque<Second>,
}

/// A fraction and what it stands on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fraction {
    /// From 0 to 1; 0 without samples.
    pub value: f64,
    /// How many samples.
    pub samples: u64,
}

impl Fraction {
    fn of(part: u64, samples: u64) -> Self {
        let value = if samples == 0 {
            0.0
        } else {
            part as f64 / samples as f64
        };
        Self { value, samples }
    }
}

impl Windows {
    /// Takes an event in.
    pub fn take(&mut self, event: &TelemetryEvent) {
        let index = event.at_ms / 1000;
        match &event.body {
            EventBody::Second(second) => self.second(index).count(second),
            EventBody::Population(PopulationSample { region, active, .. }) => {
                let second = self.second(index);
                second.active.retain(|(known, _)| known != region);
                second.active.push((Arc::clone(region), *active));
            }
            EventBody::Viewer { event, .. } => match event {
                SessionEvent::Startup { .. } => self.second(index).startups += 1,
                SessionEvent::Ended(end) => self.second(index).end(end),
                _ => {}
            },
            EventBody::Generator(_) => {}
        }
    }

    fn second(&mut self, index: u64) -> &mut Second {
        // Events come nearly in order: the place is at the end, or close to it.
        let place = self.seconds.iter().rposition(|second| second.index <= index);
        let place = match place {
            Some(place) if self.seconds[place].index == index => place,
            place => {
                let place = place.map_or(0, |place| place + 1);
                let second = Second {
                    index,
                    ..Second::default()
                };
                self.seconds.insert(place, second);
                place
            }
        };
        let newest = self.seconds.back().map_or(index, |second| second.index);
        let mut dropped = 0;
        while self.seconds.front().is_some_and(|second| second.index + KEPT < newest) {
            self.seconds.pop_front();
            dropped += 1;
        }
        // What came so late that it is dropped at once is counted where nobody looks.
        &mut self.seconds[place.saturating_sub(dropped)]
    }

    /// The seconds that ended in the last `window` before `now_ms`.
    fn within(&self, window: Duration, now_ms: u64) -> impl Iterator<Item = &Second> {
        let now = now_ms / 1000;
        let from = now.saturating_sub(window.as_secs());
        self.seconds
            .iter()
            .rev()
            .skip_while(move |second| second.index > now)
            .take_while(move |second| second.index > from || from == 0)
    }

    /// A metric over the last `window`.
    #[must_use]
    pub fn measure(&self, metric: StopMetric, window: Duration, now_ms: u64) -> Fraction {
        let sum = |count: fn(&Second) -> u64| self.within(window, now_ms).map(count).sum::<u64>();
        match metric {
            StopMetric::FatalSessions => {
                let watching = self.within(window, now_ms).find(|second| !second.active.is_empty());
                let watching: u64 = watching
                    .iter()
                    .flat_map(|second| &second.active)
                    .map(|(_, active)| u64::from(*active))
                    .sum();
                Fraction::of(sum(|s| s.fatal), sum(|s| s.ended) + watching)
            }
            StopMetric::RebufferRatio => Fraction::of(sum(|s| s.stalled), sum(|s| s.playing + s.stalled)),
            StopMetric::RequestErrors => Fraction::of(sum(|s| s.errors), sum(|s| s.requests)),
            StopMetric::StartupFailures => {
                Fraction::of(sum(|s| s.failed_startups), sum(|s| s.startups + s.failed_startups))
            }
        }
    }

    /// Why a condition ends the run now, if it does. Too few samples say nothing.
    #[must_use]
    pub fn breach(&self, condition: &StopCondition, now_ms: u64) -> Option<String> {
        let found = self.measure(condition.metric, condition.window.0, now_ms);
        let enough = found.samples >= u64::from(condition.min_samples);
        (enough && found.value > condition.above).then(|| {
            format!(
                "{} was {:.3} over the last {} ({} samples), above {}",
                condition.metric.name(),
                found.value,
                condition.window,
                found.samples,
                condition.above
            )
        })
    }

    /// Whether nothing was heard of any viewer for [`SILENCE`] although `planned` says that some should have been there all
    /// the time.
    #[must_use]
    pub fn silent(&self, now_ms: u64, planned: impl Fn(u64) -> u32) -> bool {
        let silence = SILENCE.as_secs();
        let Some(from) = (now_ms / 1000).checked_sub(silence) else {
            return false;
        };
        let expected = (from..=from + silence).all(|second| planned(second * 1000) > 0);
        expected && !self.within(SILENCE, now_ms).any(|second| second.heard)
    }

    /// Requests a second, averaged over the last [`RATE_SECONDS`] that are over.
    #[must_use]
    pub fn rate(&self, now_ms: u64) -> f64 {
        let window = Duration::from_secs(RATE_SECONDS);
        let requests: u64 = self.within(window, now_ms).map(|second| second.requests).sum();
        requests as f64 / RATE_SECONDS as f64
    }
}

impl Second {
    fn count(&mut self, sample: &SecondSample) {
        self.heard = true;
        self.playing += u64::from(sample.playing);
        self.stalled += u64::from(sample.stalled);
        for class in sample.classes.values() {
            self.requests += class.requests;
            self.errors += class.errors;
        }
    }

    fn end(&mut self, end: &SessionEnd) {
        self.ended += 1;
        self.fatal += u64::from(end.fatal);
        self.failed_startups += u64::from(!end.started && (end.fatal || end.startup_ms >= GAVE_UP_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{ClassSample, RequestClass};

    fn event(at_ms: u64, body: EventBody) -> TelemetryEvent {
        TelemetryEvent { at_ms, body }
    }

    fn second(at_ms: u64, requests: u64, errors: u64, playing: u32, stalled: u32) -> TelemetryEvent {
        let class = ClassSample {
            requests,
            errors,
            ..ClassSample::default()
        };
        let sample = SecondSample {
            region: "eu".into(),
            pathway: "eu".into(),
            playing,
            stalled,
            classes: [(RequestClass::Segment, class)].into(),
            ..SecondSample::default()
        };
        event(at_ms, EventBody::Second(sample))
    }

    fn ended(at_ms: u64, started: bool, fatal: bool, startup_ms: u64) -> TelemetryEvent {
        let end = SessionEnd {
            started,
            fatal,
            startup_ms,
            ..SessionEnd::default()
        };
        let event = SessionEvent::Ended(end);
        self::event(at_ms, EventBody::Viewer { viewer: 1, event })
    }

    fn population(at_ms: u64, region: &str, active: u32) -> TelemetryEvent {
        let sample = PopulationSample {
            region: region.into(),
            target: active,
            active,
        };
        event(at_ms, EventBody::Population(sample))
    }

    fn windows(events: impl IntoIterator<Item = TelemetryEvent>) -> Windows {
        let mut windows = Windows::default();
        for event in events {
            windows.take(&event);
        }
        windows
    }

    fn condition(metric: StopMetric, above: f64, min_samples: u32) -> StopCondition {
        StopCondition {
            metric,
            window: "10s".parse().unwrap_or_default(),
            above,
            min_samples,
        }
    }

    #[test]
    fn errors_of_the_window_end_the_run_and_older_ones_do_not() {
        // Ten bad seconds, then good ones.
        let run = (1..=10).map(|s| second(s * 1000, 10, 10, 5, 0));
        let run = windows(run.chain((11..=30).map(|s| second(s * 1000, 10, 0, 5, 0))));
        let errors = condition(StopMetric::RequestErrors, 0.5, 20);
        assert!(run.breach(&errors, 10_000).is_some());
        assert!(run.breach(&errors, 15_500).is_none(), "50 of 100 is not above a half");
        assert!(run.breach(&errors, 14_500).is_some(), "60 of 100");
        assert!(run.breach(&errors, 30_000).is_none());
    }

    #[test]
    fn nothing_wrong_never_ends_a_run() {
        let run = windows((1..=30).map(|s| second(s * 1000, 10, 0, 5, 0)));
        for metric in [
            StopMetric::FatalSessions,
            StopMetric::RebufferRatio,
            StopMetric::RequestErrors,
            StopMetric::StartupFailures,
        ] {
            assert_eq!(run.breach(&condition(metric, 0.0, 1), 30_000), None, "{metric:?}");
        }
    }

    #[test]
    fn too_few_samples_say_nothing() {
        let run = windows([second(1000, 19, 19, 0, 0)]);
        assert_eq!(run.breach(&condition(StopMetric::RequestErrors, 0.5, 20), 1500), None);
        let run = windows([second(1000, 20, 20, 0, 0)]);
        assert!(
            run.breach(&condition(StopMetric::RequestErrors, 0.5, 20), 1500)
                .is_some()
        );
    }

    #[test]
    fn rebuffering_is_a_share_of_viewers_seconds() {
        let run = windows((1..=10).map(|s| second(s * 1000, 1, 0, 3, 1)));
        let found = run.measure(StopMetric::RebufferRatio, Duration::from_secs(10), 10_000);
        assert_eq!(found, Fraction::of(10, 40));
        assert!(
            run.breach(&condition(StopMetric::RebufferRatio, 0.2, 20), 10_000)
                .is_some()
        );
        assert!(
            run.breach(&condition(StopMetric::RebufferRatio, 0.25, 20), 10_000)
                .is_none()
        );
    }

    #[test]
    fn fatal_sessions_are_a_share_of_those_that_watch_or_ended() {
        let run = windows([
            ended(1000, true, true, 100),
            ended(2000, true, false, 100),
            population(2000, "eu", 100),
            population(3000, "eu", 3),
            population(3000, "us", 5),
        ]);
        let found = run.measure(StopMetric::FatalSessions, Duration::from_secs(10), 3000);
        assert_eq!(found, Fraction::of(1, 10), "the latest population counts");
    }

    #[test]
    fn a_start_fails_by_an_error_or_after_a_wait() {
        let startup = SessionEvent::Startup {
            ms: 800,
            pathway: "eu".into(),
        };
        let run = windows([
            event(
                1000,
                EventBody::Viewer {
                    viewer: 1,
                    event: startup,
                },
            ),
            ended(2000, false, true, 100),
            ended(2000, false, false, 5000),
            ended(2000, false, false, 4999),
            ended(2000, true, false, 100),
        ]);
        let found = run.measure(StopMetric::StartupFailures, Duration::from_secs(10), 3000);
        assert_eq!(found, Fraction::of(2, 3));
    }

    #[test]
    fn silence_counts_only_while_viewers_should_be_there() {
        let all = |_| 5;
        let heard = windows([second(1000, 1, 0, 1, 0)]);
        assert!(!heard.silent(10_900, all));
        assert!(heard.silent(11_000, all), "last heard of at 1 s");
        assert!(!Windows::default().silent(9999, all), "no window is full yet");
        assert!(Windows::default().silent(10_000, all), "never heard of");
        assert!(!heard.silent(30_000, |ms| u32::from(ms < 25_000)), "they were to leave");
        let population_alone = windows([population(15_000, "eu", 0)]);
        assert!(
            population_alone.silent(15_000, all),
            "a population of nobody is no word"
        );
    }

    #[test]
    fn the_rate_is_averaged_over_some_seconds() {
        let run = windows((1..=5).map(|s| second(s * 1000, if s == 5 { 100 } else { 25 }, 0, 1, 0)));
        assert!((run.rate(5000) - 40.0).abs() < 1e-9);
        assert!((run.rate(20_000)).abs() < 1e-9);
    }

    #[test]
    fn memory_is_bounded_and_late_words_do_no_harm() {
        let mut run = windows((1..=5000).map(|s| second(s * 1000, 1, 0, 1, 0)));
        assert!(run.seconds.len() <= KEPT as usize + 1, "{}", run.seconds.len());
        run.take(&second(1000, 1, 1, 0, 0));
        assert!(run.seconds.len() <= KEPT as usize + 1);
        run.take(&second(4_999_000, 1, 1, 0, 0));
        let found = run.measure(StopMetric::RequestErrors, Duration::from_secs(10), 5_000_000);
        assert_eq!(found, Fraction::of(1, 11));
    }
}
