//! Arguments that say what a drill may do.

use std::sync::Arc;

use clap::{Args as ClapArgs, value_parser};
use showrunner_loadtest::{
    guardrail::{Place, Terms},
    http::{HostList, HostPattern},
};

/// What a drill may do, besides what its scenario says.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Guardrails (those of the scenario: spec.guardrails)")]
pub(crate) struct LimitArgs {
    /// On a cluster: the environment that it is taken for, which must be the platform's annotation showrunner.dev/environment
    #[arg(long, value_name = "NAME")]
    pub(crate) environment: Option<String>,
    /// A host that load may go to, `*.domain` for all below; may be repeated. Loopback is always allowed
    #[arg(long = "allow-host", value_name = "HOST")]
    pub(crate) allow_hosts: Vec<HostPattern>,
    /// Requests a second that may be planned or measured; 5000 by default on a cluster, any number in a sandbox
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub(crate) max_requests_per_second: Option<u32>,
}

impl LimitArgs {
    /// The terms of a drill that runs at `place`.
    pub(crate) fn terms(&self, place: Place) -> Terms {
        let usual = match place {
            Place::Sandbox => Terms::sandbox(),
            Place::Cluster => Terms::cluster(self.environment.clone()),
        };
        Terms {
            hosts: Arc::new(HostList::new(self.allow_hosts.clone())),
            requests_per_second: self.max_requests_per_second.or(usual.requests_per_second),
            ..usual
        }
    }
}

#[cfg(test)]
mod tests {
    use showrunner_loadtest::guardrail::REQUESTS_PER_SECOND;

    use super::*;

    #[test]
    fn a_cluster_has_a_cap_unless_another_is_named() {
        let named = LimitArgs {
            max_requests_per_second: Some(9),
            ..LimitArgs::default()
        };
        let cap = |args: &LimitArgs, place| args.terms(place).requests_per_second;
        assert_eq!(cap(&LimitArgs::default(), Place::Cluster), Some(REQUESTS_PER_SECOND));
        assert_eq!(cap(&LimitArgs::default(), Place::Sandbox), None);
        assert_eq!(
            (cap(&named, Place::Cluster), cap(&named, Place::Sandbox)),
            (Some(9), Some(9))
        );
    }
}
