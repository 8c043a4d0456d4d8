//! Create, read, update, delete; what is refused, and with which words.

use serde_json::json;

use super::objects::{config_map, labelled, managed, names, owned, version};
use crate::context::{Answer, Ask, Context};

crate::registry::suite!("crud":
    create_fills_in_the_metadata, create_again_is_refused, a_missing_object_is_not_found, update_replaces,
    update_of_an_old_version_is_a_conflict, update_without_a_version, update_of_a_missing_object,
    update_under_another_name, update_with_another_uid, an_update_that_changes_nothing_keeps_the_version,
    metadata_that_clients_cannot_set, a_version_cannot_be_set_at_creation, delete_answers_with_a_status,
    delete_with_preconditions, delete_collection_by_selector, namespaces_must_agree, bodies_that_make_no_sense,
    methods_that_are_not_allowed, an_update_records_its_manager, an_empty_list, get_of_another_namespace,
);

async fn create_fills_in_the_metadata(c: Context) {
    let made = c.post(c.maps(), &config_map("one", json!({"k": "v"}))).await.code(201);
    let meta = &made["metadata"];
    assert_eq!(
        (made["kind"].as_str(), made["apiVersion"].as_str()),
        (Some("ConfigMap"), Some("v1"))
    );
    assert_eq!(meta["namespace"], c.ns.as_str());
    assert_eq!(meta["uid"].as_str().unwrap().len(), 36);
    assert!(meta["creationTimestamp"].as_str().unwrap().ends_with('Z'));
    assert!(version(&made).parse::<u64>().unwrap() > 0);
    assert!(meta.get("generation").is_none(), "ConfigMaps count no generations");
    assert!(meta.get("selfLink").is_none());
    let read = c.get(format!("{}/one", c.maps())).await.code(200);
    assert_eq!(read, made);
}

async fn create_again_is_refused(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let status = c
        .post(c.maps(), &config_map("one", json!({})))
        .await
        .refused(409, "AlreadyExists");
    assert_eq!(status["message"], "configmaps \"one\" already exists");
    assert_eq!(status["details"], json!({"name": "one", "kind": "configmaps"}));
    assert_eq!(
        (status["kind"].as_str(), status["status"].as_str()),
        (Some("Status"), Some("Failure"))
    );
}

async fn a_missing_object_is_not_found(c: Context) {
    let status = c
        .get(c.path("apps/v1", "deployments") + "/none")
        .await
        .refused(404, "NotFound");
    assert_eq!(status["message"], "deployments.apps \"none\" not found");
    assert_eq!(
        status["details"],
        json!({"name": "none", "group": "apps", "kind": "deployments"})
    );
    c.delete(format!("{}/none", c.maps())).await.refused(404, "NotFound");
}

async fn update_replaces(c: Context) {
    let mut map = c
        .post(c.maps(), &config_map("one", json!({"a": "1", "b": "2"})))
        .await
        .code(201);
    map["data"] = json!({"c": "3"});
    let updated = c.put(format!("{}/one", c.maps()), &map).await.code(200);
    assert_eq!(updated["data"], json!({"c": "3"}));
    assert_eq!(updated["metadata"]["uid"], map["metadata"]["uid"]);
    assert!(version(&updated).parse::<u64>().unwrap() > version(&map).parse::<u64>().unwrap());
}

async fn update_of_an_old_version_is_a_conflict(c: Context) {
    let path = format!("{}/one", c.maps());
    let first = c.post(c.maps(), &config_map("one", json!({"k": "1"}))).await.code(201);
    let mut second = first.clone();
    second["data"]["k"] = json!("2");
    c.put(&path, &second).await.code(200);
    let mut stale = first;
    stale["data"]["k"] = json!("3");
    let status = c.put(&path, &stale).await.refused(409, "Conflict");
    assert_eq!(
        status["message"],
        "Operation cannot be fulfilled on configmaps \"one\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
    assert_eq!(c.get(&path).await.ok()["data"]["k"], "2");
}

async fn update_without_a_version(c: Context) {
    c.post(c.maps(), &config_map("one", json!({"k": "1"}))).await.code(201);
    let updated = c
        .put(format!("{}/one", c.maps()), &config_map("one", json!({"k": "2"})))
        .await
        .code(200);
    assert_eq!(updated["data"]["k"], "2");
}

async fn update_of_a_missing_object(c: Context) {
    c.put(format!("{}/one", c.maps()), &config_map("one", json!({})))
        .await
        .refused(404, "NotFound");
}

async fn update_under_another_name(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let status = c
        .put(format!("{}/one", c.maps()), &config_map("two", json!({})))
        .await
        .refused(400, "BadRequest");
    assert_eq!(
        status["message"],
        "the name of the object (two) does not match the name on the URL (one)"
    );
}

async fn update_with_another_uid(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let mut other = config_map("one", json!({}));
    other["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    c.put(format!("{}/one", c.maps()), &other)
        .await
        .refused(409, "Conflict");
}

async fn an_update_that_changes_nothing_keeps_the_version(c: Context) {
    let made = c.post(c.maps(), &config_map("one", json!({"k": "v"}))).await.code(201);
    let again = c.put(format!("{}/one", c.maps()), &made).await.code(200);
    assert_eq!(again, made);
}

async fn metadata_that_clients_cannot_set(c: Context) {
    let mut map = config_map("one", json!({}));
    map["metadata"]["uid"] = json!("11111111-1111-1111-1111-111111111111");
    map["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    map["metadata"]["deletionTimestamp"] = json!("2001-01-01T00:00:00Z");
    map["metadata"]["generation"] = json!(7);
    map["metadata"]["selfLink"] = json!("/nowhere");
    let made = c.post(c.maps(), &map).await.code(201);
    let meta = &made["metadata"];
    assert_ne!(meta["uid"], map["metadata"]["uid"]);
    assert_ne!(meta["creationTimestamp"], map["metadata"]["creationTimestamp"]);
    assert!(meta.get("deletionTimestamp").is_none());
}

async fn a_version_cannot_be_set_at_creation(c: Context) {
    let mut map = config_map("one", json!({}));
    map["metadata"]["resourceVersion"] = json!("5");
    let answer = c.post(c.maps(), &map).await;
    assert_eq!(answer.code, 500, "{}", answer.body);
    assert_eq!(
        answer.body["message"],
        "resourceVersion should not be set on objects to be created"
    );
}

async fn delete_answers_with_a_status(c: Context) {
    let made = c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let status = c.delete(format!("{}/one", c.maps())).await.code(200);
    assert_eq!(
        (status["kind"].as_str(), status["status"].as_str()),
        (Some("Status"), Some("Success"))
    );
    assert_eq!(
        status["details"],
        json!({"name": "one", "kind": "configmaps", "uid": made["metadata"]["uid"]})
    );
    c.get(format!("{}/one", c.maps())).await.refused(404, "NotFound");
}

async fn delete_with_preconditions(c: Context) {
    let path = format!("{}/one", c.maps());
    let made = c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    for wrong in [
        json!({"uid": "00000000-0000-0000-0000-000000000000"}),
        json!({"resourceVersion": "1"}),
    ] {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": wrong});
        c.delete_with(&path, &options).await.refused(409, "Conflict");
    }
    let right = json!({"uid": made["metadata"]["uid"], "resourceVersion": version(&made)});
    c.delete_with(&path, &json!({"preconditions": right})).await.code(200);
}

async fn delete_collection_by_selector(c: Context) {
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        c.post(c.maps(), &labelled(name, json!({"app": app}))).await.code(201);
    }
    let deleted = c.delete(format!("{}?labelSelector=app%3Dx", c.maps())).await.code(200);
    assert_eq!(deleted["kind"], "ConfigMapList");
    assert_eq!(names(&deleted), ["a", "c"]);
    assert_eq!(names(&c.get(c.maps()).await.ok()), ["b"]);
}

async fn namespaces_must_agree(c: Context) {
    let mut map = config_map("one", json!({}));
    map["metadata"]["namespace"] = json!("elsewhere");
    let status = c.post(c.maps(), &map).await.refused(400, "BadRequest");
    let wanted = "the namespace of the provided object does not match the namespace sent on the request".to_string();
    assert_eq!(status["message"], wanted);
}

async fn bodies_that_make_no_sense(c: Context) {
    c.post(c.maps(), &json!("text")).await.refused(400, "BadRequest");
    c.post(
        c.maps(),
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}}),
    )
    .await
    .refused(400, "BadRequest");
    c.post(
        c.maps(),
        &json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "one"}}),
    )
    .await
    .refused(400, "BadRequest");
    c.post(c.maps(), &json!({"metadata": {"name": "one"}, "data": {"k": 5}}))
        .await
        .refused(400, "BadRequest");
    let body = config_map("one", json!({}));
    let ask = Ask {
        content_type: "text/csv",
        ..Ask::json("POST", c.maps(), Some(&body))
    };
    c.send(ask).await.refused(415, "UnsupportedMediaType");
}

async fn methods_that_are_not_allowed(c: Context) {
    c.put(c.maps(), &config_map("one", json!({})))
        .await
        .refused(405, "MethodNotAllowed");
    c.post(format!("{}/one", c.maps()), &config_map("one", json!({})))
        .await
        .refused(405, "MethodNotAllowed");
    c.delete("/api/v1/namespaces?labelSelector=nobody%3Dhas")
        .await
        .refused(405, "MethodNotAllowed");
}

async fn an_update_records_its_manager(c: Context) {
    let path = format!("{}/one", c.maps());
    let made = c
        .post(
            format!("{}?fieldManager=maker", c.maps()),
            &config_map("one", json!({"a": "1"})),
        )
        .await
        .code(201);
    let entry = managed(&made, "maker").unwrap();
    assert_eq!(
        (entry["operation"].as_str(), entry["apiVersion"].as_str()),
        (Some("Update"), Some("v1"))
    );
    assert_eq!(entry["fieldsType"], "FieldsV1");
    assert_eq!(entry["fieldsV1"], json!({"f:data": {".": {}, "f:a": {}}}));
    let mut changed = made;
    changed["data"] = json!({"a": "2", "b": "3"});
    let updated = c.put(format!("{path}?fieldManager=changer"), &changed).await.code(200);
    assert_eq!(owned(&updated, "changer"), json!({"f:data": {"f:a": {}, "f:b": {}}}));
    assert_eq!(owned(&updated, "maker"), json!({"f:data": {}}));
}

async fn an_empty_list(c: Context) {
    let list = c.get(c.maps()).await.code(200);
    assert_eq!(list["kind"], "ConfigMapList");
    assert_eq!(list["items"], json!([]));
    assert!(version(&list).parse::<u64>().is_ok());
}

async fn get_of_another_namespace(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let elsewhere: Answer = c.get("/api/v1/namespaces/no-such-namespace/configmaps/one").await;
    elsewhere.refused(404, "NotFound");
    assert_eq!(
        names(&c.get("/api/v1/namespaces/no-such-namespace/configmaps").await.code(200)),
        [""; 0]
    );
}
