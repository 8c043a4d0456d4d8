//! What a real audience asks for.

use super::{Cluster::Cel, Rule, each, regions::has, unless};
use crate::platform::{Environment, Role, StreamingPlatform};

pub(super) const RULES: &[Rule<StreamingPlatform>] = &[
    Rule {
        at: "spec",
        cluster: Cel("self.environment != 'production' || self.regions.filter(r, 'edge' in r.roles).size() >= 3"),
        message: "production needs at least 3 regions with edges",
        check: |platform| {
            unless(
                !production(platform) || count(platform, Role::Edge) >= 3,
                "spec.regions",
            )
        },
    },
    Rule {
        at: "spec",
        cluster: Cel("self.environment != 'production' || self.regions.filter(r, 'encoder' in r.roles).size() >= 2"),
        message: "production needs at least 2 regions that encode",
        check: |platform| {
            unless(
                !production(platform) || count(platform, Role::Encoder) >= 2,
                "spec.regions",
            )
        },
    },
    Rule {
        at: "spec",
        cluster: Cel("self.environment != 'production' || self.resilience.regionsToLose >= 1"),
        message: "production must survive the loss of a region: resilience.regionsToLose must be at least 1",
        check: |platform| {
            let survives = platform.spec.resilience.regions_to_lose >= 1;
            unless(!production(platform) || survives, "spec.resilience.regionsToLose")
        },
    },
    Rule {
        at: "spec",
        cluster: Cel(
            "self.environment != 'production' || self.regions.all(r, !('edge' in r.roles) || \
              has(r.publicUrl) && r.publicUrl.startsWith('https://'))",
        ),
        message: "in production every region with edges needs an https publicUrl",
        check: |platform| {
            let secure = |url: Option<&str>| url.is_some_and(|url| url.starts_with("https://"));
            each(&platform.spec.regions, "spec.regions", ".publicUrl", |region| {
                production(platform) && has(region, Role::Edge) && !secure(region.public_url.as_deref())
            })
        },
    },
    Rule {
        at: "spec",
        cluster: Cel("self.environment != 'production' || !has(self.services) || \
              self.services.all(s, !has(s.url) || s.url.startsWith('https://'))"),
        message: "in production the url of a service must be https",
        check: |platform| {
            each(&platform.spec.services, "spec.services", ".url", |service| {
                production(platform) && service.url.as_deref().is_some_and(|url| !url.starts_with("https://"))
            })
        },
    },
];

fn production(platform: &StreamingPlatform) -> bool {
    platform.spec.environment == Environment::Production
}

fn count(platform: &StreamingPlatform, role: Role) -> usize {
    platform.spec.regions.iter().filter(|region| has(region, role)).count()
}
