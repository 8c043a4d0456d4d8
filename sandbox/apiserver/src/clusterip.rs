//! Addresses and node ports of Services.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::builtin::defaults;
use crate::builtin::services::{self, has_node_ports, node_ports};
use crate::error::Cause;

/// First address of 127.20.0.0/16 that is given out, and how many follow.
const FIRST_IP: u32 = (127 << 24) | (20 << 16) | 1;
const IPS: u32 = 65_533;
const FIRST_PORT: i64 = 30_000;
const PORTS: i64 = 2_768;

/// What is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterIps {
    ips: HashSet<Ipv4Addr>,
    ports: HashSet<i64>,
    next: u32,
}

impl ClusterIps {
    /// Gives a Service what its type needs and it does not have yet.
    pub(crate) fn allocate(&mut self, service: &mut Value) -> Result<(), Cause> {
        let spec = &mut service["spec"];
        if !spec.is_object() {
            return Ok(());
        }
        if spec["type"] == "ExternalName" {
            if let Some(fields) = spec.as_object_mut() {
                fields.remove("clusterIP");
                fields.remove("clusterIPs");
            }
            return Ok(());
        }
        let asked = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
        if asked == "None" {
            spec["clusterIPs"] = json!(["None"]);
        } else {
            let ip = self.claim_ip(&asked, &json!([asked]))?;
            spec["clusterIP"] = ip.to_string().into();
            spec["clusterIPs"] = json!([ip.to_string()]);
        }
        let gets_ports = gets_node_ports(spec);
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten() {
            if gets_ports && port["nodePort"].as_i64().unwrap_or_default() == 0 {
                let free = (FIRST_PORT..FIRST_PORT + PORTS).find(|port| !self.ports.contains(port));
                let free = free.ok_or_else(|| Cause::forbidden("spec.ports", "no node port is free"))?;
                port["nodePort"] = free.into();
            }
            if let Some(number) = port["nodePort"].as_i64() {
                self.ports.insert(number);
            }
        }
        Ok(())
    }

    fn claim_ip(&mut self, asked: &str, value: &Value) -> Result<Ipv4Addr, Cause> {
        if asked.is_empty() {
            for _ in 0..IPS {
                let ip = Ipv4Addr::from(FIRST_IP + self.next);
                self.next = (self.next + 1) % IPS;
                if self.ips.insert(ip) {
                    return Ok(ip);
                }
            }
            return Err(Cause::forbidden("spec.clusterIPs", "the range of addresses is full"));
        }
        let ip = asked
            .parse::<Ipv4Addr>()
            .ok()
            .filter(|ip| u32::from(*ip).wrapping_sub(FIRST_IP) < IPS);
        let Some(ip) = ip else {
            let detail = "failed to allocate IP: the provided IP is not in the valid range. The range of valid IPs is 127.20.0.0/16";
            return Err(Cause::invalid("spec.clusterIPs", value, detail));
        };
        if self.ips.insert(ip) {
            Ok(ip)
        } else {
            let detail = format!("failed to allocate IP {ip}: provided IP is already allocated");
            Err(Cause::invalid("spec.clusterIPs", value, detail))
        }
    }

    /// Takes back what a Service held.
    pub(crate) fn release(&mut self, service: &Value) {
        if let Some(ip) = address(service) {
            self.ips.remove(&ip);
        }
        for number in node_ports(&service["spec"]) {
            self.ports.remove(&number);
        }
    }

    /// A Service is changed: it keeps what it holds, gets what its new type needs, and loses what that has not.
    pub(crate) fn update(&mut self, old: &Value, new: &mut Value) -> Result<(), Cause> {
        self.keep(old, new)?;
        services::drop_by_type(old, new);
        self.exchange(old, new);
        Ok(())
    }

    /// A Service keeps what it holds where the client leaves it out.
    fn keep(&mut self, old: &Value, new: &mut Value) -> Result<(), Cause> {
        let (was, spec) = (&old["spec"], &mut new["spec"]);
        if spec["type"] == "ExternalName" {
            return Ok(());
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if spec[field].is_null()
                && let Some(value) = was.get(field)
            {
                spec[field] = value.clone();
            }
        }
        defaults::families(spec);
        for field in ["clusterIP", "clusterIPs"] {
            if (spec[field].is_null() || spec[field] == "")
                && let Some(value) = was.get(field)
            {
                spec[field] = value.clone();
            }
        }
        let has_ports = has_node_ports(spec);
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten() {
            if has_ports && port["nodePort"].is_null() {
                let same = |p: &&Value| p["port"] == port["port"] && p["protocol"] == port["protocol"];
                let before = was["ports"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(same)
                    .map(|p| p["nodePort"].clone());
                if let Some(number) = before.filter(|n| !n.is_null()) {
                    port["nodePort"] = number;
                }
            }
        }
        let fresh = was["clusterIP"].as_str().is_none_or(str::is_empty);
        let missing = gets_node_ports(spec)
            && spec["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|port| port["nodePort"].is_null());
        if fresh || missing {
            self.release(old);
            self.allocate(new)?;
        }
        Ok(())
    }

    /// Takes back what a Service held before it was changed, but for what it still has.
    fn exchange(&mut self, old: &Value, new: &Value) {
        self.release(old);
        self.ips.extend(address(new));
        self.ports.extend(node_ports(&new["spec"]));
    }
}

fn address(service: &Value) -> Option<Ipv4Addr> {
    service["spec"]["clusterIP"].as_str()?.parse().ok()
}

/// Whether it is given those that it has not. A load balancer that reaches pods by itself may do without.
fn gets_node_ports(spec: &Value) -> bool {
    has_node_ports(spec) && spec["allocateLoadBalancerNodePorts"] != false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::ApiServerConfig;
    use crate::engine::write::Proposal;
    use crate::engine::{Engine, WriteOptions};
    use crate::error::ApiResult;

    #[test]
    fn addresses_are_unique_until_released() {
        let mut ips = ClusterIps::default();
        let mut a = json!({"spec": {"type": "ClusterIP"}});
        ips.allocate(&mut a).unwrap();
        assert_eq!(a["spec"]["clusterIP"], "127.20.0.1");
        let mut same = json!({"spec": {"type": "ClusterIP", "clusterIP": "127.20.0.1"}});
        assert!(ips.allocate(&mut same).is_err());
        ips.release(&a);
        assert!(ips.allocate(&mut same).is_ok());
        assert!(ips.allocate(&mut json!({"spec": {"clusterIP": "10.0.0.1"}})).is_err());
    }

    #[test]
    fn headless_services_hold_no_address_and_node_ports_come_by_type() {
        let mut ips = ClusterIps::default();
        let mut headless = json!({"spec": {"clusterIP": "None", "type": "ClusterIP"}});
        ips.allocate(&mut headless).unwrap();
        assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
        let mut balanced = json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}, {"port": 81}]}});
        ips.allocate(&mut balanced).unwrap();
        assert_eq!(balanced["spec"]["ports"][1]["nodePort"], 30_001);
    }

    #[test]
    fn what_a_changed_service_no_longer_has_is_free() {
        let mut ips = ClusterIps::default();
        let mut old = json!({"spec": {"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]}});
        ips.allocate(&mut old).unwrap();
        let mut new = old.clone();
        new["spec"]["ports"] = json!([{"port": 81, "nodePort": 30_001}, {"port": 82, "nodePort": 30_002}]);
        ips.exchange(&old, &new);
        let mut other = json!({"spec": {"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]}});
        ips.allocate(&mut other).unwrap();
        assert_ne!(other["spec"]["clusterIP"], old["spec"]["clusterIP"]);
        assert_eq!(
            other["spec"]["ports"],
            json!([{"port": 80, "nodePort": 30_000}, {"port": 81, "nodePort": 30_003}])
        );
    }

    fn service(name: &str, spec: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
    }

    fn becomes(spec: Value) -> impl FnMut(&Value) -> ApiResult<Proposal> {
        move |old| {
            let mut object = old.clone();
            object["spec"] = spec.clone();
            Ok(Proposal { object, managed: false })
        }
    }

    #[test]
    fn a_service_holds_what_was_written_alone() {
        let engine = Engine::new(ApiServerConfig::default());
        let def = |plural| engine.registry.snapshot().find("", "v1", plural).unwrap().clone();
        let (namespaces, services) = (def("namespaces"), def("services"));
        let options = WriteOptions::default();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
        engine.create(&namespaces, "", namespace, &options, false).unwrap();
        let outside = json!({"type": "ExternalName", "externalName": "elsewhere.example"});
        let one = service("one", &outside);
        engine.create(&services, "n", one, &options, false).unwrap();
        let before = engine.ips.lock().unwrap().clone();
        let update =
            |spec: &Value, options: &WriteOptions| engine.update(&services, "n", "one", options, becomes(spec.clone()));

        let balanced = json!({"type": "LoadBalancer", "ports": [{"port": 80}]});
        let dry_run = WriteOptions {
            dry_run: true,
            ..WriteOptions::default()
        };
        let tried = update(&balanced, &dry_run).unwrap();
        assert_eq!(tried.object.value["spec"]["ports"][0]["nodePort"], 30_000);
        assert_eq!(*engine.ips.lock().unwrap(), before);
        let refused = json!({"type": "LoadBalancer", "ports": [{"port": 80, "name": "No Name"}]});
        assert!(update(&refused, &options).is_err());
        assert_eq!(*engine.ips.lock().unwrap(), before);

        let written = update(&balanced, &options).unwrap();
        assert_eq!(written.object.value["spec"]["ports"][0]["nodePort"], 30_000);
        assert_ne!(*engine.ips.lock().unwrap(), before);
        update(&outside, &options).unwrap();
        let two = engine.create(&services, "n", service("two", &balanced), &options, false);
        let two = two.unwrap();
        assert_eq!(
            two.object.value["spec"]["ports"][0]["nodePort"], 30_000,
            "it was given back"
        );
    }
}
