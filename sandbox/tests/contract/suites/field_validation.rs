//! Fields that the server does not know, or knows twice.

use serde_json::{Value, json};

use super::objects::{config_map, deployment, schema};
use crate::context::{APPLY_PATCH, Answer, Context, JSON, MERGE_PATCH, STRATEGIC_PATCH};

crate::registry::suite!("field_validation":
    strict_refuses_unknown_fields, warn_is_what_happens_without_a_word, ignore_is_silent, a_mode_that_is_none,
    strict_refuses_duplicates, duplicates_are_warned_of, patches_too, apply_too, custom_resources_too,
    unknown_fields_are_dropped, several_are_all_named, names_are_case_sensitive, questionable_pods_are_warned_of, refusals_warn_too,
);

fn unknown() -> Value {
    let mut body = deployment("one");
    body["spec"]["replica"] = json!(3);
    body
}

async fn strict_refuses_unknown_fields(c: Context) {
    let path = format!("{}?fieldValidation=Strict", c.path("apps/v1", "deployments"));
    let status = c.post(&path, &unknown()).await.refused(400, "BadRequest");
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("strict decoding error: unknown field \"spec.replica\""),
        "{message}"
    );
    c.post(&path, &deployment("one")).await.code(201);
}

async fn warn_is_what_happens_without_a_word(c: Context) {
    for (name, query) in [("one", ""), ("two", "?fieldValidation=Warn")] {
        let mut body = unknown();
        body["metadata"]["name"] = json!(name);
        let answer = c.post(c.path("apps/v1", "deployments") + query, &body).await;
        assert_eq!(answer.warnings, ["299 - \"unknown field \\\"spec.replica\\\"\""]);
        answer.code(201);
    }
}

async fn ignore_is_silent(c: Context) {
    let answer = c
        .post(c.path("apps/v1", "deployments") + "?fieldValidation=Ignore", &unknown())
        .await;
    assert_eq!(answer.warnings, [""; 0]);
    answer.code(201);
}

async fn a_mode_that_is_none(c: Context) {
    let path = format!("{}?fieldValidation=Loud", c.maps());
    c.post(path, &config_map("one", json!({})))
        .await
        .refused(422, "Invalid");
}

/// Sends text as it stands: no JSON value has a key twice.
async fn text(c: &Context, query: &str, text: &str) -> Answer {
    let path = format!("{}{query}", c.maps());
    let request = http::Request::post(&path)
        .header("content-type", JSON)
        .header("accept", JSON);
    let request = request
        .body(kube::client::Body::from(text.as_bytes().to_vec()))
        .unwrap();
    let response = c.client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let warnings = response
        .headers()
        .get_all("warning")
        .iter()
        .map(|w| w.to_str().unwrap().to_owned())
        .collect();
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes();
    Answer {
        asked: path,
        code,
        body: serde_json::from_slice(&body).unwrap(),
        warnings,
    }
}

const TWICE: &str =
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"one"},"data":{"a":"1"},"data":{"a":"2"}}"#;

async fn strict_refuses_duplicates(c: Context) {
    let status = text(&c, "?fieldValidation=Strict", TWICE)
        .await
        .refused(400, "BadRequest");
    assert!(
        status["message"].as_str().unwrap().contains("duplicate field \"data\""),
        "{status}"
    );
}

async fn duplicates_are_warned_of(c: Context) {
    let answer = text(&c, "", TWICE).await;
    assert_eq!(answer.warnings, ["299 - \"duplicate field \\\"data\\\"\""]);
    assert_eq!(answer.code(201)["data"], json!({"a": "2"}), "the last one counts");
}

async fn patches_too(c: Context) {
    let path = c.path("apps/v1", "deployments") + "/one";
    c.post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    for kind in [MERGE_PATCH, STRATEGIC_PATCH] {
        let patch = json!({"spec": {"replica": 3}});
        c.patch(format!("{path}?fieldValidation=Strict"), kind, &patch)
            .await
            .refused(422, "Invalid");
        let answer = c.patch(&path, kind, &patch).await;
        assert_eq!(answer.warnings, ["299 - \"unknown field \\\"spec.replica\\\"\""]);
        answer.code(200);
    }
}

async fn apply_too(c: Context) {
    let path = c.path("apps/v1", "deployments") + "/one?fieldManager=alice";
    let answer = c
        .patch(format!("{path}&fieldValidation=Strict"), APPLY_PATCH, &unknown())
        .await;
    assert!(answer.code >= 400, "{}", answer.body);
    let answer = c.patch(path, APPLY_PATCH, &unknown()).await;
    assert!(
        answer.code >= 400,
        "apply knows its fields in any case: {}",
        answer.body
    );
}

async fn custom_resources_too(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({"size": {"type": "integer"}}))).await;
    let object = c.custom("Gadget", "one", json!({"size": 1, "colour": "red"}));
    let status = c
        .post(format!("{gadgets}?fieldValidation=Strict"), &object)
        .await
        .refused(400, "BadRequest");
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("unknown field \"spec.colour\""),
        "{status}"
    );
    let answer = c.post(&gadgets, &object).await;
    assert_eq!(answer.warnings, ["299 - \"unknown field \\\"spec.colour\\\"\""]);
    assert_eq!(answer.code(201)["spec"], json!({"size": 1}));
}

async fn unknown_fields_are_dropped(c: Context) {
    let made = c.post(c.path("apps/v1", "deployments"), &unknown()).await.code(201);
    assert!(made["spec"].get("replica").is_none());
}

async fn several_are_all_named(c: Context) {
    let mut body = unknown();
    body["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = json!("x");
    let status = c
        .post(c.path("apps/v1", "deployments") + "?fieldValidation=Strict", &body)
        .await
        .refused(400, "BadRequest");
    let message = status["message"].as_str().unwrap();
    for field in ["spec.replica", "spec.template.spec.containers[0].imagePolicy"] {
        assert!(message.contains(&format!("unknown field \"{field}\"")), "{message}");
    }
}

async fn names_are_case_sensitive(c: Context) {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "Data": {"a": "1"}});
    let answer = c.post(c.maps(), &body).await;
    assert_eq!(answer.warnings, ["299 - \"unknown field \\\"Data\\\"\""]);
    assert!(answer.code(201).get("data").is_none());
}

async fn questionable_pods_are_warned_of(c: Context) {
    let mut body = deployment("one");
    let port = json!([{"containerPort": 80}]);
    body["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "a", "image": "a:1", "ports": port}, {"name": "b", "image": "b:1", "ports": port}]);
    let answer = c.post(c.path("apps/v1", "deployments"), &body).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    assert_eq!(answer.warnings.len(), 1, "{:?}", answer.warnings);
}

async fn refusals_warn_too(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({"size": {"type": "integer"}}))).await;
    let answer = c
        .post(&gadgets, &c.custom("Gadget", "one", json!({"size": "big", "more": 1})))
        .await;
    assert_eq!(answer.warnings.len(), 1, "{:?}", answer.warnings);
    answer.invalid(&["spec.size"]);
}
