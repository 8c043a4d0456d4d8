//! Premieres.

use super::{Cluster::Cel, Rule, unless};
use crate::premiere::PremiereSpec;

/// Every rule of a `Premiere`.
pub const RULES: &[Rule<PremiereSpec>] = &[Rule {
    at: "spec",
    cluster: Cel("duration(self.ramp) <= duration(self.duration)"),
    message: "ramp must not be longer than duration",
    check: |premiere| unless(premiere.ramp <= premiere.duration, "spec.ramp"),
}];
