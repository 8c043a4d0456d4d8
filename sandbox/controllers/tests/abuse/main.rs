//! The controllers under abuse: an API that fails in every way, a control plane that is killed between any two calls,
//! users who change their minds. In process, in paused time; one seed is one run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::type_complexity)]

mod canonical;
mod nodes;
mod plan;
mod references;
mod run;

use std::time::Duration;

use showrunner_unreliable::{Rates, seeds::Seeds};

use crate::plan::{Death, Plan};

/// Runs by default; `SHOWRUNNER_SEEDS` says otherwise.
const SEEDS: u64 = 2000;
/// Real time that one run may take.
const LIMIT: Duration = Duration::from_mins(2);
const REPLAY: &str = "cargo test -p showrunner-controllers --test abuse seeds";

#[test]
fn seeds() {
    let outcome = Seeds::from_env(SEEDS).run(LIMIT, |seed| run::run(&Plan::of(seed)).map(drop));
    outcome.expect_none(REPLAY);
}

/// Negative control: a control plane that died and was not started anew does not converge.
#[test]
fn a_dead_control_plane_is_noticed() {
    let mut plan = Plan::undisturbed(&Plan::of(0).first);
    plan.deaths = vec![Death {
        call: 40,
        carried_out: false,
        pause: Duration::from_hours(24),
    }];
    plan.rates = Rates::none().times(0.5);
    plan.steps = vec![(Duration::from_secs(1), plan::Step::RemovePod(0))];
    let failure = run::run(&plan).unwrap_err();
    assert!(failure.contains("did not converge"), "{failure}");
}

/// Negative control: somebody who writes for ever is noticed.
#[test]
fn writing_for_ever_is_noticed() {
    let mut plan = Plan::undisturbed(&Plan::of(0).first);
    plan.restless = true;
    let failure = run::run(&plan).unwrap_err();
    assert!(failure.contains("it does not settle"), "{failure}");
}

/// Negative control: controllers that made everything so, and then no longer look, are noticed.
#[test]
fn going_deaf_is_noticed() {
    let mut plan = Plan::undisturbed(&Plan::of(0).first);
    plan.steps = vec![(Duration::from_secs(1), plan::Step::RemovePod(0))];
    plan.deaf = true;
    let failure = run::run(&plan).unwrap_err();
    assert!(failure.contains("after a pod was deleted in calm"), "{failure}");
}
