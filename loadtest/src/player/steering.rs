//! Content steering on the client's side: which pathway comes first, and which have failed lately.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

/// Largest steering manifest accepted, in bytes.
pub(super) const MAX_MANIFEST: usize = 64 * 1024;
/// A shorter TTL would be a flood.
const MIN_TTL: Duration = Duration::from_secs(1);
const MAX_TTL: Duration = Duration::from_hours(1);

/// A steering manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SteeringManifest {
    /// Must be 1.
    #[serde(rename = "VERSION")]
    pub version: u32,
    /// Seconds until the next poll.
    #[serde(rename = "TTL", default = "default_ttl")]
    pub ttl: u64,
    /// Where to poll next.
    #[serde(rename = "RELOAD-URI", default)]
    pub reload_uri: Option<String>,
    /// Pathways, best first.
    #[serde(rename = "PATHWAY-PRIORITY", default)]
    pub priority: Vec<String>,
}

fn default_ttl() -> u64 {
    300
}

/// Why a steering manifest is unusable.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// Not the JSON it should be.
    #[error("steering manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// A version we do not know.
    #[error("steering manifest of unknown version {0}")]
    Version(u32),
}

impl SteeringManifest {
    /// Reads one.
    pub fn parse(bytes: &[u8]) -> Result<Self, SteeringError> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        if manifest.version == 1 {
            Ok(manifest)
        } else {
            Err(SteeringError::Version(manifest.version))
        }
    }

    /// TTL within reason.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl).clamp(MIN_TTL, MAX_TTL)
    }
}

/// What the player knows about pathways.
#[derive(Clone, Debug, Default)]
pub(super) struct Pathways {
    /// Where to poll; `None` without steering.
    pub server: Option<Arc<Url>>,
    pub ttl: Duration,
    /// Every known pathway, best first.
    order: Vec<Arc<str>>,
    /// Pathways the last manifest named, if there was one: others are not to be used unless nothing else is left.
    listed: usize,
    /// Failed ones, and until when.
    penalties: Vec<(Arc<str>, Duration)>,
}

impl Pathways {
    pub(super) fn new(known: impl Iterator<Item = Arc<str>>, server: Option<Arc<Url>>, ttl: Duration) -> Self {
        let order: Vec<Arc<str>> = known.collect();
        Self {
            server,
            ttl,
            listed: order.len(),
            order,
            penalties: Vec::new(),
        }
    }

    /// Takes over a manifest's order. Pathways it does not name come last, pathways nobody knows are ignored.
    pub(super) fn apply(&mut self, manifest: &SteeringManifest) {
        self.ttl = manifest.ttl();
        if let (Some(server), Some(reload)) = (&self.server, &manifest.reload_uri)
            && let Ok(next) = server.join(reload)
            && **server != next
        {
            self.server = Some(Arc::new(next));
        }
        let (mut named, mut rest): (Vec<_>, Vec<_>) = self
            .order
            .drain(..)
            .partition(|id| manifest.priority.iter().any(|name| **id == *name.as_str()));
        named.sort_by_key(|id| manifest.priority.iter().position(|name| **id == *name.as_str()));
        self.listed = if named.is_empty() { rest.len() } else { named.len() };
        named.append(&mut rest);
        self.order = named;
    }

    /// Whether there is but one.
    pub(super) fn is_one(&self) -> bool {
        self.order.len() <= 1
    }

    pub(super) fn penalise(&mut self, id: &Arc<str>, until: Duration) {
        self.penalties.retain(|(other, _)| other != id);
        self.penalties.push((Arc::clone(id), until));
    }

    fn penalty(&self, id: &str, now: Duration) -> Option<Duration> {
        self.penalties
            .iter()
            .find(|(other, until)| **other == *id && *until > now)
            .map(|(_, until)| *until)
    }

    /// The pathway steering wants: first of the listed ones that has not failed lately.
    pub(super) fn preferred(&self, now: Duration) -> Option<&Arc<str>> {
        self.order[..self.listed]
            .iter()
            .find(|id| self.penalty(id, now).is_none())
    }

    /// Where to go when `current` fails: the best that has not failed lately.
    pub(super) fn alternative(&self, current: &str, now: Duration) -> Option<&Arc<str>> {
        self.order
            .iter()
            .find(|id| ***id != *current && self.penalty(id, now).is_none())
    }

    /// When all have failed: the one that failed longest ago.
    pub(super) fn least_recent_failure(&self, current: &str, now: Duration) -> Option<&Arc<str>> {
        self.order
            .iter()
            .filter(|id| ***id != *current)
            .min_by_key(|id| self.penalty(id, now).unwrap_or(Duration::ZERO))
    }

    /// The poll URL with the parameters the specification asks for.
    pub(super) fn poll(&self, current: &str, bandwidth: f64) -> Option<Url> {
        let mut url = Url::clone(self.server.as_ref()?);
        let kept: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(key, _)| key != "_HLS_pathway" && key != "_HLS_throughput")
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(kept)
            .append_pair("_HLS_pathway", current)
            .append_pair("_HLS_throughput", &(bandwidth as u64).to_string());
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn pathways() -> Pathways {
        let known = ["a", "b", "c"].into_iter().map(Arc::from);
        Pathways::new(
            known,
            Some(Arc::new(
                Url::parse("http://steer/steer/one?session=7&_HLS_pathway=old").unwrap(),
            )),
            s(300),
        )
    }

    #[test]
    fn manifest_reorders_and_penalties_exclude() {
        let mut pathways = pathways();
        let manifest = br#"{"VERSION":1,"TTL":5,"RELOAD-URI":"/steer/two","PATHWAY-PRIORITY":["c","nobody","a"]}"#;
        pathways.apply(&SteeringManifest::parse(manifest).unwrap());
        assert_eq!((pathways.ttl, &**pathways.preferred(s(0)).unwrap()), (s(5), "c"));
        assert_eq!(pathways.server.as_ref().unwrap().path(), "/steer/two");
        pathways.penalise(&"c".into(), s(300));
        assert_eq!(&**pathways.preferred(s(1)).unwrap(), "a");
        assert_eq!(
            &**pathways.alternative("a", s(1)).unwrap(),
            "b",
            "an unlisted one is the last resort"
        );
        pathways.penalise(&"a".into(), s(310));
        pathways.penalise(&"b".into(), s(320));
        assert!(pathways.alternative("b", s(1)).is_none());
        assert_eq!(&**pathways.least_recent_failure("b", s(1)).unwrap(), "c");
        assert_eq!(&**pathways.preferred(s(300)).unwrap(), "c", "penalties end");
    }

    #[test]
    fn poll_carries_pathway_and_throughput() {
        let url = pathways().poll("b", 1234.9).unwrap();
        assert_eq!(url.query(), Some("session=7&_HLS_pathway=b&_HLS_throughput=1234"));
    }

    #[test]
    fn refuses_other_versions_and_bounds_the_ttl() {
        assert!(SteeringManifest::parse(br#"{"VERSION":2}"#).is_err());
        assert!(SteeringManifest::parse(b"[]").is_err());
        assert_eq!(
            SteeringManifest::parse(br#"{"VERSION":1,"TTL":0}"#).unwrap().ttl(),
            s(1)
        );
    }
}
