//! Leader election: of several operators one works, the others stand by.

use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseCreateMode, LeaseManagerBuilder, LeaseManagerError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    controller::{self, run},
    options::OperatorOptions,
};

/// Name of the Lease.
pub const LEASE: &str = "showrunner-operator";
/// Field manager of the Lease.
const MANAGER: &str = "showrunner-operator/leader";
/// Seconds after which a leader that is silent has lost.
const DURATION_SECONDS: u64 = 15;
/// Seconds before that at which it renews.
const GRACE_SECONDS: u64 = 5;
/// How long looks may go on once the lead is lost: less than the next leader needs to notice.
const WIND_DOWN: Duration = Duration::from_secs(2);
/// How long giving the lease back may take at the end.
const RELEASE_DEADLINE: Duration = Duration::from_secs(5);

/// Why election ended.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// The Lease cannot be used.
    #[error("lease: {0}")]
    Lease(#[from] LeaseManagerError),
    /// The task that renews the lease ended.
    #[error("the lease is no longer renewed")]
    Renewal,
    /// The operator failed while it led.
    #[error(transparent)]
    Operator(#[from] controller::Error),
}

/// Runs the operator whenever this instance leads, until the token is cancelled.
pub async fn run_elected(
    client: Client,
    options: OperatorOptions,
    namespace: &str,
    identity: &str,
    stop: CancellationToken,
) -> Result<(), LeaderError> {
    let manager = LeaseManagerBuilder::new(client.clone(), LEASE)
        .with_namespace(namespace)
        .with_identity(identity)
        .with_field_manager(MANAGER)
        .with_duration(DURATION_SECONDS)
        .with_grace(GRACE_SECONDS)
        .with_create_mode(LeaseCreateMode::AutoCreate)
        .build()
        .await?;
    let (mut leading, renewal) = manager.watch().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            elected = leading.wait_for(|leads| *leads) => drop(elected.map_err(|_| LeaderError::Renewal)?),
        }
        info!(identity, "leading");
        let term = stop.child_token();
        let mut operator = Box::pin(run(client.clone(), options.clone(), term.clone()));
        let deposed = tokio::select! {
            outcome = &mut operator => {
                outcome?;
                false
            }
            lost = leading.wait_for(|leads| !*leads) => {
                drop(lost.map_err(|_| LeaderError::Renewal)?);
                true
            }
        };
        if deposed {
            warn!(identity, "no longer leading");
            term.cancel();
            // What is still under way is dropped after a moment: two leaders must not write at the same time.
            if let Ok(outcome) = tokio::time::timeout(WIND_DOWN, operator).await {
                outcome?;
            }
        }
    }
    // With the channel closed the manager gives the lease back.
    drop(leading);
    if tokio::time::timeout(RELEASE_DEADLINE, renewal).await.is_err() {
        warn!("the lease was not given back; it expires by itself");
    }
    Ok(())
}
