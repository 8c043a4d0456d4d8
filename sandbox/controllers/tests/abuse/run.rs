//! A run, and what has to hold in it and after it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use kube::Client;
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use showrunner_controllers::{ControllersConfig, spawn_all};
use showrunner_unreliable::{
    Call, Rates, Unreliable, seeds,
    snapshot::{Snapshot, differences},
};
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

use crate::{
    canonical, nodes,
    plan::{Objects, Plan, Step},
    references,
};

/// How long nothing may be written before a run counts as settled: several periods of every controller's own.
const QUIET: Duration = Duration::from_secs(45);
/// How long settling may take.
const SETTLE: Duration = Duration::from_mins(10);

struct World {
    server: ApiServer,
    network: Unreliable,
    /// Everybody else's, in which nothing goes wrong.
    bystanders: Unreliable,
    /// Over that one.
    user: Client,
}

impl World {
    fn writes(&self, counts: fn(&Call) -> bool) -> usize {
        self.network.writes_that(counts) + self.bystanders.writes_that(counts)
    }
}

/// Whether a write says that something is still under way. An autoscaler without metrics says so in an Event, for ever.
fn counts(call: &Call) -> bool {
    !call.path.contains("/events")
}

/// Whether a write may not come of faults alone. An autoscaler tells in its status that it could not read.
fn changes(call: &Call) -> bool {
    counts(call) && !call.path.contains("/horizontalpodautoscalers/")
}

/// Runs a plan; gives what there is in the end.
pub(crate) fn run(plan: &Plan) -> Result<Snapshot, String> {
    let undisturbed = plan.rates == Rates::none() && plan.steps.is_empty();
    let expected = (!undisturbed).then(|| undisturbed_run(&plan.last));
    seeds::paused(plan.seed, async {
        let server = ApiServer::new(ApiServerConfig::default());
        let bystanders = Unreliable::new(plan.seed, Rates::none());
        let world = World {
            user: Client::new(bystanders.link("user").layer(server.service()), "default"),
            network: Unreliable::new(plan.seed, plan.rates.clone()),
            bystanders,
            server,
        };
        let outcome = perform(&world, plan, expected.as_deref()).await;
        outcome.map_err(|failure| {
            let journal = world.network.journal().to_string();
            let lines: Vec<&str> = journal.lines().collect();
            let end = lines[lines.len().saturating_sub(150)..].join("\n");
            format!("{failure}\n\nwhat had happened:\n{end}")
        })
    })
}

/// The objects of an undisturbed run; each is run once.
fn undisturbed_run(objects: &Objects) -> Arc<Snapshot> {
    static KNOWN: Mutex<Option<HashMap<String, Arc<OnceLock<Arc<Snapshot>>>>>> = Mutex::new(None);
    let cell = {
        let mut known = KNOWN.lock().unwrap();
        known
            .get_or_insert_default()
            .entry(format!("{objects:?}"))
            .or_default()
            .clone()
    };
    cell.get_or_init(|| Arc::new(run(&Plan::undisturbed(objects)).expect("an undisturbed run")))
        .clone()
}

async fn perform(world: &World, plan: &Plan, expected: Option<&Snapshot>) -> Result<Snapshot, String> {
    nodes::install(&world.server, &world.user).await;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(nodes::run(world.server.clone(), world.user.clone()));
    if plan.restless {
        tasks.spawn(write_for_ever(world.user.clone()));
    }
    tokio::select! {
        biased;
        failure = control_plane(world, plan) => Err(failure),
        objects = act(world, plan, expected) => objects,
    }
}

/// The controllers, killed as planned and started anew. Returns only with an error.
async fn control_plane(world: &World, plan: &Plan) -> String {
    let mut deaths = plan.deaths.iter();
    for life in 0.. {
        let death = deaths.next();
        let link = world.network.link(format!("controllers.{life}"));
        let cut = death.map(|death| link.cut_at(death.call, death.carried_out));
        let client = Client::new(link.layer(world.server.service()), "default");
        let mut controllers = spawn_all(client, ControllersConfig::default(), CancellationToken::new());
        let killed = async {
            match cut {
                Some(cut) => cut.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = killed => {}
            ended = controllers.stopped() => return format!("the controllers ended by themselves: {ended:?}"),
        }
        link.cut();
        // They cannot end in order: their calls are never answered.
        let _ = controllers.shutdown(Duration::ZERO).await;
        tokio::time::sleep(death.map_or(Duration::ZERO, |death| death.pause)).await;
    }
    unreachable!("lives are not counted that far")
}

async fn act(world: &World, plan: &Plan, expected: Option<&Snapshot>) -> Result<Snapshot, String> {
    let begun = tokio::time::Instant::now();
    apply(world, &Objects::new(), &plan.first).await;
    let mut applied = &plan.first;
    for (at, step) in &plan.steps {
        tokio::time::sleep_until(begun + *at).await;
        match step {
            Step::Apply(objects) => {
                world.network.note(format!("the user applies {objects:?}"));
                apply(world, applied, objects).await;
                applied = objects;
            }
            Step::RemovePod(number) => remove(world, "/api/v1/pods", *number).await,
            Step::Remove(list, number) => remove(world, list, *number).await,
            Step::Blackout(length) => {
                world.network.note(format!("nothing gets through for {length:?}"));
                world.network.set(Rates::blackout());
                tokio::time::sleep(*length).await;
                world.network.set(plan.rates.clone());
            }
        }
    }
    tokio::time::sleep_until(begun + plan.calm).await;
    world.network.note("calm");
    world.network.calm();
    settle(world).await?;
    let objects = converged(world, expected).await?;
    if plan.steady > Duration::ZERO {
        steady(world, plan).await?;
    } else {
        // Nothing is written any more, and not because nobody looks.
        if plan.deaf {
            world.network.set(Rates::blackout());
        }
        remove(world, "/api/v1/pods", 0).await;
        settle(world).await?;
        converged(world, expected)
            .await
            .map_err(|failure| format!("after a pod was deleted in calm {failure}"))?;
    }
    Ok(objects)
}

/// What there is, if that is as it should be.
async fn converged(world: &World, expected: Option<&Snapshot>) -> Result<Snapshot, String> {
    let dangling = references::dangling(&world.user).await;
    if !dangling.is_empty() {
        return Err(format!("these point at nothing:\n{}", dangling.join("\n")));
    }
    let objects = canonical::objects(&world.server).await;
    let differences = expected.map_or_else(String::new, |expected| differences(expected, &objects));
    if !differences.is_empty() {
        return Err(format!(
            "it did not converge to what an undisturbed run gives:\n{differences}"
        ));
    }
    Ok(objects)
}

/// Applies objects, after deleting those of before that are not among them.
async fn apply(world: &World, before: &Objects, objects: &Objects) {
    for (path, name) in before.keys().filter(|key| !objects.contains_key(*key)) {
        let _ = nodes::send(&world.user, http::Request::delete(format!("{path}/{name}")), &json!({})).await;
    }
    for ((path, name), object) in objects {
        // Some fields are set once and for all.
        let uri = format!("{path}/{name}?fieldManager=user&force=true");
        let request = || http::Request::patch(&uri).header("content-type", "application/apply-patch+yaml");
        let applied = nodes::send(&world.user, request(), object).await;
        applied.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Deletes the `n`-th object, modulo their number, except what a Job counts.
async fn remove(world: &World, path: &str, n: usize) {
    let items = nodes::list(&world.user, path).await;
    let items: Vec<&Value> = items
        .iter()
        .filter(|item| item["metadata"]["labels"]["app"] != "once")
        .collect();
    let Some(item) = n.checked_rem(items.len()).map(|n| items[n]) else {
        return;
    };
    let (prefix, plural) = path.rsplit_once('/').unwrap();
    let path = format!(
        "{prefix}/namespaces/default/{plural}/{}",
        item["metadata"]["name"].as_str().unwrap()
    );
    world.network.note(format!("somebody deletes {path}"));
    let _ = nodes::send(&world.user, http::Request::delete(path), &json!({})).await;
}

/// Waits until nothing is written any more, by anybody.
async fn settle(world: &World) -> Result<(), String> {
    let begun = tokio::time::Instant::now();
    loop {
        let before = world.writes(counts);
        tokio::time::sleep(QUIET).await;
        if before == world.writes(counts) {
            return Ok(());
        }
        if begun.elapsed() > SETTLE {
            let journal = world.network.journal();
            let last = journal.writes.iter().rev().take(30).rev();
            let last: Vec<String> = last.map(|(at, call)| format!("{call} at {at:?}")).collect();
            return Err(format!("it does not settle: the last writes were\n{}", last.join("\n")));
        }
    }
}

/// A bad network, and nothing else: nothing may be written.
async fn steady(world: &World, plan: &Plan) -> Result<(), String> {
    world.network.note("bad again, and nobody changes anything");
    let (before, begun) = (world.writes(changes), world.network.writes());
    world.network.set(plan.rates.clone());
    tokio::time::sleep(plan.steady).await;
    world.network.calm();
    tokio::time::sleep(QUIET).await;
    if before == world.writes(changes) {
        return Ok(());
    }
    let journal = world.network.journal();
    let told: Vec<String> = journal.writes[begun..]
        .iter()
        .map(|(at, call)| format!("{call} at {at:?}"))
        .collect();
    Err(format!("faults alone made the controllers write:\n{}", told.join("\n")))
}

async fn write_for_ever(client: Client) {
    for number in 0_u64.. {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "restless" }, "data": { "n": number.to_string() } });
        let path = "/api/v1/namespaces/default/configmaps/restless?fieldManager=restless&force=true";
        let request = http::Request::patch(path).header("content-type", "application/apply-patch+yaml");
        nodes::send(&client, request, &map).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
}
