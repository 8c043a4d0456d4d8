//! What looks at objects on their way in.

use serde_json::json;

use super::objects::{config_map, pod};
use crate::context::Context;

crate::registry::suite!("admission": limit_ranges_fill_in, policies_refuse,);

async fn limit_ranges_fill_in(c: Context) {
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "one"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "1"}}]}});
    c.post(c.path("v1", "limitranges"), &range).await.code(201);
    // The server looks at its cache of ranges, which follows a moment later.
    c.until_created(&c.path("v1", "pods"), &pod("one"), "the limit is filled in", |answer| {
        answer.body["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "500m"
    })
    .await;
}

async fn policies_refuse(c: Context) {
    let group = "/apis/admissionregistration.k8s.io/v1";
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": c.ns}});
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": c.id}, "spec": {
            "matchConstraints": {"namespaceSelector": here, "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["configmaps"]}]},
            "validations": [{"expression": "object.metadata.name != 'bad'", "message": "a bad name"}]}});
    c.post(format!("{group}/validatingadmissionpolicies"), &policy)
        .await
        .code(201);
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": c.id}, "spec": {"policyName": c.id, "validationActions": ["Deny"]}});
    c.post(format!("{group}/validatingadmissionpolicybindings"), &binding)
        .await
        .code(201);
    let bad = config_map("bad", json!({}));
    c.until_created(&c.maps(), &bad, "the policy refuses", |answer| answer.code == 422)
        .await;
    c.post(c.maps(), &config_map("good", json!({}))).await.code(201);
}
