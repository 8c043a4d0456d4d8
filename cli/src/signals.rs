//! Ctrl-C, SIGTERM and SIGHUP.

use std::io::Write;

use showrunner_loadtest::audience::interrupt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// A token that is cancelled by Ctrl-C, SIGTERM or SIGHUP. A second one changes nothing: stopping undoes faults and ends
/// processes, and cutting that short would leave both behind.
pub(crate) fn stop_token() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    // Before any handler of tokio's: goose's own would exit on a second Ctrl-C.
    interrupt::claim(stop.clone());
    for kind in [SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind).map_err(|e| Failure::infrastructure(format!("no signal handler: {e}")))?;
        let stop = stop.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                stop.cancel();
            }
        });
    }
    let announced = stop.clone();
    tokio::spawn(async move {
        announced.cancelled().await;
        let _ = writeln!(
            std::io::stderr(),
            "stopping: faults are undone and processes ended first"
        );
    });
    Ok(stop)
}
