//! What is asked all the time while a drill runs, and stops it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use showrunner_crds::scenario::Guardrails;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Guardrail, Place, Terms, Tripped,
    lever::{self, Sight},
    preflight::not_allowed,
    window::{RATE_SECONDS, SILENCE, Windows},
};
use crate::{
    drill::Halt,
    plan::Timeline,
    telemetry::{TelemetryEvent, TelemetrySink},
};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Watches a run, and halts it when a guardrail is met.
#[derive(Debug)]
pub struct Watchdog {
    terms: Terms,
    guardrails: Guardrails,
    /// When the time for faults is over, and what is left is for taking them back.
    until: Instant,
    windows: Mutex<Windows>,
}

impl Watchdog {
    /// Watches a run that began at `began`.
    #[must_use]
    pub fn new(terms: Terms, guardrails: Guardrails, began: Instant) -> Arc<Self> {
        let until = began + guardrails.max_duration.0.saturating_sub(Guardrails::UNDO.0);
        Arc::new(Self {
            terms,
            guardrails,
            until,
            windows: Mutex::default(),
        })
    }

    /// A sink that hands events on, and lets the watchdog see them.
    #[must_use]
    pub fn sink<S: TelemetrySink>(self: &Arc<Self>, inner: S) -> Watched<S> {
        Watched {
            inner,
            watchdog: Arc::clone(self),
        }
    }

    /// Watches until `stop` fires, and halts the run once if a guardrail is met. `origin` is the audience's first moment.
    pub async fn watch(
        &self,
        client: Client,
        timeline: &Timeline,
        origin: Instant,
        halt: &Halt,
        stop: &CancellationToken,
    ) {
        let lever = self.lever(&client, stop);
        let run = self.run(timeline, origin, stop);
        // Each ends with what it found, or with `stop`.
        let tripped = tokio::select! {
            tripped = lever => tripped,
            tripped = run => tripped,
        };
        if let Some(tripped) = tripped {
            halt.guardrail(tripped.to_string());
        }
    }

    /// The lever: by itself, since an API server that hangs must not keep anything else from being seen.
    async fn lever(&self, client: &Client, stop: &CancellationToken) -> Option<Tripped> {
        let mut sight = Sight::new(self.terms.place, Instant::now());
        loop {
            let next = Instant::now() + EVERY;
            let looked = tokio::select! {
                looked = lever::read(client) => looked.map_err(|error| error.to_string()),
                () = stop.cancelled() => return None,
            };
            if let Err(tripped) = sight.look(looked, Instant::now()) {
                return Some(tripped);
            }
            tokio::select! {
                () = sleep_until(next) => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    async fn run(&self, timeline: &Timeline, origin: Instant, stop: &CancellationToken) -> Option<Tripped> {
        let mut next = Instant::now();
        loop {
            let now = Instant::now();
            let ms = now.saturating_duration_since(origin).as_millis();
            if let Err(tripped) = self.check(timeline, u64::try_from(ms).unwrap_or(u64::MAX), now) {
                return Some(tripped);
            }
            next += EVERY;
            tokio::select! {
                () = sleep_until(next) => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    /// Everything that is known without asking anyone.
    fn check(&self, timeline: &Timeline, ms: u64, now: Instant) -> Result<(), Tripped> {
        if now >= self.until {
            let longest = self.guardrails.max_duration;
            let undo = Guardrails::UNDO;
            let why = format!("of {longest}, {undo} are left, which are for taking faults back");
            return Err(Tripped::new(Guardrail::MaxDuration, why));
        }
        if let Some(host) = self.terms.hosts.refused() {
            return Err(not_allowed(&host, "a viewer was sent there"));
        }
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(most) = self.terms.requests_per_second {
            let rate = windows.rate(ms);
            if rate > f64::from(most) {
                let why = format!(
                    "viewers made {rate:.0} requests a second over the last {RATE_SECONDS} s, at most {most} may be"
                );
                return Err(Tripped::new(Guardrail::MaxRequestsPerSecond, why));
            }
        }
        let mut conditions = self.guardrails.stop_when.iter();
        if let Some(why) = conditions.find_map(|condition| windows.breach(condition, ms)) {
            return Err(Tripped::new(Guardrail::StopWhen, why));
        }
        // Afterwards nobody is expected, however long taking back the last fault takes.
        let planned = |at| {
            if at < timeline.length_ms {
                timeline.viewers_at(at)
            } else {
                0
            }
        };
        if self.terms.place == Place::Cluster && windows.silent(ms, planned) {
            let why = format!("nothing was heard of any viewer for {} s", SILENCE.as_secs());
            return Err(Tripped::new(Guardrail::NoData, why));
        }
        Ok(())
    }
}

/// Hands telemetry on, and lets a watchdog see it.
#[derive(Debug)]
pub struct Watched<S> {
    inner: S,
    watchdog: Arc<Watchdog>,
}

impl<S: TelemetrySink> TelemetrySink for Watched<S> {
    fn event(&self, event: TelemetryEvent) {
        self.watchdog
            .windows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(&event);
        self.inner.event(event);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use showrunner_crds::scenario::{StopCondition, StopMetric};

    use super::*;
    use crate::{
        plan::plan,
        telemetry::{ClassSample, EventBody, NullSink, RequestClass, SecondSample},
        testing::{platform, scenario},
    };

    fn timeline() -> Timeline {
        plan(&scenario(), &platform(), None).unwrap()
    }

    /// A watchdog that heard of a second of `requests`, a tenth of which failed, in each of 40 seconds.
    fn watchdog(terms: Terms, guardrails: Guardrails, requests: u64, began: Instant) -> Arc<Watchdog> {
        let watchdog = Watchdog::new(terms, guardrails, began);
        let sink = watchdog.sink(NullSink);
        for second in 1..=40 {
            let class = ClassSample {
                requests,
                errors: requests / 10,
                ..ClassSample::default()
            };
            let sample = SecondSample {
                playing: 1,
                classes: [(RequestClass::Segment, class)].into(),
                ..SecondSample::default()
            };
            sink.event(TelemetryEvent {
                at_ms: second * 1000,
                body: EventBody::Second(sample),
            });
        }
        watchdog
    }

    fn tripped(watchdog: &Watchdog, ms: u64, now: Instant) -> Option<Guardrail> {
        watchdog
            .check(&timeline(), ms, now)
            .err()
            .map(|tripped| tripped.guardrail)
    }

    #[test]
    fn a_quiet_run_goes_on_and_each_guardrail_ends_it() {
        let now = Instant::now();
        let cluster = || Terms::cluster(Some("staging".into()));
        let quiet = watchdog(cluster(), Guardrails::default(), 100, now);
        for second in 0..=49 {
            assert_eq!(tripped(&quiet, second * 1000, now), None, "{second}");
        }
        assert_eq!(tripped(&quiet, 50_000, now), Some(Guardrail::NoData));
        assert_eq!(tripped(&quiet, 75_000, now), None, "the audience has gone");
        let sandbox = watchdog(Terms::sandbox(), Guardrails::default(), 100, now);
        assert_eq!(tripped(&sandbox, 50_000, now), None, "a sandbox may be silent");

        let capped = Terms {
            requests_per_second: Some(99),
            ..cluster()
        };
        let capped = watchdog(capped, Guardrails::default(), 100, now);
        assert_eq!(tripped(&capped, 30_000, now), Some(Guardrail::MaxRequestsPerSecond));

        let stop = |above| Guardrails {
            stop_when: vec![StopCondition {
                metric: StopMetric::RequestErrors,
                window: "10s".parse().unwrap(),
                above,
                min_samples: 20,
            }],
            ..Guardrails::default()
        };
        let failing = watchdog(cluster(), stop(0.09), 100, now);
        assert_eq!(tripped(&failing, 30_000, now), Some(Guardrail::StopWhen));
        let failing = watchdog(cluster(), stop(0.1), 100, now);
        assert_eq!(tripped(&failing, 30_000, now), None);

        let long = Guardrails {
            max_duration: "5m".parse().unwrap(),
            ..Guardrails::default()
        };
        let long = watchdog(cluster(), long, 100, now);
        assert_eq!(tripped(&long, 30_000, now + Duration::from_secs(179)), None);
        let over = tripped(&long, 30_000, now + Duration::from_secs(180));
        assert_eq!(over, Some(Guardrail::MaxDuration));

        let lost = watchdog(cluster(), Guardrails::default(), 100, now);
        assert!(!lost.terms.hosts.allows(&"http://elsewhere.test/".parse().unwrap()));
        assert_eq!(tripped(&lost, 30_000, now), Some(Guardrail::AllowHost));
    }
}
