//! A process that dies at any of its calls to the cluster, before the call or after it took effect: whoever comes after it
//! finds what it left, takes it back, and the cluster is as it was.
//!
//! In process and in paused time: the embedded API server, a stand-in for Chaos Mesh's controller, and a client that is cut
//! off at its Nth call, for every N.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod actors;
mod sending;
mod world;

use std::time::Duration;

use actors::{Runner, die, finisher, recover};
use showrunner_loadtest::undo::Source;
use showrunner_unreliable::seeds::paused;
use world::World;

/// More calls than any actor here makes.
const MANY: u64 = 400;

/// Who comes after a process that died.
#[derive(Clone, Copy, Debug)]
enum Recovery {
    /// `showrunner undo` with the journal on disk.
    File,
    /// `showrunner undo` with the journal in the Drill.
    Status,
    /// The operator.
    Operator,
}

/// Plays a death at each call, and at those that write one after the write took effect too, until nobody dies. `play` says whether
/// somebody died, and whether at a write. Gives the number of calls, and of deaths.
fn at_every_call(mut play: impl FnMut(u64, bool) -> Option<bool>) -> (u64, u64) {
    let mut deaths = 0;
    for call in 0..MANY {
        let mut died = None;
        for carried_out in [false, true] {
            if carried_out && died == Some(false) {
                // A question that was answered is as good as one that was not.
                continue;
            }
            died = play(call, carried_out);
            deaths += u64::from(died.is_some());
        }
        if died.is_none() {
            return (call, deaths);
        }
    }
    panic!("there are more than {MANY} calls");
}

/// Lets a runner die at each of its calls, recovers, and gives what is not as it was before; and how many deaths there were.
fn deaths_of_the_runner(runner: Runner, recovery: Recovery) -> (u64, Vec<String>) {
    let mut wrong = Vec::new();
    let (_, deaths) = at_every_call(|call, carried_out| {
        let mut died = None;
        paused(call, async {
            let world = World::new().await;
            let before = world.snapshot().await;
            let dir = tempfile::tempdir().unwrap();
            died = die(&world, call, carried_out, |client| runner.run(client, dir.path())).await;
            let told = match recovery {
                Recovery::File => recover(&world, &Source::File(dir.path().join("journal.jsonl"))).await,
                Recovery::Status => recover(&world, &world::drill()).await,
                Recovery::Operator => finisher(&world).await,
            };
            let when = format!("{recovery:?}, call {call}, carried out: {carried_out}");
            wrong.extend(told.err().map(|error| format!("{when}: {error}")));
            let left = world.differences(&before).await;
            if !left.is_empty() {
                wrong.push(format!("{when}: {left}"));
            }
        });
        // One thing that is wrong is enough to notice a broken runner.
        died.filter(|_| runner == Runner::Ours || wrong.is_empty())
    });
    (deaths, wrong)
}

fn everything_is_undone(recovery: Recovery) {
    let (deaths, wrong) = deaths_of_the_runner(Runner::Ours, recovery);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(deaths > 30, "only {deaths} deaths");
}

#[test]
fn a_runner_that_dies_is_undone_from_its_journal_on_disk() {
    everything_is_undone(Recovery::File);
}

#[test]
fn a_runner_that_dies_is_undone_from_its_drill() {
    everything_is_undone(Recovery::Status);
}

#[test]
fn a_runner_that_dies_is_undone_by_the_operator() {
    everything_is_undone(Recovery::Operator);
}

/// The negative control: a runner that sends first and writes its journal then is caught.
#[test]
fn a_runner_whose_journal_comes_after_the_mutation_is_noticed() {
    for recovery in [Recovery::File, Recovery::Status, Recovery::Operator] {
        let (_, wrong) = deaths_of_the_runner(Runner::JournalLast, recovery);
        assert!(
            wrong
                .iter()
                .any(|line| line.contains("networkchaos") && line.contains("should not be there")),
            "{recovery:?} leaves nothing behind: {wrong:?}"
        );
    }
}

/// Two undos die, one after the other, at the same of their calls; the third comes to its end, and a fourth finds nothing.
fn an_undo_may_die_too(source: fn(&std::path::Path) -> Source) {
    let (calls, _) = at_every_call(|call, carried_out| {
        let mut died = None;
        paused(call, async {
            let world = World::new().await;
            let before = world.snapshot().await;
            let dir = tempfile::tempdir().unwrap();
            world.kill_in_the_middle(dir.path()).await;
            assert!(!world.differences(&before).await.is_empty(), "nothing to undo");
            let source = source(dir.path());
            for _ in 0..2 {
                let death = die(&world, call, carried_out, async |client| {
                    let _ = actors::undo(&client, &source).await;
                })
                .await;
                died = died.or(death);
            }
            let report = actors::undo(&world.client("person"), &source).await.unwrap();
            let when = format!("call {call}, carried out: {carried_out}");
            assert!(report.proved, "{when}: {report:?}");
            assert_eq!(world.differences(&before).await, "", "{when}");
            let again = actors::undo(&world.client("person"), &source).await.unwrap();
            assert!(again.proved && again.nothing_outstanding, "{again:?}");
        });
        died
    });
    assert!(calls > 10, "an undo makes only {calls} calls");
}

#[test]
fn an_undo_from_disk_that_dies_is_repeated() {
    an_undo_may_die_too(|dir| Source::File(dir.join("journal.jsonl")));
}

#[test]
fn an_undo_from_the_drill_that_dies_is_repeated() {
    an_undo_may_die_too(|_| world::drill());
}

#[test]
fn an_operator_that_dies_is_followed_by_another() {
    let (_, deaths) = at_every_call(|call, carried_out| {
        let mut died = None;
        paused(call, async {
            let world = World::new().await;
            let before = world.snapshot().await;
            let dir = tempfile::tempdir().unwrap();
            world.kill_in_the_middle(dir.path()).await;
            for _ in 0..2 {
                let death = die(&world, call, carried_out, async |client| {
                    actors::operate(client, &world, Duration::from_secs(120)).await.unwrap();
                })
                .await;
                died = died.or(death);
            }
            finisher(&world).await.unwrap();
            let when = format!("call {call}, carried out: {carried_out}");
            assert_eq!(world.differences(&before).await, "", "{when}");
        });
        died
    });
    assert!(deaths >= 10, "only {deaths} deaths");
}

/// A runner that was only held up, for longer than its lease, finds itself fenced: it sends nothing more and stops.
#[test]
fn a_runner_that_comes_back_after_it_was_taken_over_injects_nothing() {
    paused(0, async {
        let world = World::new().await;
        let before = world.snapshot().await;
        let dir = tempfile::tempdir().unwrap();
        let client = world.client("runner");
        let record = actors::record(&client).await;
        let journal = actors::journal(dir.path(), &record);
        // It is not polled meanwhile, and so does not renew.
        finisher(&world).await.unwrap();
        let refused = journal.intent("slow-edges", actors::some_undo()).await.unwrap_err();
        assert!(
            refused.to_string().contains("taken over") || refused.to_string().contains("not renewed"),
            "{refused}"
        );
        let halt = showrunner_loadtest::drill::Halt::new(tokio_util::sync::CancellationToken::new());
        tokio::time::timeout(Duration::from_secs(60), record.keep(&halt))
            .await
            .unwrap();
        assert!(halt.token().is_cancelled(), "it is told to stop");
        assert_eq!(world.differences(&before).await, "");
    });
}
