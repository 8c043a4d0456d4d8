//! The patch types and their refusals.

use serde_json::{Value, json};

use super::objects::{config_map, deployment, schema, version};
use crate::context::{Ask, Context, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH};

crate::registry::suite!("patch":
    json_patch_operations, a_json_patch_whose_test_fails, a_json_patch_that_is_none,
    json_patch_of_a_version, merge_patch_merges_and_removes, a_merge_patch_replaces_lists, a_merge_patch_that_is_none,
    strategic_patch_merges_lists_by_key, strategic_patch_deletes_items, strategic_patch_replaces,
    strategic_patch_orders_items, strategic_patch_of_primitive_lists, strategic_patch_retains_keys,
    custom_resources_have_no_strategic_patch, a_patch_of_a_missing_object, a_patch_with_a_stale_version,
    a_type_that_is_none, a_patch_that_changes_nothing, a_patch_of_the_name,
    json_patch_of_what_is_not_there, a_patch_to_another_type, a_patch_of_the_uid,
    a_patch_records_its_manager, merge_patch_of_a_custom_resource, json_patch_of_a_custom_resource,
);

async fn map(c: &Context, data: Value) -> String {
    c.post(c.maps(), &config_map("one", data)).await.code(201);
    format!("{}/one", c.maps())
}

async fn deploy(c: &Context, change: impl Fn(&mut Value)) -> String {
    let mut body = deployment("one");
    change(&mut body);
    c.post(c.path("apps/v1", "deployments"), &body).await.code(201);
    c.path("apps/v1", "deployments") + "/one"
}

async fn json_patch_operations(c: Context) {
    let mut body = config_map("one", json!({"a": "1", "b": "2"}));
    body["metadata"]["annotations"] = json!({"example.com/c": "3"});
    c.post(c.maps(), &body).await.code(201);
    let patch = json!([
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "9"},
        {"op": "remove", "path": "/data/b"},
        {"op": "add", "path": "/data/e", "value": "5"},
        {"op": "copy", "from": "/metadata/annotations/example.com~1c", "path": "/data/f"},
        {"op": "move", "from": "/metadata/annotations/example.com~1c", "path": "/data/g"},
    ]);
    let patched = c.patch(format!("{}/one", c.maps()), JSON_PATCH, &patch).await.code(200);
    assert_eq!(patched["data"], json!({"a": "9", "e": "5", "f": "3", "g": "3"}));
    assert_eq!(patched["metadata"].get("annotations"), None);
}

async fn a_json_patch_whose_test_fails(c: Context) {
    let path = map(&c, json!({"a": "1"})).await;
    let patch =
        json!([{"op": "replace", "path": "/data/a", "value": "2"}, {"op": "test", "path": "/data/a", "value": "1"}]);
    c.patch(&path, JSON_PATCH, &patch).await.refused(422, "Invalid");
    assert_eq!(c.get(&path).await.ok()["data"]["a"], "1");
}

async fn a_json_patch_that_is_none(c: Context) {
    let path = map(&c, json!({"a": "1"})).await;
    c.patch(&path, JSON_PATCH, &json!({"data": {}}))
        .await
        .refused(400, "BadRequest");
}

async fn json_patch_of_a_version(c: Context) {
    let path = map(&c, json!({"a": "1"})).await;
    let first = version(&c.get(&path).await.ok());
    let patch = |value: &str| {
        json!([{"op": "test", "path": "/metadata/resourceVersion", "value": first},
            {"op": "replace", "path": "/data/a", "value": value}])
    };
    c.patch(&path, JSON_PATCH, &patch("2")).await.code(200);
    c.patch(&path, JSON_PATCH, &patch("3")).await.refused(422, "Invalid");
}

async fn merge_patch_merges_and_removes(c: Context) {
    let path = map(&c, json!({"a": "1", "b": "2"})).await;
    let patch = json!({"data": {"a": null, "c": "3"}, "metadata": {"labels": {"x": "y"}}});
    let patched = c.patch(path, MERGE_PATCH, &patch).await.code(200);
    assert_eq!(patched["data"], json!({"b": "2", "c": "3"}));
    assert_eq!(patched["metadata"]["labels"], json!({"x": "y"}));
}

async fn a_merge_patch_replaces_lists(c: Context) {
    let path = deploy(&c, |_| ()).await;
    let containers = json!([{"name": "other", "image": "other:1"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let patched = c.patch(path, MERGE_PATCH, &patch).await.code(200);
    let names: Vec<&Value> = containers_of(&patched)
        .iter()
        .map(|container| &container["name"])
        .collect();
    assert_eq!(names, ["other"]);
}

fn containers_of(deployment: &Value) -> &Vec<Value> {
    deployment["spec"]["template"]["spec"]["containers"].as_array().unwrap()
}

async fn a_merge_patch_that_is_none(c: Context) {
    let path = map(&c, json!({"a": "1"})).await;
    c.patch(&path, MERGE_PATCH, &json!([1]))
        .await
        .refused(400, "BadRequest");
    c.patch(&path, MERGE_PATCH, &json!("text"))
        .await
        .refused(400, "BadRequest");
}

async fn strategic_patch_merges_lists_by_key(c: Context) {
    let path = deploy(&c, |_| ()).await;
    let containers =
        json!([{"name": "main", "env": [{"name": "A", "value": "1"}]}, {"name": "side", "image": "side:1"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let patched = c.patch(&path, STRATEGIC_PATCH, &patch).await.code(200);
    let main = containers_of(&patched)
        .iter()
        .find(|container| container["name"] == "main")
        .unwrap();
    assert_eq!(main["image"], "web:1", "what the patch does not name stays");
    assert_eq!(main["env"], json!([{"name": "A", "value": "1"}]));
    assert_eq!(containers_of(&patched).len(), 2);
    let env = json!([{"name": "main", "env": [{"name": "B", "value": "2"}]}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": env}}}});
    let patched = c.patch(&path, STRATEGIC_PATCH, &patch).await.code(200);
    let main = containers_of(&patched)
        .iter()
        .find(|container| container["name"] == "main")
        .unwrap();
    assert_eq!(main["env"].as_array().unwrap().len(), 2);
}

async fn strategic_patch_deletes_items(c: Context) {
    let path = deploy(&c, |body| {
        let side = json!({"name": "side", "image": "side:1"});
        body["spec"]["template"]["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .push(side);
    })
    .await;
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}}});
    let patched = c.patch(&path, STRATEGIC_PATCH, &patch).await.code(200);
    assert_eq!(containers_of(&patched).len(), 1);
    let patch = json!({"metadata": {"labels": null}, "spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    c.patch(&path, STRATEGIC_PATCH, &patch).await.code(200);
}

async fn strategic_patch_replaces(c: Context) {
    let path = deploy(&c, |_| ()).await;
    let containers = json!([{"$patch": "replace"}, {"name": "only", "image": "only:1"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let patched = c.patch(&path, STRATEGIC_PATCH, &patch).await.code(200);
    assert_eq!(containers_of(&patched).len(), 1);
    assert_eq!(containers_of(&patched)[0]["name"], "only");
    let patch = json!({"spec": {"strategy": {"$patch": "replace", "type": "Recreate"}}});
    let patched = c.patch(&path, STRATEGIC_PATCH, &patch).await.code(200);
    assert_eq!(patched["spec"]["strategy"], json!({"type": "Recreate"}));
}

async fn strategic_patch_orders_items(c: Context) {
    let path = deploy(&c, |_| ()).await;
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "first"}, {"name": "main"}],
        "containers": [{"name": "first", "image": "first:1"}]}}}});
    let patched = c.patch(&path, STRATEGIC_PATCH, &patch).await.code(200);
    let names: Vec<&Value> = containers_of(&patched)
        .iter()
        .map(|container| &container["name"])
        .collect();
    assert_eq!(names, ["first", "main"]);
}

async fn strategic_patch_of_primitive_lists(c: Context) {
    let path = map(&c, json!({})).await;
    let add = |name: &str| json!({"metadata": {"finalizers": [name]}});
    c.patch(&path, STRATEGIC_PATCH, &add("contract.example/a"))
        .await
        .code(200);
    let patched = c
        .patch(&path, STRATEGIC_PATCH, &add("contract.example/b"))
        .await
        .code(200);
    let mut finalizers: Vec<&str> = patched["metadata"]["finalizers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    finalizers.sort_unstable();
    assert_eq!(finalizers, ["contract.example/a", "contract.example/b"]);
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["contract.example/a"]}});
    let patched = c.patch(&path, STRATEGIC_PATCH, &patch).await.code(200);
    assert_eq!(patched["metadata"]["finalizers"], json!(["contract.example/b"]));
    c.patch(&path, MERGE_PATCH, &json!({"metadata": {"finalizers": null}}))
        .await
        .code(200);
}

async fn strategic_patch_retains_keys(c: Context) {
    let path = deploy(&c, |_| ()).await;
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let patched = c.patch(&path, STRATEGIC_PATCH, &patch).await.code(200);
    assert_eq!(patched["spec"]["strategy"], json!({"type": "Recreate"}));
}

async fn custom_resources_have_no_strategic_patch(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({"size": {"type": "integer"}}))).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"size": 1})))
        .await
        .code(201);
    let patch = json!({"spec": {"size": 2}});
    c.patch(format!("{gadgets}/one"), STRATEGIC_PATCH, &patch)
        .await
        .refused(415, "UnsupportedMediaType");
}

async fn a_patch_of_a_missing_object(c: Context) {
    for kind in [MERGE_PATCH, STRATEGIC_PATCH] {
        c.patch(format!("{}/one", c.maps()), kind, &json!({"data": {}}))
            .await
            .refused(404, "NotFound");
    }
    c.patch(format!("{}/one", c.maps()), JSON_PATCH, &json!([]))
        .await
        .refused(404, "NotFound");
}

async fn a_patch_with_a_stale_version(c: Context) {
    let path = map(&c, json!({"a": "1"})).await;
    let first = version(&c.get(&path).await.ok());
    let patch = |value: &str| json!({"metadata": {"resourceVersion": first}, "data": {"a": value}});
    c.patch(&path, MERGE_PATCH, &patch("2")).await.code(200);
    c.patch(&path, MERGE_PATCH, &patch("3")).await.refused(409, "Conflict");
}

async fn a_type_that_is_none(c: Context) {
    let path = map(&c, json!({"a": "1"})).await;
    let body = json!({"data": {"a": "2"}});
    c.send(Ask::json("PATCH", path, Some(&body)))
        .await
        .refused(415, "UnsupportedMediaType");
}

async fn a_patch_that_changes_nothing(c: Context) {
    let path = map(&c, json!({"a": "1"})).await;
    let before = c.get(&path).await.ok();
    assert_eq!(
        c.patch(&path, MERGE_PATCH, &json!({"data": {"a": "1"}}))
            .await
            .code(200),
        before
    );
    assert_eq!(c.patch(&path, MERGE_PATCH, &json!({})).await.code(200), before);
    assert_eq!(c.patch(&path, JSON_PATCH, &json!([])).await.code(200), before);
}

async fn a_patch_of_the_name(c: Context) {
    let path = map(&c, json!({"a": "1"})).await;
    let answer = c.patch(&path, MERGE_PATCH, &json!({"metadata": {"name": "two"}})).await;
    answer.refused(400, "BadRequest");
}

async fn a_patch_records_its_manager(c: Context) {
    let path = map(&c, json!({"a": "1"})).await;
    let patched = c
        .patch(
            format!("{path}?fieldManager=patcher"),
            MERGE_PATCH,
            &json!({"data": {"b": "2"}}),
        )
        .await
        .code(200);
    assert_eq!(
        super::objects::owned(&patched, "patcher"),
        json!({"f:data": {"f:b": {}}})
    );
}

async fn gadget(c: &Context) -> String {
    let tags = json!({"type": "array", "items": {"type": "string"}});
    let gadgets = c
        .define("Gadget", schema(json!({"size": {"type": "integer"}, "tags": tags})))
        .await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"size": 1, "tags": ["a"]})))
        .await
        .code(201);
    format!("{gadgets}/one")
}

async fn merge_patch_of_a_custom_resource(c: Context) {
    let path = gadget(&c).await;
    let patched = c
        .patch(&path, MERGE_PATCH, &json!({"spec": {"size": null, "tags": ["b"]}}))
        .await
        .code(200);
    assert_eq!(patched["spec"], json!({"tags": ["b"]}));
    c.patch(&path, MERGE_PATCH, &json!({"spec": {"size": "big"}}))
        .await
        .invalid(&["spec.size"]);
}

async fn json_patch_of_a_custom_resource(c: Context) {
    let path = gadget(&c).await;
    let patch = json!([{"op": "add", "path": "/spec/tags/-", "value": "z"}, {"op": "add", "path": "/spec/tags/0", "value": "0"}]);
    let patched = c.patch(&path, JSON_PATCH, &patch).await.code(200);
    assert_eq!(patched["spec"]["tags"], json!(["0", "a", "z"]));
}

async fn json_patch_of_what_is_not_there(c: Context) {
    let path = map(&c, json!({"a": "1"})).await;
    let add = |path: &str| json!([{"op": "add", "path": path, "value": "1"}]);
    let status = c
        .patch(&path, JSON_PATCH, &add("/metadata/annotations/x"))
        .await
        .refused(422, "Invalid");
    assert_eq!(
        (&status["message"], &status["details"]),
        (
            &json!("the server rejected our request due to an error in our request"),
            &json!({})
        )
    );
    c.patch(&path, JSON_PATCH, &add("/data/b")).await.code(200);
    let replace = json!([{"op": "replace", "path": "/data/c", "value": "3"}]);
    let patched = c.patch(&path, JSON_PATCH, &replace).await.code(200);
    assert_eq!(patched["data"], json!({"a": "1", "b": "1", "c": "3"}));
    c.patch(&path, JSON_PATCH, &json!([{"op": "remove", "path": "/data/d"}]))
        .await
        .refused(422, "Invalid");
}

async fn a_patch_to_another_type(c: Context) {
    let path = map(&c, json!({"a": "1"})).await;
    for (kind, patch) in [
        (MERGE_PATCH, json!({"data": "text"})),
        (MERGE_PATCH, json!({"data": {"a": 5}})),
        (STRATEGIC_PATCH, json!({"data": {"a": 5}})),
        (JSON_PATCH, json!([{"op": "add", "path": "/data/a", "value": 5}])),
    ] {
        let status = c.patch(&path, kind, &patch).await.invalid(&["patch"]);
        assert!(
            status["message"]
                .as_str()
                .unwrap()
                .starts_with(" \"\" is invalid: patch: "),
            "{status}"
        );
    }
    assert_eq!(c.get(&path).await.ok()["data"], json!({"a": "1"}));
}

async fn a_patch_of_the_uid(c: Context) {
    let path = map(&c, json!({"a": "1"})).await;
    let patch = json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}});
    for kind in [MERGE_PATCH, STRATEGIC_PATCH] {
        let status = c.patch(&path, kind, &patch).await.invalid(&["metadata.uid"]);
        assert!(
            status["message"].as_str().unwrap().ends_with(": field is immutable"),
            "{status}"
        );
    }
}
