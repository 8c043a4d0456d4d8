//! The hosts that load may go to.

use std::{
    net::IpAddr,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use url::{Host, Url};

/// One host, or all below a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    host: Host,
    /// Whether it stands for every name below, and not for itself.
    below: bool,
}

/// Why a text names no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a host: write a name, `*.domain` or an IP address, without scheme, port or path")]
pub struct HostError(String);

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || HostError(text.chars().take(80).collect());
        let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        // IPv6 without its brackets, as people write it.
        let host = match name.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => Host::Ipv6(address),
            _ => Host::parse(name).map_err(|_| error())?,
        };
        match &host {
            Host::Domain(name) if name.contains('*') || name.is_empty() => Err(error()),
            Host::Ipv4(_) | Host::Ipv6(_) if below => Err(error()),
            _ => Ok(Self { host, below }),
        }
    }
}

impl HostPattern {
    fn covers(&self, host: &Host<&str>) -> bool {
        match (&self.host, host) {
            (Host::Domain(domain), Host::Domain(name)) => {
                let (domain, name) = (domain.trim_end_matches('.'), name.trim_end_matches('.'));
                match (self.below, name.strip_suffix(domain)) {
                    (false, rest) => rest == Some(""),
                    (true, rest) => rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
                }
            }
            (Host::Ipv4(allowed), Host::Ipv4(address)) => allowed == address,
            (Host::Ipv6(allowed), Host::Ipv6(address)) => allowed == address,
            _ => false,
        }
    }
}

/// The hosts that load may go to: this machine's loopback, and those that were named. Remembers the first other one that was
/// asked for.
#[derive(Debug, Default)]
pub struct HostList {
    allowed: Vec<HostPattern>,
    refused: Mutex<Option<String>>,
}

impl HostList {
    /// Loopback and `allowed`.
    #[must_use]
    pub fn new(allowed: Vec<HostPattern>) -> Self {
        Self {
            allowed,
            refused: Mutex::default(),
        }
    }

    /// Whether load may go to a URL. What is not allowed is remembered.
    #[must_use]
    pub fn allows(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        if loopback(&host) || self.allowed.iter().any(|pattern| pattern.covers(&host)) {
            return true;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get_or_insert_with(|| host.to_string());
        false
    }

    /// The first host that was asked for and is not allowed.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Names below `localhost` are this machine by RFC 6761.
fn loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn allows(patterns: &[&str], url: &str) -> bool {
        let patterns = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        HostList::new(patterns).allows(&url.parse().unwrap())
    }

    #[test]
    fn loopback_needs_no_leave_and_all_else_does() {
        for (url, allowed) in [
            ("http://127.0.0.1:8080/x", true),
            ("http://127.31.4.2/", true),
            ("http://[::1]/", true),
            ("http://localhost:1/", true),
            ("http://eu.localhost/", true),
            ("http://10.0.0.1/", false),
            ("http://0.0.0.0/", false),
            ("http://edge.example.com/", false),
            ("http://notlocalhost/", false),
            ("http://localhost.example.com/", false),
            ("http://[::ffff:10.0.0.1]/", false),
        ] {
            assert_eq!(allows(&[], url), allowed, "{url}");
        }
    }

    #[test]
    fn a_name_stands_for_itself_and_a_star_for_what_is_below() {
        for (pattern, url, allowed) in [
            ("edge.example.com", "http://edge.example.com:8080/", true),
            ("edge.example.com", "http://EDGE.example.com./", true),
            ("edge.example.com", "http://a.edge.example.com/", false),
            ("edge.example.com", "http://wedge.example.com/", false),
            ("*.example.com", "http://edge.example.com/", true),
            ("*.example.com", "http://a.b.example.com/", true),
            ("*.example.com", "http://example.com/", false),
            ("*.example.com", "http://badexample.com/", false),
            ("*.example.com", "http://example.com.evil.test/", false),
            ("10.1.2.3", "http://10.1.2.3/", true),
            ("10.1.2.3", "http://10.1.2.33/", false),
            ("fd00::1", "http://[fd00::1]:80/", true),
            ("[fd00::1]", "http://[fd00::1]:80/", true),
        ] {
            assert_eq!(allows(&[pattern], url), allowed, "{pattern} {url}");
        }
    }

    #[test]
    fn what_is_no_host_is_no_pattern() {
        for text in [
            "",
            "*",
            "*.",
            "http://a",
            "a:80",
            "a/b",
            "a b",
            "*.10.0.0.1",
            "a.*.b",
            "*.*.b",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_that_is_refused_is_remembered() {
        let hosts = HostList::default();
        assert!(hosts.allows(&"http://localhost/".parse().unwrap()));
        assert_eq!(hosts.refused(), None);
        assert!(!hosts.allows(&"http://one.test/".parse().unwrap()));
        assert!(!hosts.allows(&"http://two.test/".parse().unwrap()));
        assert_eq!(hosts.refused().as_deref(), Some("one.test"));
    }
}
