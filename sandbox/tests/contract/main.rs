//! The contract between this API server and Kubernetes' own: one set of tests, run against the embedded server in
//! process, the same over TCP, and the real one where its binaries are.
//!
//! ```text
//! cargo test -p showrunner-sandbox --test contract [-- [FILTER]... [--list]]
//! ```
//!
//! | variable | |
//! |---|---|
//! | `CONTRACT_BACKENDS` | which of `embedded`, `tcp`, `real`, with commas; one that is named and cannot run is a failure |
//! | `CONTRACT_FUZZ` | plays so many sequences on the embedded server and the real one, instead of the tests |
//! | `CONTRACT_SEED`, `CONTRACT_FIRST` | from which seed they are drawn (1), and from which of them on (0) |
//! | `CONTRACT_RECORD=1` | writes what the real server answered to `recorded/`; where the embedded one answers otherwise, too |
//! | `CONTRACT_README=1` | writes the table of exclusions into `sandbox/README.md` |

// Values are given as literals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::needless_pass_by_value
)]

mod backend;
mod context;
mod exclusions;
mod fuzz;
mod readme;
mod recorded;
mod registry;
mod report;
mod run;
mod suites;
mod trace;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let options = run::Options::from_environment();
    let tests: Vec<_> = registry::all().into_iter().filter(|test| options.wants(test)).collect();
    if options.list {
        for test in &tests {
            println!("{}: test", test.full_name());
        }
        return ExitCode::SUCCESS;
    }
    if let Some(plan) = fuzz::Plan::from_environment() {
        let failures = fuzz::run(plan).await;
        for failure in &failures {
            println!("\nFAILED {failure}");
        }
        return if failures.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    run::catch_panics();
    let mut failures = readme::check(&registry::all());
    if !options.record {
        let mut suites: Vec<&str> = tests.iter().map(|test| test.suite).collect();
        suites.dedup();
        failures.extend(recorded::control(&suites, &registry::all()));
    }
    let mut outcomes = Vec::new();
    let mut kinds = backend::Kind::ALL;
    if options.record {
        // What the real server answers is there before the embedded one is held against it.
        kinds.rotate_right(1);
    }
    for kind in kinds {
        if !options
            .backends
            .as_ref()
            .is_none_or(|chosen| chosen.iter().any(|name| name == kind.name()))
        {
            continue;
        }
        match backend::Backend::start(kind).await {
            Ok(Some(backend)) => {
                outcomes.push((kind, run::all(&backend, &tests, &options).await));
                failures.extend(backend.stop().await.err());
            }
            Ok(None) if options.backends.is_some() => failures.push(format!("{}: no binaries", kind.name())),
            Ok(None) => println!("{}: not run: no binaries; `make kubernetes` builds them", kind.name()),
            Err(why) => failures.push(format!("{}: {why}", kind.name())),
        }
    }
    println!("{}", report::table(&outcomes));
    failures.extend(report::failures(&outcomes));
    for failure in &failures {
        println!("\nFAILED {failure}");
    }
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
