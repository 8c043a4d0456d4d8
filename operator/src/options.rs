//! How the operator runs.

use std::time::Duration;

use crate::{clock::Clock, remote::Connector};

/// Settings of [`crate::run`].
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    /// Namespace to serve; all of them where absent.
    pub namespace: Option<String>,
    /// Time between looks while there is an audience, a premiere or a raised floor.
    pub busy_interval: Duration,
    /// Time between looks otherwise: how late the first viewers are noticed.
    pub idle_interval: Duration,
    /// Time that what spans regions, and each region by itself, may take to be applied, for each stage.
    pub apply_deadline: Duration,
    /// Time that reading, and writing status, may take.
    pub request_deadline: Duration,
    /// Time that looking at another cluster may take, and each step of clearing one: as long as that, at most, one that does
    /// not answer delays the others. One that answers and hangs on writes has `apply_deadline`.
    pub cluster_deadline: Duration,
    /// How long changes are gathered before a platform is looked at.
    pub debounce: Duration,
    /// Platforms looked at concurrently. A look waits for API servers most of its time, and at one that hangs for as long as
    /// the deadlines allow: so many platforms may hang before others wait for them.
    pub concurrency: u16,
    /// Name of this instance in events; the host's name where absent.
    pub instance: Option<String>,
    /// Whether drills whose runner is gone are finished.
    pub finish_drills: bool,
    /// Where the time of day comes from.
    pub clock: Clock,
    /// How clients of other clusters are made.
    pub connector: Connector,
}

impl Default for OperatorOptions {
    fn default() -> Self {
        Self {
            namespace: None,
            busy_interval: Duration::from_millis(2500),
            idle_interval: Duration::from_secs(10),
            apply_deadline: Duration::from_secs(15),
            request_deadline: Duration::from_secs(10),
            cluster_deadline: Duration::from_secs(2),
            debounce: Duration::from_millis(200),
            concurrency: 64,
            instance: None,
            finish_drills: true,
            clock: Clock::System,
            connector: Connector::default(),
        }
    }
}
