//! One seed, one run: many of them, on every core, each in a runtime of its own whose time is paused.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// Failures after which no further seed is begun.
const ENOUGH: usize = 3;
/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(30);

/// Seeds to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What came of them.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Seeds that were run.
    pub ran: u64,
    /// The message of each seed that failed.
    pub failures: BTreeMap<u64, String>,
    /// Time all of it took.
    pub took: Duration,
}

impl Seeds {
    /// `SHOWRUNNER_SEED` (one alone), or `SHOWRUNNER_SEEDS` (how many) from `SHOWRUNNER_SEED_START`; by default `count`
    /// from 0.
    ///
    /// # Panics
    /// If a variable is no number: a test that runs other seeds than it was told would mislead.
    #[must_use]
    pub fn from_env(count: u64) -> Self {
        if let Some(first) = number("SHOWRUNNER_SEED") {
            return Self { first, count: 1 };
        }
        Self {
            first: number("SHOWRUNNER_SEED_START").unwrap_or(0),
            count: number("SHOWRUNNER_SEEDS").unwrap_or(count),
        }
    }

    /// Runs each seed. A run fails by its error or by a panic; one that takes longer than `limit` of real time ends the
    /// process, for a loop without an await cannot be ended otherwise. What failed is told as it fails, and twice a minute
    /// how far the run is: half an hour may pass until its end.
    pub fn run(self, limit: Duration, body: impl Fn(u64) -> Result<(), String> + Sync) -> Outcome {
        let begun = Instant::now();
        let next = AtomicU64::new(0);
        let failures = Mutex::new(BTreeMap::new());
        let ran = AtomicU64::new(0);
        let running: Mutex<BTreeMap<u64, Instant>> = Mutex::default();
        let workers = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let (alive, ended) = mpsc::channel::<()>();
            let running = &running;
            let (counted, failed) = (&ran, &failures);
            scope.spawn(move || {
                let mut told = begun;
                while ended.recv_timeout(Duration::from_millis(250)) == Err(mpsc::RecvTimeoutError::Timeout) {
                    end_if_stuck(limit, running);
                    if told.elapsed() >= PROGRESS {
                        told = Instant::now();
                        let ran = counted.load(Ordering::Relaxed);
                        eprintln!("{}", progress(ran, self.count, locked(failed).len(), begun.elapsed()));
                    }
                }
            });
            for _ in 0..workers {
                let alive = alive.clone();
                let (next, failures, ran, body) = (&next, &failures, &ran, &body);
                scope.spawn(move || {
                    while locked(failures).len() < ENOUGH {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= self.count {
                            break;
                        }
                        let seed = self.first.wrapping_add(index);
                        locked(running).insert(seed, Instant::now());
                        let outcome = catch_unwind(AssertUnwindSafe(|| body(seed)));
                        locked(running).remove(&seed);
                        ran.fetch_add(1, Ordering::Relaxed);
                        let failure = match outcome {
                            Ok(Ok(())) => continue,
                            Ok(Err(message)) => message,
                            Err(panic) => text(panic.as_ref()),
                        };
                        eprintln!("seed {seed} failed: {}", failure.lines().next().unwrap_or_default());
                        locked(failures).insert(seed, failure);
                    }
                    drop(alive);
                });
            }
        });
        Outcome {
            ran: ran.into_inner(),
            failures: failures.into_inner().unwrap_or_else(PoisonError::into_inner),
            took: begun.elapsed(),
        }
    }
}

impl Outcome {
    /// Fails with every failing seed and the command that replays it.
    ///
    /// # Panics
    /// If a seed failed.
    #[track_caller]
    pub fn expect_none(&self, replay: &str) {
        let failures: String = self
            .failures
            .iter()
            .map(|(seed, message)| {
                format!("\nseed {seed} failed: {message}\nreplay it with: SHOWRUNNER_SEED={seed} {replay}\n")
            })
            .collect();
        assert!(
            failures.is_empty(),
            "{} of {} seeds failed\n{failures}",
            self.failures.len(),
            self.ran
        );
        println!("{} seeds in {:.1} s", self.ran, self.took.as_secs_f64());
    }
}

/// Runs a future to its end on this thread, in paused time: it jumps ahead whenever everything waits. The seed is that of
/// the thread's own generator, which kube's watchers take the jitter of their retries from.
///
/// # Panics
/// If no runtime can be made.
pub fn paused<T>(seed: u64, run: impl Future<Output = T>) -> T {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    #[expect(clippy::expect_used, reason = "for tests: documented")]
    runtime.expect("a runtime").block_on(run)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    #[expect(clippy::panic, reason = "for tests: documented")]
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text:?} is not a number")),
    )
}

/// Ends the process if a seed runs for longer than `limit`.
fn end_if_stuck(limit: Duration, running: &Mutex<BTreeMap<u64, Instant>>) {
    let stuck = locked(running)
        .iter()
        .find(|(_, since)| since.elapsed() > limit)
        .map(|(seed, _)| *seed);
    if let Some(seed) = stuck {
        eprintln!("seed {seed} has not ended within {limit:?} of real time (SHOWRUNNER_SEED={seed} replays it)");
        std::process::exit(101);
    }
}

/// How far a run is, and how long it will still take if it goes on like that.
fn progress(ran: u64, count: u64, failed: usize, took: Duration) -> String {
    let took = took.as_secs_f64();
    let so_far = format!("{ran} of {count} seeds in {took:.0} s, {failed} failed");
    if ran == 0 {
        return so_far;
    }
    let ahead = took / ran as f64 * count.saturating_sub(ran) as f64;
    format!("{so_far}, {ahead:.0} s to go")
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let known = panic.downcast_ref::<String>().cloned();
    known
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "a panic without a message".into())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]
    use super::*;

    #[test]
    fn failing_seeds_are_told_by_error_and_by_panic() {
        let outcome = Seeds { first: 10, count: 6 }.run(Duration::from_mins(1), |seed| match seed {
            12 => Err("wrong".into()),
            13 => panic!("very wrong"),
            _ => Ok(()),
        });
        let failures: Vec<(u64, &str)> = outcome
            .failures
            .iter()
            .map(|(seed, message)| (*seed, message.as_str()))
            .collect();
        assert_eq!(failures, [(12, "wrong"), (13, "very wrong")]);
        assert_eq!(outcome.ran, 6);
        let told = catch_unwind(|| outcome.expect_none("cargo test")).unwrap_err();
        assert!(text(told.as_ref()).contains("SHOWRUNNER_SEED=13 cargo test"));
    }

    #[test]
    fn a_long_run_says_how_far_it_is() {
        let after = Duration::from_secs;
        assert_eq!(
            progress(2500, 10_000, 1, after(500)),
            "2500 of 10000 seeds in 500 s, 1 failed, 1500 s to go"
        );
        assert_eq!(progress(0, 10_000, 0, after(30)), "0 of 10000 seeds in 30 s, 0 failed");
    }

    #[test]
    fn paused_time_jumps() {
        let begun = Instant::now();
        paused(0, async { tokio::time::sleep(Duration::from_hours(24)).await });
        assert!(begun.elapsed() < Duration::from_mins(1));
    }
}
