//! Origins: a StatefulSet a region, and a Service for each replica so that encoders push to, and shields fetch from, every
//! one of them by name.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use showrunner_crds::{
    config::{OriginChannel, OriginConfig},
    platform::Role,
};

use super::{
    config::ConfigFile,
    meta::{About, Labels},
    network::{self, Reach},
    object,
    pod::{self, Shape},
};
use crate::{
    addresses::Addresses,
    kind::Kind,
    resources::Object,
    validate::{Region, ValidatedPlatform},
};

/// Label that the StatefulSet controller gives each of its pods.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// Least of what an encoder may push in one piece, in bytes.
const LEAST_OBJECT_BYTES: u64 = 4 * 1024 * 1024;
/// How far a segment's bitrate may exceed its rung's.
const BITRATE_ALLOWANCE: u64 = 4;

pub(super) fn render(platform: &ValidatedPlatform, region: &Region) -> Vec<Object> {
    let name = platform.regional(&region.name, Role::Origin);
    let about = About::new(platform, Some(&region.name), Role::Origin);
    let config = ConfigFile::json("origin.json", &config(platform, region));
    let template = pod::template(Shape {
        about,
        node_selector: &region.node_selector,
        image: &platform.images.media,
        command: None,
        args: vec!["origin".into(), "--config".into(), config.path()],
        config_map: name.clone(),
        config_hash: Some(config.hash()),
        secret: None,
        // Segments are kept in memory: whole windows of them fit, and a new pod is filled by the encoders.
        scratch: Vec::new(),
        admin_port: false,
        cpu: platform.origin.cpu,
        memory: platform.origin.memory,
        pre_stop: None,
        grace_seconds: 15,
        annotations: [].into(),
        spread_by_revision: false,
    });
    let set = StatefulSet {
        metadata: about.meta(name.clone()),
        spec: Some(StatefulSetSpec {
            replicas: Some(platform.origin.replicas.as_i32()),
            service_name: Some(name.clone()),
            // All at once: an origin is ready only while fed, and waiting for one before feeding the next helps nobody.
            pod_management_policy: Some("Parallel".into()),
            selector: about.label_selector(),
            template,
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    };
    let mut objects = vec![
        config.config_map(about, name.clone()),
        network::service(about, name.clone(), about.selector(), Reach::Headless, true),
        object(Kind::StatefulSet, Some(&region.name), Role::Origin, &set),
    ];
    objects.extend(platform.origin_services(region).into_iter().map(|service| {
        // Unready replicas too: one that is not fresh yet becomes so by what is pushed to it, and shields probe it themselves.
        let selector = Labels::from([(POD_NAME.to_owned(), service.clone())]);
        network::service(about, service, selector, Reach::within(platform), true)
    }));
    objects
}

/// Regions with origins as seen from one: itself first, then the others in the order of the spec.
pub(super) fn by_nearness<'a>(platform: &'a ValidatedPlatform, from: &Region) -> Vec<&'a Region> {
    nearest_first(platform, from, Role::Origin)
}

/// Replicas of a region as `(Service, host)`, seen from another; none before each of them has an address.
pub(super) fn hosts(
    platform: &ValidatedPlatform,
    from: &Region,
    region: &Region,
    addresses: &Addresses,
) -> Option<Vec<(String, String)>> {
    let services = platform.origin_services(region).into_iter();
    let (from, to) = (from.cluster.as_ref(), region.cluster.as_ref());
    services
        .map(|service| {
            let host = addresses.host(platform, from, to, &service)?;
            Some((service, host))
        })
        .collect()
}

/// Regions with a role as seen from one. The others follow in the spec's order, beginning after the region itself, so that
/// the second choice of every region is not the same one.
pub(super) fn nearest_first<'a>(platform: &'a ValidatedPlatform, from: &Region, role: Role) -> Vec<&'a Region> {
    let regions = &platform.regions;
    let start = regions.iter().position(|region| region.name == from.name).unwrap_or(0);
    (0..regions.len())
        .map(|step| &regions[(start + step) % regions.len()])
        .filter(|region| region.has(role))
        .collect()
}

fn config(platform: &ValidatedPlatform, region: &Region) -> OriginConfig {
    OriginConfig {
        region: region.name.to_string(),
        channels: platform
            .channels
            .iter()
            .map(|channel| OriginChannel {
                name: channel.name.to_string(),
                renditions: channel
                    .ladder
                    .iter()
                    .map(|rung| rung.name.clone())
                    .chain(std::iter::once("audio".to_owned()))
                    .collect(),
                segment_seconds: channel.segment_seconds,
                dvr_seconds: channel.dvr_seconds,
            })
            .collect(),
        freshness_enabled: platform.origin.freshness.enabled,
        max_age_percent: platform.origin.freshness.max_age_percent,
        max_object_bytes: max_object_bytes(platform),
    }
}

/// Largest object accepted: the largest segment that any ladder asks for, with an allowance for scenes that cost more.
fn max_object_bytes(platform: &ValidatedPlatform) -> u64 {
    let segment = |kbps: u32, seconds: u32| u64::from(kbps) * 1000 / 8 * u64::from(seconds) * BITRATE_ALLOWANCE;
    let largest = platform
        .channels
        .iter()
        .flat_map(|channel| {
            channel
                .ladder
                .iter()
                .map(|rung| segment(rung.bitrate_kbps, channel.segment_seconds))
        })
        .max();
    largest.unwrap_or(0).max(LEAST_OBJECT_BYTES)
}
