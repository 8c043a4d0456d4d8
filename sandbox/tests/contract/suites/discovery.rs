//! What the server says it serves.

use serde_json::{Value, json};

use super::objects::schema;
use crate::context::{Ask, Context};

crate::registry::suite!("discovery":
    core_resources_say_their_verbs_and_scope, groups_name_their_preferred_version, one_group, one_version,
    aggregated_discovery_has_both_halves, version_names_the_release, health_is_ok, openapi_v3_has_an_index,
    openapi_v3_describes_a_group, openapi_v2_describes_everything, a_definition_is_discovered_and_forgotten,
    paths_that_do_not_exist, older_versions_of_groups, root_lists_paths,
);

fn resource<'a>(list: &'a Value, name: &str) -> &'a Value {
    let resources = list["resources"].as_array().unwrap();
    resources
        .iter()
        .find(|one| one["name"] == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

fn verbs(resource: &Value) -> Vec<&str> {
    let mut verbs: Vec<&str> = resource["verbs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    verbs.sort_unstable();
    verbs
}

async fn core_resources_say_their_verbs_and_scope(c: Context) {
    let list = json(&c, "/api/v1").await;
    assert_eq!(list["kind"], "APIResourceList");
    assert_eq!(list["groupVersion"], "v1");
    let pods = resource(&list, "pods");
    assert_eq!(pods["namespaced"], true);
    assert_eq!(pods["shortNames"], json!(["po"]));
    assert_eq!(pods["singularName"], "pod");
    let all = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    assert_eq!(verbs(pods), all);
    assert_eq!(resource(&list, "nodes")["namespaced"], false);
    assert_eq!(verbs(resource(&list, "pods/status")), ["get", "patch", "update"]);
    let eviction = resource(&list, "pods/eviction");
    assert_eq!(
        (eviction["kind"].as_str(), eviction["group"].as_str()),
        (Some("Eviction"), Some("policy"))
    );
    assert_eq!(
        verbs(resource(&list, "namespaces")),
        ["create", "delete", "get", "list", "patch", "update", "watch"]
    );
}

/// Reads what depends on the whole server, which is not part of the trace.
async fn json(c: &Context, path: &str) -> Value {
    c.until(path, "it is served", |answer| answer.code == 200).await
}

async fn groups_name_their_preferred_version(c: Context) {
    let list = json(&c, "/apis").await;
    assert_eq!(list["kind"], "APIGroupList");
    let groups = list["groups"].as_array().unwrap();
    for (name, version) in [
        ("apps", "v1"),
        ("batch", "v1"),
        ("autoscaling", "v2"),
        ("policy", "v1"),
        ("coordination.k8s.io", "v1"),
        ("discovery.k8s.io", "v1"),
        ("events.k8s.io", "v1"),
        ("networking.k8s.io", "v1"),
        ("rbac.authorization.k8s.io", "v1"),
        ("apiextensions.k8s.io", "v1"),
        ("scheduling.k8s.io", "v1"),
        ("storage.k8s.io", "v1"),
        ("authorization.k8s.io", "v1"),
    ] {
        let group = groups
            .iter()
            .find(|group| group["name"] == name)
            .unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(group["preferredVersion"]["version"], version, "{name}");
    }
}

async fn one_group(c: Context) {
    let group = c.get("/apis/apps").await.ok();
    assert_eq!(group["kind"], "APIGroup");
    assert_eq!(group["versions"], json!([{"groupVersion": "apps/v1", "version": "v1"}]));
}

async fn one_version(c: Context) {
    let list = json(&c, "/apis/apps/v1").await;
    assert_eq!(list["groupVersion"], "apps/v1");
    let scale = resource(&list, "deployments/scale");
    assert_eq!(
        (
            scale["group"].as_str(),
            scale["version"].as_str(),
            scale["kind"].as_str()
        ),
        (Some("autoscaling"), Some("v1"), Some("Scale"))
    );
    assert_eq!(resource(&list, "statefulsets")["shortNames"], json!(["sts"]));
    assert!(
        resource(&list, "deployments")["categories"]
            .as_array()
            .unwrap()
            .contains(&json!("all"))
    );
}

async fn aggregated_discovery_has_both_halves(c: Context) {
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    for (path, group, resource) in [("/api", None, "pods"), ("/apis", Some("apps"), "deployments")] {
        let list = c
            .quiet(Ask {
                accept,
                ..Ask::json("GET", path, None)
            })
            .await
            .ok();
        assert_eq!(list["kind"], "APIGroupDiscoveryList");
        let items = list["items"].as_array().unwrap();
        let item = items
            .iter()
            .find(|item| item["metadata"]["name"].as_str() == group)
            .unwrap();
        let found = item["versions"][0]["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["resource"] == resource);
        let found = found.unwrap_or_else(|| panic!("no {resource}"));
        assert_eq!(found["scope"], "Namespaced");
        assert!(
            found["subresources"]
                .as_array()
                .unwrap()
                .iter()
                .any(|sub| sub["subresource"] == "status")
        );
    }
}

async fn version_names_the_release(c: Context) {
    let version = json(&c, "/version").await;
    assert_eq!(
        (version["major"].as_str(), version["minor"].as_str()),
        (Some("1"), Some("36"))
    );
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.36."));
}

async fn health_is_ok(c: Context) {
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(c.get(path).await.code(200), "ok");
    }
}

async fn openapi_v3_has_an_index(c: Context) {
    let index = json(&c, "/openapi/v3").await;
    for path in ["api/v1", "apis/apps/v1", "apis/apiextensions.k8s.io/v1"] {
        let url = index["paths"][path]["serverRelativeURL"]
            .as_str()
            .unwrap_or_else(|| panic!("no {path}"));
        assert!(url.starts_with(&format!("/openapi/v3/{path}?hash=")), "{url}");
    }
}

async fn openapi_v3_describes_a_group(c: Context) {
    let document = json(&c, "/openapi/v3/apis/apps/v1").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let schema = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
    let kinds = schema["x-kubernetes-group-version-kind"].clone();
    assert_eq!(kinds, json!([{"group": "apps", "kind": "Deployment", "version": "v1"}]));
    assert!(schema["properties"]["spec"].is_object());
}

async fn openapi_v2_describes_everything(c: Context) {
    let document = json(&c, "/openapi/v2").await;
    assert_eq!(document["swagger"], "2.0");
    assert!(document["definitions"]["io.k8s.api.core.v1.Pod"].is_object());
}

async fn a_definition_is_discovered_and_forgotten(c: Context) {
    c.define("Gadget", schema(json!({"size": {"type": "integer"}}))).await;
    let group = c.group();
    let list = json(&c, &format!("/apis/{group}/v1")).await;
    let gadgets = resource(&list, "gadgets");
    assert_eq!(
        (gadgets["kind"].as_str(), gadgets["singularName"].as_str()),
        (Some("Gadget"), Some("gadget"))
    );
    assert!(verbs(gadgets).contains(&"deletecollection"));
    c.delete(format!(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{group}"
    ))
    .await
    .ok();
    c.gone(format!("/apis/{group}/v1")).await;
}

async fn paths_that_do_not_exist(c: Context) {
    for path in [
        "/apis/nobody.example",
        "/apis/nobody.example/v1",
        "/api/v1/nothings",
        "/apis/apps/v9",
        "/nowhere",
    ] {
        let answer = c.get(path).await;
        assert_eq!(answer.code, 404, "{path}: {}", answer.body);
    }
}

async fn older_versions_of_groups(c: Context) {
    let list = json_once(&c, "/apis/autoscaling/v1").await;
    assert_eq!(
        resource(&list, "horizontalpodautoscalers")["kind"],
        "HorizontalPodAutoscaler"
    );
}

async fn json_once(c: &Context, path: &str) -> Value {
    c.get(path).await.ok()
}

async fn root_lists_paths(c: Context) {
    let root = json(&c, "/").await;
    let paths = root["paths"].as_array().unwrap();
    for path in [
        "/api",
        "/api/v1",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/healthz",
        "/version",
    ] {
        assert!(paths.contains(&json!(path)), "{path}");
    }
}
