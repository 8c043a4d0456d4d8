//! A keyed work queue: one entry per key, never two workers on one key, debounce, per-key backoff with jitter.
//!
//! It holds each key at most once, so the number of objects bounds its length.

use super::ReconcileError;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// First retry after a failure; doubles each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
/// Longest pause between retries of one key.
const BACKOFF_MOST: Duration = Duration::from_secs(30);

/// What a key must be: cheap to clone, ordered, printable.
pub(crate) trait QueueKey: Clone + Ord + Hash + Debug + Display + Send + Sync + 'static {}
impl<T: Clone + Ord + Hash + Debug + Display + Send + Sync + 'static> QueueKey for T {}

struct State<K> {
    order: BTreeSet<(Instant, K)>,
    due: HashMap<K, Instant>,
    running: HashSet<K>,
    /// Failures in a row.
    failures: HashMap<K, u32>,
}

struct Shared<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    debounce: Duration,
}

/// A handle to the queue; clones share it.
pub(crate) struct Queue<K>(Arc<Shared<K>>);

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: QueueKey> Queue<K> {
    /// `debounce` is how long a key rests after it was added, so that a burst of events becomes one reconciliation.
    pub(crate) fn new(debounce: Duration) -> Self {
        let state = State {
            order: BTreeSet::new(),
            due: HashMap::new(),
            running: HashSet::new(),
            failures: HashMap::new(),
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            changed: Notify::new(),
            debounce,
        }))
    }

    /// Asks for a reconciliation of `key`, soon.
    pub(crate) fn add(&self, key: K) {
        self.add_after(key, self.0.debounce);
    }

    /// Asks for a reconciliation of `key` after `delay`; an earlier request stands.
    pub(crate) fn add_after(&self, key: K, delay: Duration) {
        let at = Instant::now() + delay;
        let mut state = self.state();
        match state.due.get(&key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => {
                let entry = (*later, key.clone());
                state.order.remove(&entry);
            }
            None => {}
        }
        state.due.insert(key.clone(), at);
        state.order.insert((at, key));
        drop(state);
        self.0.changed.notify_one();
    }

    /// Reconciles keys, at most `workers` at a time, until cancelled. What is running then is finished first.
    pub(crate) async fn work<F, R>(&self, controller: &str, workers: usize, cancel: &CancellationToken, reconcile: F)
    where
        F: Fn(K) -> R,
        R: Future<Output = Result<Option<Duration>, ReconcileError>>,
    {
        let mut running = FuturesUnordered::new();
        loop {
            let mut next = None;
            while running.len() < workers && !cancel.is_cancelled() {
                match self.take() {
                    Taken::Key(key) => {
                        let work = reconcile(key.clone());
                        running.push(async move { (key, work.await) });
                    }
                    Taken::At(at) => {
                        next = Some(at);
                        break;
                    }
                    Taken::Nothing => break,
                }
            }
            if cancel.is_cancelled() && running.is_empty() {
                return;
            }
            tokio::select! {
                Some((key, result)) = running.next(), if !running.is_empty() => self.done(controller, key, result),
                () = self.0.changed.notified() => {}
                () = sleep_until(next), if next.is_some() => {}
                () = cancel.cancelled(), if !cancel.is_cancelled() => {}
            }
        }
    }

    fn take(&self) -> Taken<K> {
        let mut state = self.state();
        let now = Instant::now();
        // A key that is being worked on waits for that to end; others overtake it.
        let Some((at, key)) = state
            .order
            .iter()
            .find(|(_, key)| !state.running.contains(key))
            .cloned()
        else {
            return Taken::Nothing;
        };
        if at > now {
            return Taken::At(at);
        }
        state.order.remove(&(at, key.clone()));
        state.due.remove(&key);
        state.running.insert(key.clone());
        Taken::Key(key)
    }

    fn done(&self, controller: &str, key: K, result: Result<Option<Duration>, ReconcileError>) {
        let mut state = self.state();
        state.running.remove(&key);
        let again = match result {
            Ok(again) => {
                state.failures.remove(&key);
                again
            }
            Err(error) => {
                let failures = state.failures.entry(key.clone()).or_default();
                *failures = failures.saturating_add(1);
                let pause = backoff(*failures, fastrand::f64());
                if error.is_expected() {
                    tracing::debug!(controller, %key, %error, ?pause, "will retry");
                } else {
                    tracing::warn!(controller, %key, %error, ?pause, "will retry");
                }
                Some(pause)
            }
        };
        drop(state);
        match again {
            Some(pause) => self.add_after(key, pause),
            None => self.0.changed.notify_one(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Taken<K> {
    Key(K),
    At(Instant),
    Nothing,
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The pause before retry number `failures`: exponential, between half and the whole of it by `chance` in [0, 1).
fn backoff(failures: u32, chance: f64) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(20)));
    doubled.min(BACKOFF_MOST).mul_f64(0.5 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn backoff_grows_to_its_limit_with_jitter() {
        assert_eq!(backoff(1, 0.0), Duration::from_millis(5));
        assert_eq!(backoff(3, 0.0), Duration::from_millis(20));
        assert_eq!(backoff(200, 0.0), BACKOFF_MOST / 2);
        assert!(backoff(200, 0.999) < BACKOFF_MOST);
    }

    #[tokio::test]
    async fn a_burst_becomes_one_run_and_a_change_while_running_another() {
        let queue: Queue<String> = Queue::new(Duration::from_millis(5));
        let cancel = CancellationToken::new();
        let runs = AtomicUsize::new(0);
        for _ in 0..100 {
            queue.add("a".into());
        }
        let work = queue.work("test", 4, &cancel, |key| {
            let first = runs.fetch_add(1, Ordering::SeqCst) == 0;
            let (queue, cancel) = (queue.clone(), cancel.clone());
            async move {
                if first {
                    queue.add(key);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                } else {
                    cancel.cancel();
                }
                Ok(None)
            }
        });
        tokio::time::timeout(Duration::from_secs(5), work).await.unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn one_key_never_runs_twice_at_once_and_concurrency_is_bounded() {
        let queue: Queue<String> = Queue::new(Duration::ZERO);
        let cancel = CancellationToken::new();
        let (now, most, total) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        for key in 0..10 {
            queue.add(key.to_string());
        }
        let work = queue.work("test", 3, &cancel, |_| async {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            if total.fetch_add(1, Ordering::SeqCst) == 9 {
                cancel.cancel();
            }
            Ok(None)
        });
        tokio::time::timeout(Duration::from_secs(5), work).await.unwrap();
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert_eq!(total.load(Ordering::SeqCst), 10);
    }

    #[tokio::test]
    async fn a_failure_is_retried_and_does_not_hold_up_others() {
        let queue: Queue<String> = Queue::new(Duration::ZERO);
        let cancel = CancellationToken::new();
        let (bad, good) = (AtomicUsize::new(0), AtomicUsize::new(0));
        queue.add("bad".into());
        queue.add("good".into());
        let work = queue.work("test", 1, &cancel, |key| {
            let failed = if key == "bad" {
                bad.fetch_add(1, Ordering::SeqCst) + 1
            } else {
                0
            };
            if key == "good" {
                good.fetch_add(1, Ordering::SeqCst);
            }
            if failed == 3 {
                cancel.cancel();
            }
            async move {
                if failed > 0 {
                    Err(ReconcileError::Invalid("no".into()))
                } else {
                    Ok(None)
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(5), work).await.unwrap();
        assert_eq!((bad.load(Ordering::SeqCst), good.load(Ordering::SeqCst)), (3, 1));
    }
}
