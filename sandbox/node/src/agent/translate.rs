//! What stands in for DNS and mount namespaces: names and paths in a container's texts become what they mean on the host.
//!
//! `NAME.NAMESPACE.svc[.cluster.local]` becomes the pod's own link to that Service, and a volume's mount path becomes the
//! directory that holds the volume.

use crate::key::ServiceKey;
use crate::network::LinkTarget;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The longest host name DNS allows; longer runs of letters (base64, say) are not looked into.
const LONGEST_HOST: usize = 253;

/// What the texts of one pod are translated with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    hosts: BTreeMap<LinkTarget, String>,
    /// Mount path (no trailing slash) → host path, the longest mount path first.
    mounts: Vec<(String, String)>,
}

impl Translation {
    /// A translation of these Service references and mount points.
    pub fn new(hosts: BTreeMap<LinkTarget, String>, mounts: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut mounts: Vec<(String, String)> = mounts
            .into_iter()
            .map(|(mount, host)| (mount.trim_end_matches('/').to_owned(), host))
            .filter(|(mount, _)| mount.starts_with('/'))
            .collect();
        mounts.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        Self { hosts, mounts }
    }

    /// The same Services with another container's mounts.
    #[must_use]
    pub fn with_mounts(&self, mounts: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::new(self.hosts.clone(), mounts)
    }

    /// The text as the process should see it.
    pub fn apply(&self, text: &str) -> String {
        self.paths(&self.names(text))
    }

    fn names(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut copied = 0;
        for (range, target) in hosts_in(text) {
            if let Some(host) = self.hosts.get(&target) {
                result.push_str(&text[copied..range.start]);
                result.push_str(host);
                copied = range.end;
            }
        }
        result.push_str(&text[copied..]);
        result
    }

    fn paths(&self, text: &str) -> String {
        if self.mounts.is_empty() {
            return text.to_owned();
        }
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        let mut before: Option<char> = None;
        while let Some(next) = rest.chars().next() {
            let found = (next == '/' && starts_path(before, &result))
                .then(|| self.mount_at(rest))
                .flatten();
            if let Some((mount, host)) = found {
                result.push_str(host);
                rest = &rest[mount.len()..];
                before = mount.chars().next_back();
            } else {
                result.push(next);
                rest = &rest[next.len_utf8()..];
                before = Some(next);
            }
        }
        result
    }

    fn mount_at(&self, text: &str) -> Option<(&str, &str)> {
        let found = self.mounts.iter().find(|(mount, _)| {
            text.strip_prefix(mount.as_str())
                .is_some_and(|after| !after.chars().next().is_some_and(is_name))
        });
        found.map(|(mount, host)| (mount.as_str(), host.as_str()))
    }
}

/// Whether a character continues a path's last component.
fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// A slash begins an absolute path unless it continues one, or belongs to a URL other than `file://`.
fn starts_path(before: Option<char>, so_far: &str) -> bool {
    match before {
        None => true,
        Some('/') => so_far.ends_with("file://"),
        Some(c) => !is_name(c) && c != ']' && c != '}',
    }
}

/// The Services that a text refers to.
pub fn references(text: &str) -> BTreeSet<LinkTarget> {
    hosts_in(text).into_iter().map(|(_, target)| target).collect()
}

fn hosts_in(text: &str) -> Vec<(Range<usize>, LinkTarget)> {
    if !text.contains(".svc") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut start = None;
    let ends = text.char_indices().chain(std::iter::once((text.len(), ' ')));
    for (index, c) in ends {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') {
            start.get_or_insert(index);
        } else if let Some(start) = start.take() {
            let run = &text[start..index];
            let host = run.trim_end_matches('.');
            if let Some(target) = parse(host) {
                found.push((start..start + host.len(), target));
            }
        }
    }
    found
}

/// `[hostname.]service.namespace.svc[.cluster.local]`.
fn parse(host: &str) -> Option<LinkTarget> {
    if host.len() > LONGEST_HOST {
        return None;
    }
    let name = host
        .strip_suffix(".cluster.local")
        .unwrap_or(host)
        .strip_suffix(".svc")?;
    let labels: Vec<&str> = name.split('.').collect();
    if !labels.iter().all(|label| is_label(label)) {
        return None;
    }
    let (hostname, service, namespace) = match labels[..] {
        [service, namespace] => (None, service, namespace),
        [hostname, service, namespace] => (Some(hostname.to_owned()), service, namespace),
        _ => return None,
    };
    Some(LinkTarget {
        service: ServiceKey::new(namespace, service),
        hostname,
    })
}

fn is_label(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !label.is_empty()
        && label.len() <= 63
        && label.chars().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn target(name: &str) -> LinkTarget {
        LinkTarget {
            service: ServiceKey::new("live", name),
            hostname: None,
        }
    }

    fn translation() -> Translation {
        let one_pod = LinkTarget {
            hostname: Some("origin-0".into()),
            ..target("origin")
        };
        Translation::new(
            BTreeMap::from([
                (target("origin"), "127.40.0.1".to_owned()),
                (target("shield"), "127.40.0.2".to_owned()),
                (one_pod, "127.40.0.3".to_owned()),
            ]),
            [
                ("/etc/app".to_owned(), "/run/p/volumes/config".to_owned()),
                ("/etc/app/tls".to_owned(), "/run/p/volumes/tls".to_owned()),
                ("/data/".to_owned(), "/run/p/volumes/data".to_owned()),
            ],
        )
    }

    #[test]
    fn names_become_links_wherever_they_stand() {
        let t = translation();
        for (given, expected) in [
            ("http://origin.live.svc:8080/x", "http://127.40.0.1:8080/x"),
            ("origin.live.svc.cluster.local", "127.40.0.1"),
            ("origin.live.svc.cluster.local.", "127.40.0.1."),
            ("a=origin.live.svc,b=shield.live.svc", "a=127.40.0.1,b=127.40.0.2"),
            ("\"host\":\"origin-0.origin.live.svc\"", "\"host\":\"127.40.0.3\""),
            (".host = \"shield.live.svc\";", ".host = \"127.40.0.2\";"),
        ] {
            assert_eq!(t.apply(given), expected);
        }
    }

    #[test]
    fn what_is_not_a_service_name_stays() {
        let t = translation();
        for text in [
            "origin.live.svc.example.com",
            "origin.live.svcx",
            "xorigin.live.svc",
            "live.svc",
            "Origin.live.svc",
            "a.b.origin.live.svc",
            "unknown.live.svc",
            "-origin.live.svc",
        ] {
            assert_eq!(t.apply(text), text);
        }
    }

    #[test]
    fn references_are_found_once_each() {
        let found = references("x http://b.n.svc/ b.n.svc.cluster.local a.n.svc pod.b.n.svc nothing.svc");
        let names: Vec<_> = found
            .iter()
            .map(|t| (t.service.name.as_str(), t.hostname.as_deref()))
            .collect();
        assert_eq!(names, [("a", None), ("b", None), ("b", Some("pod"))]);
    }

    #[test]
    fn mount_paths_become_host_paths_at_boundaries() {
        let t = translation();
        for (given, expected) in [
            ("/etc/app/encoder.json", "/run/p/volumes/config/encoder.json"),
            ("--config=/etc/app", "--config=/run/p/volumes/config"),
            ("/etc/app/tls/key.pem", "/run/p/volumes/tls/key.pem"),
            ("\"/data/\"", "\"/run/p/volumes/data/\""),
            ("file:///data/x", "file:///run/p/volumes/data/x"),
            ("/data:/etc/app", "/run/p/volumes/data:/run/p/volumes/config"),
            ("cp /data/a /data/b", "cp /run/p/volumes/data/a /run/p/volumes/data/b"),
        ] {
            assert_eq!(t.apply(given), expected);
        }
        for text in [
            "/etc/application",
            "/etc/app.json",
            "/srv/data",
            "./data",
            "http://host/data",
            "//data",
            "${dir}/data",
        ] {
            assert_eq!(t.apply(text), text);
        }
    }

    proptest! {
        #[test]
        fn text_without_names_or_mounts_is_untouched(text in "[ -~é\\n]{0,200}") {
            prop_assume!(!text.contains(".svc") && !text.contains("/etc/app") && !text.contains("/data"));
            prop_assert_eq!(translation().apply(&text), text);
        }

        #[test]
        fn any_wellformed_name_is_found(service in "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", namespace in "[a-z][a-z0-9]{0,8}", left in "[ \"=/(]", right in "[ \":/,)]") {
            prop_assume!(service != "svc" && namespace != "svc");
            let text = format!("{left}{service}.{namespace}.svc{right}");
            let found = references(&text);
            let expected = LinkTarget { service: ServiceKey::new(namespace, service), hostname: None };
            prop_assert_eq!(found.into_iter().collect::<Vec<_>>(), vec![expected]);
        }
    }
}
