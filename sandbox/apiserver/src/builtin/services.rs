//! Services: their validation, and what depends on their type.

use serde_json::{Value, json};

use super::defaults::each;
use super::names;
use super::validation::check_port;
use crate::error::Cause;

/// Checks the spec of a Service; `old` where it replaces one.
pub(super) fn validate(spec: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let kind = spec["type"].as_str().unwrap_or_default();
    if !matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName") {
        let supported = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"].map(Value::from);
        causes.push(Cause::not_supported("spec.type", &spec["type"], &supported));
    }
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    if ports.is_empty() && kind != "ExternalName" && spec["clusterIP"] != "None" {
        causes.push(Cause::required("spec.ports", ""));
    }
    for index in 0..ports.len() {
        check(ports, index, causes);
    }
    for (index, port) in ports.iter().enumerate() {
        if ports[..index].iter().any(|other| identity(other) == identity(port)) {
            // Upstream prints its own type.
            let (number, protocol) = identity(port);
            let text = format!(
                "{{\"Name\":\"\",\"Protocol\":{protocol:?},\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}"
            );
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: {text}"),
                field: format!("spec.ports[{index}]"),
            });
        }
    }
    if let Some(old) = old
        && old["clusterIP"].as_str().is_some_and(|ip| !ip.is_empty())
        && kind != "ExternalName"
        && old["clusterIP"] != spec["clusterIP"]
    {
        let field = "spec.clusterIPs[0]";
        causes.push(Cause::invalid(field, &spec["clusterIPs"], "may not change once set"));
    }
}

/// What tells ports apart.
fn identity(port: &Value) -> (i64, &str) {
    (
        port["port"].as_i64().unwrap_or_default(),
        port["protocol"].as_str().unwrap_or("TCP"),
    )
}

/// Checks one of several ports.
fn check(ports: &[Value], index: usize, causes: &mut Vec<Cause>) {
    let (port, path) = (&ports[index], format!("spec.ports[{index}]"));
    let name = port["name"].as_str().unwrap_or_default();
    if name.is_empty() && ports.len() > 1 {
        causes.push(Cause::required(format!("{path}.name"), ""));
    } else if !name.is_empty() {
        if !names::is_label(name) {
            causes.push(Cause::invalid(format!("{path}.name"), &port["name"], names::LABEL_RULE));
        }
        if ports[..index].iter().any(|other| other["name"] == name) {
            causes.push(Cause::duplicate(format!("{path}.name"), &port["name"]));
        }
    }
    check_port(&port["port"], format!("{path}.port"), causes);
    let target = format!("{path}.targetPort");
    match &port["targetPort"] {
        Value::String(name) => {
            for rule in names::port_name_faults(name) {
                causes.push(Cause::invalid(target.as_str(), &name.as_str().into(), rule));
            }
        }
        number => check_port(number, target, causes),
    }
}

/// Whether a spec has something.
type Has = fn(&Value) -> bool;

/// Fields that depend on the type of a Service, each with what tells whether a spec has it.
const BY_TYPE: &[(Has, &str)] = &[
    (has_address, "ipFamilies"),
    (has_address, "ipFamilyPolicy"),
    // Before the policy, of which it depends whether there is one.
    (has_check, "healthCheckNodePort"),
    (balances, "allocateLoadBalancerNodePorts"),
    (balances, "loadBalancerClass"),
    (is_open, "externalTrafficPolicy"),
];

fn has_address(spec: &Value) -> bool {
    spec["type"] != "ExternalName"
}

fn balances(spec: &Value) -> bool {
    spec["type"] == "LoadBalancer"
}

/// Whether its type comes with node ports.
pub(crate) fn has_node_ports(spec: &Value) -> bool {
    balances(spec) || spec["type"] == "NodePort"
}

fn has_check(spec: &Value) -> bool {
    balances(spec) && spec["externalTrafficPolicy"] == "Local"
}

fn is_open(spec: &Value) -> bool {
    let addresses = spec["externalIPs"].as_array();
    has_node_ports(spec) || (spec["type"] == "ClusterIP" && addresses.is_some_and(|all| !all.is_empty()))
}

/// Drops what a Service loses when its type changes, as upstream does: what the old type had, the new one has not, and the
/// client left as it was.
pub(crate) fn drop_by_type(old: &Value, new: &mut Value) {
    let (was, spec) = (&old["spec"], &mut new["spec"]);
    if has_address(was) && !has_address(spec) {
        let [one, all] = ["clusterIP", "clusterIPs"].map(|field| {
            let empty = spec[field].is_null() || spec[field] == "";
            empty || spec[field] == was[field]
        });
        if one && all {
            remove(spec, "clusterIP");
            remove(spec, "clusterIPs");
        }
    }
    if has_node_ports(was) && !has_node_ports(spec) && node_ports(spec).all(|port| node_ports(was).any(|p| p == port)) {
        each(spec, "ports", |port| remove(port, "nodePort"));
    }
    for (has, field) in BY_TYPE {
        if has(was) && !has(spec) && spec.get(*field) == was.get(*field) {
            remove(spec, field);
        }
    }
    if !has_address(spec) {
        // Upstream keeps it, but does not show it.
        remove(spec, "internalTrafficPolicy");
    }
    if !balances(spec) {
        new["status"]["loadBalancer"] = json!({});
    }
}

/// The node ports that a Service has.
pub(crate) fn node_ports(spec: &Value) -> impl Iterator<Item = i64> {
    let ports = spec["ports"].as_array().into_iter().flatten();
    ports
        .filter_map(|port| port["nodePort"].as_i64())
        .filter(|port| *port != 0)
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

/// Checks the status of a Service.
pub(super) fn status(object: &Value, causes: &mut Vec<Cause>) {
    let addresses = object["status"]["loadBalancer"]["ingress"].as_array();
    if object["spec"]["type"] != "LoadBalancer" && addresses.is_some_and(|all| !all.is_empty()) {
        let detail = "may only be used when `spec.type` is 'LoadBalancer'";
        causes.push(Cause::forbidden("status.loadBalancer.ingress", detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balanced() -> Value {
        json!({"spec": {"type": "LoadBalancer", "clusterIP": "127.20.0.1", "clusterIPs": ["127.20.0.1"],
                "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
                "allocateLoadBalancerNodePorts": true, "loadBalancerClass": "a/b", "externalTrafficPolicy": "Local",
                "healthCheckNodePort": 30_100, "ports": [{"port": 80, "nodePort": 30_000}, {"port": 81, "nodePort": 30_001}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "127.30.0.1"}]}}})
    }

    fn changed(change: impl Fn(&mut Value)) -> Value {
        let (old, mut new) = (balanced(), balanced());
        change(&mut new["spec"]);
        drop_by_type(&old, &mut new);
        new
    }

    #[test]
    fn what_the_new_type_has_not_goes() {
        let plain = changed(|spec| spec["type"] = json!("ClusterIP"));
        let left = json!({"spec": {"type": "ClusterIP", "clusterIP": "127.20.0.1", "clusterIPs": ["127.20.0.1"],
                "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
                "ports": [{"port": 80}, {"port": 81}]},
            "status": {"loadBalancer": {}}});
        assert_eq!(plain, left);
        let outside = changed(|spec| spec["type"] = json!("ExternalName"));
        let left = json!({"spec": {"type": "ExternalName", "ports": [{"port": 80}, {"port": 81}]},
            "status": {"loadBalancer": {}}});
        assert_eq!(outside, left);
        let on_nodes = changed(|spec| spec["type"] = json!("NodePort"));
        assert_eq!(on_nodes["spec"]["externalTrafficPolicy"], "Local");
        assert_eq!(on_nodes["spec"]["ports"], balanced()["spec"]["ports"]);
        assert_eq!(on_nodes["spec"].get("healthCheckNodePort"), None);
        assert_eq!(on_nodes["status"], json!({"loadBalancer": {}}));
        assert_eq!(changed(|_| ()), balanced());
    }

    #[test]
    fn what_the_client_changed_stays() {
        let plain = changed(|spec| {
            spec["type"] = json!("ClusterIP");
            spec["ports"] = json!([{"port": 81, "nodePort": 30_001}, {"port": 82, "nodePort": 30_002}]);
            spec["allocateLoadBalancerNodePorts"] = json!(false);
            spec["healthCheckNodePort"] = json!(30_101);
            spec["loadBalancerClass"] = json!("a/c");
            spec["externalTrafficPolicy"] = json!("Cluster");
        });
        assert_eq!(plain["spec"]["ports"][0]["nodePort"], 30_001);
        assert_eq!(plain["spec"]["allocateLoadBalancerNodePorts"], false);
        assert_eq!(plain["spec"]["healthCheckNodePort"], 30_101);
        assert_eq!(plain["spec"]["loadBalancerClass"], "a/c");
        assert_eq!(plain["spec"]["externalTrafficPolicy"], "Cluster");
        let outside = changed(|spec| {
            spec["type"] = json!("ExternalName");
            spec["clusterIP"] = json!("127.20.0.2");
            spec["ipFamilyPolicy"] = json!("PreferDualStack");
        });
        assert_eq!(outside["spec"]["clusterIPs"], json!(["127.20.0.1"]));
        assert_eq!(outside["spec"]["ipFamilyPolicy"], "PreferDualStack");
        // One that is taken away is taken away in both its forms.
        let outside = changed(|spec| {
            spec["type"] = json!("ExternalName");
            spec["clusterIP"] = json!("");
        });
        assert_eq!(outside["spec"].get("clusterIPs"), None);
    }
}
