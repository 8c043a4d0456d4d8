//! The operator under abuse: an API that fails in every way, operators that are killed between any two calls, two of them
//! with one lease, users who change their minds, regions that move to another cluster and back. In process, in paused time;
//! one seed is one run.
//!
//! - [`plan`] *(pure)*: what happens in a run, out of its seed.
//! - [`world`], [`cluster`]: the API server, and everything in it that is not the operator and does what it should.
//! - [`operators`]: the operator's processes, and how they are killed.
//! - [`run`]: a run, and what has to hold in it and after it.
//! - [`controls`]: broken operators, each caught by the check it is made for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Signatures are those that kube asks for; what two values do is clearer said once each.
#![allow(clippy::needless_pass_by_value, clippy::type_complexity, clippy::nonminimal_bool)]

mod backoff;
mod cluster;
mod controls;
#[path = "../support/everything.rs"]
mod everything;
mod expected;
mod history;
mod leases;
mod operators;
mod plan;
mod run;
mod world;

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use serde_json::Value;
use showrunner_unreliable::seeds::Seeds;

use crate::{operators::the_operator, plan::Plan};

/// Runs by default; `SHOWRUNNER_SEEDS` says otherwise.
const SEEDS: u64 = 2000;
/// Real time that one run may take.
const LIMIT: Duration = Duration::from_mins(2);
/// What has to befall at least one of many runs.
const FAULTS: [&str; 21] = [
    "409",
    "410",
    "429",
    "500",
    "503",
    "carried out late",
    "client cut off",
    "error although carried out",
    "event repeated",
    "event slow",
    "events withheld",
    "hung after",
    "hung before",
    "lost after",
    "lost before",
    "slow",
    "watch broken",
    "watch closed",
    "watch expired",
    "watch failed",
    "watch torn",
];
const REPLAY: &str = "cargo test -p showrunner-operator --test abuse seeds";

#[test]
fn seeds() {
    let met: Mutex<BTreeMap<&str, usize>> = Mutex::default();
    let range = Seeds::from_env(SEEDS);
    let outcome = range.run(LIMIT, |seed| {
        let plan = Plan::of(seed);
        let report = run::run(&plan, the_operator)?;
        let mut met = met.lock().unwrap();
        for (name, count) in report.faults {
            *met.entry(name).or_default() += count;
        }
        Ok(())
    });
    outcome.expect_none(REPLAY);
    let met = met.into_inner().unwrap();
    println!("{met:?}");
    // Of few runs some may meet none.
    let missing = FAULTS.iter().find(|fault| !met.contains_key(**fault));
    assert!(range.count < 100 || missing.is_none(), "never met: {missing:?}");
}

/// Some runs have a region in the other cluster, and what is compared there is something.
#[test]
fn some_regions_are_in_another_cluster() {
    let plans: Vec<Plan> = (0..64).map(Plan::of).collect();
    let away = |spec: &Value| spec["regions"][0]["cluster"].is_object();
    let apart: Vec<&Plan> = plans.iter().filter(|plan| away(&plan.first)).collect();
    assert!((2..20).contains(&apart.len()), "{}", apart.len());
    let moves = |plan: &Plan| plan.last.as_ref().is_some_and(|last| away(last) != away(&plan.first));
    assert!(plans.iter().any(moves));
    let report = run::run(&Plan::undisturbed(&apart[0].first), the_operator).unwrap();
    let there = report
        .objects
        .keys()
        .filter(|place| place.starts_with("far /apis/apps/v1/"));
    assert!(there.count() > 2, "{:?}", report.objects.keys());
}

/// What befalls a run, and what the operator does about it, is the seed's alone: otherwise it could not be replayed.
#[test]
fn a_seed_tells_everything() {
    for seed in [3, 11, 42] {
        let journal = || run::run(&Plan::of(seed), the_operator).unwrap().journal.to_string();
        let (first, second) = (journal(), journal());
        let differs = first
            .lines()
            .zip(second.lines())
            .find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.lines().count(), second.lines().count());
        assert!(first.lines().count() > 10, "{first}");
    }
}
