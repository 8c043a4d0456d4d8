//! Services: addresses, node ports, and what depends on their type.

use serde_json::{Value, json};

use super::objects::{managed, owned, service};
use crate::context::{Context, JSON_PATCH, MERGE_PATCH};

crate::registry::suite!("services":
    a_services_address_is_allocated, a_headless_service, a_service_keeps_its_address, an_ingress_needs_a_load_balancer,
    a_port_needs_a_number, a_type_takes_its_fields_along, an_applied_type_takes_its_fields_along,
    an_external_name_has_no_address,
);

pub(super) fn services(c: &Context) -> String {
    c.path("v1", "services")
}

async fn a_services_address_is_allocated(c: Context) {
    let services = c.path("v1", "services");
    let one = c.post(&services, &service("one")).await.code(201);
    let two = c.post(&services, &service("two")).await.code(201);
    let address = one["spec"]["clusterIP"].as_str().unwrap();
    assert!(address.starts_with("127.20."), "{address}");
    assert_ne!(one["spec"]["clusterIP"], two["spec"]["clusterIP"]);
    mask_address(&c, &one, "one");
    mask_address(&c, &two, "two");
    assert_eq!(one["spec"]["clusterIPs"], json!([address]));
    assert_eq!(one["spec"]["type"], "ClusterIP");
    assert_eq!(
        one["spec"]["ports"],
        json!([{"protocol": "TCP", "port": 80, "targetPort": 80}])
    );
    assert_eq!(one["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(one["spec"]["ipFamilyPolicy"], "SingleStack");
    assert_eq!(one["spec"]["internalTrafficPolicy"], "Cluster");
    assert_eq!(one["spec"]["sessionAffinity"], "None");
    assert_eq!(one["status"], json!({"loadBalancer": {}}));
}

fn mask_address(c: &Context, service: &Value, name: &str) {
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    c.trace.lock().unwrap().mask(address, &format!("<address of {name}>"));
}

async fn a_headless_service(c: Context) {
    let mut body = service("one");
    body["spec"]["clusterIP"] = json!("None");
    let made = c.post(c.path("v1", "services"), &body).await.code(201);
    assert_eq!(made["spec"]["clusterIPs"], json!(["None"]));
}

async fn a_service_keeps_its_address(c: Context) {
    let path = c.path("v1", "services") + "/one";
    let made = c.post(c.path("v1", "services"), &service("one")).await.code(201);
    mask_address(&c, &made, "one");
    // An update that does not name the address keeps it.
    let mut body = service("one");
    body["spec"]["ports"][0]["port"] = json!(81);
    let updated = c.put(&path, &body).await.code(200);
    assert_eq!(updated["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    let mut moved = updated;
    moved["spec"]["clusterIP"] = json!("127.20.255.250");
    moved["spec"]["clusterIPs"] = json!(["127.20.255.250"]);
    c.put(&path, &moved).await.invalid(&["spec.clusterIPs[0]"]);
}

async fn an_ingress_needs_a_load_balancer(c: Context) {
    c.post(services(&c), &service("one")).await.code(201);
    let patch = json!({"status": {"loadBalancer": {"ingress": [{"hostname": "h.example"}]}}});
    c.patch(services(&c) + "/one/status", MERGE_PATCH, &patch)
        .await
        .invalid(&["status.loadBalancer.ingress"]);
}

async fn a_port_needs_a_number(c: Context) {
    c.post(services(&c), &service("one")).await.code(201);
    let patch = json!([{"op": "add", "path": "/spec/ports/-", "value": {}}]);
    c.patch(services(&c) + "/one", JSON_PATCH, &patch).await.invalid(&[
        "spec.ports[1].name",
        "spec.ports[1].port",
        "spec.ports[1].targetPort",
    ]);
    // None is the same number as none.
    let patch =
        json!([{"op": "remove", "path": "/spec/ports/0/port"}, {"op": "add", "path": "/spec/ports/-", "value": {}}]);
    c.patch(services(&c) + "/one", JSON_PATCH, &patch)
        .await
        .invalid(&["spec.ports[0].port", "spec.ports[1]"]);
    let mut body = service("two");
    body["spec"]["ports"] = json!([{"port": 80, "name": "Web", "targetPort": "-8080-"}]);
    let status = c
        .post(services(&c), &body)
        .await
        .invalid(&["spec.ports[0].name", "spec.ports[0].targetPort"]);
    assert_eq!(status["details"]["causes"].as_array().unwrap().len(), 3, "{status}");
}

/// A Service with a load balancer and a port on the nodes: of the numbers that are not given out unasked, so that each test
/// has one of its own.
fn balanced(port: u16) -> Value {
    let mut body = service("one");
    body["spec"]["type"] = json!("LoadBalancer");
    body["spec"]["ports"] = json!([{"port": 80, "protocol": "TCP", "nodePort": port}]);
    body
}

/// Gives the Service an address of its load balancer.
async fn give_address(c: &Context) -> Value {
    let patch = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let path = services(c) + "/one/status?fieldManager=cloud";
    let shown = c.patch(path, MERGE_PATCH, &patch).await.code(200);
    assert_eq!(
        shown["status"]["loadBalancer"]["ingress"],
        json!([{"ip": "192.0.2.1", "ipMode": "VIP"}])
    );
    shown
}

/// Nothing of a load balancer is left.
#[track_caller]
fn is_plain(service: &Value) {
    let spec = &service["spec"];
    assert_eq!(spec["type"], "ClusterIP");
    assert_eq!(
        spec["ports"],
        json!([{"protocol": "TCP", "port": 80, "targetPort": 80}])
    );
    for field in ["allocateLoadBalancerNodePorts", "externalTrafficPolicy"] {
        assert_eq!(spec.get(field), None, "{field}");
    }
    assert_eq!(service["status"], json!({"loadBalancer": {}}));
}

async fn a_type_takes_its_fields_along(c: Context) {
    let path = format!("{}?fieldManager=maker", services(&c));
    let made = c.post(path, &balanced(30_071)).await.code(201);
    mask_address(&c, &made, "one");
    assert_eq!(made["spec"]["allocateLoadBalancerNodePorts"], true);
    let shown = give_address(&c).await;
    let mut changed = shown.clone();
    changed["spec"]["type"] = json!("ClusterIP");
    let path = services(&c) + "/one?fieldManager=changer";
    let plain = c.put(path, &changed).await.code(200);
    is_plain(&plain);
    assert_eq!(plain["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    // Who owned what is gone still does.
    assert_eq!(owned(&plain, "changer"), json!({"f:spec": {"f:type": {}}}));
    let mut left = owned(&shown, "maker");
    left["f:spec"].as_object_mut().unwrap().remove("f:type");
    assert_eq!(owned(&plain, "maker"), left);
    assert_eq!(managed(&plain, "cloud"), managed(&shown, "cloud"));
    // The port is free again.
    let mut other = balanced(30_071);
    other["metadata"]["name"] = json!("two");
    let other = c.post(services(&c), &other).await.code(201);
    mask_address(&c, &other, "two");
}

async fn an_applied_type_takes_its_fields_along(c: Context) {
    let path = services(&c) + "/one";
    let mut body = balanced(30_072);
    let made = c.apply(&path, "alice", &body).await.code(201);
    mask_address(&c, &made, "one");
    give_address(&c).await;
    body["spec"]["type"] = json!("ClusterIP");
    let plain = c.apply(&path, "alice", &body).await.code(200);
    is_plain(&plain);
    assert_eq!(
        owned(&plain, "alice"),
        owned(&made, "alice"),
        "the port on the nodes, too"
    );
}

async fn an_external_name_has_no_address(c: Context) {
    let path = services(&c) + "/one";
    let made = c.post(services(&c), &service("one")).await.code(201);
    mask_address(&c, &made, "one");
    let mut changed = made;
    changed["spec"]["type"] = json!("ExternalName");
    changed["spec"]["externalName"] = json!("elsewhere.example");
    let mut outside = c.put(&path, &changed).await.code(200);
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        assert_eq!(outside["spec"].get(field), None, "{field}");
    }
    outside["spec"]["type"] = json!("ClusterIP");
    outside["spec"].as_object_mut().unwrap().remove("externalName");
    let back = c.put(&path, &outside).await.code(200);
    let address = back["spec"]["clusterIP"].as_str().unwrap();
    assert!(address.starts_with("127.20."), "{address}");
}
