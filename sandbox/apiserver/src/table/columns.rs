//! Columns of the built-in kinds.

use serde_json::{Value, json};

use super::Definition;
use crate::registry::ResourceDef;

pub(super) fn name(object: &Value) -> Value {
    object["metadata"]["name"].clone()
}

pub(super) fn age(object: &Value) -> Value {
    object["metadata"]["creationTimestamp"]
        .as_str()
        .map_or_else(|| "<unknown>".into(), |time| age_of(time).into())
}

/// Time since, the way kubectl prints it.
pub(super) fn age_of(time: &str) -> String {
    let Ok(then) = time.parse::<jiff::Timestamp>() else {
        return "<unknown>".to_owned();
    };
    span(then, jiff::Timestamp::now())
}

/// A length of time, the way kubectl prints it.
fn span(from: jiff::Timestamp, to: jiff::Timestamp) -> String {
    let seconds = (to.as_second() - from.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 == 0 => format!("{minutes}m"),
        120..600 => format!("{minutes}m{}s", seconds % 60),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 == 0 => format!("{hours}h"),
        10_800..28_800 => format!("{hours}h{}m", minutes % 60),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 == 0 => format!("{days}d"),
        172_800..691_200 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

fn number(value: &Value) -> Value {
    if value.is_number() { value.clone() } else { 0.into() }
}

fn or(value: &Value, absent: &str) -> Value {
    match value {
        Value::Null => absent.into(),
        Value::String(text) if text.is_empty() => absent.into(),
        other => other.clone(),
    }
}

fn fraction(have: &Value, want: &Value) -> Value {
    format!("{}/{}", number(have), number(want)).into()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn pairs(labels: &Value) -> Value {
    let text = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()));
    let text = text.collect::<Vec<_>>().join(",");
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// Columns of a built-in kind; name and age where there is nothing better to show.
pub(super) fn built_in(def: &ResourceDef) -> Vec<Definition> {
    let column = Definition::built;
    let mut out = vec![column("Name", "string", 0, name)];
    match def.kind.as_str() {
        "Pod" => out.extend([
            column("Ready", "string", 0, |o| {
                let statuses = list(&o["status"]["containerStatuses"]);
                let ready = statuses.iter().filter(|s| s["ready"] == true).count();
                format!("{ready}/{}", list(&o["spec"]["containers"]).len()).into()
            }),
            column("Status", "string", 0, pod_status),
            column("Restarts", "string", 0, |o| {
                let statuses = list(&o["status"]["containerStatuses"]).iter();
                statuses
                    .map(|s| s["restartCount"].as_i64().unwrap_or_default())
                    .sum::<i64>()
                    .to_string()
                    .into()
            }),
            column("Age", "string", 0, age),
            column("IP", "string", 1, |o| or(&o["status"]["podIP"], "<none>")),
            column("Node", "string", 1, |o| or(&o["spec"]["nodeName"], "<none>")),
            column("Nominated Node", "string", 1, |o| {
                or(&o["status"]["nominatedNodeName"], "<none>")
            }),
            column("Readiness Gates", "string", 1, |_| "<none>".into()),
        ]),
        "Deployment" => out.extend([
            column("Ready", "string", 0, |o| {
                fraction(&o["status"]["readyReplicas"], &o["spec"]["replicas"])
            }),
            column("Up-to-date", "string", 0, |o| number(&o["status"]["updatedReplicas"])),
            column("Available", "string", 0, |o| number(&o["status"]["availableReplicas"])),
            column("Age", "string", 0, age),
            column("Containers", "string", 1, containers),
            column("Images", "string", 1, images),
            column("Selector", "string", 1, |o| {
                pairs(&o["spec"]["selector"]["matchLabels"])
            }),
        ]),
        "ReplicaSet" => out.extend([
            column("Desired", "integer", 0, |o| number(&o["spec"]["replicas"])),
            column("Current", "integer", 0, |o| number(&o["status"]["replicas"])),
            column("Ready", "integer", 0, |o| number(&o["status"]["readyReplicas"])),
            column("Age", "string", 0, age),
        ]),
        "StatefulSet" => out.extend([
            column("Ready", "string", 0, |o| {
                fraction(&o["status"]["readyReplicas"], &o["spec"]["replicas"])
            }),
            column("Age", "string", 0, age),
            column("Containers", "string", 1, containers),
            column("Images", "string", 1, images),
        ]),
        "Job" => out.extend([
            column("Status", "string", 0, job_status),
            column("Completions", "string", 0, completions),
            column("Duration", "string", 0, job_duration),
            column("Age", "string", 0, age),
            column("Containers", "string", 1, containers),
            column("Images", "string", 1, images),
            column("Selector", "string", 1, |o| {
                pairs(&o["spec"]["selector"]["matchLabels"])
            }),
        ]),
        "Service" => out.extend([
            column("Type", "string", 0, |o| o["spec"]["type"].clone()),
            column("Cluster-IP", "string", 0, |o| or(&o["spec"]["clusterIP"], "<none>")),
            column("External-IP", "string", 0, external_ip),
            column("Port(s)", "string", 0, ports),
            column("Age", "string", 0, age),
            column("Selector", "string", 1, |o| pairs(&o["spec"]["selector"])),
        ]),
        "Node" => out.extend([
            column("Status", "string", 0, node_status),
            column("Roles", "string", 0, |_| "<none>".into()),
            column("Age", "string", 0, age),
            column("Version", "string", 0, |o| {
                or(&o["status"]["nodeInfo"]["kubeletVersion"], "")
            }),
            column("Internal-IP", "string", 1, |o| {
                let addresses = list(&o["status"]["addresses"]);
                addresses
                    .iter()
                    .find(|a| a["type"] == "InternalIP")
                    .map_or_else(|| "<none>".into(), |a| a["address"].clone())
            }),
            column("OS-Image", "string", 1, |o| {
                or(&o["status"]["nodeInfo"]["osImage"], "<unknown>")
            }),
        ]),
        "HorizontalPodAutoscaler" => out.extend([
            column("Reference", "string", 0, |o| {
                let target = &o["spec"]["scaleTargetRef"];
                let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
                format!("{}/{}", text(&target["kind"]), text(&target["name"])).into()
            }),
            column("Targets", "string", 0, targets),
            column("MinPods", "string", 0, |o| or(&o["spec"]["minReplicas"], "<unset>")),
            column("MaxPods", "string", 0, |o| o["spec"]["maxReplicas"].clone()),
            column("Replicas", "string", 0, |o| number(&o["status"]["currentReplicas"])),
            column("Age", "string", 0, age),
        ]),
        "PodDisruptionBudget" => out.extend([
            column("Min Available", "string", 0, |o| or(&o["spec"]["minAvailable"], "N/A")),
            column("Max Unavailable", "string", 0, |o| {
                or(&o["spec"]["maxUnavailable"], "N/A")
            }),
            column("Allowed Disruptions", "integer", 0, |o| {
                number(&o["status"]["disruptionsAllowed"])
            }),
            column("Age", "string", 0, age),
        ]),
        "Namespace" => out.extend([
            column("Status", "string", 0, |o| o["status"]["phase"].clone()),
            column("Age", "string", 0, age),
        ]),
        "ConfigMap" => out.extend([
            column("Data", "string", 0, |o| {
                let size = |v: &Value| v.as_object().map_or(0, serde_json::Map::len);
                json!(size(&o["data"]) + size(&o["binaryData"]))
            }),
            column("Age", "string", 0, age),
        ]),
        "Secret" => out.extend([
            column("Type", "string", 0, |o| o["type"].clone()),
            column("Data", "string", 0, |o| {
                o["data"].as_object().map_or(0, serde_json::Map::len).into()
            }),
            column("Age", "string", 0, age),
        ]),
        "Event" => {
            out = vec![
                column("Last Seen", "string", 0, last_seen),
                column("Type", "string", 0, |o| o["type"].clone()),
                column("Reason", "string", 0, |o| o["reason"].clone()),
                column("Object", "string", 0, |o| {
                    let involved = if o["involvedObject"].is_object() {
                        &o["involvedObject"]
                    } else {
                        &o["regarding"]
                    };
                    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
                    format!("{}/{}", text(&involved["kind"]).to_lowercase(), text(&involved["name"])).into()
                }),
                column("Message", "string", 0, |o| {
                    if o["message"].is_string() {
                        o["message"].clone()
                    } else {
                        o["note"].clone()
                    }
                }),
                column("Name", "string", 1, name),
            ];
        }
        "CustomResourceDefinition" => {
            out.push(column("Created At", "date", 0, |o| {
                o["metadata"]["creationTimestamp"].clone()
            }));
        }
        "Lease" => out.extend([
            column("Holder", "string", 0, |o| or(&o["spec"]["holderIdentity"], "")),
            column("Age", "string", 0, age),
        ]),
        _ => out.push(column("Age", "string", 0, age)),
    }
    out
}

fn job_status(job: &Value) -> Value {
    let holds = |kind: &str| {
        let mut conditions = list(&job["status"]["conditions"]).iter();
        conditions.any(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    let ended = ["Complete", "Failed"].into_iter().find(|kind| holds(kind));
    let leaving = || {
        job["metadata"]["deletionTimestamp"]
            .is_string()
            .then_some("Terminating")
    };
    let under_way = || {
        ["Suspended", "FailureTarget", "SuccessCriteriaMet"]
            .into_iter()
            .find(|kind| holds(kind))
    };
    ended.or_else(leaving).or_else(under_way).unwrap_or("Running").into()
}

/// Without a number of completions, one success of any of its pods is enough.
fn completions(job: &Value) -> Value {
    let (succeeded, parallelism) = (&job["status"]["succeeded"], &job["spec"]["parallelism"]);
    match &job["spec"]["completions"] {
        Value::Null if parallelism.as_i64() > Some(1) => format!("{}/1 of {parallelism}", number(succeeded)).into(),
        Value::Null => fraction(succeeded, &1.into()),
        wanted => fraction(succeeded, wanted),
    }
}

/// From its start to its end, or to now.
fn job_duration(job: &Value) -> Value {
    let time = |field: &str| job["status"][field].as_str()?.parse::<jiff::Timestamp>().ok();
    let to = time("completionTime").unwrap_or_else(jiff::Timestamp::now);
    time("startTime").map_or_else(String::new, |from| span(from, to)).into()
}

fn containers(object: &Value) -> Value {
    joined(object, "name")
}

fn images(object: &Value) -> Value {
    joined(object, "image")
}

fn joined(object: &Value, field: &str) -> Value {
    let all = list(&object["spec"]["template"]["spec"]["containers"]).iter();
    all.filter_map(|c| c[field].as_str())
        .collect::<Vec<_>>()
        .join(",")
        .into()
}

/// The word `kubectl get pods` shows: why the pod is not simply running, if it is not.
fn pod_status(pod: &Value) -> Value {
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating".into();
    }
    if let Some(reason) = pod["status"]["reason"].as_str() {
        return reason.into();
    }
    for status in list(&pod["status"]["containerStatuses"]) {
        for state in ["waiting", "terminated"] {
            if let Some(reason) = status["state"][state]["reason"].as_str() {
                return reason.into();
            }
        }
    }
    or(&pod["status"]["phase"], "Unknown")
}

fn external_ip(service: &Value) -> Value {
    let ingress = list(&service["status"]["loadBalancer"]["ingress"]).iter();
    let ips = ingress
        .filter_map(|i| i["ip"].as_str().or(i["hostname"].as_str()))
        .collect::<Vec<_>>()
        .join(",");
    match service["spec"]["type"].as_str() {
        Some("LoadBalancer") if ips.is_empty() => "<pending>".into(),
        Some("LoadBalancer") => ips.into(),
        Some("ExternalName") => or(&service["spec"]["externalName"], "<none>"),
        _ => "<none>".into(),
    }
}

fn ports(service: &Value) -> Value {
    let text = |port: &Value| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        match port["nodePort"].as_i64().filter(|n| *n > 0) {
            Some(node) => format!("{}:{node}/{protocol}", port["port"]),
            None => format!("{}/{protocol}", port["port"]),
        }
    };
    let all = list(&service["spec"]["ports"])
        .iter()
        .map(text)
        .collect::<Vec<_>>()
        .join(",");
    if all.is_empty() { "<none>".into() } else { all.into() }
}

fn node_status(node: &Value) -> Value {
    let ready = list(&node["status"]["conditions"])
        .iter()
        .find(|c| c["type"] == "Ready");
    let mut status = match ready {
        Some(condition) if condition["status"] == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    status.into()
}

fn targets(autoscaler: &Value) -> Value {
    let value = |target: &Value| -> String {
        if let Some(percent) = target["averageUtilization"].as_i64() {
            return format!("{percent}%");
        }
        let quantity = target["averageValue"].as_str().or(target["value"].as_str());
        quantity.unwrap_or("<unknown>").to_owned()
    };
    let current = list(&autoscaler["status"]["currentMetrics"]);
    let specs = list(&autoscaler["spec"]["metrics"])
        .iter()
        .enumerate()
        .map(|(index, metric)| {
            let ty = metric["type"].as_str().unwrap_or_default();
            let field = ty[..ty.len().min(1)].to_lowercase() + ty.get(1..).unwrap_or_default();
            let now = current
                .get(index)
                .map_or_else(|| "<unknown>".to_owned(), |c| value(&c[&field]["current"]));
            let name = metric[&field]["name"]
                .as_str()
                .or(metric[&field]["metric"]["name"].as_str())
                .unwrap_or_default();
            format!("{name}: {now}/{}", value(&metric[&field]["target"]))
        });
    let text = specs.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "<none>".into() } else { text.into() }
}

fn last_seen(event: &Value) -> Value {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    times
        .iter()
        .find_map(|t| t.as_str())
        .map_or_else(|| "<unknown>".into(), |time| age_of(time).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_without_a_number_of_completions_needs_one() {
        let job = |spec: Value| completions(&json!({ "spec": spec, "status": { "succeeded": 1 } }));
        assert_eq!(job(json!({ "completions": 3, "parallelism": 2 })), "1/3");
        assert_eq!(job(json!({ "parallelism": 2 })), "1/1 of 2");
        assert_eq!(job(json!({ "parallelism": 1 })), "1/1");
        assert_eq!(completions(&json!({ "spec": { "parallelism": 1 } })), "0/1");
    }
}
