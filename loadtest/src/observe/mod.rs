//! The observer: what the cluster looked like while the drill ran.

mod cluster;
mod origin;
mod steady;

use std::{collections::BTreeMap, time::Duration};

use futures::TryStreamExt;
use k8s_openapi::api::events::v1::Event as ClusterEvent;
use kube::{
    Api, Client,
    api::ListParams,
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use cluster::{Snapshot, snapshot};
pub use steady::{SteadyState, wait_steady};

use crate::evidence::{ConditionSeen, Event, KubeEventSeen, Recorder};

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
/// How often origins are asked for their statistics.
const ORIGIN_EVERY: u32 = 5;

/// Observes until cancelled, then takes one last look. Failures to read are logged and leave a gap in the evidence.
pub async fn observe(
    client: Client,
    subject: Subject,
    recorder: Recorder,
    latest: tokio::sync::watch::Sender<Snapshot>,
    stop: CancellationToken,
) {
    let events = tokio::spawn(watch_events(
        client.clone(),
        subject.namespace.clone(),
        recorder.clone(),
        stop.clone(),
    ));
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut conditions = BTreeMap::new();
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
            for origin in origin::ask_all(&client, &subject).await {
                recorder.record(Event::Origin(origin));
            }
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

/// Records the cluster's Events from now on.
async fn watch_events(client: Client, namespace: String, recorder: Recorder, stop: CancellationToken) {
    let api: Api<ClusterEvent> = Api::namespaced(client, &namespace);
    // What happened before the drill is not its evidence.
    let since = match api.list(&ListParams::default().limit(1)).await {
        Ok(list) => list.metadata.resource_version.unwrap_or_default(),
        Err(error) => {
            warn!(%error, "cluster events cannot be listed; the evidence will have none");
            return;
        }
    };
    let fresh = |event: &ClusterEvent| {
        let newer = |v: &str| {
            v.parse::<u64>()
                .ok()
                .zip(since.parse::<u64>().ok())
                .is_none_or(|(a, b)| a > b)
        };
        event.metadata.resource_version.as_deref().is_none_or(newer)
    };
    let stream = watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects();
    let mut stream = std::pin::pin!(stream);
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = stream.try_next() => next,
        };
        match next {
            Ok(Some(event)) if fresh(&event) => {
                let about = event.regarding.unwrap_or_default();
                recorder.record(Event::Kube(KubeEventSeen {
                    severity: event.type_.unwrap_or_default(),
                    reason: event.reason.unwrap_or_default(),
                    object: format!("{}/{}", about.kind.unwrap_or_default(), about.name.unwrap_or_default()),
                    message: event.note.unwrap_or_default(),
                }));
            }
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => warn!(%error, "watch on cluster events"),
        }
    }
}
