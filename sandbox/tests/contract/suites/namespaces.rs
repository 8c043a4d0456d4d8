//! The life of namespaces.

use serde_json::json;

use super::objects::{config_map, schema};
use crate::context::{Context, MERGE_PATCH};

crate::registry::suite!("namespaces":
    a_namespace_is_active_and_labelled, nothing_is_created_in_a_missing_one, deletion_takes_what_is_in_it,
    nothing_is_created_in_an_ending_one, an_object_with_a_finalizer_holds_it, some_cannot_be_deleted,
    custom_resources_go_with_it, finalizers_are_a_subresource, the_initial_ones_are_there, names_are_labels,
);

fn at(name: &str) -> String {
    format!("/api/v1/namespaces/{name}")
}

async fn a_namespace_is_active_and_labelled(c: Context) {
    let namespace = c.get(at(&c.ns)).await.ok();
    assert_eq!(namespace["status"], json!({"phase": "Active"}));
    assert_eq!(namespace["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(
        namespace["metadata"]["labels"],
        json!({"kubernetes.io/metadata.name": c.ns})
    );
}

async fn nothing_is_created_in_a_missing_one(c: Context) {
    let status = c
        .post("/api/v1/namespaces/no-such/configmaps", &config_map("one", json!({})))
        .await
        .refused(404, "NotFound");
    assert_eq!(status["message"], "namespaces \"no-such\" not found");
}

async fn deletion_takes_what_is_in_it(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let ending = c.delete(at(&c.ns)).await.code(200);
    assert_eq!(ending["status"]["phase"], "Terminating");
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    c.gone(at(&c.ns)).await;
    c.get(format!("{}/one", c.maps())).await.refused(404, "NotFound");
}

async fn hold(c: &Context) {
    let mut map = config_map("held", json!({}));
    map["metadata"]["finalizers"] = json!(["contract.example/hold"]);
    c.post(c.maps(), &map).await.code(201);
}

async fn release(c: &Context) {
    let patch = json!({"metadata": {"finalizers": null}});
    c.patch(format!("{}/held", c.maps()), MERGE_PATCH, &patch)
        .await
        .code(200);
}

async fn nothing_is_created_in_an_ending_one(c: Context) {
    hold(&c).await;
    c.delete(at(&c.ns)).await.code(200);
    let status = c
        .post(c.maps(), &config_map("one", json!({})))
        .await
        .refused(403, "Forbidden");
    assert_eq!(status["details"]["causes"][0]["reason"], "NamespaceTerminating");
    held_is_ending(&c).await;
    release(&c).await;
    c.gone(at(&c.ns)).await;
}

async fn held_is_ending(c: &Context) {
    let ending = |answer: &crate::context::Answer| answer.body["metadata"]["deletionTimestamp"].is_string();
    c.until(format!("{}/held", c.maps()), "the object is being deleted", ending)
        .await;
}

async fn an_object_with_a_finalizer_holds_it(c: Context) {
    hold(&c).await;
    c.delete(at(&c.ns)).await.code(200);
    held_is_ending(&c).await;
    c.get(at(&c.ns)).await.code(200);
    release(&c).await;
    c.gone(at(&c.ns)).await;
}

async fn some_cannot_be_deleted(c: Context) {
    for name in ["default", "kube-system", "kube-public"] {
        c.delete(at(name)).await.refused(403, "Forbidden");
    }
}

async fn custom_resources_go_with_it(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({}))).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({}))).await.code(201);
    c.delete(at(&c.ns)).await.code(200);
    c.gone(format!("{gadgets}/one")).await;
    c.gone(at(&c.ns)).await;
}

async fn finalizers_are_a_subresource(c: Context) {
    let name = format!("{}-more", c.ns);
    let body = json!({"metadata": {"name": name}, "spec": {"finalizers": ["contract.example/more"]}});
    let mut made = c.post("/api/v1/namespaces", &body).await.code(201);
    assert_eq!(
        made["spec"]["finalizers"],
        json!(["contract.example/more", "kubernetes"])
    );
    made["spec"]["finalizers"] = json!(["kubernetes"]);
    let unchanged = c.put(at(&name), &made).await.code(200);
    assert_eq!(
        unchanged["spec"]["finalizers"],
        json!(["contract.example/more", "kubernetes"])
    );
    let mut made = unchanged;
    made["spec"]["finalizers"] = json!(["kubernetes"]);
    let updated = c.put(format!("{}/finalize", at(&name)), &made).await.code(200);
    assert_eq!(updated["spec"]["finalizers"], json!(["kubernetes"]));
    c.delete(at(&name)).await.code(200);
    c.gone(at(&name)).await;
}

async fn the_initial_ones_are_there(c: Context) {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        c.until(at(name), "it is there", |answer| answer.code == 200).await;
    }
}

async fn names_are_labels(c: Context) {
    for name in ["with.dots", "Upper", &"x".repeat(64)] {
        c.post("/api/v1/namespaces", &json!({"metadata": {"name": name}}))
            .await
            .invalid(&["metadata.name"]);
    }
}
