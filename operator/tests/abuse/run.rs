//! A run, and what has to hold in it and after it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use showrunner_unreliable::{
    Call, Journal, Rates, Verb, seeds,
    snapshot::{Snapshot, differences},
};

use crate::{
    cluster, expected,
    history::{History, flapping},
    leases::{Holders, trespasses},
    operators::{Start, live},
    plan::{Plan, Step},
    world::{NAMESPACE, PLATFORM, World},
};

/// How long nothing may be written before a run counts as settled: two regular looks and more.
const QUIET: Duration = Duration::from_secs(35);
/// The same after a platform was made anew: the key of the one before may go after it was made sure of, which is done once
/// a minute.
const QUIET_ANEW: Duration = Duration::from_secs(75);
/// The same where a region is in another cluster: that may wait for a minute before it is asked again.
const QUIET_APART: Duration = Duration::from_secs(75);
/// The signing key's places in a snapshot.
const KEYS: [&str; 2] = [
    "/api/v1/secrets stage/show-signing-key",
    "far /api/v1/secrets away/show-signing-key",
];
/// How long settling may take: the longest back-off and the longest hang, several times over.
const SETTLE: Duration = Duration::from_mins(10);

/// What came of a run.
pub(crate) struct Report {
    pub(crate) objects: Snapshot,
    pub(crate) faults: BTreeMap<&'static str, usize>,
    pub(crate) journal: Journal,
}

/// Runs a plan. The error says which check failed, and what had happened before.
pub(crate) fn run(plan: &Plan, start: Start) -> Result<Report, String> {
    let undisturbed = plan.rates == Rates::none() && plan.steps.is_empty();
    let expected = match &plan.last {
        Some(_) if undisturbed => None,
        Some(spec) => Some(expected::objects(spec, start)),
        None => Some(Arc::default()),
    };
    seeds::paused(plan.seed, async {
        let world = Arc::new(World::new(plan.seed, plan.rates.clone()));
        let outcome = perform(&world, plan, start, expected.as_deref()).await;
        let journal = world.network.journal();
        match outcome {
            Ok(objects) => Ok(Report {
                objects,
                faults: journal.summary(),
                journal,
            }),
            Err(failure) => Err(format!("{failure}\n\nwhat had happened:\n{}", last_lines(&journal))),
        }
    })
}

fn last_lines(journal: &Journal) -> String {
    const SHOWN: usize = 150;
    let text = journal.to_string();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

async fn perform(
    world: &Arc<World>,
    plan: &Plan,
    start: Start,
    expected: Option<&Snapshot>,
) -> Result<Snapshot, String> {
    let (history, holders) = (History::default(), Holders::default());
    let elected = plan.operators.len() > 1;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(cluster::run(world.clone()));
    tasks.spawn(history.clone().follow(world.clone()));
    if elected {
        tasks.spawn(holders.clone().follow(world.clone()));
    }
    let (dead, mut deaths) = tokio::sync::mpsc::channel(1);
    for (number, deaths) in plan.operators.iter().enumerate() {
        let (world, deaths, dead) = (world.clone(), deaths.clone(), dead.clone());
        tasks.spawn(async move {
            let _ = dead.send(live(world, number, elected, deaths, start).await).await;
        });
    }
    let script = act(world, plan, &history, expected);
    let objects = tokio::select! {
        biased;
        ended = deaths.recv() => return Err(ended.unwrap_or_default()),
        objects = script => objects?,
    };
    if elected {
        let trespasses = trespasses(&holders.list(), &world.network.journal().writes);
        check("two operators write at the same time", &trespasses)?;
    }
    Ok(objects)
}

fn check(what: &str, found: &[String]) -> Result<(), String> {
    if found.is_empty() {
        return Ok(());
    }
    Err(format!("{what}:\n{}", found.join("\n")))
}

async fn act(world: &World, plan: &Plan, history: &History, expected: Option<&Snapshot>) -> Result<Snapshot, String> {
    let begun = tokio::time::Instant::now();
    world.apply(NAMESPACE, PLATFORM, &plan.first).await?;
    for (at, step) in &plan.steps {
        tokio::time::sleep_until(begun + *at).await;
        world.network.note(match step {
            Step::Apply(spec) => format!("the user applies {spec}"),
            other => format!("{other:?}"),
        });
        perform_step(world, plan, step).await?;
    }
    tokio::time::sleep_until(begun + plan.calm).await;
    world.network.note("calm");
    world.network.calm();
    let calm = world.network.elapsed();

    settle(world, plan).await?;
    let objects = world.snapshot().await;
    if let Some(expected) = expected {
        let mut compared = objects.clone();
        // The key is made once and stays with its platform: a spec that asked for services is enough, also an earlier one.
        for key in KEYS {
            if plan.has_services() && !expected.contains_key(key) {
                compared.remove(key);
            }
        }
        let differences = differences(expected, &compared);
        if !differences.is_empty() {
            return Err(format!(
                "it did not converge to what an undisturbed run gives:\n{differences}"
            ));
        }
    }
    // What was under way by then comes to its end; an edit that had not been seen takes a condition there and back. One that
    // switches autoscaling off does so twice: `replicas` is taken over in a second step, whose annotation is a new
    // generation of each Deployment.
    let most = if plan.switches_autoscaling() || plan.is_apart() {
        5
    } else {
        3
    };
    check("conditions flap in calm", &flapping(&history.changes(), calm, most))?;
    if plan.steady > Duration::ZERO {
        steady(world, plan, history).await?;
        let differences = differences(&objects, &world.snapshot().await);
        if !differences.is_empty() {
            return Err(format!("faults alone changed something:\n{differences}"));
        }
    }
    Ok(objects)
}

async fn perform_step(world: &World, plan: &Plan, step: &Step) -> Result<(), String> {
    match step {
        Step::Apply(spec) => world.apply(NAMESPACE, PLATFORM, spec).await?,
        Step::Delete { foreground } => world.delete(*foreground).await,
        Step::Blackout(length) => {
            world.network.set(Rates::blackout());
            tokio::time::sleep(*length).await;
            world.network.set(plan.rates.clone());
        }
        Step::Remove(number) => {
            let paths = ["/api/v1/configmaps", "/api/v1/services", "/apis/apps/v1/deployments"];
            let path = paths[number % paths.len()];
            if let Some(item) = nth(&world.list(path).await, *number) {
                request(world, http::Request::delete(path_of(path, item)).body(Vec::new())).await;
            }
        }
        Step::Meddle(number) => {
            let path = [
                "/api/v1/configmaps",
                "/api/v1/services",
                "/apis/networking.k8s.io/v1/networkpolicies",
            ][number % 3];
            if let Some(item) = nth(&world.list(path).await, *number) {
                let patch = meddled(item).to_string();
                let request_ =
                    http::Request::patch(path_of(path, item)).header("content-type", "application/merge-patch+json");
                request(world, request_.body(patch.into_bytes())).await;
            }
        }
    }
    Ok(())
}

/// A merge patch that takes something from us: a value that becomes another, or something more in what has one owner as a
/// whole.
fn meddled(item: &Value) -> Value {
    if let Some(data) = item["data"].as_object() {
        let key = data.keys().next().unwrap();
        return json!({ "data": { key: "meddled with" } });
    }
    if item["spec"]["selector"].is_object() {
        return json!({ "spec": { "selector": { "meddled": "with" } } });
    }
    json!({ "spec": { "podSelector": { "matchLabels": { "meddled": "with" } } } })
}

/// The `n`-th object of ours, modulo their number.
fn nth(items: &[Value], n: usize) -> Option<&Value> {
    let ours: Vec<&Value> = items
        .iter()
        .filter(|item| item["metadata"]["ownerReferences"].is_array())
        .collect();
    ours.get(n.checked_rem(ours.len())?).copied()
}

fn path_of(list: &str, item: &Value) -> String {
    let (prefix, plural) = list.rsplit_once('/').unwrap();
    format!(
        "{prefix}/namespaces/{NAMESPACE}/{plural}/{}",
        item["metadata"]["name"].as_str().unwrap()
    )
}

async fn request(world: &World, request: http::Result<http::Request<Vec<u8>>>) {
    // Gone meanwhile: somebody else was faster.
    let _ = world.client("user").request::<Value>(request.unwrap()).await;
}

/// Whether a write says that something is still under way. Leases are renewed for ever, and the signing key is made sure
/// of by trying to make it.
fn counts(call: &Call) -> bool {
    !call.path.contains("/leases") && !(call.verb == Verb::Create && call.path.ends_with("/secrets"))
}

/// Waits until nothing is written any more although the operator goes on looking.
async fn settle(world: &World, plan: &Plan) -> Result<(), String> {
    let begun = tokio::time::Instant::now();
    let anew = plan.last.is_some() && plan.steps.iter().any(|(_, step)| matches!(step, Step::Delete { .. }));
    let quiet = match (anew, plan.is_apart()) {
        (_, true) => QUIET_APART,
        (true, false) => QUIET_ANEW,
        (false, false) => QUIET,
    };
    let last_write = || {
        let writes = [&world.network, &world.bystanders].map(|network| network.last_write(counts));
        writes.into_iter().flatten().max_by_key(|(at, _)| *at)
    };
    let calm = world.network.elapsed();
    // Every look begins with the list of each kind.
    let list = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let looks = || world.network.made(Verb::Read, &list);
    let mut before = looks();
    loop {
        tokio::time::sleep(quiet).await;
        // There is nothing to look at once the platform is gone.
        let looked = plan.last.is_none() || looks() >= before + 2;
        before = looks();
        let last = last_write();
        let since = last.as_ref().map_or(calm, |(at, _)| (*at).max(calm));
        if looked && world.network.elapsed().saturating_sub(since) >= quiet {
            return Ok(());
        }
        if begun.elapsed() > SETTLE {
            let last = last.map(|(at, call)| format!("{call} at {at:?}"));
            let looks = if looked {
                ""
            } else {
                ", and the operator no longer looks"
            };
            return Err(format!("it does not settle: the last write was {last:?}{looks}"));
        }
    }
}

/// A bad network, and nothing else: nothing may be written, no condition may change.
async fn steady(world: &World, plan: &Plan, history: &History) -> Result<(), String> {
    world.network.note("bad again, and nobody changes anything");
    let (begun, writes) = (world.network.elapsed(), world.network.writes());
    world.network.set(plan.rates.clone());
    tokio::time::sleep(plan.steady).await;
    world.network.calm();
    tokio::time::sleep(QUIET).await;
    check(
        "faults alone make conditions flap",
        &flapping(&history.changes(), begun, 0),
    )?;
    let journal = world.network.journal();
    let writes: Vec<String> = journal.writes[writes..]
        .iter()
        .filter(|(_, call)| counts(call))
        .map(|(at, call)| format!("{call} at {at:?}"))
        .collect();
    check("a look that changes nothing writes", &writes)
}
