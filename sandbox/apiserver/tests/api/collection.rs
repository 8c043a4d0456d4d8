//! Lists, selectors, pages, deletecollection.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;

use crate::common::{connect, create_config_map, pod, refused};

#[tokio::test]
async fn lists_are_selected_by_labels_and_fields() {
    let cluster = connect().await;
    for name in ["a", "b", "c"] {
        create_config_map(&cluster.client, name).await;
    }
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let names = |list: kube::core::ObjectList<ConfigMap>| {
        list.items
            .into_iter()
            .map(|c| c.metadata.name.unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(api.list(&ListParams::default().labels("app in (a,c)")).await.unwrap()),
        ["a", "c"]
    );
    assert_eq!(
        names(api.list(&ListParams::default().labels("app!=a")).await.unwrap()),
        ["b", "c"]
    );
    assert_eq!(
        names(
            api.list(&ListParams::default().fields("metadata.name=b"))
                .await
                .unwrap()
        ),
        ["b"]
    );
    let status = refused(api.list(&ListParams::default().fields("data.k=v")).await);
    assert_eq!(
        (status.code, status.message.as_str()),
        (
            400,
            "\"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )
    );
}

#[tokio::test]
async fn pods_are_selected_by_node_and_phase() {
    let cluster = connect().await;
    let api: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "")] {
        let mut object = pod(name);
        if !node.is_empty() {
            object["spec"]["nodeName"] = json!(node);
        }
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap())
            .await
            .unwrap();
    }
    let count = |fields: &'static str| {
        let api = api.clone();
        async move {
            api.list(&ListParams::default().fields(fields))
                .await
                .unwrap()
                .items
                .len()
        }
    };
    assert_eq!(count("spec.nodeName=n1").await, 1);
    assert_eq!(count("spec.nodeName=").await, 1);
    assert_eq!(count("status.phase=Pending").await, 3);
    assert_eq!(count("status.phase!=Pending").await, 0);
}

#[tokio::test]
async fn pages_cover_everything_once_and_share_a_version() {
    let cluster = connect().await;
    for index in 0..7 {
        create_config_map(&cluster.client, &format!("c{index}")).await;
    }
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let (mut seen, mut versions, mut token) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let mut params = ListParams::default().limit(3);
        if let Some(token) = &token {
            params = params.continue_token(token);
        }
        let page = api.list(&params).await.unwrap();
        // Writes between pages must not disturb the list.
        create_config_map(&cluster.client, &format!("a{}", seen.len())).await;
        seen.extend(page.items.into_iter().map(|c| c.metadata.name.unwrap()));
        versions.push(page.metadata.resource_version.unwrap());
        token = page.metadata.continue_.filter(|t| !t.is_empty());
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
    assert!(versions.windows(2).all(|pair| pair[0] == pair[1]), "{versions:?}");
}

#[tokio::test]
async fn a_token_from_before_compaction_expires() {
    let cluster = connect().await;
    for name in ["a", "b", "c"] {
        create_config_map(&cluster.client, name).await;
    }
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let page = api.list(&ListParams::default().limit(1)).await.unwrap();
    create_config_map(&cluster.client, "d").await;
    cluster.server.compact();
    let token = page.metadata.continue_.unwrap();
    let status = refused(api.list(&ListParams::default().limit(1).continue_token(&token)).await);
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let cluster = connect().await;
    for name in ["a", "b", "c"] {
        create_config_map(&cluster.client, name).await;
    }
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    api.delete_collection(&DeleteParams::default(), &ListParams::default().labels("app in (a,b)"))
        .await
        .unwrap();
    let left = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(left.items.len(), 1);
    assert_eq!(left.items[0].metadata.name.as_deref(), Some("c"));
}
