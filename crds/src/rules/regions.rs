//! Regions: between them, they must be able to play.

use super::{Broken, Cluster::Cel, Rule, each, repeated, unless, url};
use crate::platform::{Region, Role, StreamingPlatform};

pub(super) const RULES: &[Rule<StreamingPlatform>] = &[
    Rule {
        at: "spec.regions",
        cluster: Cel("self.all(a, self.exists_one(b, b.name == a.name))"),
        message: "names of regions must be unique",
        check: |platform| repeated(&platform.spec.regions, "spec.regions", |region| &region.name),
    },
    Rule {
        at: "spec.regions[].roles",
        cluster: Cel("self.all(a, self.exists_one(b, b == a))"),
        message: "a role can be stated once",
        check: |platform| {
            each(&platform.spec.regions, "spec.regions", ".roles", |region| {
                region
                    .roles
                    .iter()
                    .enumerate()
                    .any(|(index, role)| region.roles[..index].contains(role))
            })
        },
    },
    Rule {
        at: "spec.regions[]",
        cluster: Cel("('encoder' in self.roles) == ('origin' in self.roles)"),
        message: "encoder and origin go together: a region has both or neither",
        check: |platform| {
            each(&platform.spec.regions, "spec.regions", ".roles", |region| {
                region.roles.contains(&Role::Encoder) != region.roles.contains(&Role::Origin)
            })
        },
    },
    Rule {
        at: "spec.regions",
        cluster: Cel("self.exists(r, 'encoder' in r.roles && 'origin' in r.roles)"),
        message: "at least one region must have the roles encoder and origin",
        check: |platform| {
            some(platform, |region| {
                has(region, Role::Encoder) && has(region, Role::Origin)
            })
        },
    },
    Rule {
        at: "spec.regions",
        cluster: Cel("self.exists(r, 'shield' in r.roles)"),
        message: "at least one region must have the role shield: edges fetch through shields, of any region",
        check: |platform| some(platform, |region| has(region, Role::Shield)),
    },
    Rule {
        at: "spec.regions",
        cluster: Cel("self.exists(r, 'edge' in r.roles)"),
        message: "at least one region must have the role edge",
        check: |platform| some(platform, |region| has(region, Role::Edge)),
    },
    Rule {
        at: "spec.regions",
        cluster: Cel("self.exists(r, 'steering' in r.roles)"),
        message: "at least one region must have the role steering",
        check: |platform| some(platform, |region| has(region, Role::Steering)),
    },
    Rule {
        at: "spec.regions",
        cluster: Cel("self.exists(r, 'edge' in r.roles && r.weight > 0)"),
        message: "at least one region with edges must have a weight above 0",
        check: |platform| some(platform, |region| has(region, Role::Edge) && region.weight > 0),
    },
    Rule {
        at: "spec.regions[]",
        cluster: Cel(concat!(
            "!has(self.publicUrl) || self.publicUrl.matches('",
            url::pattern!(),
            "')"
        )),
        message: "publicUrl must begin with http:// or https:// and be a host, perhaps with a port and a path",
        check: |platform| {
            each(&platform.spec.regions, "spec.regions", ".publicUrl", |region| {
                region.public_url.as_deref().is_some_and(|url| !url::is_base(url))
            })
        },
    },
    Rule {
        at: "spec",
        cluster: Cel("!self.regions.exists(r, has(r.cluster)) || \
              has(self.interconnect) && has(self.interconnect.sourceRanges) && size(self.interconnect.sourceRanges) > 0"),
        message: "a region with a cluster of its own needs interconnect.sourceRanges: whom origins and shields let in from \
                  other clusters",
        check: |platform| {
            let apart = platform.spec.regions.iter().any(|region| region.cluster.is_some());
            let stated = !platform.spec.interconnect.source_ranges.is_empty();
            unless(!apart || stated, "spec.interconnect.sourceRanges")
        },
    },
    Rule {
        at: "spec",
        cluster: Cel("self.resilience.regionsToLose < self.regions.filter(r, 'edge' in r.roles).size()"),
        message: "resilience.regionsToLose must be less than the number of regions with edges",
        check: |platform| {
            let edges = platform
                .spec
                .regions
                .iter()
                .filter(|region| has(region, Role::Edge))
                .count();
            unless(
                (platform.spec.resilience.regions_to_lose as usize) < edges,
                "spec.resilience.regionsToLose",
            )
        },
    },
];

pub(super) fn has(region: &Region, role: Role) -> bool {
    region.roles.contains(&role)
}

fn some(platform: &StreamingPlatform, wanted: impl Fn(&Region) -> bool) -> Vec<Broken> {
    unless(platform.spec.regions.iter().any(wanted), "spec.regions")
}
