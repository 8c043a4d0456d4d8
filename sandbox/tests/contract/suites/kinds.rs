//! What the built-in kinds have by themselves: defaults, rules, and what happens to them.

use serde_json::json;

use super::found::gadgets;
use super::objects::{config_map, deployment, labelled, pod};
use crate::context::{Context, JSON_PATCH, MERGE_PATCH};

crate::registry::suite!("kinds":
    deployments_have_defaults, pods_have_defaults, a_deployments_selector_cannot_change, a_pods_spec_cannot_change,
    a_pods_image_can, secrets_take_plain_text, immutable_config_maps, generation_counts_changes_of_the_spec,
    a_pod_on_a_node_ends_gracefully, a_pod_without_a_node_ends_at_once, names_are_checked, labels_are_checked,
    what_is_required_is_named, pods_need_unique_names, a_node_selector_is_made_of_labels, a_finalizer_has_a_domain,
);

async fn deployments_have_defaults(c: Context) {
    let made = c
        .post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    let spec = &made["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}});
    assert_eq!(spec["strategy"], rolling);
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["status"], json!({}));
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Always");
    assert_eq!(pod["terminationGracePeriodSeconds"], 30);
    assert_eq!(pod["dnsPolicy"], "ClusterFirst");
    assert_eq!(pod["schedulerName"], "default-scheduler");
    assert_eq!(pod["securityContext"], json!({}));
    assert_eq!(pod["containers"][0]["imagePullPolicy"], "IfNotPresent");
    assert_eq!(pod["containers"][0]["terminationMessagePath"], "/dev/termination-log");
}

async fn pods_have_defaults(c: Context) {
    let mut body = pod("one");
    body["spec"]["containers"][0] = json!({"name": "main", "image": "web", "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": "1"}},
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}}});
    let made = c.post(c.path("v1", "pods"), &body).await.code(201);
    let container = &made["spec"]["containers"][0];
    assert_eq!(
        container["imagePullPolicy"], "Always",
        "an image without a tag may change"
    );
    assert_eq!(container["ports"][0]["protocol"], "TCP");
    assert_eq!(
        container["resources"]["requests"],
        json!({"cpu": "1"}),
        "requests follow limits"
    );
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    let probe = json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
        "successThreshold": 1, "failureThreshold": 3});
    assert_eq!(container["readinessProbe"], probe);
    assert_eq!(made["spec"]["enableServiceLinks"], true);
    assert_eq!(made["spec"]["preemptionPolicy"], "PreemptLowerPriority");
    assert_eq!(made["spec"]["priority"], 0);
    let tolerations = made["spec"]["tolerations"].as_array().unwrap();
    assert_eq!(tolerations.len(), 2, "not-ready and unreachable, for 300 s");
    assert_eq!(made["status"], json!({"phase": "Pending", "qosClass": "Burstable"}));
}

async fn a_deployments_selector_cannot_change(c: Context) {
    let made = c
        .post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    let mut changed = made;
    changed["spec"]["selector"]["matchLabels"] = json!({"app": "other"});
    changed["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    let status = c
        .put(c.path("apps/v1", "deployments") + "/one", &changed)
        .await
        .invalid(&["spec.selector"]);
    assert!(
        status["message"].as_str().unwrap().contains("field is immutable"),
        "{status}"
    );
}

async fn a_pods_spec_cannot_change(c: Context) {
    let made = c.post(c.path("v1", "pods"), &pod("one")).await.code(201);
    let mut changed = made;
    changed["spec"]["hostname"] = json!("other");
    c.put(c.path("v1", "pods") + "/one", &changed).await.invalid(&["spec"]);
}

async fn a_pods_image_can(c: Context) {
    let mut changed = c.post(c.path("v1", "pods"), &pod("one")).await.code(201);
    changed["spec"]["containers"][0]["image"] = json!("web:2");
    let updated = c.put(c.path("v1", "pods") + "/one", &changed).await.code(200);
    assert_eq!(updated["spec"]["containers"][0]["image"], "web:2");
}

async fn secrets_take_plain_text(c: Context) {
    let body = json!({"metadata": {"name": "one"}, "stringData": {"k": "hello"}, "data": {"k": "eA==", "l": "eQ=="}});
    let made = c.post(c.path("v1", "secrets"), &body).await.code(201);
    assert_eq!(made["data"], json!({"k": "aGVsbG8=", "l": "eQ=="}));
    assert!(made.get("stringData").is_none());
    assert_eq!(made["type"], "Opaque");
    let wrong = json!({"metadata": {"name": "two"}, "data": {"k": "not base64!"}});
    c.post(c.path("v1", "secrets"), &wrong).await.refused(400, "BadRequest");
}

async fn immutable_config_maps(c: Context) {
    let mut map = config_map("one", json!({"k": "v"}));
    map["immutable"] = json!(true);
    let made = c.post(c.maps(), &map).await.code(201);
    let path = format!("{}/one", c.maps());
    let mut changed = made.clone();
    changed["data"]["k"] = json!("w");
    c.put(&path, &changed).await.invalid(&["data"]);
    let mut changed = made.clone();
    changed["immutable"] = json!(false);
    c.put(&path, &changed).await.invalid(&["immutable"]);
    let mut labelled = made;
    labelled["metadata"]["labels"] = json!({"a": "b"});
    c.put(&path, &labelled).await.code(200);
}

async fn generation_counts_changes_of_the_spec(c: Context) {
    let path = c.path("apps/v1", "deployments") + "/one";
    let mut object = c
        .post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    object["metadata"]["labels"] = json!({"a": "b"});
    object = c.put(&path, &object).await.code(200);
    assert_eq!(object["metadata"]["generation"], 1, "labels are not the spec");
    object["spec"]["replicas"] = json!(3);
    object = c.put(&path, &object).await.code(200);
    assert_eq!(object["metadata"]["generation"], 2);
}

async fn a_pod_on_a_node_ends_gracefully(c: Context) {
    let path = c.path("v1", "pods") + "/one";
    let mut body = pod("one");
    body["spec"]["nodeName"] = json!("nowhere");
    body["spec"]["terminationGracePeriodSeconds"] = json!(7);
    c.post(c.path("v1", "pods"), &body).await.code(201);
    let ending = c.delete(&path).await.code(200);
    assert_eq!(ending["kind"], "Pod");
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 7);
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    // A longer period does not postpone what has begun.
    let again = c.delete_with(&path, &json!({"gracePeriodSeconds": 60})).await.code(200);
    assert_eq!(again["metadata"]["deletionGracePeriodSeconds"], 7);
    c.delete_with(&path, &json!({"gracePeriodSeconds": 0})).await.code(200);
    c.get(&path).await.refused(404, "NotFound");
}

async fn a_pod_without_a_node_ends_at_once(c: Context) {
    c.post(c.path("v1", "pods"), &pod("one")).await.code(201);
    c.delete(c.path("v1", "pods") + "/one").await.code(200);
    c.get(c.path("v1", "pods") + "/one").await.refused(404, "NotFound");
}

async fn names_are_checked(c: Context) {
    for name in ["Upper", "under_score", "-dash", "dot.", &"x".repeat(254)] {
        c.post(c.maps(), &config_map(name, json!({})))
            .await
            .invalid(&["metadata.name"]);
    }
    c.post(c.maps(), &config_map("dots.are.fine", json!({})))
        .await
        .code(201);
}

async fn labels_are_checked(c: Context) {
    c.post(c.maps(), &labelled("one", json!({"bad key": "x"})))
        .await
        .invalid(&["metadata.labels"]);
    c.post(c.maps(), &labelled("one", json!({"k": "bad value"})))
        .await
        .invalid(&["metadata.labels"]);
    let mut annotated = config_map("one", json!({}));
    annotated["metadata"]["annotations"] = json!({"bad key": "x"});
    c.post(c.maps(), &annotated).await.invalid(&["metadata.annotations"]);
    c.post(c.maps(), &config_map("one", json!({"bad key": "x"})))
        .await
        .invalid(&["data[bad key]"]);
}

async fn what_is_required_is_named(c: Context) {
    let body = json!({"metadata": {"name": "one"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "other"}}, "spec": {"containers": [{"name": "main"}]}}}});
    let fields = [
        "spec.template.metadata.labels",
        "spec.template.spec.containers[0].image",
    ];
    c.post(c.path("apps/v1", "deployments"), &body).await.invalid(&fields);
    let body = json!({"metadata": {"name": "one"}, "spec": {"containers": []}});
    c.post(c.path("v1", "pods"), &body).await.invalid(&["spec.containers"]);
    let body = json!({"metadata": {"name": "one"}, "spec": {}});
    c.post(c.path("v1", "services"), &body).await.invalid(&["spec.ports"]);
}

async fn pods_need_unique_names(c: Context) {
    let mut body = pod("one");
    body["spec"]["containers"] = json!([{"name": "a", "image": "x"}, {"name": "a", "image": "y"}]);
    let status = c
        .post(c.path("v1", "pods"), &body)
        .await
        .invalid(&["spec.containers[1].name"]);
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueDuplicate");
}

async fn a_node_selector_is_made_of_labels(c: Context) {
    c.post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    let selector = json!([{"op": "add", "path": "/spec/template/spec/nodeSelector", "value": {"image": "web:1"}}]);
    let status = c
        .patch(c.path("apps/v1", "deployments") + "/one", JSON_PATCH, &selector)
        .await
        .invalid(&["spec.template.spec.nodeSelector"]);
    let why = status["details"]["causes"][0]["message"].as_str().unwrap();
    assert!(
        why.starts_with("Invalid value: \"web:1\": a valid label must be"),
        "{why}"
    );
    let mut body = deployment("two");
    body["spec"]["template"]["metadata"]["labels"]["x"] = json!("a b");
    c.post(c.path("apps/v1", "deployments"), &body)
        .await
        .invalid(&["spec.template.labels"]);
}

async fn a_finalizer_has_a_domain(c: Context) {
    let mut body = config_map("one", json!({}));
    body["metadata"]["finalizers"] = json!(["hold"]);
    let status = c.post(c.maps(), &body).await.invalid(&["metadata.finalizers[0]"]);
    let why = "Invalid value: \"hold\": name is neither a standard finalizer name nor is it fully qualified";
    assert_eq!(status["details"]["causes"][0]["message"], why);
    body["metadata"]["finalizers"] = json!([""]);
    let status = c.post(c.maps(), &body).await.invalid(&["metadata.finalizers"]);
    assert_eq!(status["details"]["causes"].as_array().unwrap().len(), 3, "{status}");
    // Custom resources take any, twice if need be.
    let gadgets = gadgets(&c).await;
    let mut body = c.custom("Gadget", "one", json!({}));
    body["metadata"]["finalizers"] = json!(["hold", "hold"]);
    c.post(&gadgets, &body).await.code(201);
    let free = json!({"metadata": {"finalizers": null}});
    c.patch(format!("{gadgets}/one"), MERGE_PATCH, &free).await.code(200);
}
