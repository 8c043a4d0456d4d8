//! Discovery, OpenAPI, tables, reviews, health.

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::common::{Cluster, connect, create_config_map, pod, raw};

async fn get(cluster: &Cluster, path: &str, accept: &str) -> Value {
    let request = http::Request::get(path)
        .header("accept", accept)
        .body(kube::client::Body::empty())
        .unwrap();
    let response = cluster.client.send(request).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_slice(&response.into_body().collect_bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn kube_discovers_what_is_served() {
    let cluster = connect().await;
    assert_eq!(cluster.client.apiserver_version().await.unwrap().git_version, "v1.36.4");
    let discovery = kube::discovery::Discovery::new(cluster.client.clone())
        .run()
        .await
        .unwrap();
    let apps = discovery.get("apps").unwrap();
    let (resource, capabilities) = apps.recommended_kind("Deployment").unwrap();
    assert_eq!(resource.plural, "deployments");
    assert!(
        capabilities
            .subresources
            .iter()
            .any(|(sub, _)| sub.plural.ends_with("scale"))
    );
    assert!(discovery.get("").unwrap().recommended_kind("Pod").is_some());
}

#[tokio::test]
async fn aggregated_discovery_is_one_document() {
    let cluster = connect().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let apis = get(&cluster, "/apis", accept).await;
    assert_eq!(apis["kind"], "APIGroupDiscoveryList");
    let apps = apis["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|g| g["metadata"]["name"] == "apps")
        .unwrap();
    let deployments = apps["versions"][0]["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["resource"] == "deployments")
        .unwrap();
    assert_eq!(deployments["responseKind"]["kind"], "Deployment");
    assert_eq!(deployments["shortNames"], json!(["deploy"]));
    // Without the header the old form is served.
    assert_eq!(get(&cluster, "/apis", "application/json").await["kind"], "APIGroupList");
}

/// Every `$ref` in a document.
fn references(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| match (key.as_str(), value) {
            ("$ref", Value::String(reference)) => out.push(reference.clone()),
            _ => references(value, out),
        }),
        Value::Array(items) => items.iter().for_each(|item| references(item, out)),
        _ => {}
    }
}

#[tokio::test]
async fn openapi_says_that_fields_are_validated() {
    let cluster = connect().await;
    let index = get(&cluster, "/openapi/v3", "application/json").await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let document = get(&cluster, url, "application/json").await;
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert!(
        patch["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .any(|p| p["name"] == "fieldValidation")
    );
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    // Every reference leads somewhere.
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(
            document
                .pointer(reference.trim_start_matches('#'))
                .is_some_and(Value::is_object),
            "{reference}"
        );
    }
}

#[tokio::test]
async fn tables_show_columns_and_rows() {
    let cluster = connect().await;
    let api: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(pod("a")).unwrap())
        .await
        .unwrap();
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = get(&cluster, "/api/v1/namespaces/default/pods", accept).await;
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns[..5], ["Name", "Ready", "Status", "Restarts", "Age"]);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..4], [json!("a"), json!("0/1"), json!("Pending"), json!("0")]);
}

#[tokio::test]
async fn everybody_may_do_everything() {
    let cluster = connect().await;
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let review =
        serde_json::from_value(json!({"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods"}}}))
            .unwrap();
    assert!(
        api.create(&PostParams::default(), &review)
            .await
            .unwrap()
            .status
            .unwrap()
            .allowed
    );
}

#[tokio::test]
async fn health_and_metadata_only_requests() {
    let cluster = connect().await;
    for path in ["/healthz", "/livez", "/readyz", "/readyz/ping"] {
        let (code, body, _) = raw(&cluster.client, "GET", path, "text/plain", &Value::Null).await;
        assert_eq!((code, body), (200, json!("ok")), "{path}");
    }
    create_config_map(&cluster.client, "a").await;
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let metadata = api.get_metadata("a").await.unwrap();
    assert_eq!(metadata.metadata.name.as_deref(), Some("a"));
    assert_eq!(
        api.list_metadata(&kube::api::ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
}
