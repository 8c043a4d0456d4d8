//! Runs the tests of one backend, several at a time, each with a deadline and a namespace of its own.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, stream};
use serde_json::json;

use crate::backend::{Backend, Kind};
use crate::context::{Ask, Context, DEADLINE, IN_VAIN};
use crate::registry::Test;
use crate::trace::Trace;
use crate::{exclusions, recorded};

/// Tests at a time.
const AT_ONCE: usize = 6;
/// Longest that one test may take.
const LIMIT: Duration = Duration::from_secs(90);
/// The suite that makes the server forget its history, which others rely on: it runs by itself, last.
const ALONE: &str = "expiry";
/// The suites that need what kube-controller-manager does.
const CONTROLLERS: [&str; 2] = ["deletion", "namespaces"];

/// What to run.
pub(crate) struct Options {
    filters: Vec<String>,
    pub(crate) list: bool,
    pub(crate) backends: Option<Vec<String>>,
    pub(crate) record: bool,
}

impl Options {
    pub(crate) fn from_environment() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let backends = std::env::var("CONTRACT_BACKENDS").ok();
        Self {
            list: arguments.iter().any(|argument| argument == "--list"),
            filters: arguments
                .into_iter()
                .filter(|argument| !argument.starts_with('-'))
                .collect(),
            backends: backends.map(|names| names.split(',').map(str::to_owned).collect()),
            record: std::env::var_os("CONTRACT_RECORD").is_some(),
        }
    }

    pub(crate) fn wants(&self, test: &Test) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| test.full_name().contains(filter))
    }
}

/// How a test ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// Failed, as the list of exclusions says it does.
    Excluded,
}

/// A test and how it ended.
pub(crate) type Result = (Test, Outcome);

pub(crate) async fn all(backend: &Backend, tests: &[Test], options: &Options) -> Vec<Result> {
    let (tests, left): (Vec<Test>, Vec<Test>) = tests
        .iter()
        .partition(|test| backend.controllers || !CONTROLLERS.contains(&test.suite));
    if !left.is_empty() {
        let (count, suites) = (left.len(), CONTROLLERS.join(", "));
        println!(
            "{}: {count} tests of {suites} not run: no kube-controller-manager",
            backend.kind.name()
        );
    }
    let (alone, together): (Vec<Test>, Vec<Test>) = tests.iter().partition(|test| test.suite == ALONE);
    // What waits for upstream's controllers goes first: these answer at a bounded rate, and every definition that another
    // test makes is work for them.
    let (first, then): (Vec<Test>, Vec<Test>) = together.iter().partition(|test| CONTROLLERS.contains(&test.suite));
    let mut results: Vec<Result> = Vec::new();
    for round in [first, then] {
        let round: Vec<Result> = stream::iter(round)
            .map(|test| one(backend, test, options))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        results.extend(round);
    }
    for test in alone {
        results.push(one(backend, test, options).await);
    }
    results
}

async fn one(backend: &Backend, test: Test, options: &Options) -> Result {
    let excluded = exclusions::find(backend.kind, &test.full_name());
    let id = format!("{}-{}", test.suite, test.name).replace('_', "-");
    let context = Context {
        client: backend.client.clone(),
        ns: id.clone(),
        id,
        trace: Arc::new(Mutex::new(Trace::default())),
        expire: backend.expire.clone(),
        patience: if excluded.is_some() { IN_VAIN } else { DEADLINE },
    };
    let trace = context.trace.clone();
    let work = async move {
        let namespace = json!({"metadata": {"name": context.ns}});
        let ask = Ask::json("POST", "/api/v1/namespaces", Some(&namespace));
        context.quiet(ask).await.code(201);
        (test.run)(context).await;
    };
    let ended = tokio::time::timeout(LIMIT, AssertUnwindSafe(work).catch_unwind()).await;
    let failure = match ended {
        // One that is excluded must fail by itself, not only answer otherwise.
        Ok(Ok(())) if excluded.is_some() => None,
        Ok(Ok(())) => compare(backend.kind, test, &trace, options).err(),
        Ok(Err(_)) => Some(LAST_PANIC.with_borrow_mut(std::mem::take)),
        Err(_) => Some(format!("not over within {} s", LIMIT.as_secs())),
    };
    let outcome = match (failure, excluded) {
        (None, None) => Outcome::Passed,
        (Some(_), Some(_)) => Outcome::Excluded,
        (Some(why), None) => Outcome::Failed(why),
        (None, Some(exclusion)) => Outcome::Failed(format!(
            "it passes, but is on the list of exclusions ({}): take it off",
            exclusion.what
        )),
    };
    (test, outcome)
}

/// Writes the trace of the real server, or holds the embedded one against it.
fn compare(kind: Kind, test: Test, trace: &Mutex<Trace>, options: &Options) -> std::result::Result<(), String> {
    let exchanges = trace.lock().unwrap().masked();
    match kind {
        Kind::Real if options.record => recorded::write(&test, &exchanges),
        Kind::Real => Ok(()),
        Kind::Embedded => recorded::compare(&test, &exchanges, options.record),
        Kind::Tcp => recorded::compare(&test, &exchanges, false),
    }
}

thread_local! {
    /// What the last panic of this thread said, and where.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what panics say for the report, instead of printing it between the lines of other tests.
pub(crate) fn catch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let said = panic.payload_as_str().unwrap_or("a panic without words");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        LAST_PANIC.set(format!("{place}: {said}"));
    }));
}
