//! Evidence put in order: sessions, edges, caches, faults. What gates and charts read.

use std::collections::{BTreeMap, BTreeSet};

use super::origins::OriginFacts;
use crate::{
    evidence::{Event, Evidence, FaultStage, Record, SteadyStage},
    telemetry::{EventBody, GeneratorHealth, RequestClass, SecondSample, SessionEvent, TelemetryEvent},
};

/// Lateness of the generator from which a second counts as saturated, in microseconds. A tenth of the shortest time a gate asks about.
const LATE_US: u64 = 200_000;
/// Share of the whole machine that the generator may use by itself before a second counts as saturated.
const BUSY_SHARE: f64 = 0.9;

/// One viewer's session. Moments are milliseconds since the audience's first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// Number of the viewer.
    pub viewer: u32,
    /// Where it is.
    pub region: String,
    /// When it pressed play.
    pub started: i64,
    /// When the first frame showed.
    pub playing_since: Option<i64>,
    /// Stalls; an open one lasts until the session's end.
    pub stalls: Vec<(i64, Option<i64>)>,
    /// Pathways from a moment on.
    pub pathways: Vec<(i64, String)>,
    /// First segments from a pathway, and when.
    pub segments: Vec<(i64, String)>,
    /// Gaps between new segments: when they began and ended.
    pub gaps: Vec<(i64, i64)>,
    /// No other gap was longer than this; `None` where the session never said so.
    pub other_gaps: Option<i64>,
    /// The fatal error.
    pub fatal: Option<(i64, String)>,
    /// When it ended.
    pub ended: Option<i64>,
}

impl Session {
    /// When the session ended, at the latest with the run.
    #[must_use]
    pub fn end(&self, run: i64) -> i64 {
        self.ended.unwrap_or(run)
    }

    /// The pathway at a moment.
    #[must_use]
    pub fn pathway_at(&self, moment: i64) -> Option<&str> {
        self.pathways
            .iter()
            .rev()
            .find(|(at, _)| *at <= moment)
            .map(|(_, pathway)| pathway.as_str())
    }
}

/// One fault's course.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultSpan {
    /// Its name.
    pub name: String,
    /// When it was seen to have taken effect.
    pub injected: Option<i64>,
    /// When it was seen to be taken back.
    pub undone_at: Option<i64>,
    /// What went wrong.
    pub failed: Option<String>,
}

impl FaultSpan {
    /// Whether nothing of it is left: it was taken back, or never reached the cluster.
    #[must_use]
    pub fn undone(&self) -> bool {
        self.undone_at.is_some()
    }
}

/// Segment bytes by the edge's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheBytes {
    /// From its cache.
    pub hit: u64,
    /// Fetched first.
    pub miss: u64,
    /// Segments that answered.
    pub requests: u64,
}

/// Viewers of one pathway at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watching {
    /// Playing.
    pub playing: u32,
    /// With an empty buffer.
    pub stalled: u32,
    /// Before the first frame.
    pub starting: u32,
}

/// Evidence put in order.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Every session.
    pub sessions: Vec<Session>,
    /// Every fault.
    pub faults: Vec<FaultSpan>,
    /// Ready edges by moment and region.
    pub edges: BTreeMap<(i64, String), u32>,
    /// Concurrent viewers by moment.
    pub watching: BTreeMap<i64, u32>,
    /// Viewers by moment and pathway.
    pub pathways: BTreeMap<(i64, String), Watching>,
    /// Segment bytes by moment.
    pub cache: BTreeMap<i64, CacheBytes>,
    /// 95th percentile of a segment's time to the last byte in milliseconds, the worst of all pathways, by moment.
    pub segment_p95: BTreeMap<i64, f64>,
    /// What shields fetched from origins.
    pub origins: OriginFacts,
    /// Looks at the steady state.
    pub steady: Vec<(SteadyStage, bool, String)>,
    /// Seconds of the generator, and those in which it was saturated.
    pub generator: (u64, u64),
    /// The last moment on record.
    pub end: i64,
    /// Seconds whose viewers are counted already, by region and pathway: a ticker that catches up reports one twice.
    pub(crate) counted: BTreeSet<(i64, String, String)>,
}

impl Facts {
    /// Puts evidence in order.
    #[must_use]
    pub fn of(evidence: &Evidence) -> Self {
        let mut facts = Self::default();
        let mut sessions: BTreeMap<u32, Session> = BTreeMap::new();
        for Record { t, event } in &evidence.records {
            match event {
                Event::Viewer(event) => {
                    facts.end = facts.end.max(*t);
                    facts.viewer(*t, event, &mut sessions);
                }
                Event::Fault { name, stage, detail } => facts.fault(*t, name, *stage, detail),
                Event::Edge(edge) => {
                    facts.edges.insert((*t, edge.region.clone()), edge.ready);
                }
                Event::Origin(origin) => facts.origins.take_in(*t, origin),
                Event::Steady { stage, ok, detail } => facts.steady.push((*stage, *ok, detail.clone())),
                Event::Run(_) | Event::Phase { .. } | Event::Condition(_) | Event::Kube(_) | Event::End { .. } => {}
            }
        }
        facts.sessions = sessions.into_values().collect();
        facts
    }

    fn viewer(&mut self, t: i64, event: &TelemetryEvent, sessions: &mut BTreeMap<u32, Session>) {
        match &event.body {
            EventBody::Viewer { viewer, event } => {
                let session = sessions.entry(*viewer).or_insert_with(|| Session {
                    viewer: *viewer,
                    started: t,
                    ..Session::default()
                });
                session_event(session, t, event);
            }
            EventBody::Second(second) => self.second(t, second),
            EventBody::Generator(health) => {
                self.generator.0 += 1;
                self.generator.1 += u64::from(saturated(health));
            }
            EventBody::Population(_) => {}
        }
    }

    fn second(&mut self, t: i64, second: &SecondSample) {
        // All samples of one second share one moment, whatever the milliseconds they were written at.
        let at = t - t.rem_euclid(1000);
        if self
            .counted
            .insert((at, second.region.to_string(), second.pathway.to_string()))
        {
            *self.watching.entry(at).or_default() += second.playing + second.stalled + second.starting;
            let pathway = if second.pathway.is_empty() {
                &second.region
            } else {
                &second.pathway
            };
            let seen = self.pathways.entry((at, pathway.to_string())).or_default();
            seen.playing += second.playing;
            seen.stalled += second.stalled;
            seen.starting += second.starting;
        }
        let bytes = self.cache.entry(at).or_default();
        bytes.hit += second.hit_bytes;
        bytes.miss += second.miss_bytes;
        let media = second.classes.iter().filter(|(class, _)| class.is_media());
        bytes.requests += media
            .map(|(_, sample)| sample.requests.saturating_sub(sample.errors))
            .sum::<u64>();
        if let Some(sample) = second
            .classes
            .get(&RequestClass::Segment)
            .filter(|s| s.requests > s.errors)
        {
            let worst = self.segment_p95.entry(at).or_default();
            *worst = worst.max(sample.latency.p95_us as f64 / 1000.0);
        }
    }

    fn fault(&mut self, t: i64, name: &str, stage: FaultStage, detail: &str) {
        let index = self.faults.iter().position(|f| f.name == name).unwrap_or_else(|| {
            self.faults.push(FaultSpan {
                name: name.to_owned(),
                ..FaultSpan::default()
            });
            self.faults.len() - 1
        });
        let fault = &mut self.faults[index];
        match stage {
            FaultStage::Injected => fault.injected = fault.injected.or(Some(t)),
            FaultStage::Undone => fault.undone_at = Some(t),
            FaultStage::Failed => fault.failed = Some(detail.to_owned()),
            FaultStage::Injecting | FaultStage::Undoing => {}
        }
    }

    /// Share of the generator's seconds in which it was saturated. Without any, its measurements are unfounded: 1.
    #[must_use]
    pub fn saturated_share(&self) -> f64 {
        match self.generator {
            (0, _) => 1.0,
            (all, saturated) => saturated as f64 / all as f64,
        }
    }

    /// The last look at the steady state at a stage.
    #[must_use]
    pub fn steady(&self, stage: SteadyStage) -> Option<(bool, &str)> {
        self.steady
            .iter()
            .rev()
            .find(|(s, ..)| *s == stage)
            .map(|(_, ok, detail)| (*ok, detail.as_str()))
    }

    /// Ready edges of all regions at a moment: the last look at each before it.
    #[must_use]
    pub fn ready_edges_at(&self, moment: i64) -> Option<u32> {
        let mut latest: BTreeMap<&str, u32> = BTreeMap::new();
        for ((at, region), ready) in &self.edges {
            if *at <= moment {
                latest.insert(region, *ready);
            }
        }
        (!latest.is_empty()).then(|| latest.values().sum())
    }

    /// Moments at which edges were looked at.
    pub fn edge_moments(&self) -> impl Iterator<Item = i64> + '_ {
        let mut last = None;
        self.edges.keys().filter_map(move |(at, _)| {
            let fresh = last != Some(*at);
            last = Some(*at);
            fresh.then_some(*at)
        })
    }

    /// Concurrent viewers at a moment.
    #[must_use]
    pub fn watching_at(&self, moment: i64) -> Option<u32> {
        self.watching.range(..=moment).next_back().map(|(_, n)| *n)
    }
}

fn saturated(health: &GeneratorHealth) -> bool {
    health.lateness_p99_us > LATE_US || health.cpu_share > BUSY_SHARE
}

fn session_event(session: &mut Session, t: i64, event: &SessionEvent) {
    match event {
        SessionEvent::Started { region, .. } => {
            session.started = t;
            session.region = region.to_string();
            // Until the playlist says otherwise, the viewer's own region is its pathway.
            session.pathways.push((t, region.to_string()));
        }
        SessionEvent::Startup { pathway, .. } => {
            session.playing_since = Some(t);
            session.pathways.push((t, pathway.to_string()));
            session.segments.push((t, pathway.to_string()));
        }
        SessionEvent::StallStarted { .. } => session.stalls.push((t, None)),
        SessionEvent::StallEnded { .. } => {
            if let Some(stall) = session.stalls.last_mut() {
                stall.1 = stall.1.or(Some(t));
            }
        }
        SessionEvent::PathwaySwitched { to, .. } => session.pathways.push((t, to.to_string())),
        SessionEvent::FirstSegmentOnPathway { pathway, .. } => session.segments.push((t, pathway.to_string())),
        SessionEvent::Fatal { reason } => session.fatal = Some((t, reason.clone())),
        SessionEvent::Ended(end) => {
            session.ended = Some(t);
            let longest = end.gap_max_ms as i64;
            let told = end.gaps_told_above_ms.map(|above| above as i64);
            session.other_gaps = Some(told.map_or(longest, |above| longest.min(above)));
        }
        SessionEvent::StreamGap { ms } => session.gaps.push((t - *ms as i64, t)),
        SessionEvent::RungSwitched { .. } | SessionEvent::Skipped { .. } | SessionEvent::Error { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::telemetry::SessionEnd;
    use crate::testing::{evidence, facts};

    #[test]
    fn sessions_are_put_together_from_their_events() {
        let facts = Facts::of(&evidence());
        let session = facts.sessions.iter().find(|s| s.viewer == 1).unwrap();
        assert_eq!(session.region, "eu");
        assert_eq!(session.playing_since, Some(1800));
        assert_eq!(session.stalls, [(31_000, Some(33_000))]);
        assert_eq!(session.pathway_at(30_000), Some("eu"));
        assert_eq!(session.pathway_at(33_000), Some("us"));
    }

    #[test]
    fn gaps_are_placed_and_what_is_not_told_is_bounded() {
        let of = |events: &[(i64, SessionEvent)]| {
            let mut session = Session::default();
            for (t, event) in events {
                session_event(&mut session, *t, event);
            }
            (session.gaps, session.other_gaps)
        };
        let ended = |above| {
            SessionEvent::Ended(SessionEnd {
                gap_max_ms: 9000,
                gaps_told_above_ms: above,
                ..SessionEnd::default()
            })
        };
        let told = [
            (30_000, SessionEvent::StreamGap { ms: 9000 }),
            (60_000, ended(Some(4000))),
        ];
        assert_eq!(of(&told), (vec![(21_000, 30_000)], Some(4000)));
        // Evidence from before gaps were told: the worst one may have been at any time.
        assert_eq!(of(&[(60_000, ended(None))]), (Vec::new(), Some(9000)));
    }

    #[test]
    fn a_generator_that_says_nothing_is_not_trusted() {
        assert!((Facts::default().saturated_share() - 1.0).abs() < f64::EPSILON);
        assert!(facts(vec![]).saturated_share() < f64::EPSILON);
    }

    #[test]
    fn saturation_is_lateness_or_no_processor_left() {
        let calm = GeneratorHealth {
            cpu_share: 0.3,
            ..GeneratorHealth::default()
        };
        assert!(!saturated(&calm));
        assert!(saturated(&GeneratorHealth {
            lateness_p99_us: 300_000,
            ..calm.clone()
        }));
        assert!(saturated(&GeneratorHealth {
            cpu_share: 0.95,
            ..calm
        }));
    }
}
