//! What the operator remembers of a platform between two looks. All of it can be lost: a restarted operator takes the floors
//! that stand in the autoscalers, and asks for the audience again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use showrunner_crds::platform::Role;

use crate::{
    audience,
    floor::{Floor, Reason, Window},
    kind::Kind,
    observed::{Live, WorkloadState},
    outage::Outages,
    remote::{View, deletion::Progress},
    validate::{Region, RemoteCluster, ValidatedPlatform, names::RegionName, units::Replicas},
};

/// How often the Secret with the signing key is made sure of.
const SECRET_INTERVAL: Duration = Duration::from_mins(1);

/// How long what a region has left behind is kept where its new place does not serve.
const MOVE: Duration = Duration::from_mins(10);

/// How long what was seen of a cluster stands in for what cannot be seen.
const VIEW: Duration = Duration::from_secs(30);

/// Memory of one platform.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// UID of the platform it is of.
    pub uid: Option<String>,
    /// Last reports of the steering servers.
    pub reports: audience::Memory,
    /// When they were last asked.
    asked: Option<Timestamp>,
    /// Floors asked for lately, by region.
    windows: BTreeMap<RegionName, Window>,
    /// What ran in a region, and when, as its number of edges was taken over from an autoscaler.
    taken_over: BTreeMap<RegionName, (Timestamp, Replicas)>,
    /// Regions that could not be applied lately.
    pub outages: Outages<RegionName>,
    /// Clusters that could not be asked lately.
    pub clusters: Outages<RemoteCluster>,
    /// Clusters that could not be cleared lately.
    pub clearings: Outages<RemoteCluster>,
    /// Clusters that this operator knows to be in the status. What it sees of the platform may be older.
    pub registered: BTreeSet<RemoteCluster>,
    /// Regions that do not serve where they are, where that is, and since when.
    unserved: BTreeMap<RegionName, (Option<RemoteCluster>, Timestamp)>,
    /// How far its deletion has come.
    pub(crate) deletion: Progress,
    /// What was seen of other clusters, and when.
    views: BTreeMap<RemoteCluster, (Timestamp, Arc<View>)>,
    /// When it was last made sure of the signing key in a cluster; `None` is the platform's own.
    keys: BTreeMap<Option<RemoteCluster>, Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// When the platform was last looked at.
    pub seen: Option<Timestamp>,
}

impl Memory {
    /// Nothing is remembered of the platform with this UID.
    #[must_use]
    pub fn of(uid: Option<String>) -> Self {
        Self { uid, ..Self::default() }
    }

    /// Whether the audience is to be asked for again. Not more often than the interval: while things roll out, every change of
    /// an owned object is a reason to look.
    pub fn ask_again(&mut self, now: Timestamp, interval: Duration) -> bool {
        let due = is_due(self.asked, now, interval.mul_f64(0.8));
        if due {
            self.asked = Some(now);
        }
        due
    }

    /// Whether it is to be made sure of the signing key in a cluster; `None` is the platform's own.
    #[must_use]
    pub fn key_again(&self, cluster: Option<&RemoteCluster>, now: Timestamp) -> bool {
        is_due(self.keys.get(&cluster.cloned()).copied(), now, SECRET_INTERVAL)
    }

    /// The signing key is in that cluster.
    pub fn key_is_there(&mut self, cluster: Option<&RemoteCluster>, now: Timestamp) {
        self.keys.insert(cluster.cloned(), now);
    }

    /// Forgets what is of clusters that the spec no longer names: one that it names again is asked anew.
    pub fn forget_clusters_but(&mut self, wanted: &BTreeSet<RemoteCluster>) {
        self.keys
            .retain(|cluster, _| cluster.as_ref().is_none_or(|cluster| wanted.contains(cluster)));
        self.views.retain(|cluster, _| wanted.contains(cluster));
    }

    /// Regions whose old places are still needed: they do not serve where they are, and have not had time enough to.
    pub fn awaited(
        &mut self,
        platform: &ValidatedPlatform,
        serves: impl Fn(&Region) -> bool,
        now: Timestamp,
    ) -> BTreeSet<RegionName> {
        let since = |region: &Region| match self.unserved.get(&region.name) {
            Some((place, since)) if *place == region.cluster => *since,
            _ => now,
        };
        let unserved = platform.regions.iter().filter(|region| !serves(region));
        self.unserved = unserved
            .map(|region| (region.name.clone(), (region.cluster.clone(), since(region))))
            .collect();
        let fresh = self
            .unserved
            .iter()
            .filter(|(_, (_, since))| now.duration_since(*since).unsigned_abs() < MOVE);
        fresh.map(|(region, _)| region.clone()).collect()
    }

    /// Remembers what was just seen of other clusters, and adds what was seen of `unseen` a moment ago.
    pub fn see(
        &mut self,
        now: Timestamp,
        mut views: BTreeMap<RemoteCluster, Arc<View>>,
        unseen: &BTreeMap<RemoteCluster, String>,
    ) -> BTreeMap<RemoteCluster, Arc<View>> {
        self.views
            .retain(|cluster, (at, _)| unseen.contains_key(cluster) && now.duration_since(*at).unsigned_abs() < VIEW);
        let fresh = views
            .iter()
            .map(|(cluster, view)| (cluster.clone(), (now, view.clone())));
        self.views.extend(fresh);
        for (cluster, (_, view)) in &self.views {
            views.entry(cluster.clone()).or_insert_with(|| view.clone());
        }
        views
    }

    /// Floors in force: what is asked for now, or was within the stabilisation window. `live` is what is in the cluster of a
    /// region, none where that cannot be seen.
    pub fn hold<'l>(
        &mut self,
        platform: &ValidatedPlatform,
        live: impl Fn(&Region) -> Option<&'l Live>,
        now: Timestamp,
        asked: BTreeMap<RegionName, Floor>,
    ) -> BTreeMap<RegionName, Floor> {
        let scaling = &platform.edge.autoscaling;
        self.windows.retain(|region, _| asked.contains_key(region));
        if !scaling.enabled {
            self.windows.clear();
            return asked;
        }
        asked
            .into_iter()
            .map(|(region, floor)| {
                let window = self.windows.entry(region.clone()).or_default();
                if window.is_empty() {
                    // What stands there is not known yet: a floor recorded now would be taken for it.
                    let Some(live) = platform.region(&region).and_then(&live) else {
                        return (region, floor);
                    };
                    if let Some(standing) = standing_floor(platform, live, &region) {
                        window.record(now, standing, scaling.scale_down_stabilisation);
                    }
                }
                let held = window.record(now, floor, scaling.scale_down_stabilisation);
                // The limits may have changed since it was recorded.
                let replicas = Replicas(held.replicas.0.clamp(scaling.min.0, scaling.max.0));
                (region, Floor { replicas, ..held })
            })
            .collect()
    }

    /// Edges of the regions where their number is ours to write: with autoscaling off, once the autoscaler is gone.
    ///
    /// As long as there is one its writes count, and nothing is written beside it. Then its last number is taken over as it
    /// is; more than the spec's minimum is given back after the stabilisation window, as an autoscaler would. Of a region whose
    /// cluster cannot be seen nothing is taken over, and what was is kept.
    pub fn fixed<'l>(
        &mut self,
        platform: &ValidatedPlatform,
        live: impl Fn(&Region) -> Option<&'l Live>,
        now: Timestamp,
    ) -> BTreeMap<RegionName, Replicas> {
        let scaling = &platform.edge.autoscaling;
        let before = std::mem::take(&mut self.taken_over);
        let mut fixed = BTreeMap::new();
        if scaling.enabled {
            return fixed;
        }
        for region in platform.regions_with(Role::Edge) {
            let name = platform.regional(&region.name, Role::Edge);
            let here = live(region);
            if here.is_some_and(|live| live.get(Kind::HorizontalPodAutoscaler, &name).is_some()) {
                continue;
            }
            let running = || {
                Some((
                    now,
                    Replicas(WorkloadState::read(here?, Kind::Deployment, &name).desired),
                ))
            };
            let Some((since, taken)) = before.get(&region.name).copied().or_else(running) else {
                continue;
            };
            self.taken_over.insert(region.name.clone(), (since, taken));
            let held = now.duration_since(since).unsigned_abs() < scaling.scale_down_stabilisation;
            let replicas = if held {
                taken.clamp(scaling.min, scaling.max)
            } else {
                scaling.min
            };
            fixed.insert(region.name.clone(), replicas);
        }
        fixed
    }
}

/// The floor an operator before this one left in the autoscaler.
fn standing_floor(platform: &ValidatedPlatform, live: &Live, region: &RegionName) -> Option<Floor> {
    let name = platform.regional(region, Role::Edge);
    let autoscaler: HorizontalPodAutoscaler = live.typed(Kind::HorizontalPodAutoscaler, &name)?;
    let replicas = Replicas(u32::try_from(autoscaler.spec.min_replicas?).ok()?);
    let reason = if replicas > platform.edge.autoscaling.min {
        Reason::Audience
    } else {
        Reason::Spec
    };
    Some(Floor {
        replicas,
        needed: replicas,
        reason,
    })
}

fn is_due(last: Option<Timestamp>, now: Timestamp, interval: Duration) -> bool {
    last.is_none_or(|last| now.duration_since(last).unsigned_abs() >= interval)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::fixtures;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn asked(replicas: u32) -> BTreeMap<RegionName, Floor> {
        let floor = Floor {
            replicas: Replicas(replicas),
            needed: Replicas(replicas),
            reason: Reason::Audience,
        };
        [(RegionName::new("north").unwrap(), floor)].into()
    }

    fn held(memory: &mut Memory, live: &Live, second: i64, replicas: u32) -> u32 {
        held_of(memory, Some(live), second, replicas)
    }

    fn held_of(memory: &mut Memory, live: Option<&Live>, second: i64, replicas: u32) -> u32 {
        memory.hold(&fixtures::cinema(), |_| live, at(second), asked(replicas))[&RegionName::new("north").unwrap()]
            .replicas
            .0
    }

    fn standing() -> Live {
        let autoscaler = serde_json::from_value(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "cinema-north-edge" },
            "spec": { "minReplicas": 9, "maxReplicas": 20, "scaleTargetRef": { "kind": "Deployment", "name": "x" } },
        }))
        .unwrap();
        Live::new([(Kind::HorizontalPodAutoscaler, autoscaler)])
    }

    #[test]
    fn a_new_operator_does_not_drop_the_floor_of_the_old_one() {
        let live = standing();
        let mut memory = Memory::default();
        assert_eq!(held(&mut memory, &live, 0, 2), 9);
        assert_eq!(held(&mut memory, &live, 299, 2), 9);
        assert_eq!(held(&mut memory, &live, 300, 2), 2, "the window of 300 s is over");
    }

    #[test]
    fn nor_that_of_a_cluster_it_cannot_see_yet() {
        let live = standing();
        let mut memory = Memory::default();
        for (second, seen, expected) in [
            (0, None, 2),
            (60, None, 2),
            (70, Some(&live), 9),
            (369, None, 9),
            (370, None, 2),
        ] {
            assert_eq!(held_of(&mut memory, seen, second, 2), expected, "at {second}");
        }
    }

    fn live(autoscaler: bool, replicas: u32) -> Live {
        let object = |kind: &str, spec: serde_json::Value| {
            serde_json::from_value(json!({
                "apiVersion": if kind == "Deployment" { "apps/v1" } else { "autoscaling/v2" }, "kind": kind,
                "metadata": { "name": "cinema-north-edge" }, "spec": spec,
            }))
            .unwrap()
        };
        let edges = json!({ "replicas": replicas, "selector": {}, "template": {} });
        let scaler = object("HorizontalPodAutoscaler", json!({}));
        let scaler = autoscaler.then_some((Kind::HorizontalPodAutoscaler, scaler));
        Live::new(
            [(Kind::Deployment, object("Deployment", edges))]
                .into_iter()
                .chain(scaler),
        )
    }

    #[test]
    fn the_number_of_edges_is_taken_over_once_the_autoscaler_is_gone() {
        let on = fixtures::cinema();
        let mut off = fixtures::cinema();
        off.edge.autoscaling.enabled = false;
        off.edge.autoscaling.min = Replicas(2);
        let mut memory = Memory::default();
        let mut north = |platform: &ValidatedPlatform, live: &Live, second| {
            let fixed = memory.fixed(platform, |_| Some(live), at(second));
            fixed.get(&RegionName::new("north").unwrap()).map(|replicas| replicas.0)
        };
        for (platform, autoscaler, running, second, expected) in [
            (&on, true, 7, 0, None),
            (&on, false, 7, 1, None),
            // Switched off: first the autoscaler has to be gone.
            (&off, true, 7, 2, None),
            (&off, false, 9, 3, Some(9)),
            (&off, false, 9, 302, Some(9)),
            (&off, false, 9, 303, Some(2)),
            // What a person scales to is put right, and is nothing to take over.
            (&off, false, 50, 304, Some(2)),
            // On and off again; more than the maximum is nobody's wish, less than the minimum is not enough.
            (&on, false, 50, 400, None),
            (&off, false, 50, 401, Some(20)),
            (&on, false, 1, 500, None),
            (&off, false, 1, 501, Some(2)),
        ] {
            assert_eq!(
                north(platform, &live(autoscaler, running), second),
                expected,
                "at {second}"
            );
        }
    }

    #[test]
    fn what_cannot_be_seen_is_not_taken_over() {
        let mut off = fixtures::cinema();
        off.edge.autoscaling.enabled = false;
        let mut memory = Memory::default();
        let running = live(false, 7);
        for (second, seen, expected) in [
            (0, None, None),
            (1, Some(&running), Some(7)),
            (2, None, Some(7)),
            (300, None, Some(7)),
            (301, None, Some(1)),
        ] {
            let fixed = memory.fixed(&off, |_| seen, at(second));
            let north = fixed.get(&RegionName::new("north").unwrap());
            assert_eq!(north.map(|replicas| replicas.0), expected, "at {second}");
        }
    }

    fn cluster(secret: &str) -> RemoteCluster {
        RemoteCluster {
            secret: secret.to_owned(),
            key: "kubeconfig".to_owned(),
            namespace: crate::validate::names::Namespace::new("stage").unwrap(),
        }
    }

    #[test]
    fn what_is_remembered_of_a_cluster_goes_with_it() {
        let (south, west) = (cluster("south"), cluster("west"));
        let mut memory = Memory::default();
        memory.key_is_there(None, at(0));
        memory.key_is_there(Some(&south), at(0));
        memory.key_is_there(Some(&west), at(0));
        memory.forget_clusters_but(&[west.clone()].into());
        let again = |cluster, second| memory.key_again(cluster, at(second));
        assert!(again(Some(&south), 1) && !again(Some(&west), 1) && !again(None, 1));
        assert!(again(Some(&west), 60) && again(None, 60));
    }

    #[test]
    fn an_old_place_is_needed_until_the_new_one_serves_or_has_had_its_time() {
        let mut memory = Memory::default();
        let mut platform = fixtures::cinema();
        let name = platform.regions[0].name.clone();
        let mut awaited = |platform: &ValidatedPlatform, serves: bool, second| {
            let regions = memory.awaited(platform, |region| serves || region.name != name, at(second));
            regions.contains(&name)
        };
        assert!(!awaited(&platform, true, 0));
        assert!(awaited(&platform, false, 1) && awaited(&platform, false, 600));
        assert!(!awaited(&platform, false, 601), "it has had ten minutes");
        platform.regions[0].cluster = Some(cluster("south"));
        assert!(awaited(&platform, false, 602), "that is another place");
        assert!(!awaited(&platform, true, 603));
    }

    #[test]
    fn the_audience_is_not_asked_for_at_every_look() {
        let mut memory = Memory::default();
        let interval = Duration::from_secs(10);
        let asked: Vec<bool> = [0, 1, 7, 8, 9, 16]
            .map(|second| memory.ask_again(at(second), interval))
            .into();
        assert_eq!(asked, [true, false, false, true, false, true]);
    }
}
