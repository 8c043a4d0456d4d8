//! What these bindings read and write, against the API as Chaos Mesh documents it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fmt::Debug, time::Duration};

use chaos_mesh_rs::{
    DNSChaos, HTTPChaos, IOChaos, NetworkChaos, PodChaos, PodNetworkChaos, StressChaos, TimeChaos, crds, fault,
    injected,
    kinds::{Experiment, http::HttpTarget, io::IoAction, network::Direction, pod::PodAction},
    selector::{Mode, PodSelector},
    status::DesiredPhase,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Reads a text as `K`, writes it again, and finds every part of the text in what was written, under the same name.
fn round_trip<K: DeserializeOwned + Serialize + Debug>(yaml: &str) -> K {
    let expected: Value = serde_saphyr::from_str(yaml).unwrap();
    let object: K = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    let written = serde_json::to_value(&object).unwrap();
    contained(&expected, &written, "");
    object
}

fn contained(expected: &Value, written: &Value, path: &str) {
    match (expected, written) {
        (Value::Object(expected), Value::Object(written)) => {
            for (key, value) in expected {
                let path = format!("{path}.{key}");
                contained(
                    value,
                    written.get(key).unwrap_or_else(|| panic!("{path} was lost")),
                    &path,
                );
            }
        }
        (Value::Array(expected), Value::Array(written)) => {
            assert_eq!(expected.len(), written.len(), "{path}");
            for (index, (expected, written)) in expected.iter().zip(written).enumerate() {
                contained(expected, written, &format!("{path}[{index}]"));
            }
        }
        _ => assert_eq!(expected, written, "{path}"),
    }
}

#[test]
fn pod_chaos() {
    let chaos: PodChaos = round_trip(
        r#"
apiVersion: chaos-mesh.org/v1alpha1
kind: PodChaos
metadata: {name: kill-two, namespace: shop}
spec:
  action: container-kill
  mode: fixed-percent
  value: "40"
  duration: 30s
  gracePeriod: 5
  containerNames: [web]
  selector:
    namespaces: [shop]
    labelSelectors: {app: checkout}
    expressionSelectors:
      - {key: tier, operator: In, values: [front, back]}
    annotationSelectors: {team: payments}
    fieldSelectors: {spec.nodeName: node-a}
    nodes: [node-a]
    nodeSelectors: {disk: ssd}
    podPhaseSelectors: [Running]
    pods: {shop: [checkout-0]}
"#,
    );
    assert_eq!(chaos.spec.action, PodAction::ContainerKill);
    assert_eq!((chaos.mode(), chaos.value()), (Mode::FixedPercent, Some("40")));
    assert!(chaos.one_shot());
}

#[test]
fn network_chaos() {
    let chaos: NetworkChaos = round_trip(
        r#"
apiVersion: chaos-mesh.org/v1alpha1
kind: NetworkChaos
metadata: {name: slow}
spec:
  action: netem
  mode: all
  selector: {namespaces: [shop]}
  direction: both
  target:
    mode: one
    selector: {labelSelectors: {app: database}}
  externalTargets: [192.0.2.0/24, example.org]
  device: eth0
  targetDevice: eth1
  delay: {latency: 90ms, correlation: "25", jitter: 10ms, reorder: {reorder: "0.5", correlation: "50", gap: 5}}
  loss: {loss: "12.5", correlation: "10"}
  duplicate: {duplicate: "1", correlation: "10"}
  corrupt: {corrupt: "2", correlation: "10"}
  rate: {rate: 1mbps}
  bandwidth: {rate: 1mbps, limit: 20971520, buffer: 10000, peakrate: 1000000, minburst: 1500}
  duration: 1m30s
"#,
    );
    assert_eq!(chaos.spec.direction, Some(Direction::Both));
    assert_eq!(
        chaos_mesh_rs::duration::parse(chaos.duration().unwrap()),
        Some(Duration::from_secs(90))
    );
    assert!(!chaos.one_shot());
}

#[test]
fn stress_chaos() {
    let chaos: StressChaos = round_trip(
        r"
apiVersion: chaos-mesh.org/v1alpha1
kind: StressChaos
metadata: {name: busy}
spec:
  mode: one
  selector: {labelSelectors: {app: encoder}}
  containerNames: [encoder]
  stressors:
    cpu: {workers: 2, load: 80, options: ['--cpu-method all']}
    memory: {workers: 1, size: 256MB}
  duration: 1m
",
    );
    assert_eq!(chaos.spec.stressors.unwrap().cpu.unwrap().load, Some(80));
}

#[test]
fn io_chaos() {
    let chaos: IOChaos = round_trip(
        r"
apiVersion: chaos-mesh.org/v1alpha1
kind: IOChaos
metadata: {name: slow-disk}
spec:
  action: attrOverride
  mode: one
  selector: {labelSelectors: {app: database}}
  volumePath: /var/lib/data
  path: /var/lib/data/**/*
  methods: [read, write]
  percent: 50
  delay: 100ms
  errno: 5
  attr: {perm: 72, size: 4096, mtime: {sec: 1, nsec: 2}}
  mistake: {filling: zero, maxOccurrences: 1, maxLength: 10}
",
    );
    assert_eq!(chaos.spec.action, IoAction::AttrOverride);
}

#[test]
fn http_chaos_headers_are_in_snake_case_and_nothing_else_is() {
    let chaos: HTTPChaos = round_trip(
        r#"
apiVersion: chaos-mesh.org/v1alpha1
kind: HTTPChaos
metadata: {name: bad-gateway}
spec:
  mode: all
  selector: {labelSelectors: {app: licence}}
  target: Response
  port: 8080
  path: /licence*
  method: POST
  code: 200
  request_headers: {accept: application/json}
  response_headers: {server: envoy}
  abort: true
  delay: 3s
  replace: {code: 502, path: /x, method: GET, body: aGk=, headers: {a: b}, queries: {c: d}}
  patch: {headers: [[token, abc]], queries: [[foo, bar]], body: {type: JSON, value: '{"foo":"bar"}'}}
  duration: 1m
"#,
    );
    assert_eq!(chaos.spec.target, HttpTarget::Response);
    assert_eq!(chaos.spec.request_headers["accept"], "application/json");
}

#[test]
fn dns_and_time_chaos() {
    round_trip::<DNSChaos>(
        r"
apiVersion: chaos-mesh.org/v1alpha1
kind: DNSChaos
metadata: {name: lost}
spec:
  action: random
  mode: all
  patterns: [origin.example.*, chaos-mes?.org]
  selector: {namespaces: [shop]}
",
    );
    let chaos: TimeChaos = round_trip(
        r"
apiVersion: chaos-mesh.org/v1alpha1
kind: TimeChaos
metadata: {name: past}
spec:
  mode: one
  timeOffset: -10m
  clockIds: [CLOCK_REALTIME]
  containerNames: [web]
  selector: {labelSelectors: {app: web}}
",
    );
    assert_eq!(chaos.spec.time_offset, "-10m");
}

#[test]
fn pod_network_chaos() {
    let rules: PodNetworkChaos = round_trip(
        r#"
apiVersion: chaos-mesh.org/v1alpha1
kind: PodNetworkChaos
metadata: {name: checkout-0, namespace: shop}
spec:
  ipsets: [{name: slow_target, cidrs: [10.0.0.1/32], source: shop/slow}]
  iptables: [{name: INPUT/slow_target, direction: input, ipsets: [slow_target], source: shop/slow}]
  tcs: [{type: netem, ipset: slow_target, source: shop/slow, delay: {latency: 90ms}, loss: {loss: "5"}}]
status: {failedMessage: no such device, observedGeneration: 3}
"#,
    );
    assert_eq!(rules.status.unwrap().observed_generation, 3);
}

#[test]
fn status_as_the_controller_writes_it() {
    let chaos: NetworkChaos = round_trip(
        r#"
apiVersion: chaos-mesh.org/v1alpha1
kind: NetworkChaos
metadata: {name: cut}
spec: {action: partition, mode: all, selector: {}}
status:
  conditions:
    - {type: Selected, status: "True"}
    - {type: AllInjected, status: "True", reason: ""}
  experiment:
    desiredPhase: Run
    containerRecords:
      - id: shop/checkout-0
        selectorKey: .
        phase: Injected
        injectedCount: 1
        recoveredCount: 0
        events:
          - {type: Failed, operation: Apply, message: rpc error, timestamp: "2026-08-01T10:00:00Z"}
          - {type: Succeeded, operation: Apply, timestamp: "2026-08-01T10:00:01Z"}
  instances: {shop/checkout-0: 3}
"#
        .replace(", reason: \"\"", "")
        .as_str(),
    );
    let status = chaos.status().unwrap();
    assert!(injected(status));
    assert!(status.condition("Selected") && !status.condition("Paused"));
    assert_eq!(
        status.experiment.container_records[0].pod(),
        Some(("shop", "checkout-0"))
    );
}

#[test]
fn steps_between_phases_and_unknown_fields_of_later_versions_are_read() {
    let chaos: HTTPChaos = serde_json::from_value(json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "HTTPChaos", "metadata": {"name": "x"},
        "spec": {"mode": "all", "selector": {}, "target": "Request", "remoteCluster": "eu"},
        "status": {"experiment": {"desiredPhase": "Stop", "containerRecords": [
            {"id": "shop/a/web", "selectorKey": ".", "phase": "Injected/Wait", "injectedCount": 1, "recoveredCount": 0}]}},
    }))
    .unwrap();
    assert_eq!(
        chaos.status().unwrap().experiment.desired_phase,
        Some(DesiredPhase::Stop)
    );
    assert!(!chaos_mesh_rs::recovered(Some(&chaos)));
}

#[test]
fn builders_write_the_documented_form() {
    let pods = || PodSelector::labels("shop", [("app", "checkout")]);
    let selector = json!({"namespaces": ["shop"], "labelSelectors": {"app": "checkout"}});
    for (object, spec) in [
        (
            serde_json::to_value(fault::partition("f", "shop", pods())).unwrap(),
            json!({"selector": selector, "mode": "all", "action": "partition", "direction": "both"}),
        ),
        (
            serde_json::to_value(fault::delay(
                "f",
                "shop",
                pods(),
                Duration::from_millis(250),
                Duration::from_millis(10),
            ))
            .unwrap(),
            json!({"selector": selector, "mode": "all", "action": "delay", "direction": "to",
                   "delay": {"latency": "250ms", "jitter": "10ms"}}),
        ),
        (
            serde_json::to_value(fault::loss("f", "shop", pods(), 12.5)).unwrap(),
            json!({"selector": selector, "mode": "all", "action": "loss", "direction": "to", "loss": {"loss": "12.5"}}),
        ),
        (
            serde_json::to_value(fault::brown_out("f", "shop", pods(), Duration::from_secs(2), 30.0)).unwrap(),
            json!({"selector": selector, "mode": "all", "action": "netem", "direction": "to",
                   "delay": {"latency": "2s"}, "loss": {"loss": "30"}}),
        ),
        (
            serde_json::to_value(fault::pod_kill("f", "shop", pods(), Duration::ZERO)).unwrap(),
            json!({"selector": selector, "mode": "all", "action": "pod-kill", "gracePeriod": 0}),
        ),
        (
            serde_json::to_value(fault::container_kill(
                "f",
                "shop",
                PodSelector::names("shop", ["a"]),
                ["web"],
            ))
            .unwrap(),
            json!({"selector": {"pods": {"shop": ["a"]}}, "mode": "all", "action": "container-kill", "gracePeriod": 0,
                   "containerNames": ["web"]}),
        ),
    ] {
        assert_eq!(object["metadata"], json!({"name": "f", "namespace": "shop"}));
        assert_eq!(object["apiVersion"], "chaos-mesh.org/v1alpha1");
        assert_eq!(object["spec"], spec);
        assert!(object.get("status").is_none(), "a client does not write the status");
    }
}

#[test]
fn definitions_carry_the_real_names_and_no_status_subresource() {
    let crds = crds();
    let names: Vec<_> = crds.iter().map(|crd| crd.metadata.name.as_deref().unwrap()).collect();
    assert_eq!(
        names,
        [
            "podchaos.chaos-mesh.org",
            "networkchaos.chaos-mesh.org",
            "stresschaos.chaos-mesh.org",
            "iochaos.chaos-mesh.org",
            "httpchaos.chaos-mesh.org",
            "dnschaos.chaos-mesh.org",
            "timechaos.chaos-mesh.org",
            "podnetworkchaos.chaos-mesh.org",
        ]
    );
    for crd in &crds {
        let version = &crd.spec.versions[0];
        let helper = crd.spec.names.kind == "PodNetworkChaos";
        assert_eq!(version.subresources.is_some(), helper, "{}", crd.spec.names.kind);
        let schema = serde_json::to_value(version.schema.as_ref().unwrap()).unwrap();
        let status = &schema["openAPIV3Schema"]["properties"]["status"]["properties"];
        assert!(status.is_object(), "{} has a status in its schema", crd.spec.names.kind);
        let text = schema.to_string();
        assert!(
            !text.contains("$ref") && !text.contains("\"oneOf\""),
            "{} is structural",
            crd.spec.names.kind
        );
    }
}
