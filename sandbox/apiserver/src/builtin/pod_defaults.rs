//! Defaults of pods and pod templates.

use serde_json::{Value, json};

use super::defaults::{default, each};

/// Defaults of a PodSpec.
pub(crate) fn pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", "default-scheduler");
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        default(spec, "serviceAccount", account);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, list, container);
    }
    each(spec, "volumes", volume);
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = !name.contains('@') && (name.ends_with(":latest") || !name.contains(':'));
    default(
        container,
        "imagePullPolicy",
        if latest { "Always" } else { "IfNotPresent" },
    );
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    default(container, "resources", json!({}));
    each(container, "ports", |port| default(port, "protocol", "TCP"));
    each(container, "env", |env| {
        if let Some(reference) = env.pointer_mut("/valueFrom/fieldRef") {
            default(reference, "apiVersion", "v1");
        }
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(name).filter(|probe| probe.is_object()) {
            self::probe(probe);
        }
    }
    for hook in ["/lifecycle/preStop/httpGet", "/lifecycle/postStart/httpGet"] {
        if let Some(get) = container.pointer_mut(hook) {
            http_get(get);
        }
    }
}

/// What only pods have, not the templates they are made of: a limit without a request is a request, too.
pub(crate) fn pod(spec: &mut Value) {
    for list in ["initContainers", "containers"] {
        each(spec, list, |container| {
            let limits = container["resources"].get("limits").and_then(Value::as_object).cloned();
            for (resource, limit) in limits.into_iter().flatten() {
                if !container["resources"]["requests"].is_object() {
                    container["resources"]["requests"] = json!({});
                }
                default(&mut container["resources"]["requests"], &resource, limit);
            }
        });
    }
}

fn probe(probe: &mut Value) {
    default(probe, "timeoutSeconds", 1);
    default(probe, "periodSeconds", 10);
    default(probe, "successThreshold", 1);
    default(probe, "failureThreshold", 3);
    if let Some(get) = probe.get_mut("httpGet") {
        http_get(get);
    }
    if let Some(grpc) = probe.get_mut("grpc") {
        default(grpc, "service", "");
    }
}

fn http_get(get: &mut Value) {
    if get.is_object() {
        default(get, "path", "/");
        default(get, "scheme", "HTTP");
    }
}

fn volume(volume: &mut Value) {
    let sources = ["configMap", "secret", "projected", "downwardAPI"];
    for source in sources {
        if let Some(source) = volume.get_mut(source).filter(|source| source.is_object()) {
            default(source, "defaultMode", 420);
        }
    }
    if let Some(path) = volume.get_mut("hostPath") {
        default(path, "type", "");
    }
    if let Some(source) = volume.get_mut("downwardAPI") {
        each(source, "items", |item| {
            if let Some(reference) = item.get_mut("fieldRef") {
                default(reference, "apiVersion", "v1");
            }
        });
    }
}

/// The quality of service class of a pod.
pub(crate) fn qos_class(spec: &Value) -> &'static str {
    let all = ["containers", "initContainers"];
    let containers = all
        .iter()
        .flat_map(|list| spec[list].as_array().into_iter().flatten())
        .collect::<Vec<_>>();
    let has = |container: &Value, kind: &str, resource: &str| container["resources"][kind].get(resource).is_some();
    let none = |c: &Value| {
        ["requests", "limits"]
            .iter()
            .all(|kind| !has(c, kind, "cpu") && !has(c, kind, "memory"))
    };
    let guaranteed = |c: &Value| {
        ["cpu", "memory"].iter().all(|resource| {
            has(c, "limits", resource) && c["resources"]["limits"][resource] == c["resources"]["requests"][resource]
        })
    };
    if containers.iter().all(|c| none(c)) {
        "BestEffort"
    } else if containers.iter().all(|c| guaranteed(c)) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}
