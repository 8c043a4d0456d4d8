//! status, scale, eviction, binding.

use serde_json::{Value, json};

use super::objects::{config_map, deployment, owned, pod, schema, service, version};
use crate::context::{Ask, Context, MERGE_PATCH, condition};

crate::registry::suite!("subresources":
    status_and_spec_are_written_apart, what_else_a_status_writes, annotations_with_a_status_do_not_count, a_custom_status_is_written_apart, a_status_does_not_count_generations,
    a_definition_without_status_has_none, a_status_at_creation_is_dropped, scale_is_read_and_written,
    scale_conflicts, scale_of_a_custom_resource, scale_must_not_be_negative, eviction_deletes,
    eviction_respects_a_budget, eviction_uses_up_a_budget, eviction_of_a_missing_pod, eviction_with_a_dry_run, eviction_with_wrong_options,
    binding_puts_a_pod_on_a_node, binding_twice_is_a_conflict, a_pods_status_is_patched, config_maps_have_no_status,
    ephemeral_containers, token_requests, resize_changes_resources,
    a_log_needs_a_node, exec_needs_a_node, access_reviews_answer, a_local_access_review,
);

async fn status_and_spec_are_written_apart(c: Context) {
    let path = c.path("apps/v1", "deployments") + "/one";
    let mut object = c
        .post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    object["spec"]["replicas"] = json!(5);
    object["status"] = json!({"replicas": 2, "observedGeneration": 1});
    let updated = c.put(format!("{path}/status"), &object).await.code(200);
    assert_eq!(updated["spec"]["replicas"], 1, "status leaves the spec alone");
    assert_eq!(updated["status"]["replicas"], 2);
    let mut object = updated;
    object["spec"]["replicas"] = json!(5);
    object["status"]["replicas"] = json!(9);
    let updated = c.put(&path, &object).await.code(200);
    assert_eq!(updated["spec"]["replicas"], 5);
    assert_eq!(updated["status"]["replicas"], 2, "and the other way round");
    assert_eq!(c.get(format!("{path}/status")).await.ok(), updated);
}

async fn what_else_a_status_writes(c: Context) {
    let mut body = deployment("one");
    body["metadata"]["labels"] = json!({"team": "a"});
    c.post(c.path("apps/v1", "deployments"), &body).await.code(201);
    let extra = json!({"labels": {"team": "b", "more": "1"}, "annotations": {"seen": "1"},
        "finalizers": ["contract.example/hold"]});
    let patch = json!({"metadata": extra, "spec": {"replicas": 5}, "status": {"replicas": 1}});
    let path = c.path("apps/v1", "deployments") + "/one";
    let status = format!("{path}/status?fieldManager=reporter");
    let patched = c.patch(status, MERGE_PATCH, &patch).await.code(200);
    let metadata = &patched["metadata"];
    assert_eq!(
        metadata["labels"], body["metadata"]["labels"],
        "the labels of a Deployment stay"
    );
    assert_eq!(metadata["annotations"], extra["annotations"]);
    assert_eq!(metadata["finalizers"], extra["finalizers"]);
    assert_eq!(
        owned(&patched, "reporter"),
        json!({"f:metadata": {"f:annotations": {".": {}, "f:seen": {}},
                "f:finalizers": {".": {}, "v:\"contract.example/hold\"": {}}},
            "f:status": {"f:replicas": {}}})
    );
    // Those of a Service, which load balancers mark, do not.
    c.post(c.path("v1", "services"), &service("one")).await.code(201);
    let service = c.path("v1", "services") + "/one";
    let patched = c
        .patch(format!("{service}/status"), MERGE_PATCH, &patch)
        .await
        .code(200);
    assert_eq!(patched["metadata"]["labels"], extra["labels"]);
    let free = json!({"metadata": {"finalizers": null}});
    for path in [path, service] {
        c.patch(path, MERGE_PATCH, &free).await.code(200);
    }
}

async fn annotations_with_a_status_do_not_count(c: Context) {
    let path = c.path("apps/v1", "deployments");
    c.post(&path, &deployment("one")).await.code(201);
    let patch = json!({"metadata": {"annotations": {"a": "b"}}});
    let noted = c
        .patch(format!("{path}/one/status"), MERGE_PATCH, &patch)
        .await
        .code(200);
    assert_eq!(
        (&noted["metadata"]["annotations"]["a"], &noted["metadata"]["generation"]),
        (&json!("b"), &json!(1))
    );
}

async fn gadgets(c: &Context) -> String {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
        "status": {"type": "object", "properties": {
            "ready": {"type": "boolean"}, "replicas": {"type": "integer"}, "selector": {"type": "string"}}}}});
    c.define_with("Gadget", schema, |definition| {
        let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector"});
        definition["spec"]["versions"][0]["subresources"] = json!({"status": {}, "scale": scale});
    })
    .await
}

async fn a_custom_status_is_written_apart(c: Context) {
    let gadgets = gadgets(&c).await;
    let path = format!("{gadgets}/one");
    let mut object = c
        .post(&gadgets, &c.custom("Gadget", "one", json!({"replicas": 1})))
        .await
        .code(201);
    object["spec"]["replicas"] = json!(5);
    object["status"] = json!({"ready": true});
    let updated = c.put(format!("{path}/status"), &object).await.code(200);
    assert_eq!(
        (&updated["spec"]["replicas"], &updated["status"]["ready"]),
        (&json!(1), &json!(true))
    );
    object = updated;
    object["spec"]["replicas"] = json!(5);
    object["status"]["ready"] = json!(false);
    let updated = c.put(&path, &object).await.code(200);
    assert_eq!(
        (&updated["spec"]["replicas"], &updated["status"]["ready"]),
        (&json!(5), &json!(true))
    );
    c.patch(
        format!("{path}/status"),
        MERGE_PATCH,
        &json!({"status": {"ready": "yes"}}),
    )
    .await
    .invalid(&["status.ready"]);
}

async fn a_status_does_not_count_generations(c: Context) {
    let gadgets = gadgets(&c).await;
    let path = format!("{gadgets}/one");
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"replicas": 1})))
        .await
        .code(201);
    let patch = json!({"status": {"ready": true}, "metadata": {"labels": {"a": "b"}}});
    let updated = c.patch(format!("{path}/status"), MERGE_PATCH, &patch).await.code(200);
    assert_eq!(updated["metadata"]["generation"], 1);
    assert!(
        updated["metadata"].get("labels").is_none(),
        "the labels of a custom resource are not its status"
    );
    let updated = c
        .patch(&path, MERGE_PATCH, &json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .code(200);
    assert_eq!(updated["metadata"]["generation"], 1);
    let updated = c
        .patch(&path, MERGE_PATCH, &json!({"spec": {"replicas": 2}}))
        .await
        .code(200);
    assert_eq!(updated["metadata"]["generation"], 2);
}

async fn a_definition_without_status_has_none(c: Context) {
    let widgets = c.define("Widget", schema(json!({"size": {"type": "integer"}}))).await;
    c.post(&widgets, &c.custom("Widget", "one", json!({"size": 1})))
        .await
        .code(201);
    assert_eq!(c.get(format!("{widgets}/one/status")).await.code, 404);
    assert_eq!(c.get(format!("{widgets}/one/scale")).await.code, 404);
}

async fn a_status_at_creation_is_dropped(c: Context) {
    let gadgets = gadgets(&c).await;
    let mut object = c.custom("Gadget", "one", json!({"replicas": 1}));
    object["status"] = json!({"ready": true});
    assert!(c.post(&gadgets, &object).await.code(201).get("status").is_none());
    let mut object = deployment("one");
    object["status"] = json!({"replicas": 7});
    let made = c.post(c.path("apps/v1", "deployments"), &object).await.code(201);
    assert_eq!(made["status"], json!({}));
}

async fn scale_is_read_and_written(c: Context) {
    let path = c.path("apps/v1", "deployments") + "/one";
    let made = c
        .post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    let scale = c.get(format!("{path}/scale")).await.code(200);
    assert_eq!(
        (scale["kind"].as_str(), scale["apiVersion"].as_str()),
        (Some("Scale"), Some("autoscaling/v1"))
    );
    assert_eq!(scale["spec"], json!({"replicas": 1}));
    assert_eq!(scale["status"], json!({"replicas": 0, "selector": "app=one"}));
    assert_eq!(scale["metadata"]["uid"], made["metadata"]["uid"]);
    let mut wanted = scale;
    wanted["spec"]["replicas"] = json!(3);
    let scaled = c
        .put(format!("{path}/scale?fieldManager=scaler"), &wanted)
        .await
        .code(200);
    assert_eq!(scaled["spec"]["replicas"], 3);
    let object = c.get(&path).await.ok();
    assert_eq!(object["spec"]["replicas"], 3);
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["manager"] == "scaler").unwrap();
    assert_eq!(entry["subresource"], "scale");
    assert_eq!(entry["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    let patched = c
        .patch(format!("{path}/scale"), MERGE_PATCH, &json!({"spec": {"replicas": 0}}))
        .await
        .code(200);
    assert_eq!(patched["spec"], json!({}), "none is written as nothing");
}

async fn scale_conflicts(c: Context) {
    let path = c.path("apps/v1", "deployments") + "/one";
    c.post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    let scale = c.get(format!("{path}/scale")).await.ok();
    c.patch(&path, MERGE_PATCH, &json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .code(200);
    let mut stale = scale;
    stale["spec"]["replicas"] = json!(3);
    c.put(format!("{path}/scale"), &stale).await.refused(409, "Conflict");
    stale["metadata"]["resourceVersion"] = Value::Null;
    c.put(format!("{path}/scale"), &stale).await.code(200);
}

async fn scale_of_a_custom_resource(c: Context) {
    let gadgets = gadgets(&c).await;
    let path = format!("{gadgets}/one");
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"replicas": 2})))
        .await
        .code(201);
    let status = json!({"status": {"replicas": 1, "selector": "app=x"}});
    c.patch(format!("{path}/status"), MERGE_PATCH, &status).await.code(200);
    let scale = c.get(format!("{path}/scale")).await.code(200);
    assert_eq!(scale["spec"], json!({"replicas": 2}));
    assert_eq!(scale["status"], json!({"replicas": 1, "selector": "app=x"}));
    c.patch(format!("{path}/scale"), MERGE_PATCH, &json!({"spec": {"replicas": 6}}))
        .await
        .code(200);
    let object = c.get(&path).await.ok();
    assert_eq!(
        (&object["spec"]["replicas"], &object["metadata"]["generation"]),
        (&json!(6), &json!(2))
    );
}

async fn scale_must_not_be_negative(c: Context) {
    let path = c.path("apps/v1", "deployments") + "/one/scale";
    c.post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    c.patch(path, MERGE_PATCH, &json!({"spec": {"replicas": -1}}))
        .await
        .invalid(&["spec.replicas"]);
}

/// A pod that runs on a node, as a kubelet would say.
async fn running(c: &Context, name: &str) -> String {
    let mut body = pod(name);
    body["spec"]["nodeName"] = json!("nowhere");
    body["metadata"]["labels"] = json!({"app": "evicted"});
    c.post(c.path("v1", "pods"), &body).await.code(201);
    let path = c.path("v1", "pods") + "/" + name;
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    c.patch(format!("{path}/status"), MERGE_PATCH, &status).await.code(200);
    path
}

fn eviction(name: &str) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})
}

/// A budget whose controller has found that so many may go.
async fn budget(c: &Context, allowed: i64) -> String {
    let body = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "one"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "evicted"}}}});
    let mut made = c
        .post(c.path("policy/v1", "poddisruptionbudgets"), &body)
        .await
        .code(201);
    made["status"] = json!({"disruptionsAllowed": allowed, "currentHealthy": 1 + allowed, "desiredHealthy": 1,
        "expectedPods": 1 + allowed, "observedGeneration": made["metadata"]["generation"]});
    let path = c.path("policy/v1", "poddisruptionbudgets") + "/one";
    c.put(format!("{path}/status"), &made).await.code(200);
    path
}

async fn eviction_deletes(c: Context) {
    let path = running(&c, "p").await;
    let status = c.post(format!("{path}/eviction"), &eviction("p")).await.code(201);
    assert_eq!(
        (status["kind"].as_str(), status["status"].as_str()),
        (Some("Status"), Some("Success"))
    );
    assert!(c.get(&path).await.ok()["metadata"]["deletionTimestamp"].is_string());
}

async fn eviction_with_wrong_options(c: Context) {
    let path = running(&c, "p").await;
    let mut wrong = eviction("p");
    wrong["deleteOptions"] = json!({"propagationPolicy": "Sometimes"});
    c.post(format!("{path}/eviction"), &wrong).await.refused(422, "Invalid");
    assert!(c.get(&path).await.ok()["metadata"].get("deletionTimestamp").is_none());
}

async fn eviction_respects_a_budget(c: Context) {
    budget(&c, 0).await;
    let path = running(&c, "p").await;
    let status = c
        .post(format!("{path}/eviction"), &eviction("p"))
        .await
        .refused(429, "TooManyRequests");
    assert_eq!(
        status["message"],
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(status["details"]["causes"][0]["reason"], "DisruptionBudget");
    assert!(c.get(&path).await.ok()["metadata"].get("deletionTimestamp").is_none());
}

async fn eviction_uses_up_a_budget(c: Context) {
    let budget = budget(&c, 1).await;
    let (one, two) = (running(&c, "p").await, running(&c, "q").await);
    c.post(format!("{one}/eviction"), &eviction("p")).await.code(201);
    let status = c.get(&budget).await.ok()["status"].clone();
    assert_eq!(status["disruptionsAllowed"], 0);
    assert!(status["disruptedPods"]["p"].is_string());
    c.post(format!("{two}/eviction"), &eviction("q"))
        .await
        .refused(429, "TooManyRequests");
}

async fn eviction_of_a_missing_pod(c: Context) {
    c.post(c.path("v1", "pods") + "/none/eviction", &eviction("none"))
        .await
        .refused(404, "NotFound");
    let path = running(&c, "p").await;
    c.post(format!("{path}/eviction"), &eviction("other"))
        .await
        .refused(400, "BadRequest");
}

async fn eviction_with_a_dry_run(c: Context) {
    let path = running(&c, "p").await;
    let mut body = eviction("p");
    body["deleteOptions"] = json!({"dryRun": ["All"]});
    c.post(format!("{path}/eviction"), &body).await.code(201);
    assert!(c.get(&path).await.ok()["metadata"].get("deletionTimestamp").is_none());
}

fn binding(node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}})
}

async fn binding_puts_a_pod_on_a_node(c: Context) {
    let path = c.path("v1", "pods") + "/p";
    c.post(c.path("v1", "pods"), &pod("p")).await.code(201);
    let status = c.post(format!("{path}/binding"), &binding("nowhere")).await.code(201);
    assert_eq!(status["status"], "Success");
    let bound = c.get(&path).await.ok();
    assert_eq!(bound["spec"]["nodeName"], "nowhere");
    assert!(condition(&bound, "PodScheduled"));
}

async fn binding_twice_is_a_conflict(c: Context) {
    let path = c.path("v1", "pods") + "/p";
    c.post(c.path("v1", "pods"), &pod("p")).await.code(201);
    c.post(format!("{path}/binding"), &binding("nowhere")).await.code(201);
    c.post(format!("{path}/binding"), &binding("elsewhere"))
        .await
        .refused(409, "Conflict");
}

async fn a_pods_status_is_patched(c: Context) {
    let path = running(&c, "p").await;
    let status = c.get(&path).await.ok()["status"].clone();
    assert_eq!(status["phase"], "Running");
    let patch = json!({"status": {"conditions": [{"type": "Initialized", "status": "True"}]}});
    let strategic = crate::context::STRATEGIC_PATCH;
    let patched = c.patch(format!("{path}/status"), strategic, &patch).await.code(200);
    assert_eq!(
        patched["status"]["conditions"].as_array().unwrap().len(),
        2,
        "conditions merge by type"
    );
}

async fn config_maps_have_no_status(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    assert_eq!(c.get(format!("{}/one/status", c.maps())).await.code, 404);
}

async fn ephemeral_containers(c: Context) {
    let path = c.path("v1", "pods") + "/p";
    let mut made = c.post(c.path("v1", "pods"), &pod("p")).await.code(201);
    made["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "debug:1"}]);
    let updated = c.put(format!("{path}/ephemeralcontainers"), &made).await.code(200);
    assert_eq!(updated["spec"]["ephemeralContainers"][0]["name"], "debug");
}

async fn token_requests(c: Context) {
    c.post(c.path("v1", "serviceaccounts"), &json!({"metadata": {"name": "one"}}))
        .await
        .code(201);
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}});
    let path = c.path("v1", "serviceaccounts") + "/one/token";
    let made = c.quiet(Ask::json("POST", path, Some(&body))).await.code(201);
    assert_eq!(made["status"]["token"].as_str().unwrap().split('.').count(), 3);
}

async fn resize_changes_resources(c: Context) {
    let mut body = pod("p");
    body["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    c.post(c.path("v1", "pods"), &body).await.code(201);
    let patch = json!({"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "2"}}}]}});
    let path = c.path("v1", "pods") + "/p";
    let resized = c
        .patch(format!("{path}/resize"), crate::context::STRATEGIC_PATCH, &patch)
        .await
        .code(200);
    assert_eq!(resized["spec"]["containers"][0]["resources"]["requests"]["cpu"], "2");
    assert!(version(&resized).parse::<u64>().is_ok());
}

async fn access_reviews_answer(c: Context) {
    let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": c.ns}}});
    let review = c
        .post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &body)
        .await
        .code(201);
    assert_eq!(review["status"]["allowed"], true);
}

async fn a_local_access_review(c: Context) {
    let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": "nobody", "resourceAttributes": {"verb": "create", "resource": "pods", "namespace": c.ns}}});
    let review = c
        .post("/apis/authorization.k8s.io/v1/subjectaccessreviews", &body)
        .await
        .code(201);
    assert_eq!(review["status"]["allowed"], false, "nobody gave them a role");
}

async fn a_log_needs_a_node(c: Context) {
    let pods = c.path("v1", "pods");
    c.post(&pods, &pod("p")).await.code(201);
    assert_eq!(c.get(format!("{pods}/p/log")).await.code(204), "");
    running(&c, "q").await;
    let status = c.get(format!("{pods}/q/log")).await.refused(404, "NotFound");
    assert_eq!(status["message"], "pods \"nowhere\" not found");
}

async fn exec_needs_a_node(c: Context) {
    let pods = c.path("v1", "pods");
    c.post(&pods, &pod("p")).await.code(201);
    running(&c, "q").await;
    for tool in [
        "exec?command=ls&stdout=true",
        "attach?stdout=true",
        "portforward?ports=80",
    ] {
        c.get(format!("{pods}/none/{tool}")).await.refused(404, "NotFound");
        let status = c.get(format!("{pods}/p/{tool}")).await.refused(400, "BadRequest");
        assert_eq!(status["message"], "pod p does not have a host assigned");
        let status = c.get(format!("{pods}/q/{tool}")).await.refused(404, "NotFound");
        assert_eq!(status["message"], "pods \"nowhere\" not found");
    }
}
