//! Names: of the platform, because it begins the name of everything; of services, because they share that space.

use super::{Broken, Cluster::Cel, Rule, each, unless};
use crate::{
    platform::{Role, StreamingPlatform},
    source::shown,
};

/// Longest name of a StatefulSet: its pods carry the label `controller-revision-hash: <name>-<10 characters>`, and a
/// label's value has at most 63.
const LONGEST_WORKLOAD: usize = 52;

pub(super) const RULES: &[Rule<StreamingPlatform>] = &[
    Rule {
        at: "",
        cluster: Cel("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')"),
        message: "the name must be a DNS label that begins with a letter: it begins the names of Services",
        check: |platform| {
            let name = name(platform);
            if is_label(name) {
                return vec![];
            }
            vec![Broken {
                // Nothing else was looked at, so nothing else that is wrong hides it.
                reads: Some("metadata.name".into()),
                ..Broken::because("metadata.name", format!("found `{}`", shown(name)))
            }]
        },
    },
    Rule {
        at: "",
        cluster: Cel("self.spec.regions.all(r, self.spec.channels.all(c, \
              size(self.metadata.name) + size(r.name) + size(c.name) <= 42))"),
        message: "the names of platform, region and channel must be at most 42 characters together: an object's name has \
                  room for no more",
        check: |platform| {
            let longest = |names: &mut dyn Iterator<Item = &String>| names.map(String::len).max().unwrap_or(0);
            let regions = longest(&mut platform.spec.regions.iter().map(|region| &region.name));
            let channels = longest(&mut platform.spec.channels.iter().map(|channel| &channel.name));
            let fixed = "--encoder-".len();
            unless(
                name(platform).len() + regions + channels + fixed <= LONGEST_WORKLOAD,
                "metadata.name",
            )
        },
    },
    Rule {
        at: "spec.services[]",
        cluster: Cel("!(self.name in ['encoder', 'origin', 'shield', 'edge', 'steering', 'services'])"),
        message: "a service may not have the name of a role",
        check: |platform| {
            each(&platform.spec.services, "spec.services", ".name", |service| {
                Role::ALL.iter().any(|role| role.as_str() == service.name)
            })
        },
    },
    Rule {
        at: "spec",
        cluster: Cel(
            "!has(self.services) || self.services.all(s, self.regions.all(r, !s.name.startsWith(r.name + '-')))",
        ),
        message: "a service's name may not begin with a region's name and a dash: it would be taken for one of the region's",
        check: |platform| {
            let spec = &platform.spec;
            each(&spec.services, "spec.services", ".name", |service| {
                let rest = |region: &str| {
                    service
                        .name
                        .strip_prefix(region)
                        .is_some_and(|rest| rest.starts_with('-'))
                };
                spec.regions.iter().any(|region| rest(&region.name))
            })
        },
    },
];

fn name(platform: &StreamingPlatform) -> &str {
    platform.metadata.name.as_deref().unwrap_or_default()
}

fn is_label(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}
