//! A pod's status, as a pure function of what the agent knows.

use super::state::{ContainerRecord, PodState, RunState, Termination};
use crate::quantity;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Condition types that the agent owns; others are left as they are.
const OWN: [&str; 4] = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];

/// The status to report. `pod` is the latest object from the API, whose foreign conditions are kept; `previous` is what was
/// reported last, which decides whether a condition's transition time moves.
pub(super) fn render(pod: &Pod, state: &PodState, previous: Option<&PodStatus>, now: Timestamp) -> PodStatus {
    let phase = phase(pod, state);
    let pod_ip = state.pod_ip.map(|ip| ip.to_string());
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions(pod, state, phase, previous, now)),
        container_statuses: Some(state.containers.iter().map(container_status).collect()),
        init_container_statuses: (!state.init.is_empty()).then(|| state.init.iter().map(container_status).collect()),
        host_ip: Some(state.host_ip.to_string()),
        host_ips: Some(vec![HostIP {
            ip: state.host_ip.to_string(),
        }]),
        pod_ips: pod_ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip,
        start_time: Some(Time(state.started_at)),
        qos_class: Some(qos_class(pod).to_owned()),
        observed_generation: pod.metadata.generation,
        ..PodStatus::default()
    }
}

/// The pod's phase, by the kubelet's rules.
pub(super) fn phase(pod: &Pod, state: &PodState) -> &'static str {
    let policy = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref())
        .unwrap_or("Always");
    let init_failed = state
        .init
        .iter()
        .any(|record| !record.sidecar && matches!(&record.state, RunState::Terminated(end) if end.exit_code != 0));
    if init_failed && (policy == "Never" || state.terminating) {
        return "Failed";
    }
    let ends: Vec<&Termination> = state
        .containers
        .iter()
        .filter_map(|record| {
            if let RunState::Terminated(end) = &record.state {
                Some(end)
            } else {
                None
            }
        })
        .collect();
    if ends.len() == state.containers.len() && !ends.is_empty() && (policy != "Always" || state.terminating) {
        return if ends.iter().all(|end| end.exit_code == 0) {
            "Succeeded"
        } else {
            "Failed"
        };
    }
    let waits_for_first_run =
        |record: &ContainerRecord| matches!(record.state, RunState::Waiting { .. }) && record.last.is_none();
    if !state.initialized() || state.containers.iter().any(waits_for_first_run) {
        "Pending"
    } else {
        "Running"
    }
}

fn conditions(
    pod: &Pod,
    state: &PodState,
    phase: &str,
    previous: Option<&PodStatus>,
    now: Timestamp,
) -> Vec<PodCondition> {
    let current = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let reported = previous
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let unready: Vec<&str> = state
        .containers
        .iter()
        .filter(|record| !record.ready)
        .map(|record| record.name.as_str())
        .collect();
    let incomplete: Vec<&str> = state
        .init
        .iter()
        .filter(|r| !(matches!(&r.state, RunState::Terminated(end) if end.exit_code == 0) || (r.sidecar && r.started)))
        .map(|record| record.name.as_str())
        .collect();
    let completed = matches!(phase, "Succeeded" | "Failed").then(|| {
        if phase == "Succeeded" {
            ("PodCompleted", None)
        } else {
            ("PodFailed", None)
        }
    });
    let containers_ready = match completed {
        Some(reason) => Err(reason),
        None if unready.is_empty() => Ok(()),
        None => Err((
            "ContainersNotReady",
            Some(format!("containers with unready status: [{}]", unready.join(" "))),
        )),
    };
    let initialized = if state.initialized() || phase == "Succeeded" {
        Ok(())
    } else {
        Err((
            "ContainersNotInitialized",
            Some(format!("containers with incomplete status: [{}]", incomplete.join(" "))),
        ))
    };
    let gates = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.readiness_gates.as_deref())
        .unwrap_or_default();
    let closed_gate = gates
        .iter()
        .find(|gate| {
            !current
                .iter()
                .any(|c| c.type_ == gate.condition_type && c.status == "True")
        })
        .map(|gate| {
            (
                "ReadinessGatesNotReady",
                Some(format!("condition {} is not True", gate.condition_type)),
            )
        });
    let ready = containers_ready.clone().and(closed_gate.map_or(Ok(()), Err));
    let mut all: Vec<PodCondition> = [
        ("PodScheduled", Ok(())),
        ("Initialized", initialized),
        ("ContainersReady", containers_ready),
        ("Ready", ready),
    ]
    .into_iter()
    .map(|(type_, outcome): (&str, Result<(), (&str, Option<String>)>)| {
        let status = if outcome.is_ok() { "True" } else { "False" };
        let (reason, message) = outcome
            .err()
            .map_or((None, None), |(reason, message)| (Some(reason.to_owned()), message));
        // The last report wins over the object, which may be older.
        let before = reported
            .iter()
            .chain(current)
            .find(|condition| condition.type_ == type_);
        let since = before
            .filter(|condition| condition.status == status)
            .and_then(|c| c.last_transition_time.clone());
        PodCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason,
            message,
            last_transition_time: Some(since.unwrap_or(Time(now))),
            ..PodCondition::default()
        }
    })
    .collect();
    all.extend(
        current
            .iter()
            .filter(|condition| !OWN.contains(&condition.type_.as_str()))
            .cloned(),
    );
    all
}

fn container_status(record: &ContainerRecord) -> ContainerStatus {
    let id = match &record.state {
        RunState::Running { container_id, .. } => Some(container_id.clone()),
        RunState::Terminated(end) => Some(end.container_id.clone()),
        RunState::Waiting { .. } => record.last.as_ref().map(|end| end.container_id.clone()),
    };
    let state = match &record.state {
        RunState::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(reason.clone()),
                message: message.clone(),
            }),
            ..ContainerState::default()
        },
        RunState::Running { since, .. } => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(Time(*since)),
            }),
            ..ContainerState::default()
        },
        RunState::Terminated(end) => terminated(end),
    };
    ContainerStatus {
        name: record.name.clone(),
        image: record.image.clone(),
        image_id: record.image.clone(),
        container_id: id,
        ready: record.ready,
        started: Some(record.started),
        restart_count: record.restarts,
        state: Some(state),
        last_state: Some(record.last.as_ref().map_or_else(ContainerState::default, terminated)),
        ..ContainerStatus::default()
    }
}

fn terminated(end: &Termination) -> ContainerState {
    let Termination {
        exit_code,
        signal,
        reason,
        message,
        started_at,
        finished_at,
        container_id,
    } = end;
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: *exit_code,
            signal: *signal,
            reason: Some(reason.clone()),
            message: message.clone(),
            started_at: Some(Time(*started_at)),
            finished_at: Some(Time(*finished_at)),
            container_id: Some(container_id.clone()),
        }),
        ..ContainerState::default()
    }
}

/// The quality-of-service class that requests and limits amount to.
fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = pod.spec.as_ref() else {
        return "BestEffort";
    };
    let containers: Vec<&Container> = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .collect();
    let amount = |container: &Container, limits: bool, name: &str| {
        let resources = container.resources.as_ref()?;
        let map = if limits {
            resources.limits.as_ref()
        } else {
            resources.requests.as_ref()
        };
        quantity::value(map?.get(name)?).ok().filter(|value| *value > 0.0)
    };
    let names = ["cpu", "memory"];
    let any = containers.iter().any(|c| {
        names
            .iter()
            .any(|n| amount(c, true, n).or(amount(c, false, n)).is_some())
    });
    let guaranteed = containers.iter().all(|c| {
        names
            .iter()
            .all(|n| amount(c, true, n).is_some_and(|l| amount(c, false, n).is_none_or(|r| (r - l).abs() < 1e-12)))
    });
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};
    use std::net::Ipv4Addr;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pod(spec: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn plain(policy: &str) -> Pod {
        pod(&json!({"containers": [{"name": "a"}], "restartPolicy": policy}))
    }

    fn end(code: i32) -> Termination {
        Termination {
            exit_code: code,
            signal: None,
            reason: "x".into(),
            message: None,
            started_at: at(1),
            finished_at: at(2),
            container_id: "id".into(),
        }
    }

    fn running() -> RunState {
        RunState::Running {
            since: at(1),
            container_id: "id".into(),
        }
    }

    fn state(containers: Vec<RunState>, init: Vec<RunState>) -> PodState {
        let record = |prefix: &str, index: usize, state: RunState| {
            let is_running = matches!(state, RunState::Running { .. });
            ContainerRecord {
                state,
                ready: is_running,
                started: is_running,
                ..ContainerRecord::new(&format!("{prefix}{index}"), "image", false)
            }
        };
        let records = |prefix, states: Vec<RunState>| {
            states
                .into_iter()
                .enumerate()
                .map(|(index, state)| record(prefix, index, state))
                .collect()
        };
        PodState {
            started_at: at(0),
            pod_ip: Some(Ipv4Addr::new(127, 10, 0, 1)),
            host_ip: Ipv4Addr::LOCALHOST,
            init: records("i", init),
            containers: records("c", containers),
            terminating: false,
        }
    }

    #[test]
    fn phases() {
        let waiting = || RunState::waiting("ContainerCreating", None);
        let done = |code| RunState::Terminated(end(code));
        for (policy, containers, init, expected) in [
            ("Always", vec![waiting()], vec![], "Pending"),
            ("Always", vec![running()], vec![], "Running"),
            ("Always", vec![running(), waiting()], vec![], "Pending"),
            ("Always", vec![done(0)], vec![], "Running"),
            ("OnFailure", vec![done(0)], vec![], "Succeeded"),
            ("Never", vec![done(0), done(1)], vec![], "Failed"),
            ("Never", vec![done(1), running()], vec![], "Running"),
            ("Always", vec![waiting()], vec![running()], "Pending"),
            ("Never", vec![waiting()], vec![done(1)], "Failed"),
            ("Always", vec![running()], vec![done(0)], "Running"),
        ] {
            assert_eq!(
                phase(&plain(policy), &state(containers.clone(), init)),
                expected,
                "{policy} {containers:?}"
            );
        }
        let mut back_off = state(vec![RunState::waiting("CrashLoopBackOff", None)], vec![]);
        back_off.containers[0].last = Some(end(1));
        assert_eq!(phase(&plain("Always"), &back_off), "Running");
    }

    fn condition<'a>(status: &'a PodStatus, type_: &str) -> &'a PodCondition {
        status
            .conditions
            .as_ref()
            .unwrap()
            .iter()
            .find(|c| c.type_ == type_)
            .unwrap()
    }

    #[test]
    fn transition_times_move_only_with_the_status() {
        let pod = plain("Always");
        let mut state = state(vec![running()], vec![]);
        let first = render(&pod, &state, None, at(10));
        assert_eq!(condition(&first, "Ready").last_transition_time, Some(Time(at(10))));
        let second = render(&pod, &state, Some(&first), at(20));
        assert_eq!(first, second);
        state.containers[0].ready = false;
        let third = render(&pod, &state, Some(&second), at(30));
        let ready = condition(&third, "Ready");
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_deref()),
            ("False", Some("ContainersNotReady"))
        );
        assert_eq!(ready.message.as_deref(), Some("containers with unready status: [c0]"));
        assert_eq!(ready.last_transition_time, Some(Time(at(30))));
        assert_eq!(
            condition(&third, "Initialized").last_transition_time,
            Some(Time(at(10)))
        );
    }

    #[test]
    fn foreign_conditions_and_readiness_gates_count() {
        let mut pod =
            pod(&json!({"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "example.com/gate"}]}));
        let state = state(vec![running()], vec![]);
        let closed = render(&pod, &state, None, at(1));
        assert_eq!(condition(&closed, "Ready").status, "False");
        assert_eq!(condition(&closed, "ContainersReady").status, "True");
        let gate = json!({"conditions": [{"type": "example.com/gate", "status": "True"}]});
        pod.status = serde_json::from_value(gate).unwrap();
        let open = render(&pod, &state, Some(&closed), at(2));
        assert_eq!(condition(&open, "Ready").status, "True");
        assert_eq!(condition(&open, "example.com/gate").status, "True", "kept");
    }

    #[test]
    fn qos() {
        let class = |resources: Value| qos_class(&pod(&json!({"containers": [{"name": "a", "resources": resources}]})));
        assert_eq!(class(json!({})), "BestEffort");
        assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
        assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Guaranteed");
        assert_eq!(
            class(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})),
            "Burstable"
        );
    }
}
