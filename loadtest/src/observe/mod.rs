//! The observer: what the cluster looked like while the drill ran.

mod cluster;
mod events;
mod origin;
mod steady;

use std::{collections::BTreeMap, time::Duration};

use kube::Client;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use cluster::{Snapshot, snapshot};
pub use steady::{SteadyState, wait_steady};

use crate::evidence::{ConditionSeen, Event, Recorder};

/// Which platform is observed.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub platform: String,
}

/// How often edges and the platform's status are read.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often origins are asked for their statistics, in rounds. What an origin counted after the last time it was asked dies
/// with it, so it is often.
const ORIGIN_EVERY: u32 = 2;

/// Observes until cancelled, then takes one last look. Failures to read are logged and leave a gap in the evidence.
pub async fn observe(
    client: Client,
    subject: Subject,
    recorder: Recorder,
    latest: tokio::sync::watch::Sender<Snapshot>,
    stop: CancellationToken,
) {
    let events = tokio::spawn(events::watch(
        client.clone(),
        subject.namespace.clone(),
        recorder.clone(),
        stop.clone(),
    ));
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut conditions = BTreeMap::new();
    let mut cursors = origin::Cursors::default();
    let mut round = 0_u32;
    loop {
        let last = tokio::select! {
            () = stop.cancelled() => true,
            _ = ticks.tick() => false,
        };
        match snapshot(&client, &subject).await {
            Ok(seen) => {
                for edge in &seen.edges {
                    recorder.record(Event::Edge(edge.clone()));
                }
                record_conditions(&seen.conditions, &mut conditions, &recorder);
                latest.send_replace(seen);
            }
            Err(error) => warn!(%error, "the cluster could not be observed"),
        }
        if last || round.is_multiple_of(ORIGIN_EVERY) {
            let record = |seen| recorder.record(Event::Origin(seen));
            origin::ask_all(&client, &subject, &mut cursors, record).await;
        }
        if last {
            break;
        }
        round = round.wrapping_add(1);
    }
    if let Err(error) = events.await {
        warn!(%error, "the watch on cluster events died");
    }
}

fn record_conditions(seen: &[ConditionSeen], known: &mut BTreeMap<String, (String, String)>, recorder: &Recorder) {
    for condition in seen {
        let state = (condition.status.clone(), condition.reason.clone());
        if known.get(&condition.condition) != Some(&state) {
            recorder.record(Event::Condition(condition.clone()));
            known.insert(condition.condition.clone(), state);
        }
    }
}
