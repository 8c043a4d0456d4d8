#![allow(clippy::unwrap_used)]
use super::legacy;
use super::plan::{Plan, is_ours, plan, selected};
use crate::model::testing::{at, labels, ready_pod};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::json;

fn service(more: &serde_json::Value) -> Service {
    let mut spec =
        json!({ "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({ "metadata": { "name": "web", "namespace": "ns", "uid": "s" }, "spec": spec }))
        .unwrap()
}

fn web(name: &str, ip: &str) -> Pod {
    let mut pod = ready_pod(name, at(1));
    pod.metadata.labels = Some(labels(&[("app", "web")]));
    pod.status.as_mut().unwrap().pod_ip = Some(ip.into());
    pod
}

fn unready(mut pod: Pod) -> Pod {
    pod.status.as_mut().unwrap().conditions = None;
    pod
}

fn decide(service: &Service, pods: &[Pod], present: &[EndpointSlice]) -> Plan {
    let pods = selected(service, &pods.iter().collect::<Vec<_>>()).unwrap();
    let zone = |node: &str| (node == "n").then(|| "east".to_owned());
    plan(service, &pods, &present.iter().collect::<Vec<_>>(), &zone).unwrap()
}

/// (address, ready, serving, terminating) of the only slice that is written.
fn written(plan: &Plan) -> Vec<(String, bool, bool, bool)> {
    let slice = plan.create.iter().chain(&plan.replace).next().unwrap();
    let row = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        let conditions = endpoint.conditions.clone().unwrap();
        let [ready, serving, terminating] =
            [conditions.ready, conditions.serving, conditions.terminating].map(Option::unwrap);
        (endpoint.addresses[0].clone(), ready, serving, terminating)
    };
    slice.endpoints.as_ref().unwrap().iter().map(row).collect()
}

#[test]
fn conditions_follow_readiness_and_termination() {
    let mut leaving = web("c", "10.0.0.3");
    leaving.metadata.deletion_timestamp = Some(Time(at(5)));
    let pods = [web("a", "10.0.0.1"), unready(web("b", "10.0.0.2")), leaving];
    let plan = decide(&service(&json!({})), &pods, &[]);
    assert_eq!(
        written(&plan),
        [
            ("10.0.0.1".into(), true, true, false),
            ("10.0.0.2".into(), false, false, false),
            ("10.0.0.3".into(), false, true, true),
        ]
    );
    let plan = decide(&service(&json!({ "publishNotReadyAddresses": true })), &pods, &[]);
    assert!(written(&plan).iter().all(|(_, ready, ..)| *ready));
}

#[test]
fn a_slice_says_whose_it_is_and_where_endpoints_are() {
    let mut pod = web("a", "10.0.0.1");
    let spec = pod.spec.as_mut().unwrap();
    (spec.hostname, spec.subdomain) = (Some("a".into()), Some("web".into()));
    let plan = decide(&service(&json!({})), &[pod], &[]);
    let slice = &plan.create[0];
    assert!(is_ours(slice, "web"));
    let endpoint = &slice.endpoints.as_ref().unwrap()[0];
    assert_eq!(endpoint.zone.as_deref(), Some("east"));
    assert_eq!(
        (endpoint.node_name.as_deref(), endpoint.hostname.as_deref()),
        (Some("n"), Some("a"))
    );
    assert_eq!(endpoint.target_ref.as_ref().unwrap().name.as_deref(), Some("a"));
    let port = &slice.ports.as_ref().unwrap()[0];
    assert_eq!(
        (port.name.as_deref(), port.port, port.protocol.as_deref()),
        (Some("http"), Some(8080), Some("TCP"))
    );
}

#[test]
fn pods_without_address_or_at_their_end_are_not_listed() {
    let mut young = web("a", "");
    young.status.as_mut().unwrap().pod_ip = None;
    let mut done = web("b", "10.0.0.2");
    done.status.as_mut().unwrap().phase = Some("Succeeded".into());
    let mut other = web("c", "10.0.0.3");
    other.metadata.labels = None;
    let plan = decide(&service(&json!({})), &[young, done, other], &[]);
    assert!(written(&plan).is_empty(), "one empty slice");
}

#[test]
fn a_named_port_may_differ_between_pods() {
    let listening = |name: &str, ip: &str, port: i32| {
        let mut pod = web(name, ip);
        pod.spec.as_mut().unwrap().containers =
            serde_json::from_value(json!([{ "name": "c", "ports": [{ "name": "web", "containerPort": port }] }]))
                .unwrap();
        pod
    };
    let service = service(&json!({ "ports": [{ "port": 80, "targetPort": "web" }] }));
    let pods = [
        listening("a", "10.0.0.1", 1111),
        listening("b", "10.0.0.2", 2222),
        listening("c", "10.0.0.3", 1111),
    ];
    let plan = decide(&service, &pods, &[]);
    let mut sizes: Vec<_> = plan
        .create
        .iter()
        .map(|slice| {
            (
                slice.ports.as_ref().unwrap()[0].port.unwrap(),
                slice.endpoints.as_ref().unwrap().len(),
            )
        })
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [(1111, 2), (2222, 1)]);
    let subsets = legacy::endpoints(&service, &pods.iter().collect::<Vec<_>>())
        .subsets
        .unwrap();
    assert_eq!(subsets.len(), 2);
}

#[test]
fn nothing_is_written_twice_and_an_emptied_slice_stays() {
    let service = service(&json!({}));
    let pods = [web("a", "10.0.0.1")];
    let slices = decide(&service, &pods, &[]).create;
    assert_eq!(decide(&service, &pods, &slices), Plan::default());
    let plan = decide(&service, &[], &slices);
    assert_eq!((plan.create.len(), plan.replace.len(), plan.delete.len()), (0, 1, 0));
    assert_eq!(plan.replace[0].name_any(), slices[0].name_any());
}

#[test]
fn slices_hold_a_hundred() {
    let pods: Vec<Pod> = (0..250)
        .map(|index| web(&format!("p{index:03}"), &format!("10.0.1.{index}")))
        .collect();
    let plan = decide(&service(&json!({})), &pods, &[]);
    let sizes: Vec<usize> = plan
        .create
        .iter()
        .map(|slice| slice.endpoints.as_ref().unwrap().len())
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
    let fewer = decide(&service(&json!({})), &pods[..120], &plan.create);
    assert_eq!((fewer.create.len(), fewer.replace.len(), fewer.delete.len()), (0, 1, 1));
}

#[test]
fn services_without_selector_are_left_alone() {
    assert!(selected(&service(&json!({ "selector": {} })), &[]).is_none());
    assert!(selected(&service(&json!({ "type": "ExternalName" })), &[]).is_none());
}

#[test]
fn endpoints_tell_ready_from_not_ready() {
    let pods = [web("a", "10.0.0.1"), unready(web("b", "10.0.0.2"))];
    let subsets = legacy::endpoints(&service(&json!({})), &pods.iter().collect::<Vec<_>>())
        .subsets
        .unwrap();
    assert_eq!(subsets[0].addresses.as_ref().unwrap()[0].ip, "10.0.0.1");
    assert_eq!(subsets[0].not_ready_addresses.as_ref().unwrap()[0].ip, "10.0.0.2");
}
