//! Addresses and node ports of Services.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::error::Cause;

/// First address of 127.20.0.0/16 that is given out, and how many follow.
const FIRST_IP: u32 = (127 << 24) | (20 << 16) | 1;
const IPS: u32 = 65_533;
const FIRST_PORT: i64 = 30_000;
const PORTS: i64 = 2_768;

/// What is taken.
#[derive(Clone, Debug, Default)]
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
            let ip = self.claim_ip(&asked, &spec["clusterIP"])?;
            spec["clusterIP"] = ip.to_string().into();
            spec["clusterIPs"] = json!([ip.to_string()]);
        }
        let node_ports = matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"))
            && spec["allocateLoadBalancerNodePorts"] != false;
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            if node_ports && port["nodePort"].as_i64().unwrap_or_default() == 0 {
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
        if let Some(ip) = service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok()) {
            self.ips.remove(&ip);
        }
        for port in service["spec"]["ports"].as_array().into_iter().flatten() {
            if let Some(number) = port["nodePort"].as_i64() {
                self.ports.remove(&number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
}
