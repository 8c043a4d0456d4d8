//! Create, read, update, delete, and the rules around them.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, Service};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use serde_json::{Value, json};

use crate::common::{config_map, connect, create_config_map, deployment, eventually, pod, raw, refused};

#[tokio::test]
async fn objects_are_created_read_replaced_and_deleted() {
    let cluster = connect().await;
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let created = api
        .create(&PostParams::default(), &config_map("a", "k", "1"))
        .await
        .unwrap();
    assert!(created.metadata.uid.is_some() && created.metadata.creation_timestamp.is_some());
    assert_eq!(api.get("a").await.unwrap(), created);

    let mut changed = created.clone();
    changed.data.as_mut().unwrap().insert("k".into(), "2".into());
    let replaced = api.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_ne!(replaced.metadata.resource_version, created.metadata.resource_version);
    assert_eq!(replaced.metadata.uid, created.metadata.uid);

    // The version read first is stale now.
    let status = refused(api.replace("a", &PostParams::default(), &changed).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert!(
        status.message.contains("the object has been modified"),
        "{}",
        status.message
    );

    api.delete("a", &DeleteParams::default()).await.unwrap();
    let status = refused(api.get("a").await);
    assert_eq!(
        (status.code, status.message.as_str()),
        (404, "configmaps \"a\" not found")
    );
}

#[tokio::test]
async fn names_are_unique_checked_and_generated() {
    let cluster = connect().await;
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    create_config_map(&cluster.client, "a").await;
    let status = refused(api.create(&PostParams::default(), &config_map("a", "k", "v")).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "AlreadyExists"));
    let status = refused(
        api.create(&PostParams::default(), &config_map("No_Good", "k", "v"))
            .await,
    );
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    let generated: ConfigMap = serde_json::from_value(json!({"metadata": {"generateName": "x-"}})).unwrap();
    let one = api
        .create(&PostParams::default(), &generated)
        .await
        .unwrap()
        .metadata
        .name
        .unwrap();
    let two = api
        .create(&PostParams::default(), &generated)
        .await
        .unwrap()
        .metadata
        .name
        .unwrap();
    assert!(one.starts_with("x-") && one.len() == 7 && one != two);
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    let cluster = connect().await;
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let created = create_config_map(&cluster.client, "a").await;
    let again = api.replace("a", &PostParams::default(), &created).await.unwrap();
    assert_eq!(again.metadata.resource_version, created.metadata.resource_version);
    let before = cluster.server.revision();
    api.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "v"}})))
        .await
        .unwrap();
    assert_eq!(cluster.server.revision(), before);
    api.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "w"}})))
        .await
        .unwrap();
    assert_ne!(cluster.server.revision(), before);
}

#[tokio::test]
async fn generation_counts_changes_of_the_spec_only() {
    let cluster = connect().await;
    let api: Api<Deployment> = Api::default_namespaced(cluster.client.clone());
    let object: Deployment = serde_json::from_value(deployment("web")).unwrap();
    let created = api.create(&PostParams::default(), &object).await.unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"x": "y"}}}));
    assert_eq!(
        api.patch("web", &PatchParams::default(), &labelled)
            .await
            .unwrap()
            .metadata
            .generation,
        Some(1)
    );
    let status = Patch::Merge(json!({"status": {"replicas": 3}, "spec": {"replicas": 9}}));
    let after = api.patch_status("web", &PatchParams::default(), &status).await.unwrap();
    assert_eq!(
        (after.metadata.generation, after.spec.unwrap().replicas),
        (Some(1), Some(1))
    );
    assert_eq!(after.status.unwrap().replicas, Some(3));
    let scaled = Patch::Merge(json!({"spec": {"replicas": 2}, "status": {"replicas": 0}}));
    let after = api.patch("web", &PatchParams::default(), &scaled).await.unwrap();
    assert_eq!(
        (after.metadata.generation, after.status.unwrap().replicas),
        (Some(2), Some(3))
    );
}

#[tokio::test]
async fn defaults_are_filled_in() {
    let cluster = connect().await;
    let api: Api<Deployment> = Api::default_namespaced(cluster.client.clone());
    let object: Deployment = serde_json::from_value(deployment("web")).unwrap();
    let created = serde_json::to_value(api.create(&PostParams::default(), &object).await.unwrap()).unwrap();
    assert_eq!(created["spec"]["replicas"], 1);
    assert_eq!(created["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
    let pod = &created["spec"]["template"]["spec"];
    assert_eq!(
        (&pod["restartPolicy"], &pod["dnsPolicy"]),
        (&json!("Always"), &json!("ClusterFirst"))
    );
    assert_eq!(pod["containers"][0]["imagePullPolicy"], "IfNotPresent");
}

#[tokio::test]
async fn services_get_addresses_of_their_own() {
    let cluster = connect().await;
    let api: Api<Service> = Api::default_namespaced(cluster.client.clone());
    let service = |name: &str, spec: Value| -> Service {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    };
    let a = api
        .create(&PostParams::default(), &service("a", json!({"ports": [{"port": 80}]})))
        .await
        .unwrap();
    let b = api
        .create(&PostParams::default(), &service("b", json!({"ports": [{"port": 80}]})))
        .await
        .unwrap();
    let ip = |s: &Service| s.spec.as_ref().unwrap().cluster_ip.clone().unwrap();
    assert!(ip(&a).starts_with("127.20.") && ip(&a) != ip(&b));
    let headless = json!({"clusterIP": "None", "ports": [{"port": 80}]});
    assert_eq!(
        ip(&api
            .create(&PostParams::default(), &service("h", headless))
            .await
            .unwrap()),
        "None"
    );
    // An update that leaves the address out keeps it.
    let mut bare = service("a", json!({"ports": [{"port": 81}]}));
    bare.metadata.resource_version.clone_from(&a.metadata.resource_version);
    assert_eq!(
        ip(&api.replace("a", &PostParams::default(), &bare).await.unwrap()),
        ip(&a)
    );
}

#[tokio::test]
async fn unknown_fields_warn_or_fail_as_asked() {
    let cluster = connect().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let mut object = deployment("web");
    object["spec"]["foo"] = json!(1);
    let strict = format!("{path}?fieldValidation=Strict");
    let (code, status, _) = raw(&cluster.client, "POST", &strict, "application/json", &object).await;
    assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")));
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("strict decoding error: unknown field \"spec.foo\""),
        "{message}"
    );
    let (code, created, warnings) = raw(&cluster.client, "POST", path, "application/json", &object).await;
    assert_eq!((code, created["spec"].get("foo")), (201, None));
    assert_eq!(warnings, ["299 - \"unknown field \\\"spec.foo\\\"\""]);
    object["metadata"]["name"] = json!("wrong");
    object["spec"]["replicas"] = json!("three");
    let (code, status, _) = raw(&cluster.client, "POST", path, "application/json", &object).await;
    assert_eq!(code, 400);
    assert!(
        status["message"].as_str().unwrap().contains("cannot unmarshal string"),
        "{status}"
    );
}

#[tokio::test]
async fn invalid_objects_are_refused_with_their_fields() {
    let cluster = connect().await;
    let api: Api<Deployment> = Api::default_namespaced(cluster.client.clone());
    let mut object = deployment("web");
    object["spec"]["selector"] = json!({"matchLabels": {"app": "other"}});
    let parsed: Deployment = serde_json::from_value(object).unwrap();
    let status = refused(api.create(&PostParams::default(), &parsed).await);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert_eq!(status.details.unwrap().causes[0].field, "spec.template.metadata.labels");

    let good: Deployment = serde_json::from_value(deployment("web")).unwrap();
    api.create(&PostParams::default(), &good).await.unwrap();
    let patch = Patch::Merge(json!({"spec": {"selector": {"matchLabels": {"app": "web", "x": "y"}},
        "template": {"metadata": {"labels": {"x": "y"}}}}}));
    let status = refused(api.patch("web", &PatchParams::default(), &patch).await);
    assert_eq!(status.code, 422);
    assert!(status.message.contains("field is immutable"), "{}", status.message);
}

#[tokio::test]
async fn a_dry_run_answers_and_changes_nothing() {
    let cluster = connect().await;
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let dry = PostParams {
        dry_run: true,
        field_manager: None,
    };
    let before = cluster.server.revision();
    api.create(&dry, &config_map("a", "k", "v")).await.unwrap();
    assert_eq!(cluster.server.revision(), before);
    assert_eq!(refused(api.get("a").await).code, 404);
    create_config_map(&cluster.client, "a").await;
    let before = cluster.server.revision();
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let patched = api
        .patch("a", &params, &Patch::Merge(json!({"data": {"k": "w"}})))
        .await
        .unwrap();
    assert_eq!(patched.data.unwrap()["k"], "w");
    api.delete(
        "a",
        &DeleteParams {
            dry_run: true,
            ..DeleteParams::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(cluster.server.revision(), before);
    assert_eq!(api.get("a").await.unwrap().data.unwrap()["k"], "v");
}

#[tokio::test]
async fn deletes_check_their_preconditions() {
    let cluster = connect().await;
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let created = create_config_map(&cluster.client, "a").await;
    let with = |uid: &str| DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let status = refused(api.delete("a", &with("another")).await.map(drop));
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    api.delete("a", &with(&created.metadata.uid.unwrap())).await.unwrap();
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let cluster = connect().await;
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    create_config_map(&cluster.client, "a").await;
    let add: json_patch::Patch = serde_json::from_value(json!([
        {"op": "test", "path": "/metadata/finalizers", "value": null},
        {"op": "add", "path": "/metadata/finalizers", "value": ["example.com/hold"]}]))
    .unwrap();
    api.patch("a", &PatchParams::default(), &Patch::Json::<()>(add))
        .await
        .unwrap();
    let pending = api
        .delete("a", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .expect("the object, not a Status");
    assert!(pending.metadata.deletion_timestamp.is_some());
    let more = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}));
    assert_eq!(refused(api.patch("a", &PatchParams::default(), &more).await).code, 422);
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("a", &PatchParams::default(), &none).await.unwrap();
    assert_eq!(refused(api.get("a").await).code, 404);
}

#[tokio::test]
async fn pods_on_nodes_die_gracefully_and_others_at_once() {
    let cluster = connect().await;
    let api: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    let plain: Pod = serde_json::from_value(pod("loose")).unwrap();
    api.create(&PostParams::default(), &plain).await.unwrap();
    api.delete("loose", &DeleteParams::default()).await.unwrap();
    assert_eq!(refused(api.get("loose").await).code, 404);

    let mut bound = pod("bound");
    bound["spec"]["nodeName"] = json!("n1");
    let bound: Pod = serde_json::from_value(bound).unwrap();
    api.create(&PostParams::default(), &bound).await.unwrap();
    api.delete("bound", &DeleteParams::default()).await.unwrap();
    let dying = api.get("bound").await.unwrap();
    assert_eq!(dying.metadata.deletion_grace_period_seconds, Some(30));
    api.delete("bound", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    assert_eq!(refused(api.get("bound").await).code, 404);
}

async fn owner_and_child(cluster: &crate::common::Cluster, block: bool) -> (Api<ConfigMap>, ConfigMap) {
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let owner = create_config_map(&cluster.client, "owner").await;
    let child: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "child", "ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid, "blockOwnerDeletion": block}]}}))
    .unwrap();
    api.create(&PostParams::default(), &child).await.unwrap();
    (api, owner)
}

#[tokio::test]
async fn what_an_object_owns_goes_with_it() {
    let cluster = connect().await;
    let (api, _) = owner_and_child(&cluster, false).await;
    api.delete("owner", &DeleteParams::default()).await.unwrap();
    eventually("the child is collected", || async {
        api.get_opt("child").await.unwrap().is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn orphans_stay_and_lose_their_owner() {
    let cluster = connect().await;
    let (api, _) = owner_and_child(&cluster, false).await;
    let orphan = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    api.delete("owner", &orphan).await.unwrap();
    eventually("the owner is gone", || async {
        api.get_opt("owner").await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!(api.get("child").await.unwrap().metadata.owner_references, None);
}

#[tokio::test]
async fn foreground_deletion_waits_for_dependents() {
    let cluster = connect().await;
    let (api, _) = owner_and_child(&cluster, true).await;
    let hold = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    api.patch("child", &PatchParams::default(), &hold).await.unwrap();
    api.delete("owner", &DeleteParams::foreground()).await.unwrap();
    eventually("the child is being deleted", || async {
        api.get("child").await.unwrap().metadata.deletion_timestamp.map(drop)
    })
    .await;
    assert!(
        api.get_opt("owner").await.unwrap().is_some(),
        "the owner must outlive the child"
    );
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("child", &PatchParams::default(), &free).await.unwrap();
    eventually("the owner is gone", || async {
        api.get_opt("owner").await.unwrap().is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn namespaces_end_with_all_they_hold() {
    let cluster = connect().await;
    let spaces: Api<Namespace> = Api::all(cluster.client.clone());
    let inside: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "team");
    let status = refused(inside.create(&PostParams::default(), &config_map("a", "k", "v")).await);
    assert_eq!(
        (status.code, status.message.as_str()),
        (404, "namespaces \"team\" not found")
    );
    let space: Namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    spaces.create(&PostParams::default(), &space).await.unwrap();
    let mut held = config_map("a", "k", "v");
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    inside.create(&PostParams::default(), &held).await.unwrap();
    spaces.delete("team", &DeleteParams::default()).await.unwrap();
    let phase = spaces.get("team").await.unwrap().status.unwrap().phase;
    assert_eq!(phase.as_deref(), Some("Terminating"));
    let status = refused(inside.create(&PostParams::default(), &config_map("b", "k", "v")).await);
    assert_eq!(status.code, 403);
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    inside.patch("a", &PatchParams::default(), &free).await.unwrap();
    eventually("the namespace is gone", || async {
        spaces.get_opt("team").await.unwrap().is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn events_are_one_resource_in_two_groups() {
    let cluster = connect().await;
    let new: Api<k8s_openapi::api::events::v1::Event> = Api::default_namespaced(cluster.client.clone());
    let event = serde_json::from_value(
        json!({"metadata": {"name": "e"}, "note": "hello", "reason": "R", "type": "Normal",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "action": "a", "reportingController": "c", "reportingInstance": "i"}),
    )
    .unwrap();
    new.create(&PostParams::default(), &event).await.unwrap();
    let core: Api<Event> = Api::default_namespaced(cluster.client.clone());
    let found = core
        .list(&ListParams::default().fields("involvedObject.name=p"))
        .await
        .unwrap();
    assert_eq!(found.items[0].message.as_deref(), Some("hello"));
    assert_eq!(new.get("e").await.unwrap().note.as_deref(), Some("hello"));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let cluster = connect().await;
    let (code, status, _) = raw(
        &cluster.client,
        "GET",
        "/api/v1/nonsense",
        "application/json",
        &Value::Null,
    )
    .await;
    assert_eq!((code, &status["reason"]), (404, &json!("NotFound")));
    let (code, _, _) = raw(
        &cluster.client,
        "POST",
        "/api/v1/namespaces/default/configmaps/a",
        "application/json",
        &json!({}),
    )
    .await;
    assert_eq!(code, 405);
    let (code, _, _) = raw(
        &cluster.client,
        "POST",
        "/api/v1/namespaces/default/configmaps",
        "text/csv",
        &json!({}),
    )
    .await;
    assert_eq!(code, 415);
    let big = json!({"metadata": {"name": "big"}, "data": {"k": "x".repeat(4 << 20)}});
    let (code, _, _) = raw(
        &cluster.client,
        "POST",
        "/api/v1/namespaces/default/configmaps",
        "application/json",
        &big,
    )
    .await;
    assert_eq!(code, 413);
}
