//! One region's counters: what its viewers add to, and what is read out once a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{ClassSample, LatencyHistogram, LatencySummary, RequestClass, SecondSample};
use crate::http::CacheStatus;

/// What a viewer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewerState {
    /// No first frame yet.
    Starting,
    /// Playing.
    Playing,
    /// Empty buffer.
    Stalled,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// What it was for.
    pub class: RequestClass,
    /// Whether it succeeded.
    pub success: bool,
    /// Status code; 0 where there was no answer.
    pub status: u16,
    /// From due to the last byte or to the failure.
    pub latency: Duration,
    /// Body bytes.
    pub bytes: u64,
    /// What the edge's cache said.
    pub cache: Option<CacheStatus>,
}

/// Totals of one class over the whole run.
#[derive(Clone, Debug, Default)]
pub struct ClassTotals {
    /// Requests ended, failed ones included.
    pub requests: u64,
    /// Failed ones.
    pub errors: u64,
    /// Body bytes.
    pub bytes: u64,
    /// From due to the last byte, of successful ones.
    pub latency: LatencyHistogram,
}

/// Most requests kept for goose between two collections.
const QUEUE: usize = 200_000;

/// The counters of one region.
#[derive(Debug)]
pub struct Meter {
    region: Arc<str>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pathways: BTreeMap<Arc<str>, Cell>,
    totals: BTreeMap<RequestClass, ClassTotals>,
    lateness: LatencyHistogram,
    /// Of the run, up to the second that goes on.
    lateness_before: LatencyHistogram,
    queue: Vec<Outcome>,
    queueing: bool,
    unreported: u64,
}

#[derive(Debug, Default)]
struct Cell {
    playing: u32,
    stalled: u32,
    starting: u32,
    hit_bytes: u64,
    miss_bytes: u64,
    classes: BTreeMap<RequestClass, ClassTotals>,
}

impl Cell {
    fn gauge(&mut self, state: ViewerState) -> &mut u32 {
        match state {
            ViewerState::Starting => &mut self.starting,
            ViewerState::Playing => &mut self.playing,
            ViewerState::Stalled => &mut self.stalled,
        }
    }
}

impl ClassTotals {
    fn add(&mut self, outcome: &Outcome) {
        self.requests += 1;
        self.bytes += outcome.bytes;
        if outcome.success {
            self.latency
                .record(u64::try_from(outcome.latency.as_micros()).unwrap_or(u64::MAX));
        } else {
            self.errors += 1;
        }
    }
}

impl Meter {
    /// Counters at zero. `queueing`: whether requests are also kept for [`Meter::take_samples`].
    #[must_use]
    pub fn new(region: Arc<str>, queueing: bool) -> Self {
        Self {
            region,
            inner: Mutex::new(Inner {
                queueing,
                ..Inner::default()
            }),
        }
    }

    /// The region.
    pub fn region(&self) -> &Arc<str> {
        &self.region
    }

    /// Counters are only ever added to, so a panic elsewhere leaves them usable.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request ended.
    pub fn request(&self, pathway: &Arc<str>, outcome: &Outcome) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let cell = inner.cell(pathway);
        if outcome.success && outcome.class.is_media() {
            match outcome.cache {
                Some(CacheStatus::Hit) => cell.hit_bytes += outcome.bytes,
                Some(CacheStatus::Miss) => cell.miss_bytes += outcome.bytes,
                None => {}
            }
        }
        // Into the totals once a second: here is where every request passes.
        cell.classes.entry(outcome.class).or_default().add(outcome);
        if inner.queueing {
            if inner.queue.len() < QUEUE {
                inner.queue.push(*outcome);
            } else {
                inner.unreported += 1;
            }
        }
    }

    /// A viewer's state or pathway changed; `None` is "not in a session".
    pub fn viewer(&self, before: Option<(&Arc<str>, ViewerState)>, after: Option<(&Arc<str>, ViewerState)>) {
        let mut inner = self.lock();
        if let Some((pathway, state)) = before {
            let gauge = inner.cell(pathway).gauge(state);
            *gauge = gauge.saturating_sub(1);
        }
        if let Some((pathway, state)) = after {
            *inner.cell(pathway).gauge(state) += 1;
        }
    }

    /// A viewer acted this long after it was due.
    pub fn lateness(&self, late: Duration) {
        self.lock()
            .lateness
            .record(u64::try_from(late.as_micros()).unwrap_or(u64::MAX));
    }

    /// Viewers in a session now.
    pub fn active(&self) -> u32 {
        self.lock()
            .pathways
            .values()
            .map(|cell| cell.playing + cell.stalled + cell.starting)
            .sum()
    }

    /// The second that just ended, by pathway; resets its counters. Pathways with nothing to say are left out.
    pub fn take_second(&self) -> Vec<SecondSample> {
        let mut inner = self.lock();
        let Inner { pathways, totals, .. } = &mut *inner;
        pathways
            .iter_mut()
            .filter_map(|(pathway, cell)| {
                let classes: BTreeMap<_, _> = cell
                    .classes
                    .iter_mut()
                    .filter(|(_, totals)| totals.requests > 0)
                    .map(|(class, second)| {
                        totals.entry(*class).or_default().merge(second);
                        (*class, second.take())
                    })
                    .collect();
                let sample = SecondSample {
                    region: Arc::clone(&self.region),
                    pathway: Arc::clone(pathway),
                    playing: cell.playing,
                    stalled: cell.stalled,
                    starting: cell.starting,
                    hit_bytes: std::mem::take(&mut cell.hit_bytes),
                    miss_bytes: std::mem::take(&mut cell.miss_bytes),
                    classes,
                };
                let silent = sample.classes.is_empty() && sample.playing + sample.stalled + sample.starting == 0;
                (!silent).then_some(sample)
            })
            .collect()
    }

    /// Lateness since the last call.
    pub fn take_lateness(&self) -> LatencyHistogram {
        let mut inner = self.lock();
        let Inner {
            lateness,
            lateness_before,
            ..
        } = &mut *inner;
        lateness_before.merge(lateness);
        let taken = lateness.clone();
        lateness.clear();
        taken
    }

    /// Lateness of the run so far.
    pub fn all_lateness(&self) -> LatencyHistogram {
        let inner = self.lock();
        let mut all = inner.lateness_before.clone();
        all.merge(&inner.lateness);
        all
    }

    /// Requests for goose since the last call.
    pub fn take_samples(&self) -> Vec<Outcome> {
        std::mem::take(&mut self.lock().queue)
    }

    /// Requests that did not fit into the queue for goose.
    pub fn unreported(&self) -> u64 {
        self.lock().unreported
    }

    /// Totals of the run so far.
    pub fn totals(&self) -> BTreeMap<RequestClass, ClassTotals> {
        let inner = self.lock();
        let mut totals = inner.totals.clone();
        for (class, second) in inner.pathways.values().flat_map(|cell| &cell.classes) {
            totals.entry(*class).or_default().merge(second);
        }
        totals
    }
}

impl Inner {
    fn cell(&mut self, pathway: &Arc<str>) -> &mut Cell {
        self.pathways.entry(Arc::clone(pathway)).or_default()
    }
}

impl ClassTotals {
    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.bytes += other.bytes;
        self.latency.merge(&other.latency);
    }

    fn take(&mut self) -> ClassSample {
        let latency: LatencySummary = self.latency.summary();
        self.latency.clear();
        ClassSample {
            requests: std::mem::take(&mut self.requests),
            errors: std::mem::take(&mut self.errors),
            bytes: std::mem::take(&mut self.bytes),
            latency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_resets() {
        let meter = Meter::new("east".into(), true);
        let pathway: Arc<str> = "east".into();
        meter.viewer(None, Some((&pathway, ViewerState::Starting)));
        let outcome = Outcome {
            class: RequestClass::Segment,
            success: true,
            status: 200,
            latency: Duration::from_millis(3),
            bytes: 1000,
            cache: Some(CacheStatus::Hit),
        };
        meter.request(&pathway, &outcome);
        meter.request(
            &pathway,
            &Outcome {
                success: false,
                status: 0,
                cache: None,
                bytes: 10,
                ..outcome
            },
        );
        let second = meter.take_second();
        let class = &second[0].classes[&RequestClass::Segment];
        assert_eq!(
            (class.requests, class.errors, class.bytes, class.latency.count),
            (2, 1, 1010, 1)
        );
        assert_eq!((second[0].hit_bytes, second[0].starting), (1000, 1));
        meter.viewer(Some((&pathway, ViewerState::Starting)), None);
        assert!(meter.take_second().is_empty());
        assert_eq!(meter.take_samples().len(), 2);
        let totals = || {
            let totals = meter.totals();
            let segments = &totals[&RequestClass::Segment];
            (
                segments.requests,
                segments.errors,
                segments.bytes,
                segments.latency.count(),
            )
        };
        assert_eq!(totals(), (2, 1, 1010, 1));
        meter.request(&pathway, &outcome);
        assert_eq!(totals(), (3, 1, 2010, 2), "those of this second count already");
        meter.take_second();
        assert_eq!(totals(), (3, 1, 2010, 2));
    }

    #[test]
    fn lateness_is_of_a_second_and_of_the_run() {
        let meter = Meter::new("east".into(), false);
        meter.lateness(Duration::from_millis(3));
        assert_eq!((meter.take_lateness().count(), meter.take_lateness().count()), (1, 0));
        meter.lateness(Duration::from_millis(5));
        assert_eq!(meter.all_lateness().count(), 2);
    }
}
