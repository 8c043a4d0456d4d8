//! Shields and edges: Deployments of Varnish, with a Service each.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{ExecAction, Lifecycle, LifecycleHandler},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use showrunner_crds::{labels, platform::Role};

use super::{
    config::ConfigFile,
    meta::About,
    network::{self, Reach},
    object, origin,
    pod::{self, Shape},
    vcl::{self, CacheConfig, CacheTier},
};
use crate::{
    addresses::Addresses,
    kind::Kind,
    resources::Object,
    validate::{
        Region, ValidatedPlatform,
        units::{Mebibytes, Millicores, Replicas},
    },
};

/// Varnish's working directory: rules, the compiler's scratch and the shared-memory log.
const WORK: (&str, &str, Mebibytes) = ("work", "/var/lib/varnish", Mebibytes(128));
/// Where the drain marker is put.
const RUN: (&str, &str, Mebibytes) = ("run", "/run/showrunner", Mebibytes(1));
/// Its existence makes `/healthz` 503 and every response the last of its connection.
const DRAIN_MARKER: &str = "/run/showrunner/drain";
/// Memory beside the cache: threads, workspaces, compiler, log, short-lived objects.
const OVERHEAD: u32 = 160;

/// The cache in front of the origins: its own region's first, then every other's.
pub(super) fn shield(platform: &ValidatedPlatform, region: &Region, addresses: &Addresses) -> Vec<Object> {
    let tier = &platform.shield;
    Cache {
        tier: CacheTier::Shield,
        role: Role::Shield,
        upstreams: origins(platform, region, addresses),
        replicas: Some(tier.replicas),
        storage: tier.cache,
        cpu: tier.cpu,
        reach: Reach::within(platform),
        egress: None,
        drain_seconds: 2,
    }
    .render(platform, region)
}

/// The cache that viewers talk to. Its replicas are left out where they are the autoscaler's.
pub(super) fn edge(
    platform: &ValidatedPlatform,
    region: &Region,
    replicas: Option<Replicas>,
    addresses: &Addresses,
) -> Vec<Object> {
    let tier = &platform.edge;
    let probe = &platform.steering.probe;
    Cache {
        tier: CacheTier::Edge,
        role: Role::Edge,
        upstreams: shields(platform, region, addresses),
        replicas,
        storage: tier.cache,
        cpu: tier.cpu,
        reach: Reach::Public,
        egress: tier
            .egress
            .map(|egress| (labels::EGRESS_BANDWIDTH.to_owned(), egress.annotation())),
        // Until steering has seen it go and players have polled once.
        drain_seconds: u64::from(probe.interval_ms * probe.failures).div_ceil(1000) + 2,
    }
    .render(platform, region)
}

/// Origin replicas as `(Service, host)`, nearest first.
fn origins(platform: &ValidatedPlatform, region: &Region, addresses: &Addresses) -> Vec<(String, String)> {
    origin::by_nearness(platform, region)
        .into_iter()
        .filter_map(|near| origin::hosts(platform, region, near, addresses))
        .flatten()
        .collect()
}

/// Shields as `(Service, host)`, nearest first; the origins themselves where there is no shield at all.
fn shields(platform: &ValidatedPlatform, region: &Region, addresses: &Addresses) -> Vec<(String, String)> {
    if platform.regions_with(Role::Shield).next().is_none() {
        return origins(platform, region, addresses);
    }
    origin::nearest_first(platform, region, Role::Shield)
        .into_iter()
        .filter_map(|near| {
            let service = platform.regional(&near.name, Role::Shield);
            let (from, to) = (region.cluster.as_ref(), near.cluster.as_ref());
            let host = addresses.host(platform, from, to, &service)?;
            Some((service, host))
        })
        .collect()
}

/// What differs between the tiers.
struct Cache {
    tier: CacheTier,
    role: Role,
    upstreams: Vec<(String, String)>,
    /// Absent where an autoscaler owns the number.
    replicas: Option<Replicas>,
    storage: Mebibytes,
    cpu: Millicores,
    reach: Reach,
    egress: Option<(String, String)>,
    drain_seconds: u64,
}

impl Cache {
    fn render(self, platform: &ValidatedPlatform, region: &Region) -> Vec<Object> {
        let name = platform.regional(&region.name, self.role);
        let about = About::new(platform, Some(&region.name), self.role);
        let config = ConfigFile {
            file: "default.vcl",
            content: vcl::render(&CacheConfig {
                tier: self.tier,
                title: &name,
                upstreams: &self.upstreams,
                drain_marker: DRAIN_MARKER,
            }),
        };
        let template = pod::template(Shape {
            about,
            node_selector: &region.node_selector,
            image: &platform.images.cache,
            command: Some(vec![platform.images.cache_command.clone()]),
            args: vcl::arguments(self.storage, WORK.1, &config.path()),
            config_map: name.clone(),
            config_hash: Some(config.hash()),
            secret: None,
            scratch: vec![WORK, RUN],
            admin_port: true,
            cpu: self.cpu,
            memory: Mebibytes(self.storage.0 + OVERHEAD),
            pre_stop: Some(drain(self.drain_seconds)),
            grace_seconds: i64::try_from(self.drain_seconds).unwrap_or(0) + 10,
            annotations: self.egress.into_iter().collect(),
            spread_by_revision: true,
        });
        let deployment = Deployment {
            metadata: about.meta(name.clone()),
            spec: Some(DeploymentSpec {
                replicas: self.replicas.map(Replicas::as_i32),
                selector: about.label_selector(),
                strategy: Some(careful_rollout()),
                template,
                ..DeploymentSpec::default()
            }),
            ..Deployment::default()
        };
        // Rules without an upstream cannot be loaded: where every upstream is in another cluster, the first address is awaited.
        let withheld = self.upstreams.is_empty();
        let of_cache = |object: Object| Object { withheld, ..object };
        vec![
            of_cache(config.config_map(about, name.clone())),
            network::service(about, name, about.selector(), self.reach, false),
            of_cache(object(Kind::Deployment, Some(&region.name), self.role, &deployment)),
        ]
    }
}

/// New pods first, old ones after: a rollout never takes capacity away.
pub(super) fn careful_rollout() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".into()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::String("25%".into())),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}

/// Out of rotation first, then stop. The marker goes away at the end: a container that is restarted in place keeps its
/// volumes and must not come back draining.
fn drain(seconds: u64) -> Lifecycle {
    let script = format!("touch {DRAIN_MARKER}; sleep {seconds}; rm -f {DRAIN_MARKER}");
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            exec: Some(ExecAction {
                command: Some(vec!["sh".into(), "-c".into(), script]),
            }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}
