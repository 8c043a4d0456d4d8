//! From raw fields to newtypes. Every struct of the spec is destructured whole, so that a new field has to be handled.

use std::{collections::BTreeMap, net::IpAddr};

use kube::Resource;
use showrunner_crds::{
    labels,
    platform::{self as raw, Placement, StreamingPlatform, StreamingPlatformSpec},
};

use super::{
    cluster::RemoteCluster,
    error::Violations,
    names::{ChannelName, Namespace, PlatformName, RegionName, ServiceName},
    platform::{
        Autoscaling, Channel, EdgeTier, EncoderTier, Images, OriginTier, Region, Resilience, Service, ShieldTier,
        SteeringTier, ValidatedPlatform,
    },
    units::{Mebibytes, MegabitsPerSecond, Millicores, Replicas, Viewers},
};

/// Gives `None`, with the reasons noted, where a name cannot be one; rules that relate fields are checked afterwards.
pub(super) fn convert(platform: &StreamingPlatform, violations: &mut Violations) -> Option<ValidatedPlatform> {
    let StreamingPlatformSpec {
        environment: _, // rules that depend on it stand in the CRD; nothing rendered does
        images,
        channels,
        regions,
        interconnect: raw::Interconnect { source_ranges },
        encoder,
        origin,
        shield,
        edge,
        steering,
        services,
        resilience,
        slo: _, // alerts are rendered from it, once there are alerts
    } = &platform.spec;

    let name = platform.metadata.name.as_deref().unwrap_or_default();
    let name = violations.require(
        PlatformName::new(name),
        "metadata.name",
        &format!(
            "`{name}` is not a DNS label of at most {} characters",
            PlatformName::MAX
        ),
    );
    let namespace = platform.metadata.namespace.as_deref().unwrap_or("default");
    let namespace = violations.require(
        Namespace::new(namespace),
        "metadata.namespace",
        &format!("`{namespace}` is not the name of a namespace"),
    );
    let channels = all(channels, |index, channel| convert_channel(channel, index, violations));
    let home = platform.metadata.namespace.as_deref().unwrap_or("default");
    let regions = all(regions, |index, region| convert_region(region, home, index, violations));
    for (index, range) in source_ranges.iter().enumerate() {
        if !is_range(range) {
            violations.add(
                format!("spec.interconnect.sourceRanges[{index}]"),
                format!("`{range}` is not a range of addresses such as 10.0.0.0/8"),
            );
        }
    }
    let services = all(services, |index, service| convert_service(service, index, violations));

    Some(ValidatedPlatform {
        owner: platform.controller_owner_ref(&()),
        generation: platform.metadata.generation.unwrap_or(0),
        images: convert_images(images, violations),
        encoder: convert_encoder(encoder),
        origin: convert_origin(origin),
        shield: convert_shield(shield),
        edge: convert_edge(edge),
        steering: convert_steering(steering),
        resilience: convert_resilience(resilience),
        name: name?,
        namespace: namespace?,
        channels: channels?,
        regions: regions?,
        source_ranges: source_ranges.clone(),
        services: services?,
    })
}

/// Converts every element, also after one has failed, so that every mistake is reported.
fn all<T, U>(items: &[T], mut convert: impl FnMut(usize, &T) -> Option<U>) -> Option<Vec<U>> {
    let converted: Vec<Option<U>> = items
        .iter()
        .enumerate()
        .map(|(index, item)| convert(index, item))
        .collect();
    converted.into_iter().collect()
}

fn convert_images(images: &raw::Images, violations: &mut Violations) -> Images {
    let raw::Images {
        media,
        cache,
        cache_command,
    } = images;
    for (field, value) in [("media", media), ("cache", cache), ("cacheCommand", cache_command)] {
        if value.trim().is_empty() {
            violations.add(format!("spec.images.{field}"), "must not be empty");
        }
    }
    Images {
        media: media.clone(),
        cache: cache.clone(),
        cache_command: cache_command.clone(),
    }
}

fn convert_channel(channel: &raw::Channel, index: usize, violations: &mut Violations) -> Option<Channel> {
    let raw::Channel {
        name,
        input,
        ladder,
        audio,
        frame_rate,
        segment_seconds,
        dvr_window,
    } = channel;
    let path = format!("spec.channels[{index}]");
    if ladder.is_empty() {
        violations.add(format!("{path}.ladder"), "needs at least one rung");
    }
    if *segment_seconds == 0 {
        violations.add(format!("{path}.segmentSeconds"), "must be at least 1");
    }
    if *frame_rate == 0 {
        violations.add(format!("{path}.frameRate"), "must be at least 1");
    }
    for (rung_index, rung) in ladder.iter().enumerate() {
        let path = format!("{path}.ladder[{rung_index}].name");
        if ChannelName::new(&rung.name).is_none() {
            violations.add(
                path,
                format!("`{}` is not a DNS label of at most 20 characters", rung.name),
            );
        } else if rung.name == "audio" {
            violations.add(path, "`audio` names the audio rendition; choose another name");
        } else if ladder[..rung_index].iter().any(|other| other.name == rung.name) {
            violations.add(path, format!("`{}` names another rung already", rung.name));
        }
    }
    let name = violations.require(
        ChannelName::new(name),
        &format!("{path}.name"),
        &format!("`{name}` is not a DNS label of at most {} characters", ChannelName::MAX),
    )?;
    Some(Channel {
        name,
        input: input.clone(),
        ladder: ladder.clone(),
        audio: audio.clone(),
        frame_rate: *frame_rate,
        segment_seconds: *segment_seconds,
        dvr_seconds: u32::try_from(dvr_window.0.as_secs()).unwrap_or(u32::MAX),
    })
}

fn convert_region(region: &raw::Region, home: &str, index: usize, violations: &mut Violations) -> Option<Region> {
    let raw::Region {
        name,
        roles,
        weight,
        placement: Placement { node_selector },
        public_url,
        cluster,
    } = region;
    let path = format!("spec.regions[{index}]");
    let name = violations.require(
        RegionName::new(name),
        &format!("{path}.name"),
        &format!("`{name}` is not a DNS label of at most {} characters", RegionName::MAX),
    );
    if let Some(url) = public_url {
        check_url(url, &format!("{path}.publicUrl"), violations);
    }
    let cluster = match cluster {
        Some(stated) => Some(violations.require(
            RemoteCluster::stated(stated, home),
            &format!("{path}.cluster.namespace"),
            "is not the name of a namespace",
        )?),
        None => None,
    };
    let name = name?;
    let mut roles = roles.clone();
    roles.sort_unstable();
    roles.dedup();
    let node_selector = if node_selector.is_empty() {
        BTreeMap::from([(labels::TOPOLOGY_REGION.to_owned(), name.to_string())])
    } else {
        node_selector.clone()
    };
    Some(Region {
        name,
        roles,
        weight: *weight,
        node_selector,
        public_url: public_url.as_deref().map(trimmed),
        cluster,
    })
}

fn convert_service(service: &raw::ServiceDependency, index: usize, violations: &mut Violations) -> Option<Service> {
    // Deadline, breaker and criticality are the callers' business: they read them from the platform themselves.
    let raw::ServiceDependency {
        name,
        kind,
        url,
        replicas,
        deadline_ms: _,
        critical: _,
        breaker: _,
    } = service;
    let path = format!("spec.services[{index}]");
    if let Some(url) = url {
        check_url(url, &format!("{path}.url"), violations);
    }
    let name = violations.require(
        ServiceName::new(name),
        &format!("{path}.name"),
        &format!("`{name}` is not a DNS label of at most {} characters", ServiceName::MAX),
    )?;
    Some(Service {
        name,
        kind: *kind,
        url: url.as_deref().map(trimmed),
        replicas: Replicas(*replicas),
    })
}

fn convert_encoder(encoder: &raw::Encoder) -> EncoderTier {
    let raw::Encoder {
        push_to,
        cpu_millis,
        memory_mib,
    } = encoder;
    EncoderTier {
        push_to: *push_to,
        cpu: Millicores(*cpu_millis),
        memory: Mebibytes(*memory_mib),
    }
}

fn convert_origin(origin: &raw::Origin) -> OriginTier {
    let raw::Origin {
        replicas,
        freshness,
        cpu_millis,
        memory_mib,
    } = origin;
    OriginTier {
        replicas: Replicas(*replicas),
        freshness: freshness.clone(),
        cpu: Millicores(*cpu_millis),
        memory: Mebibytes(*memory_mib),
    }
}

fn convert_shield(shield: &raw::Shield) -> ShieldTier {
    let raw::Shield {
        replicas,
        cache_mib,
        cpu_millis,
    } = shield;
    ShieldTier {
        replicas: Replicas(*replicas),
        cache: Mebibytes(*cache_mib),
        cpu: Millicores(*cpu_millis),
    }
}

fn convert_edge(edge: &raw::Edge) -> EdgeTier {
    let raw::Edge {
        viewers_per_replica,
        egress_mbps,
        cache_mib,
        cpu_millis,
        autoscaling,
    } = edge;
    let raw::Autoscaling {
        enabled,
        min_replicas,
        max_replicas,
        target_cpu_percent,
        headroom_percent,
        scale_down_stabilisation,
    } = autoscaling;
    EdgeTier {
        viewers_per_replica: Viewers(*viewers_per_replica),
        egress: egress_mbps.map(MegabitsPerSecond),
        cache: Mebibytes(*cache_mib),
        cpu: Millicores(*cpu_millis),
        autoscaling: Autoscaling {
            enabled: *enabled,
            min: Replicas(*min_replicas),
            max: Replicas(*max_replicas),
            target_cpu_percent: *target_cpu_percent,
            headroom_percent: *headroom_percent,
            scale_down_stabilisation: scale_down_stabilisation.0,
        },
    }
}

fn convert_steering(steering: &raw::Steering) -> SteeringTier {
    let raw::Steering {
        replicas,
        failover,
        ttl_seconds,
        probe,
    } = steering;
    SteeringTier {
        replicas: Replicas(*replicas),
        failover: *failover,
        ttl_seconds: *ttl_seconds,
        probe: probe.clone(),
    }
}

fn convert_resilience(resilience: &raw::Resilience) -> Resilience {
    let raw::Resilience {
        regions_to_lose,
        peak_viewers,
    } = resilience;
    Resilience {
        regions_to_lose: *regions_to_lose,
        peak: Viewers(*peak_viewers),
    }
}

fn check_url(url: &str, path: &str, violations: &mut Violations) {
    let valid = url
        .parse::<http::Uri>()
        .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if !valid {
        violations.add(path, format!("`{url}` is not an http or https URL"));
    }
}

/// Whether a text is a range of addresses in CIDR notation.
fn is_range(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}

fn trimmed(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}
