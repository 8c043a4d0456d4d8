//! What the operator remembers of a platform between two looks. All of it can be lost: a restarted operator takes the floors
//! that stand in the autoscalers, and asks for the audience again.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use showrunner_crds::platform::Role;

use crate::{
    audience,
    floor::{Floor, Reason, Window},
    kind::Kind,
    observed::{Live, WorkloadState},
    outage::Outages,
    validate::{ValidatedPlatform, names::RegionName, units::Replicas},
};

/// How often the Secret with the signing key is made sure of.
const SECRET_INTERVAL: Duration = Duration::from_mins(1);

/// Memory of one platform.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// UID of the platform it is of.
    pub uid: Option<String>,
    /// Last reports of the steering servers.
    pub reports: audience::Memory,
    /// When they were last asked.
    asked: Option<Timestamp>,
    /// When the signing key was last made sure of.
    secret: Option<Timestamp>,
    /// Floors asked for lately, by region.
    windows: BTreeMap<RegionName, Window>,
    /// What ran in a region, and when, as its number of edges was taken over from an autoscaler.
    taken_over: BTreeMap<RegionName, (Timestamp, Replicas)>,
    /// Regions that could not be applied lately.
    pub outages: Outages,
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
        due(&mut self.asked, now, interval.mul_f64(0.8))
    }

    /// Whether the signing key is to be made sure of.
    pub fn secret_again(&mut self, now: Timestamp) -> bool {
        due(&mut self.secret, now, SECRET_INTERVAL)
    }

    /// Makes the next look make sure of the signing key.
    pub fn forget_secret(&mut self) {
        self.secret = None;
    }

    /// Floors in force: what is asked for now, or was within the stabilisation window.
    pub fn hold(
        &mut self,
        platform: &ValidatedPlatform,
        live: &Live,
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
                if window.is_empty()
                    && let Some(standing) = standing_floor(platform, live, &region)
                {
                    window.record(now, standing, scaling.scale_down_stabilisation);
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
    /// is; more than the spec's minimum is given back after the stabilisation window, as an autoscaler would.
    pub fn fixed(
        &mut self,
        platform: &ValidatedPlatform,
        live: &Live,
        now: Timestamp,
    ) -> BTreeMap<RegionName, Replicas> {
        let scaling = &platform.edge.autoscaling;
        let ours = |region: &RegionName| {
            let name = platform.regional(region, Role::Edge);
            !scaling.enabled && live.get(Kind::HorizontalPodAutoscaler, &name).is_none()
        };
        let regions: Vec<&RegionName> = platform.regions_with(Role::Edge).map(|region| &region.name).collect();
        self.taken_over
            .retain(|region, _| ours(region) && regions.contains(&region));
        let mut fixed = BTreeMap::new();
        for region in regions.into_iter().filter(|region| ours(region)) {
            let (since, taken) = *self.taken_over.entry(region.clone()).or_insert_with(|| {
                let name = platform.regional(region, Role::Edge);
                (
                    now,
                    Replicas(WorkloadState::read(live, Kind::Deployment, &name).desired),
                )
            });
            let held = now.duration_since(since).unsigned_abs() < scaling.scale_down_stabilisation;
            let replicas = if held {
                taken.clamp(scaling.min, scaling.max)
            } else {
                scaling.min
            };
            fixed.insert(region.clone(), replicas);
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

fn due(last: &mut Option<Timestamp>, now: Timestamp, interval: Duration) -> bool {
    let due = last.is_none_or(|last| now.duration_since(last).unsigned_abs() >= interval);
    if due {
        *last = Some(now);
    }
    due
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
        memory.hold(&fixtures::cinema(), live, at(second), asked(replicas))[&RegionName::new("north").unwrap()]
            .replicas
            .0
    }

    #[test]
    fn a_new_operator_does_not_drop_the_floor_of_the_old_one() {
        let autoscaler = serde_json::from_value(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "cinema-north-edge" },
            "spec": { "minReplicas": 9, "maxReplicas": 20, "scaleTargetRef": { "kind": "Deployment", "name": "x" } },
        }))
        .unwrap();
        let live = Live::new([(Kind::HorizontalPodAutoscaler, autoscaler)]);
        let mut memory = Memory::default();
        assert_eq!(held(&mut memory, &live, 0, 2), 9);
        assert_eq!(held(&mut memory, &live, 299, 2), 9);
        assert_eq!(held(&mut memory, &live, 300, 2), 2, "the window of 300 s is over");
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
            let fixed = memory.fixed(platform, live, at(second));
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
    fn the_audience_is_not_asked_for_at_every_look() {
        let mut memory = Memory::default();
        let interval = Duration::from_secs(10);
        let asked: Vec<bool> = [0, 1, 7, 8, 9, 16]
            .map(|second| memory.ask_again(at(second), interval))
            .into();
        assert_eq!(asked, [true, false, false, true, false, true]);
    }
}
