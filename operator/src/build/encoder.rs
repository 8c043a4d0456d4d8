//! Encoders: a StatefulSet of one for each channel in each region that encodes.

use k8s_openapi::{
    api::apps::v1::{StatefulSet, StatefulSetSpec},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use showrunner_crds::{
    config::{EncoderConfig, PushConfig},
    names,
    platform::{PushTo, Role},
};

use super::{
    config::ConfigFile,
    meta::{About, CHANNEL},
    object,
    pod::{self, Shape},
};
use crate::{
    addresses::{Addresses, url},
    kind::Kind,
    resources::Object,
    validate::{Channel, Region, ValidatedPlatform, units::Mebibytes},
};

/// The only directory that can be written to, for what ffmpeg may want to put aside.
const WORK: (&str, &str, Mebibytes) = ("work", "/var/lib/showrunner", Mebibytes(512));

pub(super) fn render(platform: &ValidatedPlatform, region: &Region, addresses: &Addresses) -> Vec<Object> {
    platform
        .channels
        .iter()
        .flat_map(|channel| encoder(platform, region, channel, addresses))
        .collect()
}

fn encoder(platform: &ValidatedPlatform, region: &Region, channel: &Channel, addresses: &Addresses) -> Vec<Object> {
    let name = names::encoder(platform.name.as_str(), region.name.as_str(), channel.name.as_str());
    let about = About::new(platform, Some(&region.name), Role::Encoder).detail(CHANNEL, channel.name.as_str());
    let config = ConfigFile::json(
        "encoder.json",
        &EncoderConfig {
            channel: channel.name.to_string(),
            region: region.name.to_string(),
            input: channel.input.clone(),
            ladder: channel.ladder.clone(),
            audio: channel.audio.clone(),
            frame_rate: channel.frame_rate,
            segment_seconds: channel.segment_seconds,
            origins: push_targets(platform, region, addresses),
            push: PushConfig::default(),
        },
    );
    let template = pod::template(Shape {
        about,
        node_selector: &region.node_selector,
        image: &platform.images.media,
        command: None,
        args: vec!["encoder".into(), "--config".into(), config.path()],
        config_map: name.clone(),
        config_hash: Some(config.hash()),
        secret: None,
        scratch: vec![WORK],
        admin_port: false,
        cpu: platform.encoder.cpu,
        memory: platform.encoder.memory,
        pre_stop: None,
        grace_seconds: 15,
        annotations: [].into(),
        spread_by_revision: false,
    });
    let set = StatefulSet {
        metadata: about.meta(name.clone()),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            pod_management_policy: Some("Parallel".into()),
            selector: LabelSelector {
                match_labels: Some(about.selector()),
                ..LabelSelector::default()
            },
            template,
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    };
    vec![
        config.config_map(about, name),
        object(Kind::StatefulSet, Some(&region.name), Role::Encoder, &set),
    ]
}

/// Base URLs of the origins a region's encoders push to: its own first. Those of another cluster once each replica of the
/// region has an address, for encoders start anew with every change.
fn push_targets(platform: &ValidatedPlatform, region: &Region, addresses: &Addresses) -> Vec<String> {
    let regions = match platform.encoder.push_to {
        PushTo::AllOrigins => super::origin::by_nearness(platform, region),
        PushTo::LocalOrigins => vec![region],
    };
    regions
        .into_iter()
        .filter_map(|origin| super::origin::hosts(platform, region, origin, addresses))
        .flatten()
        .map(|(_, host)| url(&host))
        .collect()
}
