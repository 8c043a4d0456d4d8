//! What happens in a run, pure: everything is drawn from the seed before it begins.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};
use showrunner_unreliable::Rates;

use crate::world::{AWAY, FAR};

/// One run in so many has regions in another cluster.
const APART: u64 = 8;

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The spec that is applied first.
    pub(crate) first: Value,
    /// What happens then, in order of time.
    pub(crate) steps: Vec<(Duration, Step)>,
    /// When the network becomes calm.
    pub(crate) calm: Duration,
    pub(crate) rates: Rates,
    /// The deaths of each operator, in order. After the last one it lives on.
    pub(crate) operators: Vec<Vec<Death>>,
    /// How long the network is bad again once everything has settled; nobody changes anything then.
    pub(crate) steady: Duration,
    /// The spec in the end; none if the platform was deleted.
    pub(crate) last: Option<Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// A user applies this spec.
    Apply(Value),
    /// A user deletes the platform.
    Delete { foreground: bool },
    /// Somebody deletes one of the platform's objects, the `n`-th modulo their number.
    Remove(usize),
    /// Somebody changes one of its ConfigMaps, or takes one of its Services or NetworkPolicies away from its pods.
    Meddle(usize),
    /// Nothing reaches the API server for so long.
    Blackout(Duration),
}

/// The end of an operator's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    /// At its call of this number.
    pub(crate) call: u64,
    /// After that call was carried out, or before.
    pub(crate) carried_out: bool,
    /// Until it is started anew.
    pub(crate) pause: Duration,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let rng = &mut rng;
        let mut spec = if rng.random_bool(0.75) { minimal() } else { cinema() };
        let first = spec.clone();
        let mut steps = Vec::new();
        let mut now = Duration::ZERO;
        let mut deleted = false;
        for _ in 0..rng.random_range(0..6) {
            now += seconds(rng, 1.0, 15.0);
            let step = match rng.random_range(0..10) {
                0 => Step::Remove(rng.random_range(0..100)),
                1 => Step::Meddle(rng.random_range(0..100)),
                2 => Step::Blackout(seconds(rng, 1.0, 30.0)),
                _ => {
                    edit(rng, &mut spec);
                    deleted = false;
                    Step::Apply(spec.clone())
                }
            };
            steps.push((now, step));
            if rng.random_bool(0.08) {
                now += seconds(rng, 0.0, 10.0);
                let foreground = rng.random();
                steps.push((now, Step::Delete { foreground }));
                deleted = true;
            }
        }
        if !deleted && rng.random_bool(0.12) {
            now += seconds(rng, 0.0, 20.0);
            let foreground = rng.random();
            steps.push((now, Step::Delete { foreground }));
            deleted = true;
        }
        let operators = if rng.random_bool(0.3) { 2 } else { 1 };
        let apart = seed % APART == APART - 1;
        let factor = [0.3, 1.0, 1.0, 2.0][rng.random_range(0..4)];
        let mut plan = Self {
            seed,
            first,
            steps,
            calm: now + seconds(rng, 1.0, 20.0),
            rates: Rates::rough().times(factor),
            operators: (0..operators).map(|_| deaths(rng)).collect(),
            steady: if rng.random_bool(0.4) {
                seconds(rng, 30.0, 60.0)
            } else {
                Duration::ZERO
            },
            last: (!deleted).then_some(spec),
        };
        if apart {
            plan.apart();
        }
        plan
    }

    /// The first region is in a cluster of its own now and then.
    fn apart(&mut self) {
        // Drawn by themselves, so that other runs stay as they are.
        let mut rng = SmallRng::seed_from_u64(!self.seed);
        let later = self.steps.iter_mut().filter_map(|(_, step)| match step {
            Step::Apply(spec) => Some(spec),
            _ => None,
        });
        let mut last = Value::Null;
        for spec in std::iter::once(&mut self.first).chain(later) {
            spec["interconnect"] = json!({ "sourceRanges": ["198.51.0.0/16"] });
            if rng.random_bool(0.6) {
                spec["regions"][0]["cluster"] = json!({ "kubeconfigSecretRef": { "name": FAR }, "namespace": AWAY });
            }
            last = spec.clone();
        }
        self.last = self.last.take().map(|_| last);
        // A cluster that cannot be asked in time is told at once: there conditions do change.
        self.steady = Duration::ZERO;
    }

    /// A run in which nothing goes wrong.
    pub(crate) fn undisturbed(spec: &Value) -> Self {
        Self {
            seed: 0,
            first: spec.clone(),
            steps: Vec::new(),
            calm: Duration::ZERO,
            rates: Rates::none(),
            operators: vec![Vec::new()],
            steady: Duration::ZERO,
            last: Some(spec.clone()),
        }
    }

    /// What users apply, from the first spec on.
    fn applied(&self) -> impl Iterator<Item = &Value> {
        let later = self.steps.iter().filter_map(|(_, step)| match step {
            Step::Apply(spec) => Some(spec),
            _ => None,
        });
        std::iter::once(&self.first).chain(later)
    }

    /// Whether a region is in a cluster of its own at some time.
    pub(crate) fn is_apart(&self) -> bool {
        self.applied().any(|spec| !spec["interconnect"].is_null())
    }

    /// Whether a user switches autoscaling off or on.
    pub(crate) fn switches_autoscaling(&self) -> bool {
        let off = |spec: &Value| spec["edge"]["autoscaling"]["enabled"] == false;
        self.applied().any(|spec| off(spec) != off(&self.first))
    }

    /// Whether a user asks for services at some time.
    pub(crate) fn has_services(&self) -> bool {
        let has = |spec: &Value| spec["services"].as_array().is_some_and(|list| !list.is_empty());
        self.applied().any(has)
    }
}

fn seconds(rng: &mut SmallRng, least: f64, most: f64) -> Duration {
    Duration::from_millis((rng.random_range(least..most) * 1000.0) as u64)
}

fn deaths(rng: &mut SmallRng) -> Vec<Death> {
    let many = [0, 0, 1, 1, 2, 4][rng.random_range(0..6)];
    (0..many)
        .map(|_| Death {
            // Most die while they do the most: a first look takes about a hundred calls.
            call: if rng.random_bool(0.7) {
                rng.random_range(0..120)
            } else {
                rng.random_range(0..400)
            },
            carried_out: rng.random(),
            pause: seconds(rng, 0.0, 8.0),
        })
        .collect()
}

fn ladder() -> Value {
    json!([{ "name": "240p", "width": 426, "height": 240, "bitrateKbps": 300 }])
}

/// One channel, one region that does everything.
fn minimal() -> Value {
    json!({
        "channels": [{ "name": "main", "ladder": ladder() }],
        "regions": [{ "name": "home" }],
        "resilience": { "regionsToLose": 0 },
        "edge": { "autoscaling": { "minReplicas": 1, "scaleDownStabilisation": "20s" } },
    })
}

/// Two regions that encode, one of edges alone, services.
fn cinema() -> Value {
    json!({
        "channels": [{ "name": "main", "ladder": ladder() }],
        "regions": [
            { "name": "eu", "weight": 40 },
            { "name": "us", "weight": 35 },
            { "name": "apac", "weight": 25, "roles": ["edge", "steering", "services"] },
        ],
        "edge": { "viewersPerReplica": 100, "autoscaling": { "minReplicas": 1, "maxReplicas": 8, "scaleDownStabilisation": "20s" } },
        "services": [{ "name": "tickets", "kind": "entitlement" }],
    })
}

/// A change as users make it. Few values, so that many runs end in the same spec, whose undisturbed run then is known.
fn edit(rng: &mut SmallRng, spec: &mut Value) {
    match rng.random_range(0..6) {
        0 => spec["regions"][0]["weight"] = [10, 40, 100][rng.random_range(0..3)].into(),
        1 => toggle(
            &mut spec["regions"],
            &json!({ "name": "extra", "weight": 20, "roles": ["edge", "steering"] }),
        ),
        2 => toggle(&mut spec["channels"], &json!({ "name": "second", "ladder": ladder() })),
        3 => spec["steering"]["ttlSeconds"] = [5, 8][rng.random_range(0..2)].into(),
        4 => {
            let scaling = &mut spec["edge"]["autoscaling"];
            scaling["enabled"] = (scaling["enabled"] == false).into();
        }
        _ => {
            if !spec["services"].is_array() {
                spec["services"] = json!([]);
            }
            toggle(&mut spec["services"], &json!({ "name": "keys", "kind": "licence" }));
        }
    }
}

/// Adds the item, or takes away the one of its name.
fn toggle(list: &mut Value, item: &Value) {
    let list = list.as_array_mut().unwrap();
    let before = list.len();
    list.retain(|other| other["name"] != item["name"]);
    if list.len() == before {
        list.push(item.clone());
    }
}
