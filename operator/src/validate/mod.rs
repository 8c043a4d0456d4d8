//! Step two, pure: the raw resource becomes a [`ValidatedPlatform`]. From here on nothing sees the raw spec.
//!
//! The CRD's schema and CEL rules refuse most of this at the API server; the operator holds the same line for objects
//! that were stored before a rule existed, and for files that were never applied.

mod convert;
mod error;
pub mod names;
mod platform;
mod rules;
pub mod units;

use showrunner_crds::platform::StreamingPlatform;

pub use error::{ValidateError, Violation};
pub use platform::{
    Autoscaling, Channel, EdgeTier, EncoderTier, Images, OriginTier, Region, Resilience, Service, ShieldTier,
    SteeringTier, ValidatedPlatform,
};

/// Checks a platform. A file without a namespace is taken to be for `default`.
pub fn validate(platform: &StreamingPlatform) -> Result<ValidatedPlatform, ValidateError> {
    let mut violations = error::Violations::default();
    let Some(validated) = convert::convert(platform, &mut violations) else {
        return Err(violations.into_error());
    };
    rules::check(&validated, &mut violations);
    violations.finish()?;
    Ok(validated)
}
