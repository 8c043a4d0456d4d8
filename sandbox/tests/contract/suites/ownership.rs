//! Server-side apply to the letter: what counts as a field, who loses it, and in what order owners are listed.

use serde_json::{Value, json};

use super::objects::{config_map, managed, owned, schema};
use crate::context::{Context, JSON_PATCH, MERGE_PATCH};

crate::registry::suite!("ownership":
    an_empty_map_is_a_field, null_is_a_field, who_shares_a_value_has_no_time, new_containers_are_fields,
    those_who_apply_come_first, conflicts_with_updates_name_the_version, without_owners_all_is_from_before,
    owners_can_be_sent, items_twice_outlive_an_apply, items_twice_have_one_owner, the_oldest_owners_are_taken_together,
);

fn at(c: &Context) -> String {
    format!("{}/one", c.maps())
}

async fn an_empty_map_is_a_field(c: Context) {
    let body = config_map("one", json!({}));
    let made = c.apply(&at(&c), "alice", &body).await.code(201);
    assert_eq!((made.get("data"), owned(&made, "alice")), (None, json!({"f:data": {}})));
    assert_eq!(c.apply(&at(&c), "alice", &body).await.code(200), made);
    // It is not kept, so whoever applies it adds it.
    let status = c.apply(&at(&c), "bob", &body).await.refused(409, "Conflict");
    assert_eq!(status["details"]["causes"][0]["field"], ".data");
}

async fn null_is_a_field(c: Context) {
    let mut body = config_map("one", json!({"a": "1"}));
    body["metadata"]["labels"] = Value::Null;
    let made = c.apply(&at(&c), "alice", &body).await.code(201);
    let fields = json!({"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {}}});
    assert_eq!((made["metadata"].get("labels"), owned(&made, "alice")), (None, fields));
}

async fn who_shares_a_value_has_no_time(c: Context) {
    let body = config_map("one", json!({"a": "1"}));
    c.apply(&at(&c), "alice", &body).await.code(201);
    let shared = c.apply(&at(&c), "bob", &body).await.code(200);
    assert!(managed(&shared, "alice").unwrap()["time"].is_string());
    assert_eq!(
        managed(&shared, "bob").unwrap().get("time"),
        None,
        "bob has changed nothing"
    );
    assert_eq!(shared["metadata"]["managedFields"][0]["manager"], "bob");
}

async fn new_containers_are_fields(c: Context) {
    let part = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let gadgets = c
        .define("Gadget", schema(json!({"size": {"type": "integer"}, "part": part})))
        .await;
    let made = c
        .post(
            format!("{gadgets}?fieldManager=maker"),
            &c.custom("Gadget", "one", json!({"size": 1})),
        )
        .await
        .code(201);
    assert_eq!(owned(&made, "maker"), json!({"f:spec": {".": {}, "f:size": {}}}));
    let patch = json!({"spec": {"part": {"a": 1}}});
    let path = format!("{gadgets}/one?fieldManager=patcher");
    let patched = c.patch(path, MERGE_PATCH, &patch).await.code(200);
    assert_eq!(
        owned(&patched, "patcher"),
        json!({"f:spec": {"f:part": {".": {}, "f:a": {}}}})
    );
    // With all that was in it gone, the map is there still, and its maker's.
    let path = format!("{gadgets}/one?fieldManager=patcher");
    let patch = json!({"spec": {"part": null, "size": null}});
    let patched = c.patch(path, MERGE_PATCH, &patch).await.code(200);
    assert_eq!(
        (&patched["spec"], owned(&patched, "maker")),
        (&json!({}), json!({"f:spec": {}}))
    );
    assert!(managed(&patched, "patcher").is_none());
}

async fn those_who_apply_come_first(c: Context) {
    c.post(
        format!("{}?fieldManager=alice", c.maps()),
        &config_map("one", json!({"a": "1"})),
    )
    .await
    .code(201);
    let applied = c
        .apply(&at(&c), "zoe", &config_map("one", json!({"z": "1"})))
        .await
        .code(200);
    let managers: Vec<&str> = applied["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["manager"].as_str().unwrap())
        .collect();
    assert_eq!(managers, ["zoe", "alice"]);
}

async fn conflicts_with_updates_name_the_version(c: Context) {
    c.post(
        format!("{}?fieldManager=maker", c.maps()),
        &config_map("one", json!({"a": "1", "b": "1"})),
    )
    .await
    .code(201);
    let other = config_map("one", json!({"a": "2"}));
    let status = c.apply(&at(&c), "alice", &other).await.refused(409, "Conflict");
    let message = "Apply failed with 1 conflict: conflict with \"maker\" using v1: .data.a";
    assert_eq!(status["message"], message);
}

async fn without_owners_all_is_from_before(c: Context) {
    c.post(c.maps(), &config_map("one", json!({"a": "1", "b": "1"})))
        .await
        .code(201);
    let reset = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]);
    let bare = c.patch(at(&c), JSON_PATCH, &reset).await.code(200);
    assert_eq!(bare["metadata"].get("managedFields"), None);
    let patched = c
        .patch(at(&c), MERGE_PATCH, &json!({"data": {"c": "1"}}))
        .await
        .code(200);
    assert_eq!(patched["metadata"].get("managedFields"), None, "nobody has applied yet");
    let applied = c
        .apply(&at(&c), "alice", &config_map("one", json!({"a": "1"})))
        .await
        .code(200);
    let before = json!({"f:data": {".": {}, "f:a": {}, "f:b": {}, "f:c": {}}});
    assert_eq!(owned(&applied, "before-first-apply"), before);
    c.apply(&at(&c), "alice", &config_map("one", json!({"a": "2"})))
        .await
        .refused(409, "Conflict");
}

async fn owners_can_be_sent(c: Context) {
    let mut made = c
        .post(
            format!("{}?fieldManager=maker", c.maps()),
            &config_map("one", json!({"a": "1"})),
        )
        .await
        .code(201);
    made["metadata"]["managedFields"][0]["manager"] = json!("heir");
    let kept = c.put(at(&c), &made).await.code(200);
    assert!(managed(&kept, "maker").is_none());
    assert_eq!(owned(&kept, "heir"), json!({"f:data": {".": {}, "f:a": {}}}));
}

/// A ConfigMap with finalizers: a set, whose items nobody looks at for being there twice.
fn held(finalizers: &[&str]) -> Value {
    let names: Vec<String> = finalizers
        .iter()
        .map(|name| format!("contract.example/{name}"))
        .collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "finalizers": names}})
}

fn finalizers(object: &Value) -> &Value {
    &object["metadata"]["finalizers"]
}

async fn items_twice_outlive_an_apply(c: Context) {
    let body = held(&["a", "b", "a"]);
    let made = c
        .post(format!("{}?fieldManager=maker", c.maps()), &body)
        .await
        .code(201);
    assert_eq!(finalizers(&made), finalizers(&body));
    let applied = c
        .apply(&at(&c), "alice", &config_map("one", json!({"a": "1"})))
        .await
        .code(200);
    assert_eq!(
        finalizers(&applied),
        finalizers(&body),
        "alice says nothing of finalizers"
    );
    let applied = c.apply(&at(&c), "alice", &held(&["c"])).await.code(200);
    assert_eq!(finalizers(&applied), finalizers(&held(&["a", "b", "a", "c"])));
    let conflict = c.apply(&at(&c), "bob", &held(&["a"])).await.refused(409, "Conflict");
    assert_eq!(
        conflict["details"]["causes"][0]["field"],
        ".metadata.finalizers[=\"contract.example/a\"]"
    );
    let forced = c.force(&at(&c), "bob", &held(&["a"])).await.code(200);
    assert_eq!(
        finalizers(&forced),
        finalizers(&held(&["a", "b", "c"])),
        "what is named is there once"
    );
    c.patch(at(&c), MERGE_PATCH, &json!({"metadata": {"finalizers": null}}))
        .await
        .code(200);
}

async fn items_twice_have_one_owner(c: Context) {
    let made = c
        .post(format!("{}?fieldManager=maker", c.maps()), &held(&["a", "b"]))
        .await;
    made.code(201);
    let put = async |manager: &str, names: &[&str]| {
        let patch = json!({"metadata": {"finalizers": finalizers(&held(names))}});
        let path = format!("{}?fieldManager={manager}", at(&c));
        c.patch(path, MERGE_PATCH, &patch).await.code(200)
    };
    let item = |name: &str| format!("v:\"contract.example/{name}\"");
    let owns = |object: &Value, manager: &str, name: &str| {
        let entry = managed(object, manager);
        entry.is_some_and(|entry| {
            entry["fieldsV1"]["f:metadata"]["f:finalizers"]
                .get(item(name))
                .is_some()
        })
    };
    // The one more is a change of both.
    let twice = put("alice", &["a", "b", "a"]).await;
    assert!(owns(&twice, "alice", "a") && !owns(&twice, "maker", "a") && owns(&twice, "maker", "b"));
    // So is a third.
    let thrice = put("bob", &["a", "a", "b", "a"]).await;
    assert!(owns(&thrice, "bob", "a") && !owns(&thrice, "alice", "a"));
    // And being alone again.
    let once = put("carol", &["a", "b"]).await;
    assert!(owns(&once, "carol", "a") && !owns(&once, "bob", "a") && owns(&once, "maker", "b"));
    put("carol", &[]).await;
}

async fn the_oldest_owners_are_taken_together(c: Context) {
    c.apply(&at(&c), "applier", &config_map("one", json!({"x": "1"})))
        .await
        .code(201);
    let mut last = Value::Null;
    for number in 10..22 {
        let key = format!("k{number}");
        let path = format!("{}?fieldManager=m{number}", at(&c));
        last = c.patch(path, MERGE_PATCH, &json!({"data": {key: "1"}})).await.code(200);
    }
    let owners: Vec<&str> = last["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["manager"].as_str())
        .collect();
    assert_eq!(
        (owners.len(), owners[0]),
        (11, "applier"),
        "ten that update: {owners:?}"
    );
    let oldest = json!({"f:data": {"f:k10": {}, "f:k11": {}, "f:k12": {}}});
    assert_eq!(owned(&last, "ancient-changes"), oldest);
    assert_eq!(owned(&last, "m13"), json!({"f:data": {"f:k13": {}}}));
}
