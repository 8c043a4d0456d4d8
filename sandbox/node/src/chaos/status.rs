//! An experiment's status as pure transitions.

use chaos_mesh_rs::kinds::Experiment;
use chaos_mesh_rs::status::{
    ALL_INJECTED, ALL_RECOVERED, ChaosCondition, ChaosStatus, DesiredPhase, INJECTED, NOT_INJECTED, PAUSED, Record,
    RecordEvent, SELECTED,
};
use chaos_mesh_rs::{PAUSE_ANNOTATION, duration};
use jiff::Timestamp;
use kube::ResourceExt;
use std::time::Duration;

/// Attempts kept in a record.
const KEPT: usize = 20;

/// What an experiment is to do now, and when to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Desire {
    /// Run or stop.
    pub(super) phase: DesiredPhase,
    /// Time left of its duration.
    pub(super) left: Option<Duration>,
    /// Paused by annotation.
    pub(super) paused: bool,
}

/// What the object asks for at `now`. A duration that does not parse is an error.
pub(super) fn desire<E: Experiment + kube::Resource>(object: &E, now: Timestamp) -> Result<Desire, String> {
    let paused = object
        .annotations()
        .get(PAUSE_ANNOTATION)
        .is_some_and(|value| value == "true");
    let deleted = object.meta().deletion_timestamp.is_some();
    let left = match object.duration().filter(|_| !object.one_shot()) {
        None => None,
        Some(text) => {
            let lasts = duration::parse(text).ok_or_else(|| format!("spec.duration: `{text}` is not a duration"))?;
            let since = object.meta().creation_timestamp.as_ref().map_or(now, |time| time.0);
            let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            Some(lasts.saturating_sub(age))
        }
    };
    let over = left.is_some_and(|left| left.is_zero());
    let phase = if deleted || paused || over {
        DesiredPhase::Stop
    } else {
        DesiredPhase::Run
    };
    Ok(Desire {
        phase,
        left: left.filter(|left| !left.is_zero()),
        paused,
    })
}

/// A record of a target that was just chosen.
pub(super) fn new_record(id: String, selector_key: &str) -> Record {
    Record {
        id,
        selector_key: selector_key.to_owned(),
        phase: NOT_INJECTED.to_owned(),
        injected_count: 0,
        recovered_count: 0,
        events: Vec::new(),
    }
}

/// Notes the outcome of an attempt to inject (`Run`) or to recover (`Stop`).
pub(super) fn note(record: &mut Record, attempt: DesiredPhase, outcome: &Result<(), String>, now: Timestamp) {
    let operation = match attempt {
        DesiredPhase::Run => "Apply",
        DesiredPhase::Stop => "Recover",
    };
    match (outcome, attempt) {
        (Ok(()), DesiredPhase::Run) => {
            INJECTED.clone_into(&mut record.phase);
            record.injected_count += 1;
        }
        (Ok(()), DesiredPhase::Stop) => {
            NOT_INJECTED.clone_into(&mut record.phase);
            record.recovered_count += 1;
        }
        (Err(_), _) => {}
    }
    record.events.push(RecordEvent {
        kind: if outcome.is_ok() { "Succeeded" } else { "Failed" }.to_owned(),
        operation: operation.to_owned(),
        message: outcome.as_ref().err().cloned().unwrap_or_default(),
        timestamp: Some(now.to_string()),
    });
    if record.events.len() > KEPT {
        record.events.remove(0);
    }
}

/// How many of the latest attempts failed in a row.
pub(super) fn failures(record: &Record) -> usize {
    record
        .events
        .iter()
        .rev()
        .take_while(|event| event.kind == "Failed")
        .count()
}

/// The conditions that the records amount to.
pub(super) fn conditions(status: &ChaosStatus, paused: bool, refusal: Option<&str>) -> Vec<ChaosCondition> {
    let records = &status.experiment.container_records;
    let all = |phase: &str| records.iter().all(|record| record.phase == phase);
    let condition = |kind: &str, holds: bool, reason: &str| ChaosCondition {
        kind: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
    };
    vec![
        condition(SELECTED, !records.is_empty(), refusal.unwrap_or_default()),
        // An empty selection injects nothing, whatever "all" may mean of it.
        condition(
            ALL_INJECTED,
            !records.is_empty() && all(INJECTED),
            refusal.unwrap_or_default(),
        ),
        condition(ALL_RECOVERED, all(NOT_INJECTED), ""),
        condition(PAUSED, paused, ""),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use chaos_mesh_rs::{NetworkChaos, PodChaos, injected, recovered};
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn network(spec: &Value, annotations: &Value) -> NetworkChaos {
        let mut object = json!({"metadata": {"name": "c", "namespace": "ns", "creationTimestamp": at(0).to_string(), "annotations": annotations},
            "spec": {"selector": {}, "mode": "all", "action": "partition"}});
        for (key, value) in spec.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn duration_counts_from_creation_and_a_pause_stops() {
        let phase = |object: &NetworkChaos, second| desire(object, at(second)).unwrap();
        let lasting = network(&json!({"duration": "30s"}), &json!({}));
        assert_eq!(
            phase(&lasting, 10),
            Desire {
                phase: DesiredPhase::Run,
                left: Some(Duration::from_secs(20)),
                paused: false
            }
        );
        assert_eq!(phase(&lasting, 30).phase, DesiredPhase::Stop);
        let paused = network(&json!({"duration": "30s"}), &json!({PAUSE_ANNOTATION: "true"}));
        let desire_paused = phase(&paused, 10);
        assert_eq!((desire_paused.phase, desire_paused.paused), (DesiredPhase::Stop, true));
        assert_eq!(
            desire_paused.left,
            Some(Duration::from_secs(20)),
            "a pause does not stop the clock"
        );
        assert_eq!(
            phase(&network(&json!({}), &json!({PAUSE_ANNOTATION: "false"})), 10_000).phase,
            DesiredPhase::Run
        );
        assert!(desire(&network(&json!({"duration": "soon"}), &json!({})), at(0)).is_err());
        let mut deleted = lasting;
        deleted.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(5)));
        assert_eq!(phase(&deleted, 6).phase, DesiredPhase::Stop);
    }

    #[test]
    fn a_kill_has_no_duration() {
        let kill: PodChaos = serde_json::from_value(
            json!({"metadata": {"name": "c", "creationTimestamp": at(0).to_string()},
            "spec": {"selector": {}, "mode": "one", "action": "pod-kill", "duration": "1s"}}),
        )
        .unwrap();
        assert_eq!(desire(&kill, at(100)).unwrap().phase, DesiredPhase::Run);
    }

    #[test]
    fn records_follow_attempts_and_agree_with_the_predicates() {
        let mut status = ChaosStatus::default();
        status.experiment.desired_phase = Some(DesiredPhase::Run);
        status.experiment.container_records = vec![new_record("ns/a".into(), ".")];
        let condition = |status: &ChaosStatus, kind: &str| {
            conditions(status, false, None)
                .iter()
                .any(|c| c.kind == kind && c.status == "True")
        };
        assert!(condition(&status, ALL_RECOVERED) && !condition(&status, ALL_INJECTED) && !injected(&status));
        let record = |status: &mut ChaosStatus, attempt, outcome| {
            note(&mut status.experiment.container_records[0], attempt, &outcome, at(1));
        };
        record(&mut status, DesiredPhase::Run, Err("no".into()));
        assert_eq!(failures(&status.experiment.container_records[0]), 1);
        assert!(!injected(&status));
        record(&mut status, DesiredPhase::Run, Ok(()));
        assert!(injected(&status) && condition(&status, ALL_INJECTED) && !condition(&status, ALL_RECOVERED));
        assert_eq!(failures(&status.experiment.container_records[0]), 0);
        status.experiment.desired_phase = Some(DesiredPhase::Stop);
        record(&mut status, DesiredPhase::Stop, Ok(()));
        let object = NetworkChaos {
            status: Some(status.clone()),
            ..network(&json!({}), &json!({}))
        };
        assert!(recovered(Some(&object)) && condition(&status, ALL_RECOVERED));
        for _ in 0..100 {
            record(&mut status, DesiredPhase::Run, Err("again".into()));
        }
        assert_eq!(status.experiment.container_records[0].events.len(), KEPT);
    }

    #[test]
    fn an_empty_selection_is_not_injected() {
        let status = ChaosStatus::default();
        let all = conditions(&status, true, Some("nobody"));
        let of = |kind: &str| all.iter().find(|c| c.kind == kind).unwrap();
        assert_eq!(
            (of(SELECTED).status.as_str(), of(SELECTED).reason.as_str()),
            ("False", "nobody")
        );
        assert_eq!(
            (of(ALL_INJECTED).status.as_str(), of(PAUSED).status.as_str()),
            ("False", "True")
        );
    }
}
