//! The steering manifest (RFC 8216bis §7.1).

use serde::Serialize;
use showrunner_crds::config::Pathway;

/// What a player is told at each poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Always 1.
    #[serde(rename = "VERSION")]
    pub version: u32,
    /// Seconds until the next poll.
    #[serde(rename = "TTL")]
    pub ttl: u32,
    /// Where to poll next.
    #[serde(rename = "RELOAD-URI")]
    pub reload_uri: String,
    /// Pathways, best first.
    #[serde(rename = "PATHWAY-PRIORITY")]
    pub pathway_priority: Vec<String>,
}

impl Manifest {
    /// A manifest for `pathways`, best first.
    pub fn new(ttl: u32, reload_uri: String, pathways: &[&Pathway]) -> Self {
        let pathway_priority = pathways.iter().map(|pathway| pathway.id.clone()).collect();
        Self {
            version: 1,
            ttl,
            reload_uri,
            pathway_priority,
        }
    }
}
