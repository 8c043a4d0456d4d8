//! Server-side apply: who owns what.

use serde_json::{Value, json};

use super::objects::{config_map, deployment, managed, owned, schema};
use crate::context::{APPLY_PATCH, Context, JSON, MERGE_PATCH};

crate::registry::suite!("apply":
    the_first_apply_creates, applying_the_same_changes_nothing, another_value_is_a_conflict, the_same_value_is_shared,
    force_takes_ownership, a_dropped_field_is_removed, a_dropped_field_that_is_shared_stays,
    a_field_that_an_update_owns_is_a_conflict, an_update_takes_ownership, list_maps_merge_by_key,
    list_map_items_are_dropped, list_maps_with_two_keys, atomic_fields_have_one_owner,
    a_manager_is_required, managed_fields_must_not_be_sent, a_body_that_is_no_object, yaml_is_understood,
    managed_fields_can_be_reset, each_subresource_has_its_own_entry, custom_list_maps, custom_atomic_maps,
    a_custom_resource_is_created, a_stale_version_is_a_conflict, a_name_that_does_not_match,
    force_is_for_apply_alone, an_entry_without_fields_goes, several_conflicts_are_all_named, defaults_are_not_owned,
    duplicate_keys_are_refused, apply_validates, apply_after_create_takes_over, removing_the_last_owner_of_an_item, embedded_maps_nest,
);

fn map(data: Value) -> Value {
    config_map("one", data)
}

fn at(c: &Context) -> String {
    format!("{}/one", c.maps())
}

async fn the_first_apply_creates(c: Context) {
    let made = c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(201);
    let entry = managed(&made, "alice").unwrap();
    assert_eq!(
        (entry["operation"].as_str(), entry["apiVersion"].as_str()),
        (Some("Apply"), Some("v1"))
    );
    assert_eq!(entry["fieldsV1"], json!({"f:data": {"f:a": {}}}));
    assert!(entry["time"].is_string());
    let again = c.apply(&at(&c), "alice", &map(json!({"a": "2"}))).await.code(200);
    assert_eq!(again["data"], json!({"a": "2"}));
}

async fn applying_the_same_changes_nothing(c: Context) {
    let made = c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(201);
    assert_eq!(c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(200), made);
}

async fn another_value_is_a_conflict(c: Context) {
    c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(201);
    let status = c
        .apply(&at(&c), "bob", &map(json!({"a": "2", "b": "3"})))
        .await
        .refused(409, "Conflict");
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"alice\": .data.a"
    );
    let cause = json!({"reason": "FieldManagerConflict", "message": "conflict with \"alice\"", "field": ".data.a"});
    assert_eq!(status["details"]["causes"], json!([cause]));
    assert_eq!(
        c.get(at(&c)).await.ok()["data"],
        json!({"a": "1"}),
        "nothing of it is done"
    );
}

async fn the_same_value_is_shared(c: Context) {
    c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(201);
    let shared = c.apply(&at(&c), "bob", &map(json!({"a": "1"}))).await.code(200);
    for manager in ["alice", "bob"] {
        assert_eq!(owned(&shared, manager), json!({"f:data": {"f:a": {}}}));
    }
    c.apply(&at(&c), "bob", &map(json!({"a": "2"})))
        .await
        .refused(409, "Conflict");
}

async fn force_takes_ownership(c: Context) {
    c.apply(&at(&c), "alice", &map(json!({"a": "1", "b": "1"})))
        .await
        .code(201);
    let taken = c.force(&at(&c), "bob", &map(json!({"a": "2"}))).await.code(200);
    assert_eq!(taken["data"], json!({"a": "2", "b": "1"}));
    assert_eq!(owned(&taken, "bob"), json!({"f:data": {"f:a": {}}}));
    assert_eq!(owned(&taken, "alice"), json!({"f:data": {"f:b": {}}}));
}

async fn a_dropped_field_is_removed(c: Context) {
    c.apply(&at(&c), "alice", &map(json!({"a": "1", "b": "2"})))
        .await
        .code(201);
    let dropped = c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(200);
    assert_eq!(dropped["data"], json!({"a": "1"}));
    let mut bare = map(json!({}));
    bare.as_object_mut().unwrap().remove("data");
    let dropped = c.apply(&at(&c), "alice", &bare).await.code(200);
    assert!(dropped.get("data").is_none(), "{dropped}");
}

async fn a_dropped_field_that_is_shared_stays(c: Context) {
    c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(201);
    c.apply(&at(&c), "bob", &map(json!({"a": "1", "b": "2"})))
        .await
        .code(200);
    let dropped = c.apply(&at(&c), "alice", &map(json!({"c": "3"}))).await.code(200);
    assert_eq!(dropped["data"], json!({"a": "1", "b": "2", "c": "3"}));
    let dropped = c.apply(&at(&c), "bob", &map(json!({"b": "2"}))).await.code(200);
    assert_eq!(dropped["data"], json!({"b": "2", "c": "3"}));
}

async fn a_field_that_an_update_owns_is_a_conflict(c: Context) {
    c.post(format!("{}?fieldManager=maker", c.maps()), &map(json!({"a": "1"})))
        .await
        .code(201);
    let status = c
        .apply(&at(&c), "alice", &map(json!({"a": "2"})))
        .await
        .refused(409, "Conflict");
    let message = status["details"]["causes"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("conflict with \"maker\" using v1"), "{message}");
}

async fn an_update_takes_ownership(c: Context) {
    c.apply(&at(&c), "alice", &map(json!({"a": "1", "b": "2"})))
        .await
        .code(201);
    let path = format!("{}?fieldManager=bob", at(&c));
    let taken = c.patch(path, MERGE_PATCH, &json!({"data": {"a": "9"}})).await.code(200);
    assert_eq!(owned(&taken, "alice"), json!({"f:data": {"f:b": {}}}));
    assert_eq!(owned(&taken, "bob"), json!({"f:data": {"f:a": {}}}));
    c.apply(&at(&c), "alice", &map(json!({"a": "1", "b": "2"})))
        .await
        .refused(409, "Conflict");
}

fn deploy_path(c: &Context) -> String {
    c.path("apps/v1", "deployments") + "/one"
}

fn container(fields: Value) -> Value {
    let mut body = deployment("one");
    body["spec"]["template"]["spec"]["containers"] = fields;
    body
}

async fn list_maps_merge_by_key(c: Context) {
    let path = deploy_path(&c);
    c.apply(&path, "alice", &container(json!([{"name": "main", "image": "web:1"}])))
        .await
        .code(201);
    let side = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"},
        "spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}});
    let merged = c.apply(&path, "bob", &side).await.code(200);
    let containers = merged["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(
        containers
            .iter()
            .map(|c| c["name"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["main", "side"]
    );
    let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
        "k:{\"name\":\"side\"}": {".": {}, "f:image": {}, "f:name": {}}}}}}});
    assert_eq!(owned(&merged, "bob"), fields);
}

async fn list_map_items_are_dropped(c: Context) {
    let path = deploy_path(&c);
    let both = json!([{"name": "main", "image": "web:1"}, {"name": "side", "image": "side:1"}]);
    c.apply(&path, "alice", &container(both)).await.code(201);
    let dropped = c
        .apply(&path, "alice", &container(json!([{"name": "main", "image": "web:1"}])))
        .await
        .code(200);
    assert_eq!(
        dropped["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

async fn list_maps_with_two_keys(c: Context) {
    let path = deploy_path(&c);
    let ports = |ports: Value| container(json!([{"name": "main", "image": "web:1", "ports": ports}]));
    let tcp = json!([{"containerPort": 80}]);
    let made = c.apply(&path, "alice", &ports(tcp.clone())).await.code(201);
    let text = owned(&made, "alice").to_string();
    assert!(
        text.contains(r#"k:{\"containerPort\":80,\"protocol\":\"TCP\"}"#),
        "{text}"
    );
    let both = json!([{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]);
    let applied = c.apply(&path, "alice", &ports(both)).await.code(200);
    assert_eq!(
        applied["spec"]["template"]["spec"]["containers"][0]["ports"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

async fn atomic_fields_have_one_owner(c: Context) {
    let path = deploy_path(&c);
    let made = c.apply(&path, "alice", &deployment("one")).await.code(201);
    assert!(
        owned(&made, "alice")["f:spec"]["f:selector"] == json!({}),
        "{}",
        owned(&made, "alice")
    );
    let mut body = deployment("one");
    body["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "1"});
    c.apply(&path, "alice", &body).await.code(200);
    let other = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"},
        "spec": {"template": {"spec": {"nodeSelector": {"b": "2"}}}}});
    let status = c.apply(&path, "bob", &other).await.refused(409, "Conflict");
    assert_eq!(
        status["details"]["causes"][0]["field"],
        ".spec.template.spec.nodeSelector"
    );
    let taken = c.force(&path, "bob", &other).await.code(200);
    assert_eq!(taken["spec"]["template"]["spec"]["nodeSelector"], json!({"b": "2"}));
}

async fn a_manager_is_required(c: Context) {
    let answer = c.patch(at(&c), APPLY_PATCH, &map(json!({}))).await;
    let status = answer.refused(422, "Invalid");
    assert!(status["message"].as_str().unwrap().contains("fieldManager"), "{status}");
    let long = "m".repeat(129);
    c.apply(&at(&c), &long, &map(json!({}))).await.refused(422, "Invalid");
}

async fn managed_fields_must_not_be_sent(c: Context) {
    let made = c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(201);
    let mut body = map(json!({"a": "1"}));
    body["metadata"]["managedFields"] = made["metadata"]["managedFields"].clone();
    let status = c.apply(&at(&c), "alice", &body).await.refused(400, "BadRequest");
    assert_eq!(status["message"], "metadata.managedFields must be nil");
}

async fn a_body_that_is_no_object(c: Context) {
    c.apply(&at(&c), "alice", &json!("text"))
        .await
        .refused(400, "BadRequest");
    c.apply(&at(&c), "alice", &json!({"metadata": {"name": "one"}}))
        .await
        .refused(400, "BadRequest");
}

async fn yaml_is_understood(c: Context) {
    // A JSON string would be a YAML string: this is sent as it stands.
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\ndata:\n  a: \"1\"\n";
    let request = http::Request::patch(format!("{}?fieldManager=alice", at(&c)))
        .header("content-type", APPLY_PATCH)
        .header("accept", JSON)
        .body(kube::client::Body::from(text.as_bytes().to_vec()))
        .unwrap();
    let response = c.client.send(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 201);
    assert_eq!(c.get(at(&c)).await.ok()["data"], json!({"a": "1"}));
}

async fn managed_fields_can_be_reset(c: Context) {
    c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(201);
    let reset = json!({"metadata": {"managedFields": [{}]}});
    let cleared = c.patch(at(&c), MERGE_PATCH, &reset).await.code(200);
    assert!(managed(&cleared, "alice").is_none(), "{cleared}");
}

async fn each_subresource_has_its_own_entry(c: Context) {
    let path = deploy_path(&c);
    c.apply(&path, "alice", &deployment("one")).await.code(201);
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"},
        "status": {"replicas": 3}});
    let applied = c.apply(&format!("{path}/status"), "alice", &status).await.code(200);
    let entries = applied["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["subresource"] == "status").unwrap();
    assert_eq!(entry["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
    assert_eq!(entries.iter().filter(|entry| entry["manager"] == "alice").count(), 2);
}

async fn custom(c: &Context) -> String {
    let item = json!({"type": "object", "required": ["name"],
        "properties": {"name": {"type": "string"}, "value": {"type": "integer"}}});
    let gadgets = c
        .define(
            "Gadget",
            schema(json!({
                "size": {"type": "integer"},
                "parts": {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "plain": {"type": "array", "items": {"type": "string"}},
                "whole": {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": "atomic"},
            })),
        )
        .await;
    format!("{gadgets}/one")
}

async fn custom_list_maps(c: Context) {
    let path = custom(&c).await;
    let with = |parts: Value| c.custom("Gadget", "one", json!({"parts": parts}));
    c.apply(&path, "alice", &with(json!([{"name": "a", "value": 1}])))
        .await
        .code(201);
    let merged = c
        .apply(&path, "bob", &with(json!([{"name": "b", "value": 2}])))
        .await
        .code(200);
    assert_eq!(
        merged["spec"]["parts"],
        json!([{"name": "a", "value": 1}, {"name": "b", "value": 2}])
    );
    let status = c
        .apply(&path, "bob", &with(json!([{"name": "a", "value": 9}])))
        .await
        .refused(409, "Conflict");
    assert_eq!(status["details"]["causes"][0]["field"], ".spec.parts[name=\"a\"].value");
    let twice = with(json!([{"name": "c"}, {"name": "c"}]));
    let answer = c.apply(&path, "bob", &twice).await;
    assert!(answer.code >= 400, "{}", answer.body);
}

async fn custom_atomic_maps(c: Context) {
    let path = custom(&c).await;
    let with = |spec: Value| c.custom("Gadget", "one", spec);
    c.apply(
        &path,
        "alice",
        &with(json!({"whole": {"a": "1"}, "plain": ["x"], "tags": ["p"]})),
    )
    .await
    .code(201);
    let merged = c.apply(&path, "bob", &with(json!({"tags": ["q"]}))).await.code(200);
    assert_eq!(merged["spec"]["tags"], json!(["p", "q"]));
    let status = c
        .apply(&path, "bob", &with(json!({"whole": {"b": "2"}, "plain": ["y"]})))
        .await
        .refused(409, "Conflict");
    let fields: Vec<&str> = status["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, [".spec.plain", ".spec.whole"]);
}

async fn a_custom_resource_is_created(c: Context) {
    let path = custom(&c).await;
    let made = c
        .apply(&path, "alice", &c.custom("Gadget", "one", json!({"size": 1})))
        .await
        .code(201);
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(owned(&made, "alice"), json!({"f:spec": {"f:size": {}}}));
    let changed = c
        .apply(&path, "alice", &c.custom("Gadget", "one", json!({"size": 2})))
        .await
        .code(200);
    assert_eq!(changed["metadata"]["generation"], 2);
}

async fn a_stale_version_is_a_conflict(c: Context) {
    let made = c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(201);
    c.apply(&at(&c), "alice", &map(json!({"a": "2"}))).await.code(200);
    let mut body = map(json!({"a": "3"}));
    body["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    c.apply(&at(&c), "alice", &body).await.refused(409, "Conflict");
}

async fn a_name_that_does_not_match(c: Context) {
    c.apply(&at(&c), "alice", &config_map("two", json!({})))
        .await
        .refused(400, "BadRequest");
}

async fn force_is_for_apply_alone(c: Context) {
    c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(201);
    let path = format!("{}?force=true", at(&c));
    c.patch(path, MERGE_PATCH, &json!({"data": {"a": "2"}}))
        .await
        .refused(422, "Invalid");
}

async fn an_entry_without_fields_goes(c: Context) {
    c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(201);
    let taken = c.force(&at(&c), "bob", &map(json!({"a": "2"}))).await.code(200);
    assert!(managed(&taken, "alice").is_none(), "{taken}");
}

async fn several_conflicts_are_all_named(c: Context) {
    c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(201);
    c.apply(&at(&c), "bob", &map(json!({"b": "1", "c": "1"})))
        .await
        .code(200);
    let status = c
        .apply(&at(&c), "carol", &map(json!({"a": "2", "b": "2", "c": "2"})))
        .await
        .refused(409, "Conflict");
    let message = "Apply failed with 3 conflicts: conflicts with \"alice\":\n- .data.a\nconflicts with \"bob\":\n- .data.b\n- .data.c";
    assert_eq!(status["message"], message);
    assert_eq!(status["details"]["causes"].as_array().unwrap().len(), 3);
}

async fn defaults_are_not_owned(c: Context) {
    let made = c.apply(&deploy_path(&c), "alice", &deployment("one")).await.code(201);
    assert_eq!(made["spec"]["replicas"], 1);
    assert!(owned(&made, "alice")["f:spec"].get("f:replicas").is_none());
    // So another may set it without a conflict.
    let scaled =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"}, "spec": {"replicas": 4}});
    let scaled = c.apply(&deploy_path(&c), "bob", &scaled).await.code(200);
    assert_eq!(scaled["spec"]["replicas"], 4);
    let again = c.apply(&deploy_path(&c), "alice", &deployment("one")).await.code(200);
    assert_eq!(again["spec"]["replicas"], 4);
}

async fn duplicate_keys_are_refused(c: Context) {
    let twice = container(json!([{"name": "main", "image": "a"}, {"name": "main", "image": "b"}]));
    let answer = c.apply(&deploy_path(&c), "alice", &twice).await;
    assert!(answer.code >= 400, "{}", answer.body);
}

async fn apply_validates(c: Context) {
    let mut body = deployment("one");
    body["spec"]["replicas"] = json!(-1);
    c.apply(&deploy_path(&c), "alice", &body)
        .await
        .invalid(&["spec.replicas"]);
    body["spec"]["replicas"] = json!("many");
    let answer = c.apply(&deploy_path(&c), "alice", &body).await;
    assert!(answer.code >= 400, "{}", answer.body);
}

async fn apply_after_create_takes_over(c: Context) {
    c.post(
        format!("{}?fieldManager=maker", c.maps()),
        &map(json!({"a": "1", "b": "2"})),
    )
    .await
    .code(201);
    let applied = c.apply(&at(&c), "alice", &map(json!({"a": "1"}))).await.code(200);
    assert_eq!(applied["data"], json!({"a": "1", "b": "2"}), "what others own stays");
    assert_eq!(
        owned(&applied, "maker"),
        json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}})
    );
    assert_eq!(owned(&applied, "alice"), json!({"f:data": {"f:a": {}}}));
}

async fn removing_the_last_owner_of_an_item(c: Context) {
    let path = custom(&c).await;
    let with = |parts: Value| c.custom("Gadget", "one", json!({"parts": parts}));
    c.apply(&path, "alice", &with(json!([{"name": "a", "value": 1}])))
        .await
        .code(201);
    c.apply(&path, "bob", &with(json!([{"name": "a"}]))).await.code(200);
    // Alice lets go: the item is Bob's still, its value is nobody's.
    let applied = c
        .apply(&path, "alice", &c.custom("Gadget", "one", json!({"size": 1})))
        .await
        .code(200);
    assert_eq!(applied["spec"]["parts"], json!([{"name": "a"}]));
    let applied = c
        .apply(&path, "bob", &c.custom("Gadget", "one", json!({"size": 1})))
        .await
        .code(200);
    assert!(applied["spec"].get("parts").is_none(), "{applied}");
}

async fn embedded_maps_nest(c: Context) {
    let mut body = map(json!({"a": "1"}));
    body["metadata"]["labels"] = json!({"x": "1", "y": "2"});
    body["metadata"]["annotations"] = json!({"n": "1"});
    let made = c.apply(&at(&c), "alice", &body).await.code(201);
    let fields = json!({"f:data": {"f:a": {}},
        "f:metadata": {"f:annotations": {"f:n": {}}, "f:labels": {"f:x": {}, "f:y": {}}}});
    assert_eq!(owned(&made, "alice"), fields);
}
