//! Step two, pure: the raw resource becomes a [`ValidatedPlatform`]. From here on nothing sees the raw spec.
//!
//! The CRD's schema and CEL rules refuse most of this at the API server; the operator holds the same line for objects
//! that were stored before a rule existed, and for files that were never applied.

mod cluster;
mod convert;
mod error;
pub mod names;
mod platform;
mod rules;
pub mod units;

use showrunner_crds::{platform::StreamingPlatform, rules::validate_platform};

pub use cluster::RemoteCluster;
pub use error::{ValidateError, Violation};
pub use platform::{
    Autoscaling, Channel, EdgeTier, EncoderTier, Images, OriginTier, Region, Resilience, Service, ShieldTier,
    SteeringTier, ValidatedPlatform,
};

/// Checks a platform. A file without a namespace is taken to be for `default`.
pub fn validate(platform: &StreamingPlatform) -> Result<ValidatedPlatform, ValidateError> {
    let mut violations = error::Violations::default();
    for broken in validate_platform(platform) {
        violations.add(broken.path, broken.message);
    }
    let Some(validated) = convert::convert(platform, &mut violations) else {
        return Err(violations.into_error());
    };
    violations.finish()?;
    let mut violations = error::Violations::default();
    rules::check(&validated, &mut violations);
    violations.finish()?;
    Ok(validated)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use showrunner_crds::platform::{Role, StreamingPlatform};

    use super::*;
    use crate::fixtures;

    fn refused(change: impl FnOnce(&mut StreamingPlatform)) -> Vec<String> {
        let mut platform = fixtures::cinema_resource();
        change(&mut platform);
        let error = validate(&platform).unwrap_err();
        error.violations.into_iter().map(|violation| violation.path).collect()
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        type Change = fn(&mut StreamingPlatform);
        let cases: [(Change, &str); 8] = [
            (
                |platform| platform.spec.regions[1].name = "North".into(),
                "spec.regions[1].name",
            ),
            (
                |platform| platform.spec.regions[0].roles.retain(|role| *role != Role::Origin),
                "spec.regions[0].roles",
            ),
            (
                |platform| platform.spec.channels[0].ladder[1].name = "audio".into(),
                "spec.channels[0].ladder[1].name",
            ),
            (
                |platform| platform.spec.edge.viewers_per_replica = 0,
                "spec.edge.viewersPerReplica",
            ),
            (
                |platform| platform.spec.edge.autoscaling.min_replicas = 50,
                "spec.edge.autoscaling",
            ),
            (
                |platform| platform.spec.regions[2].public_url = Some("http://".into()),
                "spec.regions[2].publicUrl",
            ),
            (|platform| platform.spec.images.cache = " ".into(), "spec.images.cache"),
            (
                |platform| platform.spec.interconnect.source_ranges = vec!["10.0.0.0/33".into()],
                "spec.interconnect.sourceRanges[0]",
            ),
        ];
        for (change, expected) in cases {
            let paths = refused(change);
            assert!(
                paths.iter().any(|path| path.starts_with(expected)),
                "{expected} not among {paths:?}"
            );
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let paths = refused(|platform| {
            platform.spec.regions[0].name = "-".into();
            platform.spec.channels[0].name = "A".into();
            platform.spec.services[1].url = Some("ftp://x".into());
        });
        for expected in ["spec.regions[0].name", "spec.channels[0].name", "spec.services[1].url"] {
            assert!(
                paths.iter().any(|path| path == expected),
                "{expected} not among {paths:?}"
            );
        }
    }

    #[test]
    fn two_objects_never_come_to_have_one_name() {
        let paths = refused(|platform| {
            let mut twin = platform.spec.services[0].clone();
            twin.name = "north-edge".into();
            platform.spec.services.push(twin);
        });
        assert!(!paths.is_empty());
    }
}
