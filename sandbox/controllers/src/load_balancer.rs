//! Addresses for Services of type LoadBalancer, from a range of their own.

use crate::context::{Context, key_of};
use crate::engine::ReconcileError;
use crate::engine::cache::Key;
use crate::engine::events::Note;
use crate::engine::queue::Queue;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Service};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NAME: &str = "service-controller";

/// What to write into `status.loadBalancer`.
#[derive(Debug, PartialEq)]
enum Plan {
    Keep,
    Assign(Ipv4Addr),
    Clear,
    Exhausted,
}

fn address(service: &Service) -> Option<Ipv4Addr> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    ingress.iter().find_map(|ingress| ingress.ip.as_ref()?.parse().ok())
}

/// The requested address (`spec.loadBalancerIP`) if it is free, else the lowest free one; network and broadcast address
/// are not given out. Services of another load balancer class are left alone.
fn plan(service: &Service, taken: &HashSet<Ipv4Addr>, (network, prefix): (Ipv4Addr, u8)) -> Plan {
    let Some(spec) = service.spec.as_ref() else {
        return Plan::Keep;
    };
    let has = address(service);
    if spec.type_.as_deref() != Some("LoadBalancer") {
        return if has.is_some() { Plan::Clear } else { Plan::Keep };
    }
    let hosts = 1u64 << (32 - u32::from(prefix.min(32)));
    let base = u64::from(u32::from(network)) & !(hosts - 1);
    let inside = |address: Ipv4Addr| {
        let number = u64::from(u32::from(address));
        number > base && number < base + hosts - 1
    };
    if spec.load_balancer_class.is_some() || has.is_some_and(|has| inside(has) && !taken.contains(&has)) {
        return Plan::Keep;
    }
    let asked = spec
        .load_balancer_ip
        .as_ref()
        .and_then(|ip| ip.parse::<Ipv4Addr>().ok());
    let all = (base + 1..base + hosts - 1)
        .filter_map(|number| u32::try_from(number).ok())
        .map(Ipv4Addr::from);
    let mut candidates = asked.into_iter().filter(|asked| inside(*asked)).chain(all);
    candidates
        .find(|candidate| !taken.contains(candidate))
        .map_or(Plan::Exhausted, Plan::Assign)
}

/// Registers for events; call before the caches start.
pub(crate) fn register(context: &Context) -> Queue<Key> {
    let queue: Queue<Key> = Queue::new(context.config.debounce);
    let own = queue.clone();
    context.caches.services.on_change(move |old, new| {
        if let Some(key) = key_of(old, new) {
            own.add(key);
        }
    });
    queue
}

/// Works until cancelled. One worker: two must not give away the same address.
pub(crate) async fn run(context: Context, queue: Queue<Key>, cancel: CancellationToken) {
    queue.work(NAME, 1, &cancel, |key| reconcile(&context, key)).await;
}

async fn reconcile(context: &Context, key: Key) -> Result<Option<Duration>, ReconcileError> {
    let cache = &context.caches.services;
    let Some(service) = cache.get(&key) else {
        return Ok(None);
    };
    let others = cache.all();
    let taken = others
        .iter()
        .filter(|other| Key::of(&***other) != key)
        .filter_map(|other| address(other))
        .collect();
    let ingress = match plan(&service, &taken, context.config.load_balancer_range) {
        Plan::Keep => return Ok(None),
        Plan::Clear => None,
        Plan::Assign(address) => Some(address),
        Plan::Exhausted => {
            let note = Note::warning("SyncLoadBalancerFailed", "no free address in the load balancer range");
            context.events.publish(NAME, &*service, note);
            return Err(ReconcileError::Invalid(
                "no free address in the load balancer range".into(),
            ));
        }
    };
    let mut service = (*service).clone();
    let ingress = ingress.map(|address| {
        let ip = Some(address.to_string());
        vec![LoadBalancerIngress {
            ip,
            ip_mode: Some("VIP".into()),
            ..LoadBalancerIngress::default()
        }]
    });
    let assigned = ingress.is_some();
    service.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus { ingress });
    context.write_status(cache, &service).await?;
    if assigned {
        context.events.publish(
            NAME,
            &service,
            Note::normal("EnsuredLoadBalancer", "Ensured load balancer"),
        );
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    const RANGE: (Ipv4Addr, u8) = (Ipv4Addr::new(127, 30, 0, 0), 29);

    fn service(spec: &serde_json::Value, has: Option<&str>) -> Service {
        let ingress = has.map(|ip| json!([{ "ip": ip }]));
        serde_json::from_value(json!({ "spec": spec, "status": { "loadBalancer": { "ingress": ingress } } })).unwrap()
    }

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 30, 0, last)
    }

    #[test]
    fn addresses_are_given_kept_and_taken_back() {
        let balanced = json!({ "type": "LoadBalancer" });
        let first: HashSet<Ipv4Addr> = HashSet::from([ip(1)]);
        let all: HashSet<Ipv4Addr> = (1..7).map(ip).collect();
        for (spec, has, taken, expected) in [
            (&balanced, None, &HashSet::new(), Plan::Assign(ip(1))),
            (&balanced, None, &first, Plan::Assign(ip(2))),
            (&balanced, Some("127.30.0.5"), &first, Plan::Keep),
            (&balanced, Some("127.30.0.1"), &first, Plan::Assign(ip(2))),
            (&balanced, Some("10.0.0.1"), &first, Plan::Assign(ip(2))),
            (&balanced, None, &all, Plan::Exhausted),
            (
                &json!({ "type": "LoadBalancer", "loadBalancerIP": "127.30.0.4" }),
                None,
                &first,
                Plan::Assign(ip(4)),
            ),
            (
                &json!({ "type": "LoadBalancer", "loadBalancerIP": "10.1.1.1" }),
                None,
                &first,
                Plan::Assign(ip(2)),
            ),
            (
                &json!({ "type": "LoadBalancer", "loadBalancerClass": "other" }),
                None,
                &first,
                Plan::Keep,
            ),
            (&json!({ "type": "ClusterIP" }), Some("127.30.0.5"), &first, Plan::Clear),
            (&json!({ "type": "ClusterIP" }), None, &first, Plan::Keep),
        ] {
            assert_eq!(plan(&service(spec, has), taken, RANGE), expected, "{spec} {has:?}");
        }
    }
}
