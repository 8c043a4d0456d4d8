//! Retries: ever later, each platform by its own count, never in step; and no platform waits for another.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use showrunner_unreliable::{Call, Fault, Rates, Refusal, Verb, seeds};

use crate::{
    cluster,
    controls::{Flaw, broken},
    operators::{Start, the_operator},
    plan::Plan,
    world::World,
};

/// How long the API fails for some.
const LENGTH: Duration = Duration::from_mins(15);

/// When each look at a platform (by its namespace) began while the API failed for it.
struct Looks {
    bad: Vec<Duration>,
    worse: Vec<Duration>,
    /// How long it took until a change of a platform for which nothing fails was carried out.
    fine: Duration,
}

/// Three platforms; `fails` says what fails for the first two from some time on, when a user changes all three.
async fn looks(start: Start, fails: impl Fn(&Call) -> Option<Fault> + Send + Sync + 'static) -> Looks {
    let world = Arc::new(World::new(1, Rates::none()));
    let mut spec = Plan::of(0).first;
    given(&world, ["bad", "worse", "fine"], &spec).await;
    let link = world.network.link("operator");
    let operator = tokio::spawn(start(world.abused(&link), world.options(&link), None));
    let others = tokio::spawn(cluster::run(world.clone()));
    tokio::time::sleep(Duration::from_mins(1)).await;

    let begun = world.network.elapsed();
    let seen: Arc<Mutex<Vec<(Duration, Call)>>> = Arc::default();
    let (network, calls) = (world.network.clone(), seen.clone());
    world.network.rule(Some(Box::new(move |call: &Call| {
        let mut calls = calls.lock().unwrap();
        calls.push((network.elapsed(), call.clone()));
        let concerned = call.path.contains("/namespaces/bad/") || call.path.contains("/namespaces/worse/");
        concerned.then(|| fails(call)).flatten()
    })));
    // Of what a region has of its own, so that its failure is told in the status.
    spec["edge"]["cacheMib"] = 96.into();
    for name in ["bad", "worse", "fine"] {
        world.apply(name, "show", &spec).await.unwrap();
    }
    tokio::time::sleep(LENGTH).await;
    let changed = world.network.elapsed();
    spec["edge"]["cacheMib"] = 128.into();
    world.apply("fine", "show", &spec).await.unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    operator.abort();
    others.abort();

    // Every look begins with the list of each kind.
    let began = |namespace: &str| {
        let list = format!("/api/v1/namespaces/{namespace}/configmaps");
        let seen = seen.lock().unwrap();
        let looks = seen
            .iter()
            .filter(|(at, call)| call.path == list && call.verb == Verb::Read && *at < changed);
        looks.map(|(at, _)| (*at).checked_sub(begun).unwrap()).collect()
    };
    Looks {
        bad: began("bad"),
        worse: began("worse"),
        fine: carried_out(&world, "fine", changed),
    }
}

/// A platform in each of these namespaces.
async fn given(world: &World, names: impl IntoIterator<Item = impl AsRef<str>>, spec: &Value) {
    let namespaces: Api<Namespace> = Api::all(world.client("installer"));
    for name in names {
        let name = name.as_ref();
        let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        world.apply(name, "show", spec).await.unwrap();
    }
}

/// How long it took until a change of the platform in the namespace `name` was carried out.
fn carried_out(world: &World, name: &str, changed: Duration) -> Duration {
    let namespace = format!("/namespaces/{name}/");
    let writes = world.network.journal().writes;
    let first = writes
        .iter()
        .find(|(at, call)| *at >= changed && call.path.contains(&namespace));
    first.map_or(Duration::MAX, |(at, _)| (*at).checked_sub(changed).unwrap())
}

/// Whether looks come ever later, within bounds, and with jitter.
fn backs_off(looks: &[Duration]) -> Result<(), String> {
    let intervals: Vec<f64> = looks
        .windows(2)
        .map(|pair| pair[1].checked_sub(pair[0]).unwrap().as_secs_f64())
        .collect();
    let told = |what: &str| Err(format!("{what}: {intervals:.2?}"));
    let late: Vec<f64> = intervals.iter().copied().filter(|interval| *interval >= 30.0).collect();
    if late.len() < 5 {
        return told("they do not become rare");
    }
    if intervals.iter().any(|interval| *interval > 61.0) {
        return told("too rare");
    }
    // Every other one at least as late, jitter or not: the wait doubles twice meanwhile.
    let mut growing = intervals
        .iter()
        .take_while(|interval| **interval < 30.0)
        .copied()
        .collect::<Vec<_>>();
    growing.push(30.0);
    if growing
        .iter()
        .zip(growing.iter().skip(2))
        .any(|(first, third)| third < first)
    {
        return told("they do not grow");
    }
    let spread = late.iter().copied().fold(0.0, f64::max) - late.iter().copied().fold(f64::MAX, f64::min);
    if spread < 3.0 {
        return told("no jitter");
    }
    Ok(())
}

fn check(looks: &Looks) {
    for platform in [&looks.bad, &looks.worse] {
        backs_off(platform).unwrap_or_else(|error| panic!("{error}"));
    }
    // Each by its own dice.
    let together = looks.bad.iter().filter(|at| {
        looks
            .worse
            .iter()
            .any(|other| at.abs_diff(*other) < Duration::from_millis(100))
    });
    assert!(
        together.count() < looks.bad.len() / 2,
        "{:?} {:?}",
        looks.bad,
        looks.worse
    );
    assert!(looks.fine < Duration::from_secs(2), "{:?}", looks.fine);
}

/// Kinds of failure in turn, each with a message of its own.
fn in_turn(number: &AtomicUsize) -> Fault {
    let number = number.fetch_add(1, Ordering::Relaxed);
    [
        Fault::Refused(Refusal::Internal),
        Fault::Refused(Refusal::Unavailable { text: false }),
        Fault::Lost { carried_out: false },
        Fault::Refused(Refusal::Conflict),
        Fault::Refused(Refusal::TooManyRequests {
            retry_after: 1,
            text: true,
        }),
    ][number % 5]
}

#[test]
fn a_world_that_cannot_be_seen_is_looked_at_ever_later() {
    let fails = |call: &Call| (call.verb == Verb::Read).then_some(Fault::Refused(Refusal::Internal));
    check(&seeds::paused(1, looks(the_operator, fails)));
}

#[test]
fn what_cannot_be_written_is_tried_ever_later() {
    let number = AtomicUsize::new(0);
    let fails = move |call: &Call| {
        let status = call.path.contains("/streamingplatforms/");
        (call.writes() && !status).then(|| in_turn(&number))
    };
    check(&seeds::paused(1, looks(the_operator, fails)));
}

#[test]
fn a_status_that_cannot_be_written_is_tried_ever_later() {
    let number = AtomicUsize::new(0);
    let fails = move |call: &Call| call.path.contains("/streamingplatforms/").then(|| in_turn(&number));
    check(&seeds::paused(1, looks(the_operator, fails)));
}

/// Negative control.
#[test]
fn trying_again_and_again_is_noticed() {
    let fails = |call: &Call| (call.verb == Verb::Read).then_some(Fault::Refused(Refusal::Internal));
    let start: Start = |client, options, _| broken(Flaw::Impatient, client, options);
    let looks = seeds::paused(1, looks(start, fails));
    assert_eq!(
        backs_off(&looks.bad).unwrap_err().split(':').next(),
        Some("they do not become rare")
    );
    // The others are noticed too.
    let regular: Vec<Duration> = (0..30).map(|n| Duration::from_secs(n * 40)).collect();
    assert!(backs_off(&regular).unwrap_err().starts_with("no jitter"));
    let rare: Vec<Duration> = (0..30).map(|n| Duration::from_secs(n * 90)).collect();
    assert!(backs_off(&rare).unwrap_err().starts_with("too rare"));
}

/// Platforms for which the API hangs.
const CROWD: usize = 24;
/// Platforms for which nothing fails. Changes that come together are taken in no order, so one alone may be lucky.
const FINE: usize = 8;

/// How long it takes until changes of platforms are all carried out that were made right after one of each of a crowd, for
/// which the API hangs.
async fn beside_a_crowd(concurrency: Option<u16>) -> Duration {
    let world = Arc::new(World::new(1, Rates::none()));
    let mut spec = Plan::of(0).first;
    let crowd = (0..CROWD).map(|number| format!("crowd-{number}"));
    let fine: Vec<String> = (0..FINE).map(|number| format!("fine-{number}")).collect();
    let names: Vec<String> = crowd.chain(fine.iter().cloned()).collect();
    given(&world, &names, &spec).await;
    let hung = Fault::Hung {
        carried_out: false,
        patience: Duration::from_mins(5),
    };
    world.network.rule(Some(Box::new(move |call: &Call| {
        call.path.contains("/namespaces/crowd-").then_some(hung)
    })));
    let link = world.network.link("operator");
    let mut options = world.options(&link);
    options.concurrency = concurrency.unwrap_or(options.concurrency);
    let operator = tokio::spawn(the_operator(world.abused(&link), options, None));
    let others = tokio::spawn(cluster::run(world.clone()));
    tokio::time::sleep(Duration::from_mins(5)).await;
    let changed = world.network.elapsed();
    spec["edge"]["cacheMib"] = 96.into();
    for name in &names {
        world.apply(name, "show", &spec).await.unwrap();
    }
    tokio::time::sleep(Duration::from_mins(5)).await;
    operator.abort();
    others.abort();
    let took = fine.iter().map(|name| carried_out(&world, name, changed));
    took.max().unwrap_or(Duration::MAX)
}

#[test]
fn a_crowd_for_which_the_api_hangs_keeps_nobody_waiting() {
    let took = seeds::paused(1, beside_a_crowd(None));
    assert!(took < Duration::from_secs(2), "{took:?}");
    // Negative control.
    let took = seeds::paused(1, beside_a_crowd(Some(4)));
    assert!(took > Duration::from_secs(5), "{took:?}");
}
