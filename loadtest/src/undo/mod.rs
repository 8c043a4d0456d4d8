//! Taking back what a run has left, from its journal on disk or in its Drill, and proving it. Doing it twice does no harm.

mod error;
mod report;
mod unfinished;

use std::{path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use showrunner_crds::drill::{DrillStatus, merged};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use error::UndoError;
pub use report::{Mutation, Report, Steady};
pub use unfinished::unfinished_drills;
pub(crate) use unfinished::{InTheWay, clear_the_way};

use crate::{
    fault::{Entry, Journal, Stage, UNDO_WITHIN, Undo, outstanding, persist, read_run, strays, take_back_all},
    observe::{Subject, wait_steady},
    record::{Record, RecordError},
};

/// Times what a run has left is looked for again, since its runner may have had a mutation under way.
const ROUNDS: u32 = 3;

/// Where a run's journal is.
#[derive(Clone, Debug)]
pub enum Source {
    /// On disk.
    File(PathBuf),
    /// In the Drill of this name.
    Drill {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// How to undo.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time for taking back all mutations together, [`UNDO_WITHIN`].
    pub within: Duration,
    /// Time for the platform to be in its steady state then.
    pub steady_within: Duration,
    /// Who undoes, as the Drill will name them.
    pub by: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            within: UNDO_WITHIN,
            steady_within: Duration::from_secs(120),
            by: "showrunner undo".to_owned(),
        }
    }
}

/// What is told as it happens.
pub type Say<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// A run that is to be undone.
struct Run {
    name: String,
    subject: Subject,
    entries: Vec<Entry>,
    journal: Option<Journal>,
    record: Option<Record>,
    /// On record as over, with all of it taken back.
    finished: bool,
}

/// Takes back what a run has left: what its journal names and what carries its label; then proves that it is gone and that
/// the platform is in its steady state again. An error says why nothing could be tried; what was tried and did not work is
/// in the report.
pub async fn undo(client: &Client, source: &Source, settings: &Settings, say: Say<'_>) -> Result<Report, UndoError> {
    let Some(run) = find(client, source).await? else {
        return Ok(Report::nothing(source));
    };
    let open = outstanding(&run.entries);
    let mut report = Report::of(&run.name, &run.subject);
    if let Some(record) = &run.record
        && !run.finished
    {
        // From here on the runner, if it still lives, can inject nothing that we would not know of.
        record.fence(&settings.by).await?;
    }
    if open.is_empty() {
        say(&format!("{}: nothing outstanding", run.name));
        report.nothing_outstanding = true;
    }
    // In the order in which they were made.
    let mut todo: Vec<Entry> = open.into_iter().rev().collect();
    for round in 0..ROUNDS {
        take_back(client, &run, &todo, settings, say, &mut report).await;
        todo.clear();
        sweep(client, &run, settings, say, &mut report).await;
        // Of a run that is over, too: whoever ended it may not have looked at the platform.
        let none = CancellationToken::new();
        let steady = wait_steady(client, &run.subject, settings.steady_within, &none).await;
        say(&format!("{}: {}", run.name, steady.detail));
        report.steady = Some(Steady {
            ok: steady.ok,
            detail: steady.detail,
        });
        report.left = remains(client, &run, settings).await;
        if report.left.is_empty() || round + 1 == ROUNDS || report.failed() {
            break;
        }
    }
    report.conclude();
    for line in &report.left {
        say(&format!("{}: still there: {line}", run.name));
    }
    // The Drill of a run that is over says so already, and stays as it is unless something of the run is there after all.
    let untrue = report.failed() || !report.left.is_empty();
    if let Some(record) = &run.record
        && (!run.finished || untrue)
    {
        let noted = record.undone(report.proved, &report.summary()).await;
        if let Err(error) = noted {
            warn!(%error, "the Drill does not say that it was undone");
            say(&format!("{}: its Drill could not be updated: {error}", run.name));
        }
    }
    Ok(report)
}

/// Finds a run. `None` for a journal that was cut off before its first line was complete.
async fn find(client: &Client, source: &Source) -> Result<Option<Run>, UndoError> {
    let (origin, from_file, journal) = match source {
        Source::File(path) => {
            let Some((origin, entries)) = read_run(path)? else {
                return Ok(None);
            };
            same_cluster(client, &origin.namespace, origin.namespace_uid.as_deref()).await?;
            let subject = Subject {
                namespace: origin.namespace,
                platform: origin.platform,
            };
            (Some((origin.run, subject)), entries, Some(Journal::open(path)?))
        }
        Source::Drill { .. } => (None, Vec::new(), None),
    };
    let (namespace, name) = match (source, &origin) {
        (Source::Drill { namespace, name }, _) => (namespace.clone(), name.clone()),
        (Source::File(_), Some((run, subject))) => (subject.namespace.clone(), run.clone()),
        (Source::File(_), None) => return Ok(None),
    };
    let found = Record::find(client, &namespace, &name).await?;
    let (mut entries, mut finished, mut record) = (from_file, false, None);
    let mut subject = origin.map(|(_, subject)| subject);
    if let Some((found, drill)) = found {
        let status = drill.status.unwrap_or_default();
        entries.extend(status.journal.iter().cloned());
        finished = status.finished() && condition_holds(&status);
        subject.get_or_insert(Subject {
            namespace: namespace.clone(),
            platform: drill.spec.platform,
        });
        record = Some(found);
    }
    let Some(subject) = subject else {
        return Err(UndoError::NoSuchDrill { namespace, name });
    };
    Ok(Some(Run {
        name,
        subject,
        entries: merged(&entries),
        journal,
        record,
        finished,
    }))
}

fn condition_holds(status: &DrillStatus) -> bool {
    let undone = |condition: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        condition.type_ == showrunner_crds::drill::UNDONE
    };
    status
        .conditions
        .iter()
        .find(undone)
        .is_some_and(|c| c.status == "True")
}

/// An error unless the namespace is the one that the journal was written about: in another cluster nothing of the run would
/// be found, and that would look like a proof.
async fn same_cluster(client: &Client, namespace: &str, uid: Option<&str>) -> Result<(), UndoError> {
    let Some(uid) = uid else { return Ok(()) };
    let there = namespace_uid(client, namespace).await?;
    match there {
        Some(there) if there == uid => Ok(()),
        // Not allowed to see it: the Drill and the objects have to do.
        None => Ok(()),
        Some(_) => Err(UndoError::OtherCluster {
            namespace: namespace.to_owned(),
        }),
    }
}

/// UID of a namespace; empty where there is no such namespace, `None` where it may not be seen.
pub(crate) async fn namespace_uid(client: &Client, namespace: &str) -> Result<Option<String>, RecordError> {
    let api: Api<Namespace> = Api::all(client.clone());
    match crate::record::ask(namespace, api.get_opt(namespace)).await {
        Ok(found) => Ok(Some(found.and_then(|found| found.uid()).unwrap_or_default())),
        Err(RecordError::Api {
            source: kube::Error::Api(status),
            ..
        }) if matches!(status.code, 401 | 403) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn take_back(
    client: &Client,
    run: &Run,
    entries: &[Entry],
    settings: &Settings,
    say: Say<'_>,
    report: &mut Report,
) {
    let done = async |entry: &Entry| {
        say(&format!("{}: {} undone: {}", run.name, entry.fault, entry.undo));
        if let Some(journal) = &run.journal
            && let Err(error) = journal.advance(entry, Stage::Undone).await
        {
            say(&format!("{}: {error}", run.name));
        }
        if let Some(record) = &run.record {
            let undone = Entry {
                stage: Stage::Undone,
                at: jiff::Timestamp::now(),
                ..entry.clone()
            };
            if let Err(error) = record.advance(&undone).await {
                warn!(%error, "the Drill does not have the last stages of its journal");
            }
        }
        Ok(())
    };
    for (entry, outcome) in take_back_all(client, &run.name, entries, settings.within, done).await {
        let error = outcome.err().map(|error| error.to_string());
        if let Some(error) = &error {
            say(&format!(
                "{}: {} NOT undone: {}: {error}",
                run.name, entry.fault, entry.undo
            ));
        }
        report.mutations.push(Mutation {
            id: Some(entry.id),
            fault: Some(entry.fault.clone()),
            what: entry.undo.to_string(),
            error,
        });
    }
}

/// Takes back what carries the run's label although no journal names it.
async fn sweep(client: &Client, run: &Run, settings: &Settings, say: Say<'_>, report: &mut Report) {
    let deadline = tokio::time::Instant::now() + settings.within;
    let looked = persist(deadline, settings.within, || {
        strays(client, &run.subject.namespace, &run.name)
    });
    // What cannot be looked for is told with what remains.
    let Ok(found) = looked.await else { return };
    let entries: Vec<Entry> = found
        .into_iter()
        .filter(|undo| !report.gave_up_on(&undo.to_string()))
        .map(|undo| Entry {
            id: 0,
            fault: "no journal".to_owned(),
            // It was seen, so it will not come any more.
            stage: Stage::Injected,
            undo,
            at: jiff::Timestamp::now(),
        })
        .collect();
    let done = async |entry: &Entry| {
        say(&format!("{}: not on the journal, undone: {}", run.name, entry.undo));
        Ok(())
    };
    for (entry, outcome) in take_back_all(client, &run.name, &entries, settings.within, done).await {
        report.mutations.push(Mutation {
            id: None,
            fault: None,
            what: entry.undo.to_string(),
            error: outcome.err().map(|error| error.to_string()),
        });
    }
}

/// What is still there of a run: it carries the run's label, or is none of its objects.
async fn remains(client: &Client, run: &Run, settings: &Settings) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + settings.within;
    let looked = persist(deadline, settings.within, || {
        strays(client, &run.subject.namespace, &run.name)
    });
    match looked.await {
        Ok(there) => there.iter().map(Undo::to_string).collect(),
        Err(error) => vec![format!("unknown: {error}")],
    }
}
