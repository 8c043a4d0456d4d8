//! Custom resources.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::{Value, json};

use crate::common::{Cluster, DEADLINE, connect, eventually, raw, refused};

fn definition() -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "metadata": {"name": "shows.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "shows", "kind": "Show", "shortNames": ["sh"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.seats", "statusReplicasPath": ".status.seats"}},
                "schema": {"openAPIV3Schema": {
                    "type": "object", "required": ["spec"],
                    "properties": {
                        "spec": {
                            "type": "object", "required": ["title"],
                            "properties": {
                                "title": {"type": "string", "minLength": 2, "pattern": "^[A-Z]"},
                                "seats": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
                                "kind": {"type": "string", "enum": ["live", "vod"], "default": "live"},
                                "port": {"x-kubernetes-int-or-string": true},
                                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                                "acts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                                    "items": {"type": "object", "required": ["name"], "properties": {
                                        "name": {"type": "string"}, "minutes": {"type": "integer"}}}},
                            },
                            "x-kubernetes-validations": [
                                {"rule": "self.title == oldSelf.title", "message": "title is immutable"},
                                {"rule": "self.kind != 'vod' || self.seats == 10", "message": "vod has no seats"},
                            ],
                        },
                        "status": {"type": "object", "properties": {"seats": {"type": "integer"}}},
                    },
                }},
            }],
        },
    }))
    .unwrap()
}

async fn register(cluster: &Cluster) -> Api<DynamicObject> {
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    crds.create(&PostParams::default(), &definition()).await.unwrap();
    let established = await_condition(crds, "shows.example.com", conditions::is_crd_established());
    tokio::time::timeout(DEADLINE, established)
        .await
        .expect("never established")
        .unwrap();
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Show"), "shows");
    Api::default_namespaced_with(cluster.client.clone(), &resource)
}

fn show(spec: &Value) -> DynamicObject {
    serde_json::from_value(
        json!({"apiVersion": "example.com/v1", "kind": "Show", "metadata": {"name": "a"}, "spec": spec}),
    )
    .unwrap()
}

#[tokio::test]
async fn objects_are_defaulted_and_pruned() {
    let cluster = connect().await;
    let api = register(&cluster).await;
    let spec = json!({"title": "Premiere", "nonsense": 1, "free": {"any": {"thing": 1}}, "port": "http"});
    let created = api.create(&PostParams::default(), &show(&spec)).await.unwrap();
    assert_eq!(
        created.data["spec"],
        json!({"title": "Premiere", "seats": 10, "kind": "live", "free": {"any": {"thing": 1}}, "port": "http"})
    );
    assert_eq!(created.metadata.generation, Some(1));
    let path = "/apis/example.com/v1/namespaces/default/shows?fieldValidation=Strict";
    let body = serde_json::to_value(show(&spec)).unwrap();
    let (code, status, _) = raw(&cluster.client, "POST", path, "application/json", &body).await;
    assert_eq!(
        (code, status["message"].as_str().unwrap()),
        (
            400,
            "Show in version \"v1\" cannot be handled as a Show: strict decoding error: unknown field \"spec.nonsense\""
        )
    );
}

#[tokio::test]
async fn invalid_objects_name_every_field() {
    let cluster = connect().await;
    let api = register(&cluster).await;
    let causes = async |spec: Value| {
        let status = refused(api.create(&PostParams::default(), &show(&spec)).await);
        assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
        assert!(
            status.message.starts_with("Show.example.com \"a\" is invalid: "),
            "{}",
            status.message
        );
        let details = status.details.unwrap();
        details
            .causes
            .into_iter()
            .map(|c| format!("{} {} {}", c.field, c.reason, c.message))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        causes(json!({})).await,
        ["spec.title FieldValueRequired Required value"]
    );
    assert_eq!(
        causes(json!({"title": "Ok", "seats": 0})).await,
        ["spec.seats FieldValueInvalid Invalid value: 0: spec.seats in body should be greater than or equal to 1"]
    );
    assert_eq!(
        causes(json!({"title": "Ok", "kind": "film"})).await,
        ["spec.kind FieldValueNotSupported Unsupported value: \"film\": supported values: \"live\", \"vod\""]
    );
    assert_eq!(
        causes(json!({"title": "ok"})).await,
        ["spec.title FieldValueInvalid Invalid value: \"ok\": spec.title in body should match '^[A-Z]'"]
    );
    assert_eq!(
        causes(json!({"title": 7})).await,
        [
            "spec.title FieldValueTypeInvalid Invalid value: \"integer\": spec.title in body must be of type string: \"integer\""
        ]
    );
    assert_eq!(
        causes(json!({"title": "Ok", "acts": [{"name": "x"}, {"name": "x"}]})).await,
        ["spec.acts[1] FieldValueDuplicate Duplicate value: {\"name\":\"x\"}"]
    );
}

#[tokio::test]
async fn cel_rules_hold_on_create_and_between_versions() {
    let cluster = connect().await;
    let api = register(&cluster).await;
    let status = refused(
        api.create(
            &PostParams::default(),
            &show(&json!({"title": "Ok", "kind": "vod", "seats": 3})),
        )
        .await,
    );
    assert_eq!(status.code, 422);
    assert!(status.message.contains("vod has no seats"), "{}", status.message);
    api.create(&PostParams::default(), &show(&json!({"title": "Ok"})))
        .await
        .unwrap();
    let status = refused(
        api.patch(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"title": "No"}})),
        )
        .await,
    );
    assert!(status.message.contains("title is immutable"), "{}", status.message);
    api.patch(
        "a",
        &PatchParams::default(),
        &Patch::Merge(json!({"spec": {"seats": 4}})),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn lists_with_map_keys_merge_under_apply() {
    let cluster = connect().await;
    let api = register(&cluster).await;
    let apply = async |manager: &str, spec: Value| {
        api.patch("a", &PatchParams::apply(manager), &Patch::Apply(show(&spec)))
            .await
            .unwrap()
    };
    apply("one", json!({"title": "Ok", "acts": [{"name": "x", "minutes": 5}]})).await;
    let both = apply("two", json!({"acts": [{"name": "y", "minutes": 6}]})).await;
    assert_eq!(
        both.data["spec"]["acts"],
        json!([{"name": "x", "minutes": 5}, {"name": "y", "minutes": 6}])
    );
    let less = apply("one", json!({"title": "Ok"})).await;
    assert_eq!(less.data["spec"]["acts"], json!([{"name": "y", "minutes": 6}]));
}

#[tokio::test]
async fn the_status_is_a_subresource() {
    let cluster = connect().await;
    let api = register(&cluster).await;
    let mut object = show(&json!({"title": "Ok"}));
    object.data["status"] = json!({"seats": 9});
    let created = api.create(&PostParams::default(), &object).await.unwrap();
    assert_eq!(created.data.get("status"), None);
    let patch = Patch::Merge(json!({"status": {"seats": 7}, "spec": {"seats": 50}}));
    let after = api.patch_status("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(
        (&after.data["status"]["seats"], &after.data["spec"]["seats"]),
        (&json!(7), &json!(10))
    );
    assert_eq!(after.metadata.generation, Some(1));
}

#[tokio::test]
async fn a_definition_takes_its_objects_along() {
    let cluster = connect().await;
    let api = register(&cluster).await;
    api.create(&PostParams::default(), &show(&json!({"title": "Ok"})))
        .await
        .unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    crds.delete("shows.example.com", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the definition is gone", || async {
        crds.get_opt("shows.example.com").await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!(refused(api.list(&ListParams::default()).await).code, 404);
    // A new definition starts empty.
    let api = register(&cluster).await;
    assert!(api.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn bad_definitions_are_refused() {
    let cluster = connect().await;
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let mut bad = serde_json::to_value(definition()).unwrap();
    bad["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["title"] =
        json!({"minLength": 1});
    let status = refused(
        crds.create(&PostParams::default(), &serde_json::from_value(bad).unwrap())
            .await,
    );
    assert_eq!(status.code, 422);
    assert!(
        status
            .message
            .contains("properties[spec].properties[title].type: Required value"),
        "{}",
        status.message
    );
}
