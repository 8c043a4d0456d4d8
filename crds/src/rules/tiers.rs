//! Edge, steering, services.

use super::{Cluster::Cel, Rule, each, regions::has, repeated, unless, url};
use crate::platform::{Role, StreamingPlatform};

pub(super) const RULES: &[Rule<StreamingPlatform>] = &[
    Rule {
        at: "spec.edge.autoscaling",
        cluster: Cel("self.minReplicas <= self.maxReplicas"),
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
        at: "spec.images",
        cluster: Cel("[self.media, self.cache, self.cacheCommand].all(text, text.matches('^[[:graph:]]+$'))"),
        message: "names of images and of the cache's command have no blanks",
        check: |platform| {
            let images = &platform.spec.images;
            let blank = |text: &str| text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic());
            [
                ("media", &images.media),
                ("cache", &images.cache),
                ("cacheCommand", &images.cache_command),
            ]
            .into_iter()
            .filter(|(_, text)| blank(text))
            .map(|(field, _)| format!("spec.images.{field}").into())
            .collect()
        },
    },
    Rule {
        at: "spec.steering.probe",
        cluster: Cel("self.timeoutMs < self.intervalMs"),
        message: "timeoutMs must be less than intervalMs: probes must not overlap",
        check: |platform| {
            let probe = &platform.spec.steering.probe;
            unless(probe.timeout_ms < probe.interval_ms, "spec.steering.probe.timeoutMs")
        },
    },
    Rule {
        at: "spec.services",
        cluster: Cel("self.all(a, self.exists_one(b, b.name == a.name))"),
        message: "names of services must be unique",
        check: |platform| repeated(&platform.spec.services, "spec.services", |service| &service.name),
    },
    Rule {
        at: "spec.services[]",
        cluster: Cel(concat!("!has(self.url) || self.url.matches('", url::pattern!(), "')")),
        message: "url must begin with http:// or https:// and be a host, perhaps with a port and a path",
        check: |platform| {
            each(&platform.spec.services, "spec.services", ".url", |service| {
                service.url.as_deref().is_some_and(|url| !url::is_base(url))
            })
        },
    },
    Rule {
        at: "spec",
        cluster: Cel(
            "!has(self.services) || self.services.all(s, has(s.url)) || self.regions.exists(r, 'services' in r.roles)",
        ),
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
