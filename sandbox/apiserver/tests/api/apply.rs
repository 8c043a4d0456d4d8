//! Server-side apply and the other patches.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::common::{Cluster, connect, deployment, raw, refused};

fn config(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

async fn apply(cluster: &Cluster, manager: &str, data: &Value) -> kube::Result<ConfigMap> {
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    api.patch("a", &PatchParams::apply(manager), &Patch::Apply(config(data)))
        .await
}

fn data(object: &ConfigMap) -> Value {
    serde_json::to_value(&object.data).unwrap()
}

#[tokio::test]
async fn applying_creates_and_reapplying_does_nothing() {
    let cluster = connect().await;
    let first = apply(&cluster, "one", &json!({"a": "1"})).await.unwrap();
    let entry = &first.metadata.managed_fields.as_ref().unwrap()[0];
    assert_eq!(
        (entry.manager.as_deref(), entry.operation.as_deref()),
        (Some("one"), Some("Apply"))
    );
    assert_eq!(entry.fields_v1.as_ref().unwrap().0, json!({"f:data": {"f:a": {}}}));
    let again = apply(&cluster, "one", &json!({"a": "1"})).await.unwrap();
    assert_eq!(again.metadata.resource_version, first.metadata.resource_version);
}

#[tokio::test]
async fn managers_share_an_object_and_take_back_only_their_own() {
    let cluster = connect().await;
    apply(&cluster, "one", &json!({"a": "1", "b": "1"})).await.unwrap();
    let both = apply(&cluster, "two", &json!({"c": "2"})).await.unwrap();
    assert_eq!(data(&both), json!({"a": "1", "b": "1", "c": "2"}));
    let less = apply(&cluster, "one", &json!({"a": "1"})).await.unwrap();
    assert_eq!(data(&less), json!({"a": "1", "c": "2"}));
}

#[tokio::test]
async fn conflicts_are_named_and_can_be_forced() {
    let cluster = connect().await;
    apply(&cluster, "one", &json!({"a": "1"})).await.unwrap();
    let status = refused(apply(&cluster, "two", &json!({"a": "2"})).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"one\": .data.a"
    );
    let cause = &status.details.unwrap().causes[0];
    assert_eq!(
        (cause.reason.as_str(), cause.field.as_str()),
        ("FieldManagerConflict", ".data.a")
    );
    // The same value is no conflict: both own it, and it stays until both let go.
    apply(&cluster, "three", &json!({"a": "1"})).await.unwrap();
    let kept = apply(&cluster, "one", &Value::Null).await.unwrap();
    assert_eq!(data(&kept), json!({"a": "1"}));
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let forced = api
        .patch(
            "a",
            &PatchParams::apply("two").force(),
            &Patch::Apply(config(&json!({"a": "2"}))),
        )
        .await
        .unwrap();
    assert_eq!(data(&forced), json!({"a": "2"}));
    let managers = forced.metadata.managed_fields.unwrap();
    assert_eq!(
        managers.iter().map(|m| m.manager.clone().unwrap()).collect::<Vec<_>>(),
        ["one", "two"],
        "the first named `data` itself, as null"
    );
    assert_eq!(
        managers[0].fields_v1.as_ref().unwrap().0,
        json!({"f:data": {}}),
        "and nothing in it"
    );
}

#[tokio::test]
async fn plain_writes_take_ownership() {
    let cluster = connect().await;
    apply(&cluster, "one", &json!({"a": "1"})).await.unwrap();
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let params = PatchParams {
        field_manager: Some("editor".into()),
        ..PatchParams::default()
    };
    api.patch("a", &params, &Patch::Merge(json!({"data": {"a": "9"}})))
        .await
        .unwrap();
    let status = refused(apply(&cluster, "one", &json!({"a": "1"})).await);
    assert!(
        status
            .message
            .starts_with("Apply failed with 1 conflict: conflict with \"editor\" using v1"),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn defaults_belong_to_nobody() {
    let cluster = connect().await;
    let api: Api<Deployment> = Api::default_namespaced(cluster.client.clone());
    let mut object = deployment("web");
    let apply = async |object: &Value| {
        api.patch("web", &PatchParams::apply("one"), &Patch::Apply(object))
            .await
            .unwrap()
    };
    let created = apply(&object).await;
    assert_eq!(created.spec.as_ref().unwrap().replicas, Some(1));
    let fields = created.metadata.managed_fields.as_ref().unwrap()[0]
        .fields_v1
        .clone()
        .unwrap()
        .0;
    assert!(fields["f:spec"].get("f:replicas").is_none(), "{fields}");
    object["spec"]["replicas"] = json!(5);
    assert_eq!(apply(&object).await.spec.unwrap().replicas, Some(5));
    // Whoever stops naming a field that is theirs alone gives it back to its default.
    object["spec"].as_object_mut().unwrap().remove("replicas");
    let reset = apply(&object).await;
    assert_eq!(reset.spec.unwrap().replicas, Some(1));
    let again = apply(&object).await;
    assert_eq!(again.metadata.resource_version, reset.metadata.resource_version);
}

#[tokio::test]
async fn lists_merge_by_their_keys() {
    let cluster = connect().await;
    let api: Api<Service> = Api::default_namespaced(cluster.client.clone());
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}});
    let apply = async |manager: &str, ports: Value| {
        api.patch("s", &PatchParams::apply(manager), &Patch::Apply(service(ports)))
            .await
            .unwrap()
    };
    apply("one", json!([{"name": "http", "port": 80}])).await;
    let both = apply(
        "two",
        json!([{"name": "dns", "port": 80, "protocol": "UDP"}, {"name": "admin", "port": 81}]),
    )
    .await;
    let names = |s: &Service| {
        s.spec
            .as_ref()
            .unwrap()
            .ports
            .as_ref()
            .unwrap()
            .iter()
            .map(|p| p.name.clone().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&both), ["http", "dns", "admin"]);
    let less = apply("two", json!([{"name": "admin", "port": 81}])).await;
    assert_eq!(names(&less), ["http", "admin"]);
}

#[tokio::test]
async fn status_is_owned_apart_from_the_spec() {
    let cluster = connect().await;
    let api: Api<Deployment> = Api::default_namespaced(cluster.client.clone());
    api.patch("web", &PatchParams::apply("one"), &Patch::Apply(deployment("web")))
        .await
        .unwrap();
    let status =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "status": {"replicas": 2}});
    let after = api
        .patch_status("web", &PatchParams::apply("one"), &Patch::Apply(&status))
        .await
        .unwrap();
    assert_eq!(after.status.unwrap().replicas, Some(2));
    let entries = after.metadata.managed_fields.unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().any(|e| e.subresource.as_deref() == Some("status")));
    // Applying the spec again must not take the status back.
    let again = api
        .patch("web", &PatchParams::apply("one"), &Patch::Apply(deployment("web")))
        .await
        .unwrap();
    assert_eq!(again.status.unwrap().replicas, Some(2));
}

#[tokio::test]
async fn a_field_the_type_does_not_have_cannot_be_applied() {
    let cluster = connect().await;
    let mut object = deployment("web");
    object["spec"]["foo"] = json!(1);
    let path = "/apis/apps/v1/namespaces/default/deployments/web?fieldManager=one";
    let (code, status, _) = raw(&cluster.client, "PATCH", path, "application/apply-patch+yaml", &object).await;
    assert_eq!(code, 500);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains(".spec.foo: field not declared in schema"),
        "{status}"
    );
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    let (code, _, _) = raw(
        &cluster.client,
        "PATCH",
        path,
        "application/apply-patch+yaml",
        &deployment("web"),
    )
    .await;
    assert_eq!(code, 422, "a field manager is required");
}

#[tokio::test]
async fn strategic_patches_merge_containers() {
    let cluster = connect().await;
    let api: Api<Deployment> = Api::default_namespaced(cluster.client.clone());
    api.create(
        &PostParams::default(),
        &serde_json::from_value(deployment("web")).unwrap(),
    )
    .await
    .unwrap();
    let patch = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "main", "env": [{"name": "X", "value": "1"}]}, {"name": "side", "image": "side:1"}]}}}});
    let after = api
        .patch("web", &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .unwrap();
    let containers = after.spec.unwrap().template.spec.unwrap().containers;
    assert_eq!(
        containers.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        ["main", "side"]
    );
    assert_eq!(containers[0].image.as_deref(), Some("web:1"));
    assert_eq!(containers[0].env.as_ref().unwrap()[0].name, "X");
}
