//! One look at one platform: the five steps in a row.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join;
use jiff::Timestamp;
use kube::{
    Client, Resource, ResourceExt,
    runtime::{
        controller::Action,
        events::{Event, EventType, Recorder},
        reflector::ObjectRef,
    },
};
use showrunner_crds::platform::{StreamingPlatform, StreamingPlatformStatus};
use tracing::{debug, info, warn};

use crate::{
    addresses::Addresses,
    apply::ApplyError,
    backoff,
    build::{Input, build},
    dereference::{DereferenceError, dereference},
    floor::{Demand, floors},
    memory::Memory,
    observed::Observed,
    options::OperatorOptions,
    premiere,
    remote::{
        Clients,
        deletion::depart,
        record::{self, RecordError},
        round::{Applying, Round},
    },
    status::{self, Facts, StatusError, Transition},
    topology::Topology,
    validate::{Region, validate},
};

/// Memory of a platform that was not looked at for this long is dropped.
const FORGET: Duration = Duration::from_hours(1);
/// An event's note may have this many bytes.
const LONGEST_NOTE: usize = 1000;

/// Why a look failed, by step. A spec that is refused is no failure: it is reported in the status.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The world could not be seen.
    #[error("dereference: {0}")]
    Dereference(#[from] DereferenceError),
    /// The objects that span regions could not be applied.
    #[error("apply: {0}")]
    Apply(#[from] ApplyError),
    /// Which clusters have objects could not be written down.
    #[error("clusters: {0}")]
    Record(#[from] RecordError),
    /// Status could not be written.
    #[error("update status: {0}")]
    Status(#[from] StatusError),
    /// Writing status took too long.
    #[error("status was not written within {0:?}")]
    StatusDeadline(Duration),
}

/// What every look shares.
#[expect(missing_debug_implementations, reason = "a client has no state worth printing")]
pub struct Context {
    pub(crate) client: Client,
    pub(crate) clients: Clients,
    pub(crate) options: OperatorOptions,
    recorder: Recorder,
    memories: Mutex<HashMap<ObjectRef<StreamingPlatform>, Memory>>,
}

impl Context {
    /// A context without memories.
    #[must_use]
    pub fn new(client: Client, options: OperatorOptions) -> Self {
        let clients = Clients::new(options.connector.clone());
        let reporter = kube::runtime::events::Reporter {
            controller: showrunner_crds::labels::MANAGER.to_owned(),
            instance: options.instance.clone(),
        };
        let recorder = Recorder::new(client.clone(), reporter);
        Self {
            client,
            clients,
            options,
            recorder,
            memories: Mutex::default(),
        }
    }

    /// Works on the memory of a platform; never across an await. Of a platform that was deleted and made anew nothing is
    /// remembered: its objects are not those of before.
    pub(crate) fn remember<T>(&self, platform: &StreamingPlatform, work: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = memories.entry(ObjectRef::from_obj(platform)).or_default();
        if memory.uid != platform.uid() {
            *memory = Memory::of(platform.uid());
        }
        work(memory)
    }

    fn forget_others(&self, now: Timestamp) {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.retain(|_, memory| {
            memory
                .seen
                .is_none_or(|seen| now.duration_since(seen).unsigned_abs() < FORGET)
        });
    }
}

/// Looks at a platform and makes it so.
pub async fn reconcile(platform: Arc<StreamingPlatform>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    if platform.metadata.deletion_timestamp.is_some() {
        return depart(&platform, &context).await;
    }
    let Context { client, options, .. } = &*context;
    let validated = match validate(&platform) {
        Ok(validated) => validated,
        Err(error) => {
            let generation = platform.metadata.generation.unwrap_or(0);
            let status = status::refused(&error, platform.status.as_ref(), generation, options.clock.now());
            write_status(&context, &platform, &status).await?;
            return Ok(Action::await_change());
        }
    };
    let mut clusters = Round::of(&platform, &validated, &context);
    let home = dereference(client, &platform, options.request_deadline, &options.clock);
    let (observed, sight) = join(home, clusters.look(&context, &platform, clusters.first())).await;
    let mut observed = observed?;
    clusters.take(sight);

    let needs_key = validated.deployed_services().next().is_some();
    let look = context.remember(&platform, |memory| {
        memory.seen = Some(observed.now);
        (
            memory
                .ask_again(observed.now, options.busy_interval)
                .then(|| memory.reports.quiet()),
            needs_key && memory.key_again(None, observed.now),
        )
    });
    let (ask, ensure_secret) = look;
    let answers = match ask {
        Some(quiet) => Some(clusters.ask_audience(client, &observed.pods, &quiet).await),
        None => None,
    };
    observed.elsewhere = context.remember(&platform, |memory| clusters.views(memory));
    let recorded = platform.status.as_ref().map_or(&[][..], |status| &status.clusters);
    let addresses = Addresses::read(&validated, &observed, recorded);
    let unavailable = status::unavailable(&validated, &observed);
    let premieres = observed.premieres.iter();
    let announced: Vec<_> = premieres.map(|premiere| premiere::announced(&premiere.spec)).collect();
    let (audience, floors, fixed, outages, awaited) = context.remember(&platform, |memory| {
        memory.reports.take(observed.now, answers);
        let audience = memory.reports.audience(&validated, observed.now);
        let demand = Demand {
            audience: &audience.regions,
            announced: &announced,
            unavailable: &unavailable,
            now: observed.now,
        };
        let live = |region: &Region| observed.of(region);
        let held = memory.hold(&validated, live, observed.now, floors(&validated, &demand));
        let fixed = memory.fixed(&validated, live, observed.now);
        let serves = |region: &Region| status::serves(&validated, &observed, region);
        let awaited = memory.awaited(&validated, serves, observed.now);
        (audience, held, fixed, memory.outages.clone(), awaited)
    });

    let prepared = build(Input {
        platform: &validated,
        addresses: &addresses,
        floors: &floors,
        fixed: &fixed,
    });
    clusters.register(&context, &platform).await?;
    let applying = Applying {
        context: &context,
        platform: &platform,
        validated: &validated,
        observed: &observed,
        round: &clusters,
        outages: &outages,
        awaited: &awaited,
    };
    // Whether a cluster that failed is back is found out beside: nothing waits for that but the end of this look.
    let (applied, again) = join(
        applying.everywhere(prepared, ensure_secret),
        clusters.look(&context, &platform, clusters.again()),
    )
    .await;
    let mut applied = applied?;
    if ensure_secret {
        context.remember(&platform, |memory| memory.key_is_there(None, observed.now));
    }
    let is_back = clusters.take_again(again, &validated, &mut applied);
    let all_is_well = applied.failures().is_empty();
    let leaving = clusters.leave(&context, &platform, all_is_well, &awaited).await;
    // Where nothing could be applied, the platform waits as after any failure; a region that failed waits by itself. At once:
    // what is written after this may fail, and the outage is none the less.
    let nowhere = validated
        .regions
        .iter()
        .all(|region| applied.failures().contains_key(&region.name));
    context.remember(&platform, |memory| {
        let now = options.clock.now();
        clusters.remember(memory, now, &leaving);
        if nowhere {
            memory.outages.clear();
            memory.clusters.clear();
        } else {
            let failures = clusters.by_themselves(&validated, applied.failures());
            memory.outages.take(observed.now, now, &failures, fastrand::f64);
        }
    });
    let topology = Topology::of(&validated);
    let status = status::compute(&Facts {
        platform: &validated,
        applied: &applied,
        observed: &observed,
        addresses: &addresses,
        audience: &audience,
        floors: &floors,
        unavailable: &unavailable,
        topology: &topology,
        unseen: &clusters.sight.unseen,
        leaving: &leaving,
    });
    write_status(&context, &platform, &status).await?;
    if leaving.is_empty() && clusters.wanted.is_empty() && record::is_held(&platform) {
        record::release(client, &platform, options.request_deadline).await?;
    }
    for premiere in &observed.premieres {
        let phase = premiere::phase(&premiere.spec, observed.now);
        in_time(&context, status::update_premiere(client, premiere, phase)).await?;
    }

    context.forget_others(observed.now);
    if nowhere {
        return Ok(Action::requeue(wait_after_failure(&context, &platform)));
    }
    context.remember(&platform, |memory| memory.failures = 0);
    if is_back {
        return Ok(Action::requeue(options.debounce));
    }
    let raised = floors
        .values()
        .any(|floor| floor.replicas > validated.edge.autoscaling.min);
    let warming = announced.iter().any(|premiere| premiere.warming(observed.now) > 0);
    let busy = audience.total() > 0 || raised || warming;
    Ok(Action::requeue(next_look(options, &observed, busy)))
}

/// When to look again if nothing changes before.
fn next_look(options: &OperatorOptions, observed: &Observed, busy: bool) -> Duration {
    let regular = if busy {
        options.busy_interval
    } else {
        options.idle_interval
    };
    let changes = observed
        .premieres
        .iter()
        .filter_map(|premiere| premiere::next_change(&premiere.spec, observed.now));
    changes
        .map(|change| change.unsigned_abs().max(Duration::from_millis(100)))
        .fold(regular, Duration::min)
}

/// What happens after a look that failed: it is tried again, ever later, each platform by its own count.
pub fn on_error(platform: &StreamingPlatform, error: &ReconcileError, context: &Context) -> Action {
    let wait = wait_after_failure(context, platform);
    warn!(platform = %platform.name_any(), namespace = ?platform.namespace(), %error, ?wait, "reconciliation failed");
    Action::requeue(wait)
}

pub(crate) fn wait_after_failure(context: &Context, platform: &StreamingPlatform) -> Duration {
    let failures = context.remember(platform, |memory| {
        memory.failures = memory.failures.saturating_add(1);
        memory.failures
    });
    backoff::after(failures, fastrand::f64())
}

/// What a status may take to be written.
async fn in_time<T>(
    context: &Context,
    writing: impl Future<Output = Result<T, StatusError>>,
) -> Result<T, ReconcileError> {
    let deadline = context.options.request_deadline;
    let written = tokio::time::timeout(deadline, writing).await;
    Ok(written.map_err(|_| ReconcileError::StatusDeadline(deadline))??)
}

pub(crate) async fn write_status(
    context: &Context,
    platform: &StreamingPlatform,
    status: &StreamingPlatformStatus,
) -> Result<(), ReconcileError> {
    if in_time(context, status::update_platform(&context.client, platform, status)).await? {
        for transition in status::transitions(platform.status.as_ref(), status) {
            publish(context, platform, transition).await;
        }
    }
    Ok(())
}

/// Events are a courtesy: one that cannot be written is logged and forgotten.
async fn publish(context: &Context, platform: &StreamingPlatform, transition: Transition) {
    let Transition {
        warning,
        reason,
        mut note,
    } = transition;
    let name = platform.name_any();
    info!(platform = %name, %reason, %note, "transition");
    let end = (0..=LONGEST_NOTE.min(note.len()))
        .rev()
        .find(|&end| note.is_char_boundary(end))
        .unwrap_or(0);
    note.truncate(end);
    let event = Event {
        type_: if warning { EventType::Warning } else { EventType::Normal },
        reason,
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let reference = platform.object_ref(&());
    let publishing = context.recorder.publish(&event, &reference);
    match tokio::time::timeout(context.options.request_deadline, publishing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(platform = %name, %error, "event not written"),
        Err(_) => debug!(platform = %name, "event not written in time"),
    }
}
