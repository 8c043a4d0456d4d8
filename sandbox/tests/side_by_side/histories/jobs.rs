//! Jobs that complete and that fail: what they say before their last pod has ended, and what after.

use std::fs;

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use crate::{
    facts::Facts,
    stage::{Stage, holds, template, until},
};

/// Seconds that a pod may take to end.
const GRACE: u32 = 4;

/// Types and reasons, in the order in which they came.
fn conditions(job: &Job) -> Vec<(String, String)> {
    let all = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    all.map(|c| (c.type_.clone(), c.reason.clone().unwrap_or_default()))
        .collect()
}

fn spec(pod: &Value) -> Value {
    let mut spec = json!({ "parallelism": 2, "completions": 2, "backoffLimit": 0, "template": template("job") });
    spec["template"]["spec"]["restartPolicy"] = "Never".into();
    json_patch::merge(&mut spec["template"]["spec"], pod);
    spec
}

/// Plays one until it has ended; gives its conditions over time.
async fn run(stage: &Stage, facts: &mut Facts, name: &str, end: &str, spec: Value) {
    let history = stage.history::<Job, _>(name, conditions);
    stage
        .create::<Job>(json!({ "metadata": { "name": name }, "spec": spec }))
        .await;
    let job = until(&format!("{name} has ended"), async || {
        let job = stage.api::<Job>().get(name).await.ok()?;
        holds(&job, end).then_some(job)
    })
    .await;
    let seen = history.end().await;
    facts.fact(
        &format!("{name}: said"),
        seen.iter().map(|(_, said)| said).collect::<Vec<_>>(),
    );
    if let [.., (target, _), (ended, _)] = seen.as_slice() {
        facts.took(
            &format!("{name}: from its target to its end"),
            ended.duration_since(*target),
        );
    }
    let status = job.status.unwrap_or_default();
    let counts = [
        status.active,
        status.ready,
        status.terminating,
        status.succeeded,
        status.failed,
    ];
    facts.fact(
        &format!("{name}: active, ready, terminating, succeeded, failed"),
        counts.map(Option::unwrap_or_default),
    );
    facts.fact(
        &format!("{name}: has a time of completion"),
        status.completion_time.is_some(),
    );
}

pub(crate) async fn play(stage: &Stage) -> Facts {
    let mut facts = Facts::default();
    fs::create_dir_all(&stage.folder).unwrap();
    let done = json!({ "containers": [{ "name": "main", "image": "done" }] });
    run(stage, &mut facts, "done", "Complete", spec(&done)).await;
    // The first of its pods fails, the other does not end when it is asked to.
    let one_fails = json!({ "terminationGracePeriodSeconds": GRACE, "containers": [{ "name": "main", "image": "one-fails",
        "env": [{ "name": "ONCE", "value": stage.folder.join("once") }] }] });
    run(stage, &mut facts, "fails", "Failed", spec(&one_fails)).await;
    facts
}
