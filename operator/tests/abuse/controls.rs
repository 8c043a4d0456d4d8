//! Broken operators: each has one flaw, and is caught by the check that is made for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::json;
use showrunner_crds::platform::StreamingPlatform;
use showrunner_operator::{
    OperatorOptions,
    reconcile::{self, Context, ReconcileError},
};
use showrunner_unreliable::Rates;

use crate::{
    operators::{Start, the_operator},
    plan::{Plan, Step},
    run,
    world::NAMESPACE,
};

/// What is wrong with an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Applies an object at every look, whether it is there or not.
    Restless,
    /// Does not look again after an error.
    GivesUp,
    /// Takes "already exists" for an error, also where it was its own lost attempt that made the object.
    Forgetful,
    /// Reports a failed look as a platform that is not ready.
    Alarmist,
    /// Puts a finalizer on the platform and never takes it off.
    Clinging,
    /// Tries again after the same short time, however often it failed.
    Impatient,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Look(#[from] ReconcileError),
    #[error(transparent)]
    Own(#[from] kube::Error),
}

struct Broken {
    flaw: Flaw,
    client: Client,
    context: Arc<Context>,
    marked: AtomicBool,
}

pub(crate) fn broken(flaw: Flaw, client: Client, options: OperatorOptions) -> BoxFuture<'static, Result<(), String>> {
    Box::pin(async move {
        let context = Arc::new(Broken {
            flaw,
            client: client.clone(),
            context: Arc::new(Context::new(client.clone(), options)),
            marked: AtomicBool::new(false),
        });
        let any = watcher::Config::default;
        Controller::new(Api::<StreamingPlatform>::all(client.clone()), any())
            .owns(Api::<ConfigMap>::all(client.clone()), any())
            .owns(Api::<Service>::all(client.clone()), any())
            .run(look, on_error, context)
            .for_each(async |_| {})
            .await;
        Ok(())
    })
}

async fn look(platform: Arc<StreamingPlatform>, broken: Arc<Broken>) -> Result<Action, Failure> {
    let maps: Api<ConfigMap> = Api::namespaced(broken.client.clone(), NAMESPACE);
    let platforms: Api<StreamingPlatform> = Api::namespaced(broken.client.clone(), NAMESPACE);
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "mark" } });
    let params = PatchParams::apply("broken");
    match broken.flaw {
        Flaw::Restless => drop(maps.patch("mark", &params, &Patch::Apply(&map)).await?),
        Flaw::Forgetful if !broken.marked.load(Ordering::Relaxed) => {
            let map: ConfigMap = serde_json::from_value(map).unwrap();
            maps.create(&PostParams::default(), &map).await?;
            broken.marked.store(true, Ordering::Relaxed);
        }
        Flaw::Clinging if platform.finalizers().is_empty() => {
            let patch = Patch::Merge(json!({ "metadata": { "finalizers": ["example.com/for-ever"] } }));
            platforms
                .patch(&platform.name_any(), &PatchParams::default(), &patch)
                .await?;
        }
        _ => {}
    }
    let looked = reconcile::reconcile(platform.clone(), broken.context.clone()).await;
    if looked.is_err() && broken.flaw == Flaw::Alarmist {
        let mut status = json!(platform.status);
        if let Some(conditions) = status["conditions"].as_array_mut() {
            conditions[0]["status"] = json!("False");
            let patch = Patch::Merge(json!({ "status": status }));
            platforms
                .patch_status(&platform.name_any(), &PatchParams::default(), &patch)
                .await?;
        }
    }
    Ok(looked?)
}

fn on_error(platform: Arc<StreamingPlatform>, error: &Failure, broken: Arc<Broken>) -> Action {
    match (broken.flaw, error) {
        (Flaw::GivesUp, _) => Action::await_change(),
        (Flaw::Impatient, _) | (_, Failure::Own(_)) => Action::requeue(Duration::from_millis(500)),
        (_, Failure::Look(error)) => reconcile::on_error(&platform, error, &broken.context),
    }
}

/// A plan of the minimal platform in which nothing but the network is bad.
fn plan(seed: u64, rates: Rates, calm: Duration) -> Plan {
    let first = Plan::of(0).first;
    Plan {
        seed,
        calm,
        rates,
        last: Some(first.clone()),
        ..Plan::undisturbed(&first)
    }
}

/// Runs plans until one of them catches the operator, and asserts that it is for one of these reasons.
fn caught(plans: impl Iterator<Item = Plan>, start: Start, reasons: &[&str]) {
    let mut plans = plans;
    let failure = plans.find_map(|plan| run::run(&plan, start).err());
    let failure = failure.expect("the flaw is not noticed");
    assert!(reasons.iter().any(|reason| failure.contains(reason)), "{failure}");
}

#[test]
fn writing_at_every_look_is_noticed() {
    let plans = [plan(0, Rates::none(), Duration::ZERO)];
    caught(
        plans.into_iter(),
        |client, options, _| broken(Flaw::Restless, client, options),
        &["it does not settle: the last write was"],
    );
}

#[test]
fn giving_up_is_noticed() {
    let plans = (0..20).map(|seed| plan(seed, Rates::rough().times(2.0), Duration::from_secs(20)));
    let reasons = ["no longer looks", "did not converge"];
    caught(
        plans,
        |client, options, _| broken(Flaw::GivesUp, client, options),
        &reasons,
    );
}

#[test]
fn taking_a_lost_answer_for_a_failure_is_noticed() {
    let mut rates = Rates::none();
    rates.lost_after = 0.3;
    let plans = (0..20).map(|seed| plan(seed, rates.clone(), Duration::from_secs(20)));
    let reasons = ["no longer looks", "did not converge"];
    caught(
        plans,
        |client, options, _| broken(Flaw::Forgetful, client, options),
        &reasons,
    );
}

#[test]
fn flapping_is_noticed() {
    let steady = |seed| Plan {
        steady: Duration::from_mins(2),
        ..plan(seed, Rates::rough().times(2.0), Duration::ZERO)
    };
    let reasons = ["faults alone make conditions flap"];
    caught(
        (0..20).map(steady),
        |client, options, _| broken(Flaw::Alarmist, client, options),
        &reasons,
    );
}

#[test]
fn a_platform_that_does_not_go_is_noticed() {
    let deleted = Plan {
        steps: vec![(Duration::from_secs(20), Step::Delete { foreground: false })],
        calm: Duration::from_secs(21),
        last: None,
        ..plan(0, Rates::none(), Duration::ZERO)
    };
    let reasons = ["streamingplatforms stage/show: should not be there"];
    caught(
        [deleted].into_iter(),
        |client, options, _| broken(Flaw::Clinging, client, options),
        &reasons,
    );
}

#[test]
fn two_that_work_at_once_are_noticed() {
    let two = Plan {
        operators: vec![Vec::new(), Vec::new()],
        ..plan(0, Rates::none(), Duration::ZERO)
    };
    let reasons = ["two operators write at the same time"];
    caught(
        [two].into_iter(),
        |client, options, _| the_operator(client, options, None),
        &reasons,
    );
}
