//! Decisions per second on one core: `cargo bench -p showrunner-autoscaling`.
//!
//! Not part of the measure: reading objects into views, which a controller does once per change and not per decision.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{cpu, hpa, now, pods, remembered, samples, seen};
use showrunner_autoscaling::hpa::{Settings, evaluate, evaluate_traced};

const ROUND: Duration = Duration::from_millis(500);
const ROUNDS: usize = 5;

/// The best of several rounds, in calls per second: noise only ever slows a round down.
fn rate(mut call: impl FnMut()) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let (start, mut calls) = (Instant::now(), 0_u32);
        while start.elapsed() < ROUND {
            for _ in 0..64 {
                call();
            }
            calls += 64;
        }
        best = best.max(f64::from(calls) / start.elapsed().as_secs_f64());
    }
    best
}

fn main() {
    // `cargo test` builds and runs benches too, with `--test`; there is nothing to test here.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let (hpa, settings) = (hpa(1, 10_000, vec![cpu(50)]), Settings::default());
    println!("{:>6}  {:>16}  {:>16}", "pods", "decisions/s", "traced/s");
    for n in [10_usize, 100, 1000] {
        let observation = seen(n as i32, pods(n), samples(&vec![700; n]));
        let fresh = remembered(&[(n as i32, 400)]);
        let mut history = fresh.clone();
        let plain = rate(|| {
            // The one stale recommendation makes room for the new one, so the memory does not grow.
            history.clone_from(&fresh);
            black_box(evaluate(
                black_box(&hpa),
                black_box(&observation),
                &mut history,
                &settings,
                now_cached(),
            ));
        });
        let traced = rate(|| {
            history.clone_from(&fresh);
            black_box(evaluate_traced(
                black_box(&hpa),
                black_box(&observation),
                &mut history,
                &settings,
                now_cached(),
            ));
        });
        println!("{n:>6}  {plain:>16.0}  {traced:>16.0}");
    }
}

/// Parsing the instant is no part of a decision.
fn now_cached() -> jiff::Timestamp {
    static NOW: std::sync::OnceLock<jiff::Timestamp> = std::sync::OnceLock::new();
    *NOW.get_or_init(now)
}
