//! Guardrails: what a drill may do, and what ends it.
//!
//! - [`optin`]: whether namespace and platform agree, and are what the caller takes them for *(pure)*.
//! - [`lever`]: the switch that ends every drill of a cluster.
//! - [`blast`]: how many regions and pods are touched at a time *(pure)*.
//! - [`window`]: what viewers met in the last seconds, and the conditions that end a run *(pure)*.
//! - [`rate`]: the requests a second that a scenario plans for *(pure)*.
//! - [`preflight`]: what is asked before anything is done.
//! - [`watch`]: what is asked all the time, and stops the run.
//!
//! The hosts that load may go to are [`crate::http::HostList`]. Never the last region that serves: [`crate::fault`].

pub mod blast;
pub mod lever;
pub mod optin;
pub mod preflight;
pub mod rate;
mod watch;
pub mod window;

use std::{fmt, sync::Arc};

pub use blast::{Ledger, Limits};
pub use watch::{Watchdog, Watched};

use crate::{drill::DrillError, http::HostList};

/// Requests a second that a drill on a cluster may cause, where nothing else is said.
pub const REQUESTS_PER_SECOND: u32 = 5000;

/// Where a drill runs. A sandbox belongs to whoever starts the drill; others depend on a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Started for this drill.
    Sandbox,
    /// There before.
    Cluster,
}

/// The terms a drill runs on, besides those of its scenario.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Where it runs.
    pub place: Place,
    /// The environment that the caller takes it for.
    pub environment: Option<String>,
    /// Where load may go.
    pub hosts: Arc<HostList>,
    /// Requests a second that may be planned or measured, if that is limited.
    pub requests_per_second: Option<u32>,
}

impl Terms {
    /// A sandbox, which needs nobody's leave: load stays on loopback.
    #[must_use]
    pub fn sandbox() -> Self {
        Self {
            place: Place::Sandbox,
            environment: None,
            hosts: Arc::default(),
            requests_per_second: None,
        }
    }

    /// A cluster that the caller takes for `environment`.
    #[must_use]
    pub fn cluster(environment: Option<String>) -> Self {
        Self {
            place: Place::Cluster,
            environment,
            hosts: Arc::default(),
            requests_per_second: Some(REQUESTS_PER_SECOND),
        }
    }
}

/// Which guardrail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guardrail {
    /// Namespace and platform agree to drills.
    OptIn,
    /// The platform is of the environment that was stated.
    Environment,
    /// The safety lever.
    SafetyLever,
    /// Regions touched at a time.
    MaxRegions,
    /// Share of a role's pods touched at a time.
    MaxPodPercent,
    /// Length of the run.
    MaxDuration,
    /// A stop condition of the scenario.
    StopWhen,
    /// Viewers should be there and nothing is heard of them.
    NoData,
    /// Hosts that load may go to.
    AllowHost,
    /// Requests a second.
    MaxRequestsPerSecond,
}

impl fmt::Display for Guardrail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OptIn => "opt-in",
            Self::Environment => "environment",
            Self::SafetyLever => "safety lever",
            Self::MaxRegions => "maxRegions",
            Self::MaxPodPercent => "maxPodPercent",
            Self::MaxDuration => "maxDuration",
            Self::StopWhen => "stopWhen",
            Self::NoData => "no data",
            Self::AllowHost => "allow-host",
            Self::MaxRequestsPerSecond => "max-requests-per-second",
        })
    }
}

/// A guardrail that was met, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tripped {
    /// Which.
    pub guardrail: Guardrail,
    /// What was found, and what would do.
    pub why: String,
}

impl Tripped {
    pub(crate) fn new(guardrail: Guardrail, why: impl Into<String>) -> Self {
        Self {
            guardrail,
            why: why.into(),
        }
    }
}

impl fmt::Display for Tripped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.guardrail, self.why)
    }
}

impl From<Tripped> for DrillError {
    fn from(tripped: Tripped) -> Self {
        DrillError::Guardrail(format!("guardrail: {tripped}"))
    }
}
