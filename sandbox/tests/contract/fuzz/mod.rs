//! The embedded server beside Kubernetes' own, under sequences of requests that nobody thought of.
//!
//! Each sequence is drawn from a seed and its number, sent to both servers, and the answers and the events of a watch are
//! compared as recorded traces are. One that differs is made as short as it gets and printed, with the tests' own words for
//! what differs; it belongs into a suite then, and the difference is mended.

mod bodies;
mod play;
mod step;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::sync::Mutex;

use crate::backend::{Backend, Kind};
use play::Player;
use step::Sequence;

/// Sequences at a time.
const AT_ONCE: usize = 4;
/// Differences after which it is enough.
const ENOUGH: usize = 60;
/// Most attempts to make a sequence shorter.
const SHRINKS: usize = 60;

/// What to play.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    seed: u64,
    first: u64,
    count: u64,
}

impl Plan {
    /// `CONTRACT_FUZZ` says how many sequences, `CONTRACT_SEED` with which seed, `CONTRACT_FIRST` from which one on.
    pub(crate) fn from_environment() -> Option<Self> {
        let number = |name: &str| {
            let value = std::env::var(name).ok()?;
            Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
        };
        Some(Self {
            count: number("CONTRACT_FUZZ")?,
            seed: number("CONTRACT_SEED").unwrap_or(1),
            first: number("CONTRACT_FIRST").unwrap_or(0),
        })
    }
}

/// Plays all sequences on both servers; gives what differed.
pub(crate) async fn run(plan: Plan) -> Vec<String> {
    let backends = match (Backend::start(Kind::Embedded).await, Backend::start(Kind::Real).await) {
        (Ok(Some(ours)), Ok(Some(real))) => [ours, real],
        (_, Ok(None)) => return vec!["no binaries; `make kubernetes` builds them".to_owned()],
        (ours, real) => return ours.err().into_iter().chain(real.err()).collect(),
    };
    let found = Arc::new(Mutex::new(Vec::new()));
    let known = Arc::new(Mutex::new(Vec::new()));
    let (next, played) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let players = [Player::new(&backends[0]).await, Player::new(&backends[1]).await];
    let workers = (0..AT_ONCE).map(|worker| {
        let (found, known, next) = (found.clone(), known.clone(), next.clone());
        let (played, players) = (played.clone(), players.clone());
        let runtime = tokio::runtime::Handle::current();
        // What draws a sequence stays on one thread.
        tokio::task::spawn_blocking(move || {
            runtime.block_on(async move {
                let players = [
                    players[0].in_namespace(worker).await,
                    players[1].in_namespace(worker).await,
                ];
                while found.lock().await.len() < ENOUGH {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= plan.count {
                        return;
                    }
                    if let Some(difference) = one(plan.seed, plan.first + index, &players, &known).await {
                        println!("\nDIFFERENT {difference}");
                        found.lock().await.push(difference);
                    }
                    let played = played.fetch_add(1, Ordering::Relaxed) + 1;
                    if played.is_multiple_of(500) {
                        println!("{played} sequences");
                    }
                }
            });
        })
    });
    let ended = futures::future::join_all(workers).await;
    let mut failures: Vec<String> = ended
        .into_iter()
        .filter_map(|end| Some(format!("{}", end.err()?)))
        .collect();
    println!(
        "fuzz: {} sequences with seed {} from {} on, {} differ",
        played.load(Ordering::Relaxed),
        plan.seed,
        plan.first,
        found.lock().await.len()
    );
    failures.append(&mut *found.lock().await);
    for backend in backends {
        failures.extend(backend.stop().await.err());
    }
    failures
}

/// What differs, without what is particular to one sequence.
fn gist(difference: &str) -> String {
    let gist: String = difference
        .split_once(": ")
        .map_or(difference, |(_, rest)| rest)
        .chars()
        .take(120)
        .collect();
    gist.replace(|c: char| c.is_ascii_digit(), "")
}

/// One sequence, by its number; the shortest one like it that still differs. One that differs as another did is only
/// counted.
async fn one(seed: u64, index: u64, players: &[Player; 2], known: &Mutex<Vec<String>>) -> Option<String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&index.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut tree = step::sequence().new_tree(&mut runner).unwrap();
    let mut differs = difference(&tree.current(), players).await?;
    let mut shortest = tree.current();
    let gist = gist(&differs);
    let mut all = known.lock().await;
    if all.contains(&gist) {
        return Some(format!("seed {seed}, sequence {index}: {differs} (like another)"));
    }
    all.push(gist);
    drop(all);
    let mut left = SHRINKS;
    while left > 0 && tree.simplify() {
        while left > 0 {
            left -= 1;
            let candidate = tree.current();
            if let Some(found) = difference(&candidate, players).await {
                (differs, shortest) = (found, candidate);
                break;
            }
            if !tree.complicate() {
                left = 0;
            }
        }
    }
    Some(format!("seed {seed}, sequence {index}: {differs}\n{shortest}"))
}

async fn difference(sequence: &Sequence, players: &[Player; 2]) -> Option<String> {
    let (ours, real) = tokio::join!(players[0].play(sequence), players[1].play(sequence));
    crate::recorded::difference(&real, &ours)
}
