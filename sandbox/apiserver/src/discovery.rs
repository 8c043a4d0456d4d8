//! Health, version, and which groups and resources there are.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};
use serde_json::{Value, json};

use crate::body::ApiBody;
use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};
use crate::handlers::answer;
use crate::openapi;
use crate::registry::{ResourceDef, Snapshot};

/// (group, version, resource, kind, namespaced, verbs)
type Virtual = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
    &'static [&'static str],
);

/// Resources served without being in the registry.
const VIRTUAL: &[Virtual] = &[
    (
        "metrics.k8s.io",
        "v1beta1",
        "nodes",
        "NodeMetrics",
        false,
        &["get", "list"],
    ),
    (
        "metrics.k8s.io",
        "v1beta1",
        "pods",
        "PodMetrics",
        true,
        &["get", "list"],
    ),
    (
        "authorization.k8s.io",
        "v1",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        false,
        &["create"],
    ),
    (
        "authorization.k8s.io",
        "v1",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        false,
        &["create"],
    ),
    (
        "authorization.k8s.io",
        "v1",
        "subjectaccessreviews",
        "SubjectAccessReview",
        false,
        &["create"],
    ),
    (
        "authentication.k8s.io",
        "v1",
        "selfsubjectreviews",
        "SelfSubjectReview",
        false,
        &["create"],
    ),
];

/// Answers paths that are not about objects.
pub(crate) fn serve(engine: &Arc<Engine>, path: &str, parts: &Parts) -> ApiResult<Option<Response<ApiBody>>> {
    let trimmed = path.trim_end_matches('/');
    if let Some(response) = health(trimmed, parts) {
        return Ok(Some(response));
    }
    let segments: Vec<&str> = trimmed.trim_start_matches('/').split('/').collect();
    let snapshot = || engine.registry.snapshot();
    let document = match segments.as_slice() {
        [""] => root(&snapshot()),
        ["version"] => version(&engine.config.git_version),
        ["openapi", "v2"] => openapi::v2(parts)?,
        ["openapi", "v3"] => openapi::index(&snapshot()),
        ["openapi", "v3", rest @ ..] => openapi::document(&snapshot(), rest)?,
        ["api" | "apis"] if wants_aggregated(parts) => {
            return Ok(Some(aggregated(&snapshot(), segments == ["api"])));
        }
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => {
            let groups = groups(&snapshot());
            let list = groups
                .iter()
                .filter(|g| !g.0.is_empty())
                .map(|(g, v)| group_json(g, v))
                .collect::<Vec<_>>();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list})
        }
        ["apis", group] => {
            let groups = groups(&snapshot());
            let found = groups
                .iter()
                .find(|(name, _)| name == group)
                .ok_or_else(ApiError::no_such_path)?;
            let mut json = group_json(&found.0, &found.1);
            json["kind"] = "APIGroup".into();
            json["apiVersion"] = "v1".into();
            json
        }
        ["api", version] => resource_list(&snapshot(), "", version)?,
        ["apis", group, version] => resource_list(&snapshot(), group, version)?,
        _ => return Ok(None),
    };
    if parts.method != Method::GET {
        return Err(ApiError::method_not_allowed());
    }
    Ok(Some(answer::json(&document)))
}

fn health(path: &str, parts: &Parts) -> Option<Response<ApiBody>> {
    let known = ["/healthz", "/livez", "/readyz"].iter().any(|known| {
        path.strip_prefix(known)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let verbose = parts.uri.query().is_some_and(|query| query.contains("verbose"));
    known.then(|| {
        answer::text(if verbose {
            "[+]ping ok\n[+]store ok\nhealthz check passed\n"
        } else {
            "ok"
        })
    })
}

/// What paths there are, for whoever asks for `/`.
fn root(snapshot: &Snapshot) -> Value {
    let mut paths: Vec<String> = [
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
    ]
    .iter()
    .chain(&["/readyz", "/version"])
    .map(|path| (*path).to_owned())
    .collect();
    for (group, versions) in groups(snapshot).into_iter().filter(|(group, _)| !group.is_empty()) {
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
        paths.push(format!("/apis/{group}"));
    }
    paths.sort();
    json!({"paths": paths})
}

fn version(git: &str) -> Value {
    let mut numbers = git.trim_start_matches('v').split('.');
    json!({"major": numbers.next().unwrap_or("1"), "minor": numbers.next().unwrap_or("36"), "gitVersion": git,
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none",
        "compiler": "rustc", "platform": "linux/amd64"})
}

/// Groups with their versions, the preferred one first.
fn groups(snapshot: &Snapshot) -> Vec<(String, Vec<String>)> {
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    let registered = snapshot
        .all
        .iter()
        .map(|def| (def.group.as_str(), def.version.as_str()));
    for (group, version) in registered.chain(VIRTUAL.iter().map(|row| (row.0, row.1))) {
        match out.iter_mut().find(|(name, _)| name == group) {
            Some((_, versions)) if versions.iter().any(|v| v == version) => {}
            Some((_, versions)) => versions.push(version.to_owned()),
            None => out.push((group.to_owned(), vec![version.to_owned()])),
        }
    }
    for (_, versions) in &mut out {
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
    }
    out
}

/// Kubernetes' order of versions: general availability, then beta, then alpha; newer first.
fn priority(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    let major: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let tail = &rest[major.len()..];
    let number = |text: &str| text.parse().unwrap_or_default();
    match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
        _ if tail.is_empty() => (3, number(&major), 0),
        (Some(minor), _) => (2, number(&major), number(minor)),
        (_, Some(minor)) => (1, number(&major), number(minor)),
        _ => (0, 0, 0),
    }
}

fn group_json(group: &str, versions: &[String]) -> Value {
    let version = |v: &String| json!({"groupVersion": format!("{group}/{v}"), "version": v});
    json!({"name": group, "versions": versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(version)})
}

/// (subresource, group, version, kind, verbs)
type Subresource = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

fn subresources(def: &ResourceDef) -> Vec<Subresource> {
    let mut out = Vec::new();
    if def.status {
        out.push(("status", "", "", "", &["get", "patch", "update"][..]));
    }
    if def.scale.is_some() {
        out.push(("scale", "autoscaling", "v1", "Scale", &["get", "patch", "update"]));
    }
    let proxy: &[&str] = &["create", "delete", "get", "patch", "update"];
    if def.is("", "Pod") {
        out.push(("binding", "", "v1", "Binding", &["create"]));
        out.push(("eviction", "policy", "v1", "Eviction", &["create"]));
        out.push(("log", "", "v1", "Pod", &["get"]));
        out.push(("proxy", "", "v1", "PodProxyOptions", proxy));
    }
    if def.is("", "Service") {
        out.push(("proxy", "", "v1", "ServiceProxyOptions", proxy));
    }
    out
}

fn resource_list(snapshot: &Snapshot, group: &str, version: &str) -> ApiResult<Value> {
    let mut resources = Vec::new();
    for def in snapshot
        .all
        .iter()
        .filter(|def| def.group == group && def.version == version)
    {
        let mut entry = json!({"name": def.plural, "singularName": def.singular, "namespaced": def.namespaced,
            "kind": def.kind, "verbs": def.verbs()});
        if !def.short_names.is_empty() {
            entry["shortNames"] = json!(def.short_names);
        }
        if !def.categories.is_empty() {
            entry["categories"] = json!(def.categories);
        }
        resources.push(entry);
        for (name, sub_group, sub_version, kind, verbs) in subresources(def) {
            let mut entry = json!({"name": format!("{}/{name}", def.plural), "singularName": "", "namespaced": def.namespaced,
                "kind": if kind.is_empty() { def.kind.as_str() } else { kind }, "verbs": verbs});
            if !sub_group.is_empty() {
                entry["group"] = sub_group.into();
                entry["version"] = sub_version.into();
            }
            resources.push(entry);
        }
    }
    for row in VIRTUAL.iter().filter(|row| row.0 == group && row.1 == version) {
        resources.push(json!({"name": row.2, "singularName": "", "namespaced": row.4, "kind": row.3, "verbs": row.5}));
    }
    if resources.is_empty() && !snapshot.has_version(group, version) {
        return Err(ApiError::no_such_path());
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    Ok(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}))
}

fn wants_aggregated(parts: &Parts) -> bool {
    let accept = parts
        .headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    accept.split(',').any(|alternative| {
        alternative.contains("as=APIGroupDiscoveryList")
            && alternative.contains("g=apidiscovery.k8s.io")
            && alternative.split(';').any(|p| p.trim() == "v=v2")
    })
}

fn aggregated(snapshot: &Snapshot, core: bool) -> Response<ApiBody> {
    let mut items = Vec::new();
    for (group, versions) in groups(snapshot)
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
    {
        let versions = versions.iter().map(|version| {
            json!({"version": version, "freshness": "Current", "resources": aggregated_resources(snapshot, &group, version)})
        });
        let versions = versions.collect::<Vec<_>>();
        // The core group has no name.
        let metadata = if core { json!({}) } else { json!({"name": group}) };
        items.push(json!({"metadata": metadata, "versions": versions}));
    }
    let body = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
    let mut response = answer::json_bytes(http::StatusCode::OK, Bytes::from(body.to_string()));
    let content_type = HeaderValue::from_static("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

fn aggregated_resources(snapshot: &Snapshot, group: &str, version: &str) -> Vec<Value> {
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let mut out = Vec::new();
    for def in snapshot
        .all
        .iter()
        .filter(|def| def.group == group && def.version == version)
    {
        let own = json!({"group": group, "version": version, "kind": def.kind});
        let below = subresources(def)
            .into_iter()
            .map(|(name, sub_group, sub_version, kind, verbs)| {
                let kind = if kind.is_empty() {
                    own.clone()
                } else {
                    json!({"group": sub_group, "version": sub_version, "kind": kind})
                };
                json!({"subresource": name, "responseKind": kind, "verbs": verbs})
            });
        let below = below.collect::<Vec<_>>();
        let mut entry = json!({"resource": def.plural, "responseKind": own, "scope": scope(def.namespaced),
            "singularResource": def.singular, "verbs": def.verbs()});
        if !def.short_names.is_empty() {
            entry["shortNames"] = json!(def.short_names);
        }
        if !def.categories.is_empty() {
            entry["categories"] = json!(def.categories);
        }
        if !below.is_empty() {
            entry["subresources"] = below.into();
        }
        out.push(entry);
    }
    for row in VIRTUAL.iter().filter(|row| row.0 == group && row.1 == version) {
        out.push(
            json!({"resource": row.2, "responseKind": {"group": group, "version": version, "kind": row.3},
            "scope": scope(row.4), "singularResource": "", "verbs": row.5}),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_orders_them() {
        let mut versions = ["v1beta1", "v2", "v1", "v1alpha1", "v1beta2", "foo"];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(versions, ["v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]);
    }
}
