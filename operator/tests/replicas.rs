//! The autoscaler, a person with `kubectl scale` and the operator, all at one number of replicas.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};
use serde_json::{Value, json};
use showrunner_crds::platform::StreamingPlatform;
use showrunner_operator::{
    OperatorOptions,
    reconcile::{Context, reconcile},
    render,
};
use support::{
    cluster::{Cluster, NAMESPACE},
    witness::{Act, Replicas, WORKLOADS, Witness, Write, trespasses},
};

const MOST: i32 = 12;

/// A platform of one region, and everybody who has a hand in its edges.
struct Stage {
    cluster: Arc<Cluster>,
    name: String,
    witness: Witness,
    client: Client,
    operator: Arc<Context>,
}

fn platform(name: &str, stabilisation: &str) -> Value {
    json!({
        "apiVersion": "showrunner.dev/v1alpha1", "kind": "StreamingPlatform",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "channels": [{ "name": "main", "ladder": [
                { "name": "hi", "width": 640, "height": 360, "bitrateKbps": 600 },
            ] }],
            "regions": [{ "name": "home" }],
            "resilience": { "regionsToLose": 0 },
            "edge": { "autoscaling": {
                "minReplicas": 2, "maxReplicas": MOST, "scaleDownStabilisation": stabilisation,
            } },
        },
    })
}

impl Stage {
    async fn set(cluster: Arc<Cluster>, stabilisation: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("p{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let object = serde_json::from_value(platform(&name, stabilisation)).unwrap();
        cluster
            .platforms()
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        let witness = Witness::of(&cluster.server, &format!("{name}-home-edge"));
        let client = witness.client(&cluster.server);
        let operator = Arc::new(Context::new(client.clone(), OperatorOptions::default()));
        Self {
            cluster,
            name,
            witness,
            client,
            operator,
        }
    }

    async fn platform(&self) -> StreamingPlatform {
        self.cluster.platforms().get(&self.name).await.unwrap()
    }

    async fn change(&self, edge: Value) {
        let patch = Patch::Merge(json!({ "spec": { "edge": edge } }));
        let platforms = self.cluster.platforms();
        platforms
            .patch(&self.name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    async fn switch(&self, on: bool) {
        self.change(json!({ "autoscaling": { "enabled": on } })).await;
    }

    /// A look, before each write of which somebody acts. What conflicts is tried again by the next one.
    async fn look(&self, acts: impl IntoIterator<Item = Act>) {
        let platform = self.platform().await;
        self.witness.look_begins(platform.spec.edge.autoscaling.enabled, acts);
        reconcile(Arc::new(platform), self.operator.clone()).await.unwrap();
    }

    /// Looks until one changes nothing.
    async fn settle(&self) {
        for _ in 0..10 {
            let before = self.cluster.server.revision();
            self.look([]).await;
            if self.cluster.server.revision() == before {
                return;
            }
        }
        panic!("every look changes something");
    }

    fn restart_operator(&mut self) {
        self.operator = Arc::new(Context::new(self.client.clone(), OperatorOptions::default()));
    }

    async fn number(&self) -> i32 {
        self.witness.replicas().await.unwrap().number
    }

    async fn owners(&self) -> Vec<String> {
        self.witness.replicas().await.unwrap().owners
    }

    /// What the operator applies to the Deployment, with or without a number.
    async fn rendered(&self, enabled: bool) -> Value {
        let mut platform = self.platform().await;
        platform.spec.edge.autoscaling.enabled = enabled;
        let objects = render(&platform).unwrap();
        let edge = format!("{}-home-edge", self.name);
        let found = objects
            .into_iter()
            .find(|object| object["kind"] == "Deployment" && object["metadata"]["name"] == *edge);
        found.unwrap()
    }

    async fn strike(self) {
        let platforms: Api<StreamingPlatform> = self.cluster.platforms();
        platforms.delete(&self.name, &DeleteParams::background()).await.unwrap();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Look(Vec<Act>),
    Act(Act),
    /// Autoscaling goes on or off, and a look sees to it.
    Switch(bool, Vec<Act>),
    /// Fewest edges.
    Least(u32),
    /// Something that makes the Deployment be written.
    Memory(u32),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![(1..15).prop_map(Act::Autoscaler), (1..15).prop_map(Act::Person),]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(act(), 0..4).prop_map(Step::Look),
        3 => act().prop_map(Step::Act),
        4 => (any::<bool>(), prop::collection::vec(act(), 0..4)).prop_map(|(on, acts)| Step::Switch(on, acts)),
        1 => (1..6_u32).prop_map(Step::Least),
        2 => (256..300_u32).prop_map(Step::Memory),
        1 => Just(Step::Restart),
    ]
}

/// What happened in a history, so that histories in which nothing happens are noticed: writes beside an autoscaler,
/// numbers handed over, numbers taken over.
#[derive(Clone, Copy, Debug, Default)]
struct Happened([usize; 3]);

impl Happened {
    fn count(&mut self, writes: &[Write]) {
        let ours = |replicas: &Option<Replicas>| {
            let owners = replicas.as_ref().map(|replicas| replicas.owners.as_slice());
            owners.is_some_and(|owners| owners.iter().any(|owner| owner == WORKLOADS))
        };
        for write in writes.iter().filter(|write| write.before.is_some()) {
            let (before, after) = (ours(&write.before), ours(&write.after));
            self.0[0] += usize::from(write.autoscaler);
            self.0[1] += usize::from(write.enabled && before && !after);
            self.0[2] += usize::from(!write.enabled && !before && after);
        }
    }
}

async fn play(
    cluster: Arc<Cluster>,
    stabilisation: &str,
    steps: Vec<Step>,
    happened: &Mutex<Happened>,
) -> Result<(), TestCaseError> {
    let mut stage = Stage::set(cluster, stabilisation).await;
    for step in steps {
        match step {
            Step::Look(acts) => stage.look(acts).await,
            Step::Act(act) => stage.witness.act(act).await,
            Step::Switch(on, acts) => {
                stage.switch(on).await;
                stage.look(acts).await;
            }
            Step::Least(least) => stage.change(json!({ "autoscaling": { "minReplicas": least } })).await,
            Step::Memory(mib) => stage.change(json!({ "cacheMib": mib })).await,
            Step::Restart => stage.restart_operator(),
        }
    }
    stage.settle().await;
    // Whatever happened, the last word is the autoscaler's where there is one, and the spec's where there is none.
    let scaling = stage.platform().await.spec.edge.autoscaling;
    let least = i32::try_from(scaling.min_replicas).unwrap();
    if scaling.enabled {
        stage.witness.act(Act::Autoscaler(7)).await;
        stage.change(json!({ "cacheMib": 301 })).await;
        stage.settle().await;
        prop_assert_eq!(stage.number().await, 7);
        prop_assert!(!stage.owners().await.contains(&WORKLOADS.to_owned()));
        let floor = stage.witness.autoscaler().await.unwrap().spec.min_replicas.unwrap();
        prop_assert!(floor == least || (stabilisation == "1h" && floor > least), "{floor}");
    } else {
        prop_assert!(stage.witness.autoscaler().await.is_none());
        let number = stage.number().await;
        if stabilisation == "0s" {
            prop_assert_eq!(number, least);
        } else {
            prop_assert!((least..=MOST.max(least)).contains(&number), "{number}");
        }
        prop_assert!(stage.owners().await.contains(&WORKLOADS.to_owned()));
    }
    let writes = stage.witness.writes();
    happened.lock().unwrap().count(&writes);
    let found = trespasses(&writes, MOST);
    // Without a window what is taken over is given back in the same breath.
    let found: Vec<_> = found
        .into_iter()
        .filter(|what| stabilisation != "0s" || !what.contains("take over"))
        .collect();
    prop_assert!(found.is_empty(), "{:#?}", found);
    stage.strike().await;
    Ok(())
}

/// Every interleaving has the same end, and on the way nobody writes what is another's.
#[test]
fn nobody_fights() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let cluster = Arc::new(runtime.block_on(Cluster::start()));
    let defaults = ProptestConfig::default();
    let happened = Mutex::new(Happened::default());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").map_or(40, |_| defaults.cases),
        // The same histories every time; PROPTEST_RNG_SEED and PROPTEST_CASES ask for others.
        rng_seed: match defaults.rng_seed {
            RngSeed::Random => RngSeed::Fixed(7),
            stated @ RngSeed::Fixed(_) => stated,
        },
        failure_persistence: None,
        ..defaults
    });
    let histories = (
        prop::sample::select(vec!["0s", "1h"]),
        prop::collection::vec(step(), 1..14),
    );
    runner
        .run(&histories, |(stabilisation, steps)| {
            runtime.block_on(play(cluster.clone(), stabilisation, steps, &happened))
        })
        .unwrap();
    let happened = happened.into_inner().unwrap();
    assert!(
        happened.0.iter().all(|&count| count > 4),
        "too little happened: {happened:?}"
    );
}

/// On: the number stays as it is, and is nobody's but the autoscaler's from then on.
#[tokio::test]
async fn switched_on_the_number_does_not_fall() {
    let stage = Stage::set(Arc::new(Cluster::start().await), "1h").await;
    stage.switch(false).await;
    stage.change(json!({ "autoscaling": { "minReplicas": 5 } })).await;
    stage.look([]).await;
    assert_eq!(stage.number().await, 5);
    assert!(stage.owners().await.contains(&WORKLOADS.to_owned()));
    stage.switch(true).await;
    // Somebody scales at the very moment of the hand-over: the number that was read then is out of date.
    stage.look([Act::Person(8)]).await;
    assert_eq!(stage.number().await, 8);
    assert!(!stage.owners().await.contains(&WORKLOADS.to_owned()));
    stage.witness.act(Act::Autoscaler(9)).await;
    stage.settle().await;
    assert_eq!(stage.number().await, 9);
    assert_eq!(trespasses(&stage.witness.writes(), MOST), [""; 0]);
}

/// Negative control: leaving the field out in one step resets it to its default, and that is noticed.
#[tokio::test]
async fn a_hand_over_in_one_step_is_noticed() {
    let stage = Stage::set(Arc::new(Cluster::start().await), "1h").await;
    stage.switch(false).await;
    stage.change(json!({ "autoscaling": { "minReplicas": 5 } })).await;
    stage.look([]).await;
    stage.witness.look_begins(true, []);
    let body = stage.rendered(true).await;
    stage.witness.apply(&stage.client, &body).await;
    assert_eq!(stage.number().await, 1);
    let found = trespasses(&stage.witness.writes(), MOST);
    assert!(
        found.len() == 1 && found[0].contains("changed the autoscaler's number"),
        "{found:?}"
    );
}

/// Off: what the autoscaler left is taken over as it is, once the autoscaler is gone.
#[tokio::test]
async fn switched_off_the_number_is_taken_over() {
    let mut stage = Stage::set(Arc::new(Cluster::start().await), "1h").await;
    stage.look([]).await;
    stage.witness.act(Act::Autoscaler(9)).await;
    stage.switch(false).await;
    // The autoscaler scales once more while it is being removed.
    stage.look([Act::Autoscaler(11)]).await;
    assert!(stage.witness.autoscaler().await.is_none());
    stage.settle().await;
    assert_eq!(stage.number().await, 11);
    assert!(stage.owners().await.contains(&WORKLOADS.to_owned()));
    // From here on it is the operator's: a person's number does not stay, and a restart changes nothing.
    stage.witness.act(Act::Person(3)).await;
    stage.settle().await;
    assert_eq!(stage.number().await, 11);
    stage.restart_operator();
    stage.settle().await;
    assert_eq!(stage.number().await, 11);
    assert_eq!(trespasses(&stage.witness.writes(), MOST), [""; 0]);
    // Without a window it is given back.
    stage
        .change(json!({ "autoscaling": { "scaleDownStabilisation": "0s" } }))
        .await;
    stage.settle().await;
    assert_eq!(stage.number().await, 2);
}

/// Negative control: writing the spec's minimum at once, beside the autoscaler or after it, is noticed.
#[tokio::test]
async fn seizing_the_number_is_noticed() {
    let stage = Stage::set(Arc::new(Cluster::start().await), "1h").await;
    stage.look([]).await;
    stage.witness.act(Act::Autoscaler(9)).await;
    stage.witness.writes();
    let mut body = stage.rendered(false).await;
    body["spec"]["replicas"] = json!(2);
    stage.witness.look_begins(false, []);
    stage.witness.apply(&stage.client, &body).await;
    let found = trespasses(&stage.witness.writes(), MOST);
    assert!(
        found.len() == 2 && found[1].contains("owns the autoscaler's field"),
        "{found:?}"
    );

    let stage = Stage::set(stage.cluster.clone(), "1h").await;
    stage.look([]).await;
    stage.witness.act(Act::Autoscaler(9)).await;
    let autoscaler = stage.witness.autoscaler().await.unwrap();
    let autoscalers = stage
        .cluster
        .api::<k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler>();
    autoscalers
        .delete(&autoscaler.name_any(), &DeleteParams::default())
        .await
        .unwrap();
    stage.witness.writes();
    let mut body = stage.rendered(false).await;
    body["spec"]["replicas"] = json!(2);
    stage.witness.look_begins(false, []);
    stage.witness.apply(&stage.client, &body).await;
    let found = trespasses(&stage.witness.writes(), MOST);
    assert!(found.len() == 1 && found[0].contains("did not take over"), "{found:?}");
}
