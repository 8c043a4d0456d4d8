//! What happens in a run, pure: everything is drawn from the seed before it begins.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};
use showrunner_unreliable::Rates;

/// Objects by the path of the collection they are in and their name.
pub(crate) type Objects = BTreeMap<(&'static str, &'static str), Value>;

pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
pub(crate) const STATEFUL_SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
const SCALERS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) first: Objects,
    pub(crate) steps: Vec<(Duration, Step)>,
    pub(crate) calm: Duration,
    pub(crate) rates: Rates,
    /// The deaths of the control plane, in order; after the last one it lives on.
    pub(crate) deaths: Vec<Death>,
    /// How long the network is bad again once everything has settled; nobody changes anything then.
    pub(crate) steady: Duration,
    pub(crate) last: Objects,
    /// Somebody writes for ever.
    pub(crate) restless: bool,
    /// The controllers hear nothing any more once everything has settled.
    pub(crate) deaf: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A user applies all of this, and deletes what is not in it.
    Apply(Objects),
    /// Somebody deletes a pod, the `n`-th modulo their number.
    RemovePod(usize),
    /// Somebody deletes an EndpointSlice or a ReplicaSet.
    Remove(&'static str, usize),
    /// Nothing reaches the API server for so long.
    Blackout(Duration),
}

/// The end of a control plane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death {
    pub(crate) call: u64,
    pub(crate) carried_out: bool,
    pub(crate) pause: Duration,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let rng = &mut rng;
        // A Deployment cannot go from one to the other without saying what becomes of the first one's settings.
        let strategy = ["RollingUpdate", "Recreate"][rng.random_range(0..2)];
        let first = objects(rng, strategy);
        let mut last = first.clone();
        let mut steps = Vec::new();
        let mut now = Duration::ZERO;
        for _ in 0..rng.random_range(1..6) {
            now += seconds(rng, 0.5, 12.0);
            steps.push((
                now,
                match rng.random_range(0..10) {
                    0 | 1 => Step::RemovePod(rng.random_range(0..100)),
                    2 => Step::Remove("/apis/discovery.k8s.io/v1/endpointslices", rng.random_range(0..100)),
                    3 => Step::Remove("/apis/apps/v1/replicasets", rng.random_range(0..100)),
                    4 => Step::Blackout(seconds(rng, 1.0, 20.0)),
                    _ => {
                        last = objects(rng, strategy);
                        Step::Apply(last.clone())
                    }
                },
            ));
        }
        let mut rates = Rates::rough().times([0.3, 1.0, 2.0][rng.random_range(0..3)]);
        let applied = steps.iter().filter_map(|(_, step)| match step {
            Step::Apply(objects) => Some(objects),
            _ => None,
        });
        if applied
            .chain([&first])
            .any(|objects| objects.keys().any(|(path, _)| *path == JOBS))
        {
            // A pod that arrives after another was made in its place is one too many, and a Job takes none away that runs.
            rates.late = 0.0;
        }
        let many = [0, 1, 1, 2, 4][rng.random_range(0..5)];
        Self {
            seed,
            first,
            steps,
            calm: now + seconds(rng, 0.5, 15.0),
            rates,
            deaths: (0..many)
                .map(|_| Death {
                    call: rng.random_range(0..150),
                    carried_out: rng.random(),
                    pause: seconds(rng, 0.0, 5.0),
                })
                .collect(),
            steady: if rng.random_bool(0.4) {
                seconds(rng, 20.0, 50.0)
            } else {
                Duration::ZERO
            },
            last,
            restless: false,
            deaf: false,
        }
    }

    pub(crate) fn undisturbed(objects: &Objects) -> Self {
        Self {
            seed: 0,
            first: objects.clone(),
            steps: Vec::new(),
            calm: Duration::ZERO,
            rates: Rates::none(),
            deaths: Vec::new(),
            steady: Duration::ZERO,
            last: objects.clone(),
            restless: false,
            deaf: false,
        }
    }
}

fn seconds(rng: &mut SmallRng, least: f64, most: f64) -> Duration {
    Duration::from_millis((rng.random_range(least..most) * 1000.0) as u64)
}

fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": app } },
        "spec": { "containers": [{ "name": "c", "image": image, "resources": { "requests": { "cpu": "100m" } },
            "ports": [{ "name": "http", "containerPort": 8080 }] }] },
    })
}

/// A few workloads of every kind. Few values, so that many runs end in the same objects.
fn objects(rng: &mut SmallRng, strategy: &str) -> Objects {
    let image = |rng: &mut SmallRng| ["one", "two"][rng.random_range(0..2)];
    let selector = |app: &str| json!({ "matchLabels": { "app": app } });
    let mut objects = Objects::new();
    if rng.random_bool(0.85) {
        let autoscaled = rng.random_bool(0.3);
        let mut web = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": {
            "selector": selector("web"), "template": template("web", image(rng)),
            "strategy": { "type": strategy },
        } });
        let replicas = [1, 3][rng.random_range(0..2)];
        if !autoscaled {
            web["spec"]["replicas"] = replicas.into();
        }
        objects.insert((DEPLOYMENTS, "web"), web);
        if autoscaled {
            let scaler = json!({ "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "web" }, "spec": {
                "minReplicas": 2, "maxReplicas": 6,
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            } });
            objects.insert((SCALERS, "web"), scaler);
        }
    }
    if rng.random_bool(0.7) {
        let db = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db" }, "spec": {
            "replicas": rng.random_range(1..4), "serviceName": "db", "selector": selector("db"),
            "template": template("db", image(rng)),
            "podManagementPolicy": "OrderedReady",
        } });
        objects.insert((STATEFUL_SETS, "db"), db);
    }
    let service = |name: &str, type_: &str| {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "type": type_, "selector": { "app": name }, "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] } })
    };
    objects.insert((SERVICES, "web"), service("web", "LoadBalancer"));
    if rng.random_bool(0.7) {
        objects.insert((SERVICES, "db"), service("db", "ClusterIP"));
    }
    if rng.random_bool(0.5) {
        let budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "web" },
            "spec": { "minAvailable": 1, "selector": selector("web") } });
        objects.insert((BUDGETS, "web"), budget);
    }
    if rng.random_bool(0.3) {
        let mut template = template("once", "done");
        template["spec"]["restartPolicy"] = "Never".into();
        let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "once" },
            "spec": { "completions": 2, "template": template } });
        objects.insert((JOBS, "once"), job);
    }
    objects
}
