//! `Drill`: one run of a scenario against a platform, and what is needed to take it back.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Condition: whether everything that the run did to the cluster is known to be taken back.
pub const UNDONE: &str = "Undone";
/// Condition: whether the run came to its end by itself.
pub const COMPLETED: &str = "Completed";
/// Most mutations that a run may have on record. An object of the API server may have 1.5 MiB, and one entry has under 1 KiB:
/// this many fit with room to spare.
pub const MAX_JOURNAL: usize = 500;

/// One run of a scenario against a platform.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "showrunner.dev",
    version = "v1alpha1",
    kind = "Drill",
    namespaced,
    status = "DrillStatus",
    category = "showrunner",
    doc = "One run of a scenario against a platform.",
    printcolumn = r#"{"name":"Scenario","type":"string","jsonPath":".spec.scenario"}"#,
    printcolumn = r#"{"name":"Platform","type":"string","jsonPath":".spec.platform"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Undone","type":"string","jsonPath":".status.conditions[?(@.type==\"Undone\")].status"}"#,
    printcolumn = r#"{"name":"Verdict","type":"string","jsonPath":".status.verdict"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillSpec {
    /// Name of the Scenario.
    pub scenario: String,
    /// Name of the StreamingPlatform in the same namespace.
    pub platform: String,
    /// Seed, where it is not the scenario's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// How far a drill is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillStatus {
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<DrillPhase>,
    /// `pass`, `fail` or `inconclusive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// When the run began (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    /// Who runs it: the holder of its Lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// Every mutation of the run, each here before it is sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"], "maxItems" = MAX_JOURNAL))]
    pub journal: Vec<JournalEntry>,
    /// Standard conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How far a drill is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DrillPhase {
    /// It is on record; nothing was done yet.
    Pending,
    /// The steady state is waited for.
    Preflight,
    /// Audience and faults.
    Running,
    /// Faults are taken back, and the steady state is waited for.
    Undoing,
    /// Someone else takes its faults back: the operator, since the runner was not heard of, or a person. The runner may
    /// inject nothing any more.
    Abandoned,
    /// Over: nothing of it is left.
    Done,
}

/// How far one mutation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JournalStage {
    /// On record; the mutation may or may not have happened.
    Intent,
    /// The mutation took effect.
    Injected,
    /// The undo was carried out and seen to have worked.
    Undone,
}

/// How to take back one mutation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "how")]
pub enum Undo {
    /// Delete an object of Chaos Mesh; its finalizer holds it until the fault is recovered.
    #[serde(rename_all = "camelCase")]
    DeleteChaos {
        /// `PodChaos` or `NetworkChaos`.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The platform heals by itself (a killed pod is replaced, a flushed cache fills): wait for the steady state.
    SelfHealing,
}

impl fmt::Display for Undo {
    /// What is taken back, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeleteChaos { kind, namespace, name } => write!(f, "{kind} {namespace}/{name}"),
            Self::SelfHealing => f.write_str("heals by itself"),
        }
    }
}

/// Written by hand: a definition's schema must not have variants with properties of their own.
impl JsonSchema for Undo {
    fn schema_name() -> Cow<'static, str> {
        "Undo".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let named =
            |description: &str| json_schema!({ "type": "string", "maxLength": 253, "description": description });
        json_schema!({
            "type": "object",
            "description": "How to take it back.",
            "required": ["how"],
            "properties": {
                "how": {
                    "type": "string",
                    "enum": ["deleteChaos", "selfHealing"],
                    "description": "Delete an object of Chaos Mesh, or wait until the platform has healed by itself.",
                },
                "kind": named("Kind of the object."),
                "namespace": named("Namespace of the object."),
                "name": named("Name of the object."),
            },
        })
    }
}

/// One mutation of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalEntry {
    /// Number of the mutation; its later stages carry the same number.
    pub id: u32,
    /// Name of the fault.
    #[schemars(length(max = 253))]
    pub fault: String,
    /// How far it is.
    pub stage: JournalStage,
    /// How to take it back.
    pub undo: Undo,
    /// When it reached the stage (RFC 3339), by the writer's clock.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
}

/// The entries that are not known to be undone, latest first: the order in which to take them back.
#[must_use]
pub fn outstanding(journal: &[JournalEntry]) -> Vec<JournalEntry> {
    let mut open: Vec<_> = merged(journal)
        .into_iter()
        .filter(|entry| entry.stage != JournalStage::Undone)
        .collect();
    open.sort_by_key(|entry| std::cmp::Reverse(entry.id));
    open
}

/// One entry for each mutation, in their order, each at the furthest stage that any record has of it: a stage is written
/// only after it was reached, so no record is ahead of the truth.
#[must_use]
pub fn merged(entries: &[JournalEntry]) -> Vec<JournalEntry> {
    let mut all: Vec<JournalEntry> = Vec::with_capacity(entries.len());
    for entry in entries {
        match all.iter_mut().find(|known| known.id == entry.id) {
            Some(known) if known.stage < entry.stage => *known = entry.clone(),
            Some(_) => {}
            None => all.push(entry.clone()),
        }
    }
    all.sort_by_key(|entry| entry.id);
    all
}

impl DrillStatus {
    /// Whether the run is over and all of it taken back.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.phase == Some(DrillPhase::Done) && outstanding(&self.journal).is_empty()
    }

    /// States a condition; the time of its last transition changes with its status alone.
    pub fn set_condition(&mut self, type_: &str, status: Option<bool>, reason: &str, message: &str, now: Timestamp) {
        let word = status.map_or("Unknown", |yes| if yes { "True" } else { "False" });
        let before = self.conditions.iter().find(|condition| condition.type_ == type_);
        let since = before
            .filter(|condition| condition.status == word)
            .map_or(Time(now), |condition| condition.last_transition_time.clone());
        self.conditions.retain(|condition| condition.type_ != type_);
        self.conditions.push(Condition {
            type_: type_.to_owned(),
            status: word.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: since,
            observed_generation: None,
        });
    }
}

/// Name of the Lease that the runner of a drill holds.
#[must_use]
pub fn lease_name(drill: &str) -> String {
    format!("drill-{drill}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(id: u32, stage: JournalStage) -> JournalEntry {
        JournalEntry {
            id,
            fault: "lose-eu".into(),
            stage,
            undo: Undo::SelfHealing,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn numbers(entries: &[JournalEntry]) -> Vec<u32> {
        entries.iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn what_no_record_calls_undone_is_outstanding_latest_first() {
        use JournalStage::{Injected, Intent, Undone};
        let journal = [
            entry(0, Intent),
            entry(1, Intent),
            entry(0, Injected),
            entry(2, Intent),
            entry(1, Undone),
            entry(1, Injected),
        ];
        assert_eq!(numbers(&outstanding(&journal)), [2, 0]);
        assert_eq!(
            merged(&journal)[1].stage,
            Undone,
            "a record that lags behind takes nothing back"
        );
    }

    #[test]
    fn a_drill_is_finished_when_nothing_is_left_of_it() {
        let mut status = DrillStatus {
            phase: Some(DrillPhase::Done),
            journal: vec![entry(0, JournalStage::Injected)],
            ..DrillStatus::default()
        };
        assert!(!status.finished());
        status.journal[0].stage = JournalStage::Undone;
        assert!(status.finished());
        status.phase = Some(DrillPhase::Abandoned);
        assert!(!status.finished());
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let mut status = DrillStatus::default();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        status.set_condition(UNDONE, Some(false), "Outstanding", "one", at(1));
        status.set_condition(UNDONE, Some(false), "Outstanding", "two", at(2));
        assert_eq!(status.conditions.len(), 1);
        assert_eq!(status.conditions[0].last_transition_time.0, at(1));
        status.set_condition(UNDONE, None, "Unknown", "three", at(3));
        assert_eq!(status.conditions[0].last_transition_time.0, at(3));
    }

    #[test]
    fn an_undo_reads_as_it_is_written() {
        for undo in [
            Undo::SelfHealing,
            Undo::DeleteChaos {
                kind: "PodChaos".into(),
                namespace: "cinema".into(),
                name: "x".into(),
            },
        ] {
            let text = serde_json::to_string(&undo).unwrap();
            assert_eq!(serde_json::from_str::<Undo>(&text).unwrap(), undo, "{text}");
        }
    }
}
