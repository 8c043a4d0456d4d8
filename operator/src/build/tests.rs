//! What holds for every rendered object.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;
use showrunner_crds::{labels, platform::StreamingPlatform};

use super::{Input, build};
use crate::{
    addresses::Addresses,
    fixtures,
    floor::{Floor, Reason},
    kind::Kind,
    memory::Memory,
    observed::Live,
    resources::{Object, Prepared, Resources},
    topology::Topology,
    validate::{
        ValidatedPlatform,
        names::{RegionName, ServiceName},
        units::Replicas,
        validate,
    },
};

fn addresses() -> Addresses {
    Addresses {
        edges: [
            (RegionName::new("north").unwrap(), "192.0.2.1".into()),
            (RegionName::new("south").unwrap(), "lb.example".into()),
        ]
        .into(),
        steering: Some("2001:db8::1".into()),
        services: [(ServiceName::new("tickets").unwrap(), "192.0.2.9".into())].into(),
        ..Addresses::default()
    }
}

fn built(platform: &ValidatedPlatform) -> Resources<Prepared> {
    let floor = Floor {
        replicas: Replicas(6),
        needed: Replicas(6),
        reason: Reason::Audience,
    };
    let floors = [(RegionName::new("north").unwrap(), floor)].into();
    let nothing = Live::default();
    build(Input {
        platform,
        addresses: &addresses(),
        floors: &floors,
        fixed: &Memory::default().fixed(platform, |_| Some(&nothing), Timestamp::UNIX_EPOCH),
    })
}

fn find<'a>(objects: &'a Resources<Prepared>, kind: Kind, name: &str) -> &'a Object {
    objects
        .objects()
        .iter()
        .find(|object| object.kind == kind && object.name == name)
        .unwrap_or_else(|| panic!("no {kind:?} {name}"))
}

fn pod(object: &Object) -> &Value {
    object.body.pointer("/spec/template/spec").unwrap()
}

#[test]
fn a_platform_of_three_regions() {
    let platform = fixtures::cinema();
    let resources = built(&platform);
    let list: Vec<String> = resources
        .objects()
        .iter()
        .map(|object| format!("{:?} {}", object.kind, object.name))
        .collect();
    insta::assert_yaml_snapshot!("objects", list);
    for (snapshot, kind, name) in [
        ("encoder", Kind::StatefulSet, "cinema-north-encoder-main"),
        ("encoder_config", Kind::ConfigMap, "cinema-north-encoder-main"),
        ("origin", Kind::StatefulSet, "cinema-north-origin"),
        ("origin_replica", Kind::Service, "cinema-north-origin-0"),
        ("shield_rules", Kind::ConfigMap, "cinema-south-shield"),
        ("edge", Kind::Deployment, "cinema-north-edge"),
        ("edge_rules", Kind::ConfigMap, "cinema-west-edge"),
        ("edge_service", Kind::Service, "cinema-west-edge"),
        ("autoscaler", Kind::HorizontalPodAutoscaler, "cinema-north-edge"),
        ("budget", Kind::PodDisruptionBudget, "cinema-north-edge"),
        ("origin_policy", Kind::NetworkPolicy, "cinema-origin"),
        ("steering_config", Kind::ConfigMap, "cinema-steering"),
        ("service", Kind::Deployment, "cinema-north-tickets"),
    ] {
        insta::assert_yaml_snapshot!(snapshot, find(&resources, kind, name).body);
    }
}

/// South is in a cluster of its own, in another namespace.
fn apart() -> ValidatedPlatform {
    let mut platform = fixtures::cinema_resource();
    platform.spec.regions[1].cluster = serde_json::from_value(serde_json::json!({
        "kubeconfigSecretRef": { "name": "south" }, "namespace": "live",
    }))
    .unwrap();
    platform.spec.interconnect.source_ranges = vec!["10.0.0.0/8".into()];
    validate(&platform).unwrap()
}

#[test]
fn what_is_in_another_cluster_is_named_and_owned_as_it_is_there() {
    let platform = apart();
    let clusters = built(&platform).by_cluster();
    assert_eq!(clusters.len(), 2);
    for (cluster, resources) in &clusters {
        let mut names = BTreeSet::new();
        for object in resources.objects() {
            assert!(names.insert((object.kind, &object.name)), "twice: {}", object.name);
            assert_eq!(
                object.region.as_ref().is_some_and(|region| region.as_str() == "south"),
                { cluster.is_some() && object.region.is_some() }
            );
            let metadata = &object.body["metadata"];
            let (namespace, owned) = if cluster.is_some() {
                ("live", false)
            } else {
                ("stage", true)
            };
            assert_eq!(metadata["namespace"], namespace, "{}", object.name);
            assert_eq!(metadata["ownerReferences"].is_array(), owned, "{}", object.name);
            assert_eq!(metadata["labels"][labels::OWNER].is_string(), !owned, "{}", object.name);
        }
    }
    let south = clusters.values().nth(1).unwrap();
    let text = |resources, kind, name| find(resources, kind, name).body["data"].to_string();
    let encoder = text(south, Kind::ConfigMap, "cinema-south-encoder-main");
    assert!(encoder.contains("cinema-south-origin-0.live.svc"), "{encoder}");
    // No load balancer of the north is known to the south yet.
    assert!(!encoder.contains("north"), "{encoder}");
    assert!(!south.objects().iter().any(|object| object.withheld));
}

#[test]
fn a_cache_waits_for_its_first_upstream() {
    let mut platform = apart();
    let cluster = platform.regions[1].cluster.take();
    platform.regions[2].cluster = cluster;
    let clusters = built(&platform).by_cluster();
    let withheld: Vec<(Kind, &str)> = clusters
        .values()
        .flat_map(Resources::objects)
        .filter(|object| object.withheld)
        .map(|object| (object.kind, object.name.as_str()))
        .collect();
    assert_eq!(
        withheld,
        [
            (Kind::ConfigMap, "cinema-west-edge"),
            (Kind::Deployment, "cinema-west-edge"),
            // What watches over it.
            (Kind::HorizontalPodAutoscaler, "cinema-west-edge"),
            (Kind::PodDisruptionBudget, "cinema-west-edge"),
        ]
    );
}

#[test]
fn replicas_belong_to_the_autoscaler_or_to_the_spec() {
    let mut platform = fixtures::cinema();
    let scaled = built(&platform);
    assert_eq!(
        find(&scaled, Kind::Deployment, "cinema-north-edge")
            .body
            .pointer("/spec/replicas"),
        None
    );
    let autoscaler = find(&scaled, Kind::HorizontalPodAutoscaler, "cinema-north-edge");
    assert_eq!(autoscaler.body.pointer("/spec/minReplicas"), Some(&6.into()));
    platform.edge.autoscaling.enabled = false;
    let fixed = built(&platform);
    assert_eq!(
        find(&fixed, Kind::Deployment, "cinema-north-edge")
            .body
            .pointer("/spec/replicas"),
        Some(&1.into())
    );
    assert!(
        fixed
            .objects()
            .iter()
            .all(|object| object.kind != Kind::HorizontalPodAutoscaler)
    );
}

#[test]
fn what_is_read_at_start_rolls_pods_and_what_is_reloaded_does_not() {
    let template = |platform: &ValidatedPlatform, kind, name: &str| {
        find(&built(platform), kind, name)
            .body
            .pointer("/spec/template")
            .unwrap()
            .clone()
    };
    let before = fixtures::cinema();
    let mut after = fixtures::cinema();
    after.regions[2].weight = 77;
    after.steering.ttl_seconds = 9;
    for name in ["cinema-north-steering", "cinema-north-edge", "cinema-north-shield"] {
        assert_eq!(
            template(&before, Kind::Deployment, name),
            template(&after, Kind::Deployment, name),
            "{name}"
        );
    }
    after.origin.replicas = Replicas(2);
    for name in ["cinema-north-shield", "cinema-west-steering"] {
        let same = template(&before, Kind::Deployment, name) == template(&after, Kind::Deployment, name);
        assert_eq!(same, name.ends_with("steering"), "{name}");
    }
    after.channels[0].dvr_seconds += 60;
    let origin = "cinema-north-origin";
    assert_ne!(
        template(&before, Kind::StatefulSet, origin),
        template(&after, Kind::StatefulSet, origin)
    );
}

#[test]
fn every_pod_is_restricted_probed_and_spread() {
    let resources = built(&fixtures::cinema());
    let workloads: Vec<&Object> = resources
        .objects()
        .iter()
        .filter(|object| matches!(object.kind, Kind::Deployment | Kind::StatefulSet))
        .collect();
    assert!(workloads.len() >= 12);
    for workload in workloads {
        let pod = pod(workload);
        for (pointer, expected) in [
            ("/automountServiceAccountToken", Value::Bool(false)),
            ("/securityContext/runAsNonRoot", Value::Bool(true)),
            ("/securityContext/seccompProfile/type", "RuntimeDefault".into()),
            (
                "/containers/0/securityContext/readOnlyRootFilesystem",
                Value::Bool(true),
            ),
            (
                "/containers/0/securityContext/allowPrivilegeEscalation",
                Value::Bool(false),
            ),
            ("/containers/0/securityContext/capabilities/drop/0", "ALL".into()),
            ("/containers/0/readinessProbe/httpGet/path", "/healthz".into()),
            ("/containers/0/livenessProbe/httpGet/path", "/livez".into()),
            ("/containers/0/startupProbe/httpGet/path", "/livez".into()),
            ("/containers/0/ports/0/containerPort", 8080.into()),
        ] {
            assert_eq!(pod.pointer(pointer), Some(&expected), "{} {pointer}", workload.name);
        }
        for pointer in [
            "/nodeSelector",
            "/topologySpreadConstraints/0",
            "/containers/0/resources/requests/cpu",
        ] {
            assert!(pod.pointer(pointer).is_some(), "{} {pointer}", workload.name);
        }
    }
}

#[test]
fn upstreams_come_before_what_depends_on_them() {
    let platform = fixtures::cinema();
    let resources = built(&platform);
    let order = Topology::of(&platform).role_order();
    let place = |object: &Object| order.iter().position(|role| *role == object.role).unwrap();
    for pair in resources.objects().windows(2) {
        assert!((pair[0].kind.stage(), place(&pair[0])) <= (pair[1].kind.stage(), place(&pair[1])));
    }
}

#[test]
fn a_shield_asks_its_own_origins_first() {
    let mut platform = fixtures::cinema();
    platform.origin.replicas = Replicas(2);
    let resources = built(&platform);
    let rules = |name| {
        let body = &find(&resources, Kind::ConfigMap, name).body;
        body.pointer("/data/default.vcl").unwrap().as_str().unwrap().to_owned()
    };
    let first_backend = |vcl: &str| {
        vcl.lines()
            .find(|line| line.contains("try0.add_backend"))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(
        first_backend(&rules("cinema-north-shield")),
        "try0.add_backend(cinema_north_origin_0);"
    );
    assert_eq!(
        first_backend(&rules("cinema-south-shield")),
        "try0.add_backend(cinema_south_origin_0);"
    );
    assert_eq!(
        first_backend(&rules("cinema-south-edge")),
        "try0.add_backend(cinema_south_shield);"
    );
    // West has no shield of its own and takes those of others.
    assert!(rules("cinema-west-edge").contains("cinema_north_shield"));
    assert_eq!(rules("cinema-north-shield").matches("backend cinema_").count(), 4);
}

/// The sources under `build/` name no client, no clock and no chance.
#[test]
fn build_is_pure() {
    let forbidden = |text: &str| {
        [
            "Client",
            "Timestamp::now",
            "SystemTime",
            "Instant",
            "rand::",
            "async ",
            "std::fs",
            "std::env",
        ]
        .into_iter()
        .find(|word| text.contains(word))
    };
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/build");
    let mut looked_at = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(forbidden(&text), None, "{}", path.display());
            looked_at += 1;
        }
    }
    assert!(looked_at > 8);
    assert_eq!(
        forbidden("use kube::Client;"),
        Some("Client"),
        "the check itself finds what it looks for"
    );
}

fn arbitrary_platform() -> impl Strategy<Value = StreamingPlatform> {
    let name = "[a-z][a-z0-9]{0,7}";
    (
        prop::collection::btree_set(name, 1..5),
        prop::collection::btree_set(name, 1..4),
        1_u32..4,
        any::<bool>(),
        1_u32..6,
    )
        .prop_map(|(regions, channels, origins, autoscaled, min)| {
            let mut platform = fixtures::cinema_resource();
            let region = platform.spec.regions[0].clone();
            let channel = platform.spec.channels[0].clone();
            platform.spec.resilience.regions_to_lose = u32::from(regions.len() > 1);
            platform.spec.regions = regions
                .into_iter()
                .map(|name| showrunner_crds::platform::Region { name, ..region.clone() })
                .collect();
            platform.spec.channels = channels
                .into_iter()
                .map(|name| showrunner_crds::platform::Channel {
                    name,
                    ..channel.clone()
                })
                .collect();
            platform.spec.origin.replicas = origins;
            platform.spec.edge.autoscaling.enabled = autoscaled;
            platform.spec.edge.autoscaling.min_replicas = min;
            platform
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn objects_are_unique_named_labelled_and_the_same_every_time(resource in arbitrary_platform()) {
        // What is refused is another test's business.
        prop_assume!(validate(&resource).is_ok());
        let platform = validate(&resource).unwrap();
        let resources = built(&platform);
        let mut names = BTreeSet::new();
        for object in resources.objects() {
            prop_assert!(names.insert((object.kind, object.name.clone())), "twice: {:?} {}", object.kind, object.name);
            prop_assert!((1..=63).contains(&object.name.len()), "{}", object.name);
            let label = |key: &str| object.body["metadata"]["labels"][key].as_str().map(ToOwned::to_owned);
            prop_assert_eq!(label(labels::PLATFORM), Some("cinema".to_owned()));
            prop_assert_eq!(label(labels::APP_MANAGED_BY), Some(labels::MANAGER.to_owned()));
            prop_assert_eq!(label(labels::ROLE), Some(object.role.to_string()));
            prop_assert_eq!(label(labels::REGION), object.region.as_ref().map(ToString::to_string));
            prop_assert_eq!(&object.body["metadata"]["namespace"], "stage");
            prop_assert_eq!(&object.body["metadata"]["ownerReferences"][0]["controller"], &Value::Bool(true));
        }
        let again = built(&validate(&resource).unwrap());
        prop_assert_eq!(resources.objects(), again.objects());
    }
}
