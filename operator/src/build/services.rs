//! Playback services: the reference implementation where the platform names no other.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use showrunner_crds::{config::ServicesConfig, labels, names, platform::Role};

use super::{
    cache::careful_rollout,
    config::ConfigFile,
    meta::About,
    network::{self, Reach},
    object,
    pod::{self, Shape},
};
use crate::{
    kind::Kind,
    resources::Object,
    validate::{
        Region, Service, ValidatedPlatform,
        units::{Mebibytes, Millicores},
    },
};

/// Where the signing key is mounted.
const KEYS: &str = "/etc/showrunner-keys";
/// Name of the key in the Secret and of the file it becomes.
pub const KEY_FILE: &str = "signing.key";
/// How long a playback token is valid: a long film.
const TOKEN_SECONDS: u32 = 4 * 3600;

/// What spans the regions of a cluster: each service's configuration and Service.
pub(super) fn shared(platform: &ValidatedPlatform) -> Vec<Object> {
    platform
        .deployed_services()
        .flat_map(|service| {
            let about = about(platform, None, service);
            let name = names::service(platform.name.as_str(), service.name.as_str());
            [
                config(platform, service).config_map(about, name.clone()),
                network::service(about, name, about.selector(), Reach::Public, false),
            ]
        })
        .collect()
}

/// One region's servers.
pub(super) fn render(platform: &ValidatedPlatform, region: &Region) -> Vec<Object> {
    platform
        .deployed_services()
        .map(|service| deployment(platform, region, service))
        .collect()
}

fn about<'a>(platform: &'a ValidatedPlatform, region: Option<&'a Region>, service: &'a Service) -> About<'a> {
    About::new(platform, region.map(|region| &region.name), Role::Services)
        .detail(labels::SERVICE, service.name.as_str())
}

fn deployment(platform: &ValidatedPlatform, region: &Region, service: &Service) -> Object {
    let about = about(platform, Some(region), service);
    let config = config(platform, service);
    let template = pod::template(Shape {
        about,
        node_selector: &region.node_selector,
        image: &platform.images.media,
        command: None,
        args: vec!["services".into(), "--config".into(), config.path()],
        config_map: names::service(platform.name.as_str(), service.name.as_str()),
        config_hash: Some(config.hash()),
        secret: Some((platform.signing_secret(), KEYS)),
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
        metadata: about.meta(names::service_workload(
            platform.name.as_str(),
            region.name.as_str(),
            service.name.as_str(),
        )),
        spec: Some(DeploymentSpec {
            replicas: Some(service.replicas.as_i32()),
            selector: about.label_selector(),
            strategy: Some(careful_rollout()),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    };
    object(Kind::Deployment, Some(&region.name), Role::Services, &deployment)
}

fn config(platform: &ValidatedPlatform, service: &Service) -> ConfigFile {
    ConfigFile::json(
        "services.json",
        &ServicesConfig {
            name: service.name.to_string(),
            kind: service.kind,
            channels: platform
                .channels
                .iter()
                .map(|channel| channel.name.to_string())
                .collect(),
            token_seconds: TOKEN_SECONDS,
            key_file: format!("{KEYS}/{KEY_FILE}"),
        },
    )
}
