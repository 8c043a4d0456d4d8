//! Finalizers, propagation, garbage collection.

use serde_json::{Value, json};

use super::objects::config_map;
use crate::context::{Context, MERGE_PATCH};

crate::registry::suite!("deletion":
    a_finalizer_holds_the_object, a_finalizer_cannot_be_added_late, what_is_being_deleted_can_be_changed,
    deleting_again_keeps_the_time, foreground_waits_for_dependents, foreground_waits_for_those_that_block_alone,
    background_collects_dependents, orphan_leaves_dependents, propagation_in_the_query, a_policy_that_is_none,
    dependents_of_nobody_are_collected, one_owner_of_two_is_enough, grandchildren_go_too,
    owners_are_checked, a_collection_with_finalizers, an_orphan_finalizer_can_be_asked_for_beforehand,
);

const HOLD: &str = "contract.example/hold";

fn at(c: &Context, name: &str) -> String {
    format!("{}/{name}", c.maps())
}

async fn held(c: &Context, name: &str) -> Value {
    let mut map = config_map(name, json!({}));
    map["metadata"]["finalizers"] = json!([HOLD]);
    c.post(c.maps(), &map).await.code(201)
}

async fn release(c: &Context, name: &str) {
    c.patch(at(c, name), MERGE_PATCH, &json!({"metadata": {"finalizers": null}}))
        .await
        .code(200);
}

/// A ConfigMap whose owners these are.
async fn child(c: &Context, name: &str, owners: &[&Value], more: Value) -> Value {
    let mut map = config_map(name, json!({}));
    let references = owners.iter().map(|owner| {
        let mut reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"]});
        for (key, value) in more.as_object().unwrap() {
            reference[key] = value.clone();
        }
        reference
    });
    map["metadata"]["ownerReferences"] = references.collect();
    c.post(c.maps(), &map).await.code(201)
}

async fn parent(c: &Context, name: &str) -> Value {
    c.post(c.maps(), &config_map(name, json!({}))).await.code(201)
}

fn policy(policy: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy})
}

async fn a_finalizer_holds_the_object(c: Context) {
    held(&c, "one").await;
    let ending = c.delete(at(&c, "one")).await.code(200);
    assert_eq!(
        ending["kind"], "ConfigMap",
        "what is not gone yet is answered with itself"
    );
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(c.get(at(&c, "one")).await.ok(), ending);
    release(&c, "one").await;
    c.get(at(&c, "one")).await.refused(404, "NotFound");
}

async fn a_finalizer_cannot_be_added_late(c: Context) {
    held(&c, "one").await;
    c.delete(at(&c, "one")).await.code(200);
    let patch = json!({"metadata": {"finalizers": [HOLD, "contract.example/late"]}});
    c.patch(at(&c, "one"), MERGE_PATCH, &patch)
        .await
        .invalid(&["metadata.finalizers"]);
    release(&c, "one").await;
}

async fn what_is_being_deleted_can_be_changed(c: Context) {
    held(&c, "one").await;
    c.delete(at(&c, "one")).await.code(200);
    let changed = c
        .patch(at(&c, "one"), MERGE_PATCH, &json!({"data": {"k": "v"}}))
        .await
        .code(200);
    assert_eq!(changed["data"]["k"], "v");
    c.post(c.maps(), &config_map("one", json!({})))
        .await
        .refused(409, "AlreadyExists");
    release(&c, "one").await;
}

async fn deleting_again_keeps_the_time(c: Context) {
    held(&c, "one").await;
    let first = c.delete(at(&c, "one")).await.code(200);
    let again = c.delete(at(&c, "one")).await.code(200);
    assert_eq!(
        again["metadata"]["deletionTimestamp"],
        first["metadata"]["deletionTimestamp"]
    );
    assert_eq!(
        again["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    release(&c, "one").await;
}

async fn foreground_waits_for_dependents(c: Context) {
    let owner = parent(&c, "owner").await;
    let mut map = config_map("child", json!({}));
    map["metadata"]["finalizers"] = json!([HOLD]);
    map["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
        "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true}]);
    c.post(c.maps(), &map).await.code(201);
    let ending = c.delete_with(at(&c, "owner"), &policy("Foreground")).await.code(200);
    assert_eq!(ending["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let ended = |answer: &crate::context::Answer| answer.body["metadata"]["deletionTimestamp"].is_string();
    c.until(at(&c, "child"), "the child is being deleted", ended).await;
    c.get(at(&c, "owner")).await.code(200);
    release(&c, "child").await;
    c.gone(at(&c, "owner")).await;
}

async fn foreground_waits_for_those_that_block_alone(c: Context) {
    let owner = parent(&c, "owner").await;
    let mut map = config_map("child", json!({}));
    map["metadata"]["finalizers"] = json!([HOLD]);
    map["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}]);
    c.post(c.maps(), &map).await.code(201);
    c.delete_with(at(&c, "owner"), &policy("Foreground")).await.code(200);
    c.gone(at(&c, "owner")).await;
    let ending = |answer: &crate::context::Answer| answer.body["metadata"]["deletionTimestamp"].is_string();
    c.until(at(&c, "child"), "the child is collected", ending).await;
    release(&c, "child").await;
    c.gone(at(&c, "child")).await;
}

async fn background_collects_dependents(c: Context) {
    let owner = parent(&c, "owner").await;
    child(&c, "child", &[&owner], json!({})).await;
    c.delete_with(at(&c, "owner"), &policy("Background")).await.code(200);
    c.get(at(&c, "owner")).await.refused(404, "NotFound");
    c.gone(at(&c, "child")).await;
}

async fn orphan_leaves_dependents(c: Context) {
    let owner = parent(&c, "owner").await;
    child(&c, "child", &[&owner], json!({})).await;
    let ending = c.delete_with(at(&c, "owner"), &policy("Orphan")).await.code(200);
    assert_eq!(ending["metadata"]["finalizers"], json!(["orphan"]));
    c.gone(at(&c, "owner")).await;
    let child = c.get(at(&c, "child")).await.ok();
    assert!(child["metadata"].get("ownerReferences").is_none(), "{child}");
}

async fn propagation_in_the_query(c: Context) {
    let owner = parent(&c, "owner").await;
    child(&c, "child", &[&owner], json!({})).await;
    let ending = c
        .delete(format!("{}?propagationPolicy=Orphan", at(&c, "owner")))
        .await
        .code(200);
    assert_eq!(ending["metadata"]["finalizers"], json!(["orphan"]));
    c.gone(at(&c, "owner")).await;
}

async fn a_policy_that_is_none(c: Context) {
    parent(&c, "one").await;
    c.delete_with(at(&c, "one"), &policy("Sometimes"))
        .await
        .refused(422, "Invalid");
    let both = json!({"propagationPolicy": "Orphan", "orphanDependents": true});
    c.delete_with(at(&c, "one"), &both).await.refused(422, "Invalid");
    c.get(at(&c, "one")).await.code(200);
}

async fn dependents_of_nobody_are_collected(c: Context) {
    let nobody = json!({"metadata": {"name": "nobody", "uid": "00000000-0000-0000-0000-000000000000"}});
    child(&c, "child", &[&nobody], json!({})).await;
    c.gone(at(&c, "child")).await;
}

async fn one_owner_of_two_is_enough(c: Context) {
    let (one, two) = (parent(&c, "one").await, parent(&c, "two").await);
    child(&c, "child", &[&one, &two], json!({})).await;
    c.delete_with(at(&c, "one"), &policy("Background")).await.code(200);
    let left = |answer: &crate::context::Answer| {
        answer.body["metadata"]["ownerReferences"]
            .as_array()
            .is_some_and(|owners| owners.len() == 1)
    };
    let child = c.until(at(&c, "child"), "one owner is left", left).await;
    assert_eq!(child["metadata"]["ownerReferences"][0]["name"], "two");
    c.delete_with(at(&c, "two"), &policy("Background")).await.code(200);
    c.gone(at(&c, "child")).await;
}

async fn grandchildren_go_too(c: Context) {
    let owner = parent(&c, "owner").await;
    let middle = child(&c, "middle", &[&owner], json!({})).await;
    child(&c, "leaf", &[&middle], json!({})).await;
    c.delete_with(at(&c, "owner"), &policy("Background")).await.code(200);
    c.gone(at(&c, "middle")).await;
    c.gone(at(&c, "leaf")).await;
}

async fn owners_are_checked(c: Context) {
    for wrong in [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": ""}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "", "uid": "1"}),
        json!({"apiVersion": "v1", "kind": "", "name": "x", "uid": "1"}),
        json!({"apiVersion": "", "kind": "ConfigMap", "name": "x", "uid": "1"}),
    ] {
        let mut map = config_map("one", json!({}));
        map["metadata"]["ownerReferences"] = json!([wrong]);
        c.post(c.maps(), &map).await.refused(422, "Invalid");
    }
    let two =
        |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name, "controller": true});
    let mut map = config_map("one", json!({}));
    map["metadata"]["ownerReferences"] = json!([two("a"), two("b")]);
    c.post(c.maps(), &map).await.invalid(&["metadata.ownerReferences"]);
}

async fn a_collection_with_finalizers(c: Context) {
    held(&c, "held").await;
    parent(&c, "free").await;
    c.delete(c.maps()).await.code(200);
    c.get(at(&c, "free")).await.refused(404, "NotFound");
    assert!(c.get(at(&c, "held")).await.ok()["metadata"]["deletionTimestamp"].is_string());
    release(&c, "held").await;
}

async fn an_orphan_finalizer_can_be_asked_for_beforehand(c: Context) {
    let owner = parent(&c, "owner").await;
    child(&c, "child", &[&owner], json!({})).await;
    c.patch(
        at(&c, "owner"),
        MERGE_PATCH,
        &json!({"metadata": {"finalizers": ["orphan"]}}),
    )
    .await
    .code(200);
    c.delete(at(&c, "owner")).await.code(200);
    c.gone(at(&c, "owner")).await;
    let child = c.get(at(&c, "child")).await.ok();
    assert!(child["metadata"].get("ownerReferences").is_none(), "{child}");
}
