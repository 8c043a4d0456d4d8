//! What random sequences found, each as short as it got: where the embedded server once answered otherwise.

use serde_json::{Value, json};

use super::objects::{config_map, deployment, owned, schema, service, version};
use super::services::services;
use super::watch::Watch;
use crate::context::{Context, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH};

crate::registry::suite!("found":
    the_last_finalizer_takes_the_object_along, annotations_count_for_deployments, templates_request_nothing,
    nulls_that_are_applied_stay, a_null_annotation_is_empty, what_comes_with_an_address_is_nobodys,
    affinity_settings_go_with_affinity, an_update_needs_a_name, an_update_of_what_is_not_there, an_item_without_its_key,
    a_deleted_service_is_shown, ports_are_not_shared, without_a_selector_nothing_matches, a_status_is_judged_by_itself,
    a_status_is_always_there, a_field_that_is_not_there_is_replaced, items_twice_are_not_applied,
    an_update_creates_some_kinds, directives_need_something_to_act_on, an_item_that_was_there_is_not_there_twice,
    a_null_status_has_no_name, empty_annotations_are_kept_once, a_strategic_patch_leaves_nothing_twice,
    what_is_not_there_has_no_status, late_finalizers_are_told_once, owners_in_conflict_are_in_order,
    what_ends_an_object_is_told_as_it_was_sent, a_label_that_is_null_is_written_away_once,
    a_finalizer_that_is_null_is_empty, a_status_leaves_labels_that_are_null_alone,
    a_status_writes_away_what_is_hidden, labels_that_are_left_alone_are_null,
);

fn at(c: &Context) -> String {
    format!("{}/one", c.maps())
}

fn deployments(c: &Context) -> String {
    c.path("apps/v1", "deployments")
}

async fn the_last_finalizer_takes_the_object_along(c: Context) {
    let mut body = config_map("one", json!({"a": "1"}));
    body["metadata"]["finalizers"] = json!(["contract.example/hold"]);
    let made = c.post(c.maps(), &body).await.code(201);
    let query = format!("watch=true&resourceVersion={}", version(&made));
    let mut watch = Watch::open(&c, format!("{}?{query}", c.maps())).await;
    let going = c.delete(at(&c)).await.code(200);
    let patch = json!({"metadata": {"finalizers": null}, "data": {"a": "2"}});
    let gone = c.patch(at(&c), MERGE_PATCH, &patch).await.code(200);
    assert_eq!((&gone["data"]["a"], version(&gone)), (&json!("2"), version(&going)));
    watch.expect("MODIFIED", "one").await;
    let last = watch.expect("DELETED", "one").await;
    assert_eq!(
        (&last["data"]["a"], &last["metadata"]["finalizers"]),
        (&json!("1"), &body["metadata"]["finalizers"])
    );
    assert_ne!(version(&last), version(&going));
}

async fn annotations_count_for_deployments(c: Context) {
    c.post(deployments(&c), &deployment("one")).await.code(201);
    let path = deployments(&c) + "/one";
    let patch = |part: &str| json!({"metadata": {part: {"a": "b"}}});
    let labelled = c.patch(&path, MERGE_PATCH, &patch("labels")).await.code(200);
    assert_eq!(labelled["metadata"]["generation"], 1);
    let annotated = c.patch(&path, MERGE_PATCH, &patch("annotations")).await.code(200);
    assert_eq!(annotated["metadata"]["generation"], 2);
}

async fn templates_request_nothing(c: Context) {
    let mut body = deployment("one");
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
    let made = c.post(deployments(&c), &body).await.code(201);
    let container = &made["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["resources"],
        json!({"limits": {"cpu": "1"}}),
        "requests follow limits in pods alone"
    );
}

/// Custom resources with a size and a map, and a status.
pub(super) async fn gadgets(c: &Context) -> String {
    let text = json!({"type": "string"});
    let spec = json!({"type": "object", "properties": {"size": {"type": "integer"},
        "map": {"type": "object", "additionalProperties": text}}});
    let status = json!({"type": "object", "properties": {"ready": {"type": "boolean"}}});
    let schema = json!({"type": "object", "properties": {"spec": spec, "status": status}});
    c.define_with("Gadget", schema, |definition| {
        definition["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    })
    .await
}

/// Custom resources with a list of parts, told apart by their names.
async fn widgets(c: &Context) -> String {
    let parts = json!({"type": "array", "items": {"type": "object", "required": ["name"],
        "properties": {"name": {"type": "string"}}},
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]});
    c.define("Widget", schema(json!({"parts": parts}))).await
}

async fn nulls_that_are_applied_stay(c: Context) {
    let gadgets = gadgets(&c).await;
    let body = c.custom("Gadget", "one", json!({"size": null, "map": {"k": null}}));
    let path = format!("{gadgets}/one");
    c.apply(&path, "alice", &body)
        .await
        .invalid(&["spec.size", "spec.map.k"]);
    let made = c.post(&gadgets, &body).await.code(201);
    assert_eq!(made["spec"], json!({"map": {}}), "those that are sent otherwise go");
}

async fn a_null_annotation_is_empty(c: Context) {
    let gadgets = gadgets(&c).await;
    let mut body = c.custom("Gadget", "one", json!({}));
    body["metadata"]["annotations"] = json!({"n": null});
    let made = c.post(&gadgets, &body).await.code(201);
    assert_eq!(made["metadata"]["annotations"], json!({"n": ""}));
    let made = c.post(c.maps(), &config_map("one", json!({"n": null}))).await.code(201);
    assert_eq!(made["data"], json!({"n": ""}));
}

async fn what_comes_with_an_address_is_nobodys(c: Context) {
    let path = format!("{}?fieldManager=maker", services(&c));
    let made = c.post(path, &service("one")).await.code(201);
    let fields = json!({"f:spec": {"f:internalTrafficPolicy": {}, "f:selector": {}, "f:sessionAffinity": {}, "f:type": {},
        "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}}}});
    assert_eq!(owned(&made, "maker"), fields);
}

async fn affinity_settings_go_with_affinity(c: Context) {
    let mut body = service("one");
    body["spec"]["sessionAffinity"] = json!("ClientIP");
    let made = c.post(services(&c), &body).await.code(201);
    assert_eq!(
        made["spec"]["sessionAffinityConfig"],
        json!({"clientIP": {"timeoutSeconds": 10800}})
    );
    let patch = json!({"spec": {"sessionAffinity": "None"}});
    let patched = c.patch(services(&c) + "/one", MERGE_PATCH, &patch).await.code(200);
    assert_eq!(patched["spec"].get("sessionAffinityConfig"), None);
}

async fn an_update_needs_a_name(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}});
    let status = c.put(at(&c), &body).await.refused(400, "BadRequest");
    let why = "the name of the object (one based on URL) was undeterminable: name must be provided";
    assert_eq!(status["message"], why);
}

async fn an_update_of_what_is_not_there(c: Context) {
    let gadgets = gadgets(&c).await;
    c.put(format!("{gadgets}/one"), &c.custom("Gadget", "one", json!({})))
        .await
        .refused(404, "NotFound");
}

async fn an_item_without_its_key(c: Context) {
    c.post(deployments(&c), &deployment("one")).await.code(201);
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"image": "web:3"}]}}}});
    let status = c
        .patch(deployments(&c) + "/one", STRATEGIC_PATCH, &patch)
        .await
        .code(500);
    let why = "map: map[image:web:3] does not contain declared merge key: name";
    assert_eq!(status["message"], why);
}

async fn a_deleted_service_is_shown(c: Context) {
    let made = c.post(services(&c), &service("one")).await.code(201);
    let gone = c.delete(services(&c) + "/one").await.code(200);
    assert_eq!(
        (&gone["kind"], &gone["metadata"]["uid"]),
        (&json!("Service"), &made["metadata"]["uid"])
    );
}

async fn ports_are_not_shared(c: Context) {
    let mut body = service("one");
    body["spec"]["ports"] = json!([{"port": 80, "name": "a"}, {"port": 80, "name": "a", "targetPort": 8080}]);
    let status = c
        .post(services(&c), &body)
        .await
        .invalid(&["spec.ports[1].name", "spec.ports[1]"]);
    for cause in status["details"]["causes"].as_array().unwrap() {
        assert_eq!(cause["reason"], "FieldValueDuplicate");
    }
}

async fn without_a_selector_nothing_matches(c: Context) {
    let body = json!({"metadata": {"name": "one"}, "spec": {}});
    let status = c.post(deployments(&c), &body).await.refused(422, "Invalid");
    let why = "Deployment.apps \"one\" is invalid: [spec.selector: Required value, spec.template.metadata.labels: Invalid \
               value: null: `selector` does not match template `labels`, spec.template.spec.containers: Required value]";
    assert_eq!(status["message"], why);
}

async fn a_status_is_judged_by_itself(c: Context) {
    let gadgets = gadgets(&c).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({}))).await.code(201);
    let patch = json!({"status": {"ready": "yes"}});
    let status = c
        .patch(format!("{gadgets}/one/status"), MERGE_PATCH, &patch)
        .await
        .invalid(&["status.ready"]);
    let why = "Invalid value: \"string\": ready in body must be of type boolean: \"string\"";
    assert_eq!(status["details"]["causes"][0]["message"], why);
}

async fn a_status_is_always_there(c: Context) {
    c.post(deployments(&c), &deployment("one")).await.code(201);
    let path = deployments(&c) + "/one/status";
    let with = |status: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"}, "status": status});
    c.apply(&path, "alice", &with(json!({"replicas": 1}))).await.code(200);
    let applied = c.apply(&path, "alice", &with(json!({}))).await.code(200);
    assert_eq!(applied["status"], json!({}));
}

async fn a_field_that_is_not_there_is_replaced(c: Context) {
    c.post(c.maps(), &config_map("one", json!({"a": "1"}))).await.code(201);
    let patch = json!([{"op": "replace", "path": "/data/b", "value": "2"}, {"op": "copy", "from": "/data/x", "path": "/data/c"}]);
    let patched = c.patch(at(&c), JSON_PATCH, &patch).await.code(200);
    assert_eq!(patched["data"], json!({"a": "1", "b": "2", "c": ""}));
}

async fn items_twice_are_not_applied(c: Context) {
    let widgets = widgets(&c).await;
    let mut body = c.custom("Widget", "one", json!({"parts": [{"name": "a"}, {"name": "a"}]}));
    let status = c.apply(&format!("{widgets}/one"), "alice", &body).await.code(500);
    let message = status["message"].as_str().unwrap();
    let parts = ".spec.parts: duplicate entries for key [name=\"a\"]";
    assert!(message.ends_with(&format!(": {parts}")), "{message}");
    body["metadata"]["finalizers"] = json!(["a/b", "a/b", "a/b"]);
    let status = c.apply(&format!("{widgets}/one"), "alice", &body).await.code(500);
    let message = status["message"].as_str().unwrap();
    assert_eq!(message.lines().count(), 4, "{message}");
    assert!(message.contains("errors:\n  ") && message.contains(parts), "{message}");
}

async fn an_update_creates_some_kinds(c: Context) {
    let made = c.put(services(&c) + "/one", &service("one")).await.code(201);
    assert_eq!(made["metadata"]["name"], "one");
    c.put(at(&c), &config_map("one", json!({})))
        .await
        .refused(404, "NotFound");
}

async fn directives_need_something_to_act_on(c: Context) {
    let made = c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let patch = json!({"data": {"$patch": "replace", "a": "1"}});
    assert_eq!(c.patch(at(&c), STRATEGIC_PATCH, &patch).await.code(200), made);
    c.patch(at(&c), STRATEGIC_PATCH, &json!({"data": {"b": "1"}}))
        .await
        .code(200);
    let patched = c.patch(at(&c), STRATEGIC_PATCH, &patch).await.code(200);
    assert_eq!(patched["data"], json!({"a": "1"}));
}

async fn an_item_that_was_there_is_not_there_twice(c: Context) {
    let widgets = widgets(&c).await;
    let one = c.custom("Widget", "one", json!({"parts": [{"name": "a"}]}));
    c.post(&widgets, &one).await.code(201);
    let patch = json!({"spec": {"parts": [{"name": "a"}, {"name": "a"}]}});
    let status = c
        .patch(format!("{widgets}/one"), MERGE_PATCH, &patch)
        .await
        .invalid(&["spec.parts[1]"]);
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueDuplicate");
}

async fn a_null_status_has_no_name(c: Context) {
    let gadgets = gadgets(&c).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({}))).await.code(201);
    let path = format!("{gadgets}/one/status");
    let mut body = c.custom("Gadget", "one", json!({}));
    body["status"] = json!({"ready": true});
    c.apply(&path, "alice", &body).await.code(200);
    body["status"] = json!({});
    let status = c.apply(&path, "alice", &body).await.refused(422, "Invalid");
    let why = "Invalid value: \"null\":  in body must be of type object: \"null\"";
    assert_eq!(status["details"]["causes"][0]["message"], why);
}

async fn empty_annotations_are_kept_once(c: Context) {
    let path = gadgets(&c).await + "/one";
    let mut body = c.custom("Gadget", "one", json!({"size": 1}));
    body["metadata"]["annotations"] = json!({});
    let made = c.apply(&path, "alice", &body).await.code(201);
    assert_eq!(made["metadata"].get("annotations"), None);
    // They are stored, though nobody sees them: whoever writes the object as it is writes them away.
    let again = c.put(&path, &made).await.code(200);
    assert_ne!(version(&again), version(&made));
    let third = c.put(&path, &again).await.code(200);
    assert_eq!(version(&third), version(&again));
}

async fn what_ends_an_object_is_told_as_it_was_sent(c: Context) {
    let path = gadgets(&c).await + "/one";
    let mut body = c.custom("Gadget", "one", json!({"size": 1}));
    body["metadata"]["finalizers"] = json!(["contract.example/hold"]);
    c.apply(&path, "alice", &body).await.code(201);
    c.delete(&path).await.code(200);
    let mut last = c.custom("Gadget", "one", json!({"size": 2}));
    last["metadata"]["annotations"] = json!({});
    // Nobody will ever see it again, so that the empty map is not lost on the way to the store and back.
    let told = c.apply(&path, "alice", &last).await.code(200);
    assert_eq!(told["metadata"]["annotations"], json!({}));
    c.get(&path).await.refused(404, "NotFound");
}

async fn a_finalizer_that_is_null_is_empty(c: Context) {
    let mut body = config_map("one", json!({}));
    body["metadata"]["finalizers"] = json!(["contract.example/hold"]);
    c.post(c.maps(), &body).await.code(201);
    c.delete(at(&c)).await.code(200);
    let patch = json!([{"op": "add", "path": "/metadata/finalizers/0", "value": null}]);
    let refused = c.patch(at(&c), JSON_PATCH, &patch).await.code(422);
    let causes = refused["details"]["causes"].to_string();
    assert!(causes.contains(r#"[]string{\"\"}"#), "{causes}");
    let free = json!({"metadata": {"finalizers": null}});
    c.patch(at(&c), MERGE_PATCH, &free).await.code(200);
}

async fn a_label_that_is_null_is_written_away_once(c: Context) {
    let path = gadgets(&c).await + "/one";
    let mut body = c.custom("Gadget", "one", json!({}));
    body["metadata"]["labels"] = json!({"y": null});
    let made = c.apply(&path, "alice", &body).await.code(201);
    assert_eq!(made["metadata"]["labels"], json!({"y": ""}));
    let patched = c.patch(&path, MERGE_PATCH, &json!({"spec": {}})).await.code(200);
    // It is stored as it was sent, and shown otherwise: whoever writes it back as it is shown writes another object.
    assert_ne!(version(&patched), version(&made));
    let again = c.patch(&path, MERGE_PATCH, &json!({"spec": {}})).await.code(200);
    assert_eq!(version(&again), version(&patched));
}

async fn a_strategic_patch_leaves_nothing_twice(c: Context) {
    let mut body = config_map("one", json!({}));
    body["metadata"]["finalizers"] = json!(["a/x", "a/y", "a/x"]);
    c.post(c.maps(), &body).await.code(201);
    let patch = json!({"metadata": {"finalizers": []}});
    let patched = c.patch(at(&c), STRATEGIC_PATCH, &patch).await.code(200);
    assert_eq!(patched["metadata"]["finalizers"], json!(["a/x", "a/y"]));
    let free = json!({"metadata": {"finalizers": null}});
    c.patch(at(&c), MERGE_PATCH, &free).await.code(200);
}

async fn what_is_not_there_has_no_status(c: Context) {
    let gadgets = gadgets(&c).await;
    let mut body = c.custom("Gadget", "one", json!({"colour": "red"}));
    body["metadata"]["finalizers"] = json!(["a/x", "a/x"]);
    c.apply(&format!("{gadgets}/one/status"), "alice", &body)
        .await
        .refused(404, "NotFound");
}

async fn a_status_leaves_labels_that_are_null_alone(c: Context) {
    let gadgets = gadgets(&c).await;
    let mut body = c.custom("Gadget", "one", json!({"size": 1}));
    c.post(&gadgets, &body).await.code(201);
    body["metadata"]["labels"] = json!({"x": null});
    body["metadata"]["annotations"] = json!({"y": null});
    body["status"] = json!({"ready": true});
    let status = format!("{gadgets}/one/status");
    let applied = c.apply(&status, "alice", &body).await.code(200);
    assert_eq!(applied["status"]["ready"], true);
    for part in ["labels", "annotations"] {
        assert!(applied["metadata"][part].is_null(), "{part}: {}", applied["metadata"]);
    }
    let again = c.apply(&status, "alice", &body).await.code(200);
    assert_eq!(version(&again), version(&applied));
}

async fn a_status_writes_away_what_is_hidden(c: Context) {
    let path = gadgets(&c).await + "/one";
    let mut body = c.custom("Gadget", "one", json!({"size": 1}));
    body["metadata"]["labels"] = json!({"y": null});
    body["metadata"]["annotations"] = json!({});
    let made = c.apply(&path, "alice", &body).await.code(201);
    let status = path + "/status";
    let patched = c.patch(&status, MERGE_PATCH, &json!({"spec": {}})).await.code(200);
    assert_ne!(version(&patched), version(&made));
    let again = c.patch(&status, MERGE_PATCH, &json!({"spec": {}})).await.code(200);
    assert_eq!(version(&again), version(&patched));
}

async fn labels_that_are_left_alone_are_null(c: Context) {
    let path = gadgets(&c).await + "/one";
    let mut body = c.custom("Gadget", "one", json!({"size": 1}));
    body["metadata"]["labels"] = json!({"x": "1"});
    c.apply(&path, "alice", &body).await.code(201);
    body["metadata"]["labels"] = json!({});
    let left = c.apply(&path, "alice", &body).await.code(200);
    assert_eq!(left["metadata"].get("labels"), None);
    // They are stored as a null, which whoever writes the object as it is shown writes away.
    let written = c.put(&path, &left).await.code(200);
    assert_ne!(version(&written), version(&left));
    body["metadata"]["labels"] = json!({"x": "1"});
    body["metadata"]["finalizers"] = json!(["contract.example/hold"]);
    c.apply(&path, "alice", &body).await.code(200);
    c.delete(&path).await.code(200);
    body["metadata"]["labels"] = json!({});
    body["metadata"]["finalizers"] = json!([]);
    let told = c.apply(&path, "alice", &body).await.code(200);
    assert_eq!(told["metadata"].get("labels"), Some(&Value::Null));
    c.get(&path).await.refused(404, "NotFound");
}

async fn late_finalizers_are_told_once(c: Context) {
    let mut body = config_map("one", json!({}));
    body["metadata"]["finalizers"] = json!(["a/x"]);
    c.post(c.maps(), &body).await.code(201);
    c.delete(at(&c)).await.code(200);
    body["metadata"]["finalizers"] = json!(["a/z", "a/y", "a/x", "a/z"]);
    let status = c.put(at(&c), &body).await.invalid(&["metadata.finalizers"]);
    let why = "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers \
               []string{\"a/y\", \"a/z\"}";
    assert_eq!(status["details"]["causes"][0]["message"], why);
    // Beside what else is wrong.
    body["data"] = json!({"a b": "1"});
    c.put(at(&c), &body)
        .await
        .invalid(&["metadata.finalizers", "data[a b]"]);
    let free = json!({"metadata": {"finalizers": null}});
    c.patch(at(&c), MERGE_PATCH, &free).await.code(200);
}

async fn owners_in_conflict_are_in_order(c: Context) {
    let made = c
        .post(deployments(&c) + "?fieldManager=alice", &deployment("one"))
        .await;
    made.code(201);
    let path = deployments(&c) + "/one";
    let body = |extra: Value| {
        let mut body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"}});
        for (part, value) in extra.as_object().unwrap() {
            body[part] = value.clone();
        }
        body
    };
    let noted = body(json!({"metadata": {"name": "one", "annotations": {"n": "1"}}, "status": {}}));
    c.apply(&format!("{path}/status"), "alice", &noted).await.code(200);
    let other = json!({"metadata": {"name": "one", "annotations": {"n": "2"}}, "spec": {"replicas": 3}});
    let status = c.apply(&path, "bob", &body(other)).await.refused(409, "Conflict");
    let why = "Apply failed with 2 conflicts: conflicts with \"alice\" with subresource \"status\":\n- \
               .metadata.annotations.n\nconflicts with \"alice\" using apps/v1:\n- .spec.replicas";
    assert_eq!(status["message"], why);
}
