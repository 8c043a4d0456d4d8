//! Edge, steering, services.

use super::{Rule, each, is_http, regions::has, repeated, unless};
use crate::platform::{Role, StreamingPlatform};

pub(super) const RULES: &[Rule<StreamingPlatform>] = &[
    Rule {
        at: "spec.edge.autoscaling",
        cel: "self.minReplicas <= self.maxReplicas",
        message: "minReplicas must not be more than maxReplicas",
        check: |platform| {
            let autoscaling = &platform.spec.edge.autoscaling;
            unless(
                autoscaling.min_replicas <= autoscaling.max_replicas,
                "spec.edge.autoscaling.minReplicas",
            )
        },
    },
    Rule {
        at: "spec.steering.probe",
        cel: "self.timeoutMs < self.intervalMs",
        message: "timeoutMs must be less than intervalMs: probes must not overlap",
        check: |platform| {
            let probe = &platform.spec.steering.probe;
            unless(probe.timeout_ms < probe.interval_ms, "spec.steering.probe.timeoutMs")
        },
    },
    Rule {
        at: "spec.services",
        cel: "self.all(a, self.exists_one(b, b.name == a.name))",
        message: "names of services must be unique",
        check: |platform| repeated(&platform.spec.services, "spec.services", |service| &service.name),
    },
    Rule {
        at: "spec.services[]",
        cel: "!has(self.url) || self.url.startsWith('http://') || self.url.startsWith('https://')",
        message: "url must begin with http:// or https://",
        check: |platform| {
            each(&platform.spec.services, "spec.services", ".url", |service| {
                service.url.as_deref().is_some_and(|url| !is_http(url))
            })
        },
    },
    Rule {
        at: "spec",
        cel: "!has(self.services) || self.services.all(s, has(s.url)) || self.regions.exists(r, 'services' in r.roles)",
        message: "services without a url are deployed: at least one region must have the role services",
        check: |platform| {
            let spec = &platform.spec;
            let external = spec.services.iter().all(|service| service.url.is_some());
            unless(
                external || spec.regions.iter().any(|region| has(region, Role::Services)),
                "spec.services",
            )
        },
    },
];
