//! The schema of evidence.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use showrunner_crds::{platform::StreamingPlatformSpec, scenario::ScenarioSpec, wire::OriginStats};

use crate::telemetry::TelemetryEvent;

/// Version of the schema. A reader refuses evidence of another one.
pub const SCHEMA: u32 = 2;

/// One line of evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds since the audience's first moment; negative before it.
    pub t: i64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "data")]
pub enum Event {
    /// The first line: everything needed to judge the rest.
    Run(Box<Header>),
    /// A look at the steady state, before or after.
    Steady {
        /// Before the audience came, or after the faults were undone.
        stage: SteadyStage,
        /// Whether the platform was in it by its deadline.
        ok: bool,
        /// What was found.
        detail: String,
    },
    /// A phase began.
    Phase {
        /// Its name.
        name: String,
    },
    /// A fault moved on.
    Fault {
        /// Its name.
        name: String,
        /// How far it is.
        stage: FaultStage,
        /// What was touched, or why not.
        detail: String,
    },
    /// Edges of one region.
    Edge(EdgeSeen),
    /// A condition of the platform, when it changed.
    Condition(ConditionSeen),
    /// An Event of the cluster about one of the platform's objects.
    Kube(KubeEventSeen),
    /// Statistics of one origin.
    Origin(OriginSeen),
    /// Viewers, and the generator that drives them.
    Viewer(TelemetryEvent),
    /// The last line.
    End {
        /// How the run ended.
        outcome: RunEnd,
        /// Why, where it ended early.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunEnd {
    /// It went through.
    Completed,
    /// Someone ended it.
    Interrupted,
    /// The platform was not in its steady state to begin with.
    NotSteady,
    /// A guardrail stopped it.
    Guardrail,
    /// Something that it stands on did not work.
    Infrastructure,
    /// Nobody could say: the evidence has no last line.
    #[default]
    Unknown,
}

/// The first line of evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the run.
    pub run: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// When the run began.
    pub started: Timestamp,
    /// Seed of every random choice.
    pub seed: u64,
    /// Name of the scenario.
    pub scenario_name: String,
    /// The scenario.
    pub scenario: ScenarioSpec,
    /// Name of the platform.
    pub platform_name: String,
    /// The platform, as it was run: the scenario's patch applied.
    pub platform: StreamingPlatformSpec,
    /// Processor cores of the machine that drove the viewers.
    pub cores: usize,
}

/// When the steady state was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SteadyStage {
    /// Before the audience came.
    Before,
    /// After the last fault was undone.
    After,
}

/// How far a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultStage {
    /// Its undo is on record; the mutation is on its way.
    Injecting,
    /// It was seen to have taken effect.
    Injected,
    /// It is being taken back.
    Undoing,
    /// It was seen to be taken back.
    Undone,
    /// It could not be injected, or not be undone.
    Failed,
}

/// The edges of one region at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeSeen {
    /// Name of the region.
    pub region: String,
    /// Replicas the Deployment asks for.
    pub desired: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// `minReplicas` of the HorizontalPodAutoscaler, where there is one.
    pub floor: Option<u32>,
    /// What the HorizontalPodAutoscaler wants, where there is one.
    pub wanted: Option<u32>,
    /// Viewers that the operator measured.
    pub audience: u32,
}

/// A condition of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionSeen {
    /// Its type.
    pub condition: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// An Event of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeEventSeen {
    /// `Normal` or `Warning`.
    pub severity: String,
    /// Its reason.
    pub reason: String,
    /// `Kind/name` of what it is about.
    pub object: String,
    /// Its message.
    pub message: String,
}

/// Statistics of one origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OriginSeen {
    /// Name of the pod.
    pub pod: String,
    /// What it reported.
    pub stats: OriginStats,
}
