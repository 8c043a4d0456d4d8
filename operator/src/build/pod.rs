//! The pod every role is made of: restricted, probed, spread, and told who it is.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
        HTTPGetAction, Lifecycle, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
        ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, TopologySpreadConstraint, Volume,
        VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use showrunner_crds::names::{ADMIN_PORT, HTTP_PORT};

use super::{config, identity, meta::About};
use crate::validate::units::{Mebibytes, Millicores};

/// User of every container: some number that is not root and that no image gives a meaning to.
const USER: i64 = 65_532;
/// Name of the volume with the configuration.
const CONFIG_VOLUME: &str = "config";

/// What differs between the roles.
#[derive(Clone, Debug)]
pub(super) struct Shape<'a> {
    pub about: About<'a>,
    pub node_selector: &'a BTreeMap<String, String>,
    pub image: &'a str,
    /// Absent where the image's entry point is meant.
    pub command: Option<Vec<String>>,
    pub args: Vec<String>,
    /// Name of the ConfigMap mounted at [`config::DIRECTORY`].
    pub config_map: String,
    /// Hash of configuration that is read at start; absent where it is reloaded live.
    pub config_hash: Option<String>,
    /// Secret mounted read-only, and where.
    pub secret: Option<(String, &'static str)>,
    /// Scratch directories: volume name, mount path, size. The first is `TMPDIR`: nothing else can be written to.
    pub scratch: Vec<(&'static str, &'static str, Mebibytes)>,
    pub admin_port: bool,
    pub cpu: Millicores,
    pub memory: Mebibytes,
    pub pre_stop: Option<Lifecycle>,
    /// From SIGTERM, or the preStop hook, until SIGKILL; in seconds.
    pub grace_seconds: i64,
    pub annotations: BTreeMap<String, String>,
    /// Whether pods of one rollout are spread by their own revision (Deployments) or all together.
    pub spread_by_revision: bool,
}

/// Renders the template.
pub(super) fn template(shape: Shape<'_>) -> PodTemplateSpec {
    let mut annotations = shape.annotations.clone();
    if let Some(hash) = &shape.config_hash {
        annotations.insert(config::CONFIG_HASH.to_owned(), hash.clone());
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(shape.about.labels()),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(identity::account(shape.about.platform, shape.about.role)),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            node_selector: Some(shape.node_selector.clone()),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                fs_group: Some(USER),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".into(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            }),
            termination_grace_period_seconds: Some(shape.grace_seconds),
            topology_spread_constraints: Some(spread(&shape)),
            volumes: Some(volumes(&shape)),
            containers: vec![container(shape)],
            ..PodSpec::default()
        }),
    }
}

fn container(shape: Shape<'_>) -> Container {
    let mut ports = vec![port("http", HTTP_PORT)];
    if shape.admin_port {
        ports.push(port("admin", ADMIN_PORT));
    }
    Container {
        name: shape.about.role.to_string(),
        volume_mounts: Some(mounts(&shape)),
        image: Some(shape.image.to_owned()),
        command: shape.command,
        args: Some(shape.args),
        env: Some(env(&shape.scratch)),
        ports: Some(ports),
        // A slow start is no failure: a minute of it, looked at every second.
        startup_probe: Some(probe("/livez", 1, 60)),
        // Out of rotation within two seconds of failing, and back as fast.
        readiness_probe: Some(probe("/healthz", 1, 2)),
        // Restarting is the last resort, and no cure for a network that is gone: a whole minute.
        liveness_probe: Some(probe("/livez", 10, 6)),
        lifecycle: shape.pre_stop,
        resources: Some(ResourceRequirements {
            requests: Some(
                [
                    ("cpu".to_owned(), shape.cpu.quantity()),
                    ("memory".to_owned(), shape.memory.quantity()),
                ]
                .into(),
            ),
            // No CPU limit: throttling a cache at its busiest helps nobody. Memory is a limit, for it cannot be given back.
            limits: Some([("memory".to_owned(), shape.memory.quantity())].into()),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".into()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("http".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(1),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

/// Who and where the pod is. `POD_IP` is what it binds to.
fn env(scratch: &[(&str, &str, Mebibytes)]) -> Vec<EnvVar> {
    let fields = [
        ("POD_NAME", "metadata.name"),
        ("POD_NAMESPACE", "metadata.namespace"),
        ("POD_IP", "status.podIP"),
        ("NODE_NAME", "spec.nodeName"),
    ]
    .into_iter()
    .map(|(name, field)| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: field.to_owned(),
                api_version: Some("v1".into()),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    });
    let temporary = scratch.first().map(|(_, path, _)| EnvVar {
        name: "TMPDIR".to_owned(),
        value: Some((*path).to_owned()),
        ..EnvVar::default()
    });
    fields.chain(temporary).collect()
}

fn mounts(shape: &Shape<'_>) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![mount(CONFIG_VOLUME, config::DIRECTORY, true)];
    mounts.extend(shape.secret.as_ref().map(|(name, path)| mount(name, path, true)));
    mounts.extend(shape.scratch.iter().map(|(name, path, _)| mount(name, path, false)));
    mounts
}

fn volumes(shape: &Shape<'_>) -> Vec<Volume> {
    let mut volumes = vec![Volume {
        name: CONFIG_VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: shape.config_map.clone(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }];
    volumes.extend(shape.secret.as_ref().map(|(name, _)| Volume {
        name: name.clone(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name.clone()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }));
    volumes.extend(shape.scratch.iter().map(|(name, _, size)| Volume {
        name: (*name).to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(size.quantity().0)),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }));
    volumes
}

/// Over zones and over machines, as evenly as can be had: a full machine must not keep a surge from being served.
fn spread(shape: &Shape<'_>) -> Vec<TopologySpreadConstraint> {
    [showrunner_crds::labels::TOPOLOGY_ZONE, "kubernetes.io/hostname"]
        .into_iter()
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            label_selector: Some(shape.about.label_selector()),
            match_label_keys: shape.spread_by_revision.then(|| vec!["pod-template-hash".to_owned()]),
            ..TopologySpreadConstraint::default()
        })
        .collect()
}
