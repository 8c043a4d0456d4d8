//! Which pods a fault takes next, under the guardrails: looks at the cluster, and sends nothing.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use rand::seq::IndexedRandom;
use showrunner_crds::{labels, platform::Role, scenario::FaultAction};

use super::{
    FaultError, Injector, api,
    course::{Course, unless},
    guard::Edge,
    lasting,
};
use crate::{guardrail::blast::Target, observe::snapshot, plan::PlannedFault};

/// Looks at the cluster before a region is taken, if the first ones fail.
const LOOKS: u32 = 3;

impl Injector {
    /// Takes regions for a fault. Never the last one that serves: by a look at the cluster as it is now.
    pub(super) async fn take_regions(&self, course: &mut Course<'_>, lost: &[String]) -> Result<(), FaultError> {
        if lost.is_empty() {
            return Ok(());
        }
        let mut why = String::new();
        for _ in 0..LOOKS {
            let look = Box::pin(async { Ok(snapshot(&self.client, &self.subject).await) });
            match unless(course.stop, look).await? {
                Ok(seen) => {
                    self.guard.take(&seen, lost).map_err(FaultError::Guardrail)?;
                    course.lost.extend_from_slice(lost);
                    return Ok(());
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(FaultError::Guardrail(format!(
            "nobody can say which regions serve, so none is taken: {why}"
        )))
    }

    /// UID and name of the pods that the fault takes now.
    pub(super) async fn choose(&self, course: &mut Course<'_>) -> Result<Vec<(String, String)>, FaultError> {
        let running = self.running(course.planned).await?;
        let present = running.len();
        let all = *course.before.get_or_insert(present);
        let mut fresh: Vec<(String, String)> = running
            .iter()
            .filter_map(|pod| Some((pod.uid()?, pod.name_any())))
            .filter(|(uid, _)| !course.covered.contains(uid))
            .collect();
        if let Some(count) = course.planned.blast.count {
            // So many *at a time*: the next ones only when those before have been replaced.
            if present < all {
                return Ok(Vec::new());
            }
            let rng = &mut course.rng;
            fresh = fresh.choose_multiple(rng, count as usize).cloned().collect();
        }
        if !fresh.is_empty() {
            let name = &course.planned.fault.name;
            let before = self.ledger.held_by(name);
            self.claim(course.planned, &mut fresh).await?;
            if let Err(refusal) = self.spare_the_last(course, &fresh, &running).await {
                self.ledger.unclaim(name, before);
                return Err(refusal);
            }
        }
        Ok(fresh)
    }

    /// Takes pods under the limits on what is touched at a time, of those that are there now. What is gone meanwhile is left
    /// out.
    async fn claim(&self, planned: &PlannedFault, fresh: &mut Vec<(String, String)>) -> Result<(), FaultError> {
        if !self.ledger.limits().any() {
            return Ok(());
        }
        let live = self.live().await?;
        fresh.retain(|(uid, _)| live.iter().any(|target| &target.uid == uid));
        let uids: Vec<String> = fresh.iter().map(|(uid, _)| uid.clone()).collect();
        let instead = !lasting(&planned.fault.action);
        let claimed = self.ledger.claim(&planned.fault.name, &uids, &live, instead);
        claimed.map_err(|tripped| FaultError::Guardrail(tripped.to_string()))
    }

    /// Whether the share of a role that faults touch is still within the limit: the number of pods falls too.
    pub(super) async fn recheck(&self, course: &Course<'_>) -> Result<(), FaultError> {
        if self.ledger.limits().pod_percent >= 100 {
            return Ok(());
        }
        let live = unless(course.stop, self.live()).await?;
        let kept = self.ledger.recheck(&live);
        kept.map_err(|tripped| FaultError::Guardrail(tripped.to_string()))
    }

    /// Edges that are killed by number: a region whose last ready ones are `chosen` is lost like one that is lost by name.
    async fn spare_the_last(
        &self,
        course: &mut Course<'_>,
        chosen: &[(String, String)],
        running: &[Pod],
    ) -> Result<(), FaultError> {
        let by_number = matches!(
            course.planned.fault.action,
            FaultAction::PodKill {
                role: Role::Edge,
                count: Some(_),
                ..
            }
        );
        if !by_number {
            return Ok(());
        }
        let name = &course.planned.fault.name;
        let uids: Vec<String> = chosen.iter().map(|(uid, _)| uid.clone()).collect();
        let edges: Vec<Edge> = running.iter().filter_map(edge).collect();
        let mut emptied = self.guard.strike(name, &uids, &edges);
        emptied.retain(|region| !course.lost.contains(region));
        let taken = self.take_regions(course, &emptied).await;
        if taken.is_err() {
            self.guard.spare(name, &uids);
        }
        taken
    }

    /// The platform's running pods.
    async fn live(&self) -> Result<Vec<Target>, FaultError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.subject.namespace);
        let wanted = ListParams::default().labels(&format!("{}={}", labels::PLATFORM, self.subject.platform));
        let listed = api::ask(pods.list(&wanted)).await?;
        Ok(listed.iter().filter_map(Target::of).collect())
    }

    /// The running pods that the fault may touch, by name.
    async fn running(&self, planned: &PlannedFault) -> Result<Vec<Pod>, FaultError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.subject.namespace);
        let wanted = ListParams::default().labels(&self.selector(planned));
        let mut running = api::ask(pods.list(&wanted)).await?.items;
        running.retain(|pod| Target::of(pod).is_some());
        running.sort_by_key(ResourceExt::name_any);
        Ok(running)
    }

    pub(super) fn selector(&self, planned: &PlannedFault) -> String {
        let own = format!("{}={}", labels::PLATFORM, self.subject.platform);
        planned
            .blast
            .labels
            .iter()
            .fold(own, |all, (key, value)| format!("{all},{key}={value}"))
    }
}

fn edge(pod: &Pod) -> Option<Edge> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready =
        conditions.is_some_and(|conditions| conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
    Some(Edge {
        uid: pod.uid()?,
        region: pod.labels().get(labels::REGION).cloned().unwrap_or_default(),
        ready,
    })
}
