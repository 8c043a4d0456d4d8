//! A platform that is being deleted (client).
//!
//! Every cluster is cleared by itself, kind after kind. Nothing is sent anywhere any more, so that a kind that has been found
//! empty stays so, and is not asked for again: a deletion gets on where an API server answers only now and then. (But what was
//! sent before may still be on its way: see [`ON_ITS_WAY`].) The platform goes when the last cluster is cleared, or is given
//! up. What is in its own cluster does not wait for that.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, join_all};
use jiff::{SignedDuration, Timestamp};
use kube::{Client, ResourceExt, runtime::controller::Action};
use showrunner_crds::platform::{ClusterStatus, StreamingPlatform};
use tokio::time::timeout;
use tracing::warn;

use super::{
    departure::{Departure, ours, take_away},
    record::{self, RecordError},
    sight::SightError,
};
use crate::{
    apply::{ApplyError, Claim},
    dereference::{list_kind, objects, of_platform},
    kind::Kind,
    observed::Live,
    reconcile::{Context, ReconcileError, wait_after_failure, write_status},
    status,
    told::briefly,
    validate::RemoteCluster,
};

/// What a deletion that leaves dependants behind puts on a platform until the garbage collector has let them go.
const ORPHAN: &str = "orphan";

/// How long what was sent before a deletion may still be carried out: an API server gives a request a minute. What is found
/// empty before may be filled after.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(60);

/// How far a deletion has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// When it was first seen.
    since: Option<Timestamp>,
    /// Clusters that have been cleared.
    cleared: BTreeSet<RemoteCluster>,
    /// Kinds of which the others have nothing left.
    emptied: BTreeMap<RemoteCluster, BTreeSet<Kind>>,
}

/// Why a cluster is not cleared yet.
#[derive(Debug, thiserror::Error)]
enum Uncleared {
    /// It cannot be asked.
    #[error(transparent)]
    Sight(#[from] SightError),
    /// Something cannot be removed.
    #[error(transparent)]
    Removal(#[from] ApplyError),
    /// It takes its time.
    #[error("its objects are being removed")]
    Going,
}

/// Takes a platform that is being deleted away.
///
/// # Errors
/// If the platform's own API server refuses something. A cluster that cannot be cleared is told in the status instead.
pub(crate) async fn depart(platform: &StreamingPlatform, context: &Context) -> Result<Action, ReconcileError> {
    if !record::is_held(platform) {
        // Whatever holds it back is not ours.
        return Ok(Action::await_change());
    }
    let given_up = record::abandoned(platform);
    let now = context.options.clock.now();
    let (mut clusters, progress) =
        context.remember(platform, |memory| (memory.registered.clone(), memory.deletion.clone()));
    let since = progress.since.unwrap_or(now);
    let all_has_arrived = now.duration_since(since) >= ON_ITS_WAY;
    clusters.extend(record::recorded(platform));
    clusters.extend(record::stated(platform));
    // One that was cleared stays so: also where its Secret is gone since.
    let clusters = clusters
        .into_iter()
        .filter(|cluster| !given_up.contains(cluster.secret.as_str()) && !progress.cleared.contains(cluster));
    let departures = clusters.map(async |cluster| {
        let mut emptied = progress.emptied.get(&cluster).cloned().unwrap_or_default();
        let outcome = clear_one(context, platform, &cluster, &mut emptied).await;
        (cluster, emptied, outcome)
    });
    let (outcomes, at_home) = join(join_all(departures), clear_home(platform, context)).await;
    if let Err(error) = at_home {
        warn!(platform = %platform.name_any(), %error, "own cluster not cleared yet; the garbage collector will see to it");
    }
    let mut held = Vec::new();
    context.remember(platform, |memory| {
        memory.deletion.since = Some(since);
        for (cluster, emptied, outcome) in outcomes {
            match outcome {
                Ok(()) => drop(memory.deletion.cleared.insert(cluster)),
                Err(why) => {
                    let message = format!("{cluster}: {}", briefly(&why));
                    warn!(platform = %platform.name_any(), why = %message, "cluster not cleared yet");
                    held.push(ClusterStatus {
                        message: Some(message),
                        ..cluster.status()
                    });
                    if all_has_arrived {
                        memory.deletion.emptied.insert(cluster, emptied);
                    }
                }
            }
        }
    });
    if held.is_empty() {
        record::release(&context.client, platform, context.options.request_deadline).await?;
        return Ok(Action::await_change());
    }
    let generation = platform.metadata.generation.unwrap_or(0);
    let status = status::leaving(held, platform.status.as_ref(), generation, now);
    write_status(context, platform, &status).await?;
    Ok(Action::requeue(wait_after_failure(context, platform)))
}

/// Clears one cluster, as far as it answers. `emptied` are the kinds it has nothing left of.
async fn clear_one(
    context: &Context,
    platform: &StreamingPlatform,
    cluster: &RemoteCluster,
    emptied: &mut BTreeSet<Kind>,
) -> Result<(), Uncleared> {
    let departure = Departure {
        platform,
        named: &BTreeSet::new(),
        deadline: context.options.cluster_deadline,
    };
    let home = platform.namespace().unwrap_or_default();
    let client = timeout(departure.deadline, context.clients.get(&context.client, &home, cluster))
        .await
        .map_err(|_| SightError::Deadline(departure.deadline))?
        .map_err(SightError::from)?;
    // Once to take it away, once to see that it is gone; what changes just then is for the next time.
    let mut removed = false;
    let first = clear_kinds(&departure, &client, cluster, emptied, &mut removed).await;
    if removed {
        clear_kinds(&departure, &client, cluster, emptied, &mut removed).await?;
    } else {
        first?;
    }
    let is_empty = emptied.len() == Kind::ALL.len();
    is_empty.then_some(()).ok_or(Uncleared::Going)
}

/// Takes away what is left of each kind, what was applied last first. Where one cannot be listed or removed, those applied
/// before it stay: nothing is to start pods anew that are on their way out. Tells in `removed` whether something was.
async fn clear_kinds(
    departure: &Departure<'_>,
    client: &Client,
    cluster: &RemoteCluster,
    emptied: &mut BTreeSet<Kind>,
    removed: &mut bool,
) -> Result<(), Uncleared> {
    let (platform, deadline) = (departure.platform, departure.deadline);
    let claim = departure.claim(cluster).ok_or(ApplyError::Unowned)?;
    let namespace = cluster.namespace.as_str();
    let of_platform = of_platform(&platform.name_any());
    let left = Kind::ALL.into_iter().rev().filter(|kind| !emptied.contains(kind));
    let lists = left.map(async |kind| {
        let list = timeout(deadline, list_kind(client, namespace, kind, &of_platform)).await;
        (kind, list)
    });
    let lists = join_all(lists).await;
    let clearing = async {
        for (kind, list) in lists {
            let live = list
                .map_err(|_| SightError::Deadline(deadline))?
                .map_err(SightError::from)?;
            let live = Live::new(live);
            let ours = ours(&live, &claim);
            if ours.is_empty() {
                emptied.insert(kind);
            } else {
                take_away(client, namespace, ours, ResourceExt::resource_version).await?;
                *removed = true;
            }
        }
        Ok(departure.take_key(client, cluster, &claim).await?)
    };
    timeout(deadline, clearing)
        .await
        .unwrap_or(Err(ApplyError::Deadline.into()))
}

/// The garbage collector would take these along only after the platform. Where it is told to leave them, they stay.
async fn clear_home(platform: &StreamingPlatform, context: &Context) -> Result<(), ReconcileError> {
    if platform.finalizers().iter().any(|finalizer| finalizer == ORPHAN) {
        return Ok(());
    }
    let namespace = platform.namespace().unwrap_or_default();
    let claim = Claim::Owner(platform.uid().unwrap_or_default());
    let deadline = context.options.request_deadline;
    let clearing = async {
        let live = objects(&context.client, &namespace, &of_platform(&platform.name_any())).await?;
        take_away(&context.client, &namespace, ours(&live, &claim), |_| None).await?;
        Ok::<(), ReconcileError>(())
    };
    timeout(deadline, clearing)
        .await
        .map_err(|_| RecordError::Deadline(deadline))?
}
