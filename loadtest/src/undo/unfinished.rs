//! Drills that were not finished: what a new one finds in its way.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, ResourceExt};
use showrunner_crds::{
    drill::{Drill, lease_name},
    liveness::Liveness,
};
use tokio::time::{Instant, sleep};

use super::{Say, Settings, Source, UndoError, undo};
use crate::{
    observe::Subject,
    record::{age, ask, unfinished},
};

/// Time between looks.
const LOOK: Duration = Duration::from_secs(1);

/// What keeps a new drill from starting.
pub(crate) enum InTheWay {
    /// Another drill runs.
    Running(String),
    /// An earlier one could not be undone.
    NotUndone(String),
}

/// Names of a namespace's Drills that are not known to be over.
pub async fn unfinished_drills(client: &Client, namespace: &str) -> Result<Vec<String>, UndoError> {
    let open = unfinished(client, namespace, None).await?;
    Ok(open.iter().map(ResourceExt::name_any).collect())
}

/// Undoes what earlier drills of the platform have left, once their runners are known to be gone. Refuses while one of them
/// lives. `own` is the Drill of the caller: of two that begin at once the older one has the platform.
pub(crate) async fn clear_the_way(
    client: &Client,
    subject: &Subject,
    own: &Drill,
    settings: &Settings,
    say: Say<'_>,
) -> Result<Result<(), InTheWay>, UndoError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &subject.namespace);
    let start = Instant::now();
    // By Drill: the version its Lease had first, and what was seen of it since.
    let mut seen: BTreeMap<String, (Option<String>, Liveness)> = BTreeMap::new();
    loop {
        let platform = Some(subject.platform.as_str());
        let mut open = unfinished(client, &subject.namespace, platform).await?;
        open.retain(|drill| drill.uid() != own.uid() && age(drill) < age(own));
        if open.is_empty() {
            return Ok(Ok(()));
        }
        for drill in open {
            let name = drill.name_any();
            let lease = ask(&name, leases.get_opt(&lease_name(&name))).await?;
            let version = lease.as_ref().and_then(ResourceExt::resource_version);
            if !seen.contains_key(&name) {
                say(&format!(
                    "drill {name} was not finished: waiting to see whether its runner lives"
                ));
            }
            let (first, liveness) = seen
                .entry(name.clone())
                .or_insert_with(|| (version.clone(), Liveness::default()));
            let left = liveness.look(lease.as_ref(), start.elapsed());
            if left.is_zero() {
                say(&format!("drill {name} was left by its runner: undoing it first"));
                let source = Source::Drill {
                    namespace: subject.namespace.clone(),
                    name: name.clone(),
                };
                let report = Box::pin(undo(client, &source, settings, say)).await?;
                if !report.proved {
                    return Ok(Err(InTheWay::NotUndone(format!("drill {name}: {}", report.summary()))));
                }
            } else if *first != version {
                return Ok(Err(InTheWay::Running(name)));
            }
        }
        sleep(LOOK).await;
    }
}
