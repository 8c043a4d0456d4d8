//! How long each part of a request may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits of one request. All count from the moment the request is sent, so that a generator that runs late does not
/// shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Deadlines {
    /// Resolving the name and connecting.
    pub connect: Duration,
    /// From the request, connecting included, to the first byte of the response.
    pub first_byte: Duration,
    /// Longest silence inside a body.
    pub stall: Duration,
    /// The whole request, body included.
    pub total: Duration,
}

impl Deadlines {
    /// One limit for everything, as services have it.
    #[must_use]
    pub fn all(limit: Duration) -> Self {
        Self {
            connect: limit,
            first_byte: limit,
            stall: limit,
            total: limit,
        }
    }
}

impl Default for Deadlines {
    /// For a live stream with short segments: a host that says nothing for 4 s is as good as gone.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(4),
            first_byte: Duration::from_secs(4),
            stall: Duration::from_secs(4),
            total: Duration::from_secs(20),
        }
    }
}
