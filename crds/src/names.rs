//! Names of rendered objects, in one place so that operator, drill and tests agree.

use crate::platform::Role;

/// HTTP port of every data-plane container and Service.
pub const HTTP_PORT: u16 = 8080;
/// Port of a cache's administrative listener (flush), never exposed by a Service.
pub const ADMIN_PORT: u16 = 8081;

/// `{platform}-{region}-{role}`: a workload of one region.
#[must_use]
pub fn regional(platform: &str, region: &str, role: Role) -> String {
    format!("{platform}-{region}-{role}")
}

/// `{platform}-{region}-encoder-{channel}`: the encoder of one channel in one region.
#[must_use]
pub fn encoder(platform: &str, region: &str, channel: &str) -> String {
    format!("{}-{channel}", regional(platform, region, Role::Encoder))
}

/// `{platform}-{region}-origin-{ordinal}`: the Service in front of one origin replica.
#[must_use]
pub fn origin_replica(platform: &str, region: &str, ordinal: u32) -> String {
    format!("{}-{ordinal}", regional(platform, region, Role::Origin))
}

/// `{platform}-steering`: the Service in front of the steering servers of every region.
#[must_use]
pub fn steering(platform: &str) -> String {
    format!("{platform}-steering")
}

/// `{platform}-{service}`: the Service in front of a playback service.
#[must_use]
pub fn service(platform: &str, service: &str) -> String {
    format!("{platform}-{service}")
}

/// `{platform}-{region}-{service}`: the workload of a playback service in one region.
#[must_use]
pub fn service_workload(platform: &str, region: &str, service: &str) -> String {
    format!("{platform}-{region}-{service}")
}

/// `{platform}-signing-key`: the Secret with the key that playback tokens are signed with.
#[must_use]
pub fn signing_key(platform: &str) -> String {
    format!("{platform}-signing-key")
}

/// Cluster DNS name of a Service.
#[must_use]
pub fn dns(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.svc")
}
