//! The life of a drill: preflight, run, undo and prove it, judge, report.

mod files;
mod folder;
mod gather;
mod halt;
mod live;
mod recorded;
mod run;
mod viewers;

use std::{path::PathBuf, sync::Arc, time::Duration};

use kube::Client;
use showrunner_crds::{platform::StreamingPlatformSpec, scenario::ScenarioSpec};

pub use files::{JOURNAL, ReportError, write_reports};
pub use folder::{Folder, FolderError};
pub use halt::Halt;
pub use live::{Live, Status};
pub use run::{run, run_on};
pub(crate) use viewers::HEARTBEAT;

use crate::{
    evidence::{self, RunEnd},
    fault::FaultError,
    guardrail::Terms,
    judge::exit,
    observe::Subject,
    plan::PlanError,
};

/// Everything a drill needs.
pub struct Drill {
    /// The cluster.
    pub client: Client,
    /// The platform in it.
    pub subject: Subject,
    /// Name of the scenario.
    pub scenario_name: String,
    /// The scenario.
    pub scenario: ScenarioSpec,
    /// The platform as it runs: the scenario's patch applied.
    pub platform: StreamingPlatformSpec,
    /// Seed, where it is not the scenario's.
    pub seed: Option<u64>,
    /// Name of the run.
    pub run: String,
    /// Folder of the run; [claimed](Folder::claim) for it.
    pub dir: PathBuf,
    /// Time for taking back all that one fault did, [`crate::fault::UNDO_WITHIN`].
    pub undo_within: Duration,
    /// What it may do, besides what its scenario says.
    pub terms: Terms,
    /// What a person watching sees.
    pub live: Arc<Live>,
}

/// Why a drill came to no verdict.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The scenario does not fit the platform.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The platform was not in its steady state to begin with.
    #[error("the platform has no steady state to begin with: {0}")]
    NotSteady(String),
    /// Someone ended it before the audience came.
    #[error("interrupted before the audience came; nothing was proved")]
    Interrupted,
    /// A guardrail stopped the run.
    #[error("stopped by a {0}")]
    Guardrail(String),
    /// A fault could not be injected or undone for reasons of the infrastructure.
    #[error("fault `{name}`: {source}")]
    Fault {
        /// Its name.
        name: String,
        /// Why.
        source: FaultError,
    },
    /// The cluster does not answer.
    #[error("the cluster: {0}")]
    Cluster(String),
    /// The audience could not be driven.
    #[error("the audience: {0}")]
    Audience(#[from] crate::audience::AudienceError),
    /// The evidence could not be written.
    #[error(transparent)]
    Write(#[from] evidence::WriteError),
    /// The evidence could not be read back.
    #[error(transparent)]
    Read(#[from] evidence::ReadError),
    /// The undo journal failed.
    #[error(transparent)]
    Journal(#[from] crate::fault::JournalError),
    /// The run could not be put on record in the cluster.
    #[error(transparent)]
    Record(#[from] crate::record::RecordError),
    /// What an earlier drill left could not be looked at.
    #[error(transparent)]
    Undo(#[from] crate::undo::UndoError),
    /// What the run stands on broke.
    #[error("{0}")]
    Broken(String),
    /// What an earlier drill left is still there.
    #[error("an earlier drill is not undone: {0}")]
    Left(String),
    /// There is no verdict to say that something may still be there.
    #[error("{why}\nand what the run did is not known to be undone: {left}; `showrunner undo` tries again")]
    NotUndone {
        /// Why there is no verdict.
        why: Box<DrillError>,
        /// What may still be there.
        left: String,
    },
    /// The folder of the run cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A report could not be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A task of the drill panicked.
    #[error("a task of the drill died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

impl DrillError {
    /// How a run that met this error ended.
    pub(crate) fn end(&self) -> RunEnd {
        match self {
            DrillError::NotSteady(_) => RunEnd::NotSteady,
            DrillError::Interrupted => RunEnd::Interrupted,
            DrillError::Guardrail(_) => RunEnd::Guardrail,
            _ => RunEnd::Infrastructure,
        }
    }

    /// The exit code that the error stands for, where there is no verdict to say it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            DrillError::Plan(_) => exit::INVALID,
            DrillError::Guardrail(_) => exit::GUARDRAIL,
            DrillError::Left(_) | DrillError::NotUndone { .. } => exit::NOT_UNDONE,
            DrillError::Folder(error) => error.exit_code(),
            DrillError::NotSteady(_) | DrillError::Interrupted => exit::INCONCLUSIVE,
            _ => exit::INFRASTRUCTURE,
        }
    }
}
