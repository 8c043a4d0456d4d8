//! The roles a region can have.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A role of the data plane, in the order in which media flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Encodes channels and pushes segments to origins.
    Encoder,
    /// Keeps segments and renders playlists.
    Origin,
    /// The cache in front of the origins.
    Shield,
    /// The cache that viewers talk to.
    Edge,
    /// Tells players where to play from.
    Steering,
    /// What playback depends on besides media.
    Services,
}

impl Role {
    /// Every role, in the order in which media flows.
    pub const ALL: [Role; 6] = [
        Role::Encoder,
        Role::Origin,
        Role::Shield,
        Role::Edge,
        Role::Steering,
        Role::Services,
    ];

    /// The role as it is written in labels and names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Encoder => "encoder",
            Role::Origin => "origin",
            Role::Shield => "shield",
            Role::Edge => "edge",
            Role::Steering => "steering",
            Role::Services => "services",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
