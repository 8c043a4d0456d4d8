//! Requests that only pretend.

use serde_json::json;

use super::objects::{config_map, deployment, names, schema, service};
use crate::context::{APPLY_PATCH, Context, MERGE_PATCH};

crate::registry::suite!("dry_run":
    creation_is_not_stored, an_update_is_not_stored, patches_are_not_stored, apply_is_not_stored, deletion_is_not_done,
    a_collection_is_not_deleted, a_value_that_is_none, refusals_are_real, an_address_is_not_taken, custom_resources_too,
    in_the_delete_options,
);

async fn creation_is_not_stored(c: Context) {
    let made = c
        .post(
            format!("{}?dryRun=All", c.maps()),
            &config_map("one", json!({"k": "v"})),
        )
        .await
        .code(201);
    assert!(
        made["metadata"]["uid"].is_string() && made["metadata"].get("resourceVersion").is_none(),
        "{made}"
    );
    c.get(format!("{}/one", c.maps())).await.refused(404, "NotFound");
}

async fn an_update_is_not_stored(c: Context) {
    let mut map = c.post(c.maps(), &config_map("one", json!({"k": "1"}))).await.code(201);
    let before = map.clone();
    map["data"]["k"] = json!("2");
    let path = format!("{}/one", c.maps());
    let pretended = c.put(format!("{path}?dryRun=All"), &map).await.code(200);
    assert_eq!(pretended["data"]["k"], "2");
    assert_eq!(
        pretended["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
    assert_eq!(c.get(&path).await.ok(), before);
}

async fn patches_are_not_stored(c: Context) {
    let before = c.post(c.maps(), &config_map("one", json!({"k": "1"}))).await.code(201);
    let path = format!("{}/one", c.maps());
    let pretended = c
        .patch(format!("{path}?dryRun=All"), MERGE_PATCH, &json!({"data": {"k": "2"}}))
        .await
        .code(200);
    assert_eq!(pretended["data"]["k"], "2");
    assert_eq!(c.get(&path).await.ok(), before);
}

async fn apply_is_not_stored(c: Context) {
    let path = format!("{}/one?fieldManager=alice&dryRun=All", c.maps());
    c.patch(path, APPLY_PATCH, &config_map("one", json!({"k": "1"})))
        .await
        .code(201);
    c.get(format!("{}/one", c.maps())).await.refused(404, "NotFound");
}

async fn deletion_is_not_done(c: Context) {
    let before = c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let path = format!("{}/one", c.maps());
    c.delete(format!("{path}?dryRun=All")).await.code(200);
    assert_eq!(c.get(&path).await.ok(), before);
}

async fn a_collection_is_not_deleted(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    c.delete(format!("{}?dryRun=All", c.maps())).await.code(200);
    assert_eq!(names(&c.get(c.maps()).await.ok()), ["one"]);
}

async fn a_value_that_is_none(c: Context) {
    c.post(format!("{}?dryRun=Some", c.maps()), &config_map("one", json!({})))
        .await
        .refused(422, "Invalid");
}

async fn refusals_are_real(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    c.post(format!("{}?dryRun=All", c.maps()), &config_map("one", json!({})))
        .await
        .refused(409, "AlreadyExists");
    let mut wrong = deployment("one");
    wrong["spec"]["replicas"] = json!(-1);
    let path = c.path("apps/v1", "deployments");
    c.post(format!("{path}?dryRun=All"), &wrong)
        .await
        .invalid(&["spec.replicas"]);
}

async fn an_address_is_not_taken(c: Context) {
    let path = c.path("v1", "services");
    let mut body = service("one");
    body["spec"]["clusterIP"] = json!("127.20.200.200");
    c.post(format!("{path}?dryRun=All"), &body).await.code(201);
    c.post(&path, &body).await.code(201);
    body["metadata"]["name"] = json!("two");
    c.post(&path, &body).await.invalid(&["spec.clusterIPs"]);
}

async fn custom_resources_too(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({"size": {"type": "integer"}}))).await;
    c.post(
        format!("{gadgets}?dryRun=All"),
        &c.custom("Gadget", "one", json!({"size": 1})),
    )
    .await
    .code(201);
    assert_eq!(names(&c.get(&gadgets).await.ok()), [""; 0]);
}

async fn in_the_delete_options(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    c.delete_with(format!("{}/one", c.maps()), &json!({"dryRun": ["All"]}))
        .await
        .code(200);
    c.get(format!("{}/one", c.maps())).await.code(200);
}
