//! What looks at objects on their way in.

use serde_json::json;

use super::objects::{config_map, pod};
use crate::context::{Ask, Context, JSON};

crate::registry::suite!("admission": limit_ranges_fill_in, policies_refuse,);

async fn limit_ranges_fill_in(c: Context) {
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "one"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "1"}}]}});
    c.post(c.path("v1", "limitranges"), &range).await.code(201);
    // The server looks at its cache of ranges, which follows a moment later.
    let end = std::time::Instant::now() + crate::context::DEADLINE;
    loop {
        let body = pod("one");
        let path = format!("{}?dryRun=All", c.path("v1", "pods"));
        let ask = Ask {
            method: "POST",
            path,
            content_type: JSON,
            accept: JSON,
            body: Some(&body),
        };
        let made = c.quiet(ask).await.code(201);
        if made["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "500m" {
            return;
        }
        assert!(std::time::Instant::now() < end, "no limit is ever filled in: {made}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
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
    let end = std::time::Instant::now() + crate::context::DEADLINE;
    loop {
        let body = config_map("bad", json!({}));
        let path = format!("{}?dryRun=All", c.maps());
        let ask = Ask {
            method: "POST",
            path,
            content_type: JSON,
            accept: JSON,
            body: Some(&body),
        };
        if c.quiet(ask).await.code == 422 {
            break;
        }
        assert!(std::time::Instant::now() < end, "the policy never refuses");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    c.post(c.maps(), &config_map("good", json!({}))).await.code(201);
}
