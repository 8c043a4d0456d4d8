//! What points at something points at what is there: endpoints at pods, by name, UID, address and node, and no two Services
//! have one address. A comparison with another run cannot tell, because all of that differs between any two.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use serde_json::Value;

use crate::nodes::list;

/// What points at nothing, or at something else.
pub(crate) async fn dangling(user: &Client) -> Vec<String> {
    let pods = list(user, "/api/v1/pods").await;
    let slices = list(user, "/apis/discovery.k8s.io/v1/endpointslices").await;
    let legacy = list(user, "/api/v1/endpoints").await;
    let services = list(user, "/api/v1/services").await;
    check(&pods, &slices, &legacy, &services)
}

fn check(pods: &[Value], slices: &[Value], legacy: &[Value], services: &[Value]) -> Vec<String> {
    let pods: BTreeMap<&str, &Value> = pods
        .iter()
        .filter_map(|pod| Some((pod["metadata"]["name"].as_str()?, pod)))
        .collect();
    let is_there = |target: &Value, address: &Value, node: &Value| {
        let pod = target["name"].as_str().and_then(|name| pods.get(name));
        pod.is_some_and(|pod| {
            pod["metadata"]["uid"] == target["uid"]
                && pod["status"]["podIP"] == *address
                && pod["spec"]["nodeName"] == *node
        })
    };
    let mut dangling = Vec::new();
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for slice in slices {
        for endpoint in items(&slice["endpoints"]) {
            if !is_there(&endpoint["targetRef"], &endpoint["addresses"][0], &endpoint["nodeName"]) {
                dangling.push(format!("EndpointSlice {}: {endpoint}", slice["metadata"]["name"]));
            }
        }
    }
    for endpoints in legacy {
        for subset in items(&endpoints["subsets"]) {
            for address in [items(&subset["addresses"]), items(&subset["notReadyAddresses"])].concat() {
                if !is_there(&address["targetRef"], &address["ip"], &address["nodeName"]) {
                    dangling.push(format!("Endpoints {}: {address}", endpoints["metadata"]["name"]));
                }
            }
        }
    }
    let mut given = BTreeSet::new();
    for service in services {
        for ingress in items(&service["status"]["loadBalancer"]["ingress"]) {
            if !given.insert(ingress["ip"].to_string()) {
                dangling.push(format!("Service {} shares {ingress}", service["metadata"]["name"]));
            }
        }
    }
    dangling
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, ip: &str) -> Value {
        json!({ "metadata": { "name": "p", "uid": uid }, "spec": { "nodeName": "n" }, "status": { "podIP": ip } })
    }

    #[test]
    fn what_points_at_a_pod_of_the_past_is_noticed() {
        let target = json!({ "kind": "Pod", "name": "p", "uid": "1" });
        let slice = json!({ "metadata": { "name": "s" }, "endpoints": [
            { "addresses": ["10.0.0.1"], "nodeName": "n", "targetRef": target },
        ] });
        let legacy = json!({ "metadata": { "name": "e" }, "subsets": [{ "notReadyAddresses": [
            { "ip": "10.0.0.1", "nodeName": "n", "targetRef": target },
        ] }] });
        let found =
            |pods: &[Value]| check(pods, std::slice::from_ref(&slice), std::slice::from_ref(&legacy), &[]).len();
        assert_eq!(found(&[pod("1", "10.0.0.1")]), 0);
        assert_eq!(found(&[pod("2", "10.0.0.1")]), 2);
        assert_eq!(found(&[pod("1", "10.0.0.2")]), 2);
        assert_eq!(found(&[]), 2);
    }

    #[test]
    fn two_services_with_one_address_are_noticed() {
        let service = |name: &str, ip: &str| json!({ "metadata": { "name": name }, "status": { "loadBalancer": { "ingress": [{ "ip": ip }] } } });
        assert_eq!(check(&[], &[], &[], &[service("a", "1"), service("b", "2")]).len(), 0);
        assert_eq!(check(&[], &[], &[], &[service("a", "1"), service("b", "1")]).len(), 1);
    }
}
