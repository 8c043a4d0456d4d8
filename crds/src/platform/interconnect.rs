//! How clusters reach one another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a range of addresses looks like.
pub(crate) const RANGE: &str = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:.]+)/[0-9]{1,3}$";

/// How the clusters of regions reach one another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Interconnect {
    /// Ranges (CIDR) of the addresses that pods of one cluster have when they call another: origins and shields take
    /// connections from there, and from nowhere else outside their cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 49), pattern(RANGE)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub source_ranges: Vec<String>,
}

impl Interconnect {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
