//! Steering: one set of servers over all regions, one address, one configuration that is reloaded live.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use showrunner_crds::{
    config::{Pathway, SteeringChannel, SteeringConfig},
    names,
    platform::Role,
};

use super::{
    cache::careful_rollout,
    config::ConfigFile,
    meta::About,
    network::{self, Reach},
    object,
    pod::{self, Shape},
};
use crate::{
    addresses::{Addresses, url},
    kind::Kind,
    resources::Object,
    validate::{
        Region, RemoteCluster, ValidatedPlatform,
        units::{Mebibytes, Millicores},
    },
};

const FILE: &str = "steering.json";

/// What spans the regions of a cluster: the configuration and the Service.
pub(super) fn shared(
    platform: &ValidatedPlatform,
    cluster: Option<&RemoteCluster>,
    addresses: &Addresses,
) -> Vec<Object> {
    let about = About::new(platform, None, Role::Steering);
    let name = names::steering(platform.name.as_str());
    vec![
        ConfigFile::json(FILE, &config(platform, cluster, addresses)).config_map(about, name.clone()),
        network::service(about, name, about.selector(), Reach::Public, false),
    ]
}

/// One region's servers.
pub(super) fn render(platform: &ValidatedPlatform, region: &Region) -> Vec<Object> {
    let about = About::new(platform, Some(&region.name), Role::Steering);
    let template = pod::template(Shape {
        about,
        node_selector: &region.node_selector,
        image: &platform.images.media,
        command: None,
        args: vec![
            "steering".into(),
            "--config".into(),
            format!("{}/{FILE}", super::config::DIRECTORY),
        ],
        config_map: names::steering(platform.name.as_str()),
        // No hash: addresses and weights change while viewers watch, and the servers reload the file.
        config_hash: None,
        secret: None,
        scratch: Vec::new(),
        admin_port: false,
        cpu: Millicores(100),
        memory: Mebibytes(128),
        pre_stop: None,
        grace_seconds: 15,
        annotations: [].into(),
        spread_by_revision: true,
    });
    let deployment = Deployment {
        metadata: about.meta(platform.regional(&region.name, Role::Steering)),
        spec: Some(DeploymentSpec {
            replicas: Some(platform.steering.replicas.as_i32()),
            selector: about.label_selector(),
            strategy: Some(careful_rollout()),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    };
    vec![object(
        Kind::Deployment,
        Some(&region.name),
        Role::Steering,
        &deployment,
    )]
}

fn config(platform: &ValidatedPlatform, cluster: Option<&RemoteCluster>, addresses: &Addresses) -> SteeringConfig {
    SteeringConfig {
        public_url: addresses.steering_url_in(platform, cluster).unwrap_or_default(),
        channels: platform
            .channels
            .iter()
            .map(|channel| SteeringChannel {
                name: channel.name.to_string(),
                ladder: channel.ladder.clone(),
                audio: channel.audio.clone(),
                frame_rate: channel.frame_rate,
            })
            .collect(),
        pathways: platform
            .regions_with(Role::Edge)
            .filter_map(|region| {
                let edges = platform.regional(&region.name, Role::Edge);
                let host = addresses.host(platform, cluster, region.cluster.as_ref(), &edges)?;
                Some(Pathway {
                    id: region.name.to_string(),
                    public_url: addresses.edge_url(region).unwrap_or_default(),
                    probe_url: format!("{}/healthz", url(&host)),
                    weight: region.weight,
                })
            })
            .collect(),
        ttl_seconds: platform.steering.ttl_seconds,
        failover: platform.steering.failover,
        probe: platform.steering.probe.clone(),
    }
}
