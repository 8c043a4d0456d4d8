//! Waiting for every fault of a run, whatever becomes of one of them.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::DrillError;
use crate::fault::FaultError;

/// What a fault's task gives: the fault's name, and how it went.
pub(super) type Worked = (String, Result<(), FaultError>);

/// Waits for all of them. The first failure ends the run; a panic counts as one. Says also whether a task panicked: its fault
/// is then not undone.
pub(super) async fn gather(mut faults: JoinSet<Worked>, stop: &CancellationToken) -> (Result<(), DrillError>, bool) {
    let (mut first, mut panicked) = (Ok(()), false);
    while let Some(joined) = faults.join_next().await {
        let failure = match joined {
            Ok((_, Ok(()))) => continue,
            Ok((name, Err(FaultError::Guardrail(why)))) => {
                DrillError::Guardrail(format!("guardrail at fault `{name}`: {why}"))
            }
            Ok((name, Err(source))) => DrillError::Fault { name, source },
            Err(died) => {
                panicked = true;
                DrillError::Died(died)
            }
        };
        // A fault that did not happen proves nothing: stop here instead of going through the motions.
        stop.cancel();
        first = first.and(Err(failure));
    }
    (first, panicked)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_the_run_and_the_other_faults_are_waited_for() {
        let stop = CancellationToken::new();
        let (ended, mut undone) = tokio::sync::oneshot::channel();
        let mut faults: JoinSet<Worked> = JoinSet::new();
        faults.spawn(async { panic!("a bug") });
        let seen = stop.clone();
        faults.spawn(async move {
            seen.cancelled().await;
            let _ = ended.send(());
            ("other".to_owned(), Ok(()))
        });
        let (outcome, panicked) = gather(faults, &stop).await;
        assert!(matches!(outcome, Err(DrillError::Died(_))) && panicked);
        assert!(undone.try_recv().is_ok(), "the other fault came to its end");
    }
}
