//! Those that die, and those that come after them.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use chaos_mesh_rs::NetworkChaos;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use showrunner_crds::{
    drill::{Drill, DrillStatus},
    scenario::{FaultAction, ScenarioSpec},
};
use showrunner_loadtest::{
    drill::Halt,
    evidence::{Recorder, Writer},
    fault::{Experiment, Injector, Journal, Origin, UNDO_WITHIN, Undo, experiment},
    observe::{Snapshot, Subject},
    plan::{self, Timeline},
    record::Record,
    undo::{self, Report, Settings, Source, UndoError},
};
use showrunner_operator::{Clock, OperatorOptions, drills};
use tokio::{
    runtime::Runtime,
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::world::{NAMESPACE, RUN, World, spec};

/// Runs a process that is killed at a call. Whether it was, and if so whether that call would change anything.
pub(crate) async fn die<F: Future<Output = ()>>(
    world: &World,
    call: u64,
    carried_out: bool,
    process: impl FnOnce(Client) -> F,
) -> Option<bool> {
    let (client, cut) = world.mortal(call, carried_out);
    tokio::select! {
        biased;
        () = cut.cancelled() => Some(world.cut_off_at_a_write()),
        () = Box::pin(process(client)) => None,
    }
}

/// Who runs the drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// The real one.
    Ours,
    /// One that sends its mutation first, unmarked, and writes its journal then.
    JournalLast,
}

impl Runner {
    /// The cluster's side of a run: its record, two faults at a time, their undo, its end.
    pub(crate) async fn run(self, client: Client, dir: &Path) {
        self.run_until(client, dir, CancellationToken::new()).await;
    }

    /// The same, ended early by `stop`.
    pub(crate) async fn run_until(self, client: Client, dir: &Path, stop: CancellationToken) {
        let record = record(&client).await;
        let halt = Halt::new(stop);
        let worked = async {
            match self {
                Runner::Ours => Box::pin(work(&client, dir, &record, &halt)).await,
                Runner::JournalLast => work_badly(&client, dir, &record).await,
            }
            record.finish(true, true, "pass", "").await.unwrap();
        };
        tokio::select! {
            () = worked => {}
            () = record.keep(&halt) => panic!("the lease was lost"),
        }
    }
}

pub(crate) async fn record(client: &Client) -> Arc<Record> {
    Arc::new(Record::create(client, NAMESPACE, RUN, spec(), "runner").await.unwrap())
}

pub(crate) fn journal(dir: &Path, record: &Arc<Record>) -> Journal {
    let origin = Origin::new(RUN, NAMESPACE, "cinema", None);
    Journal::create(&dir.join("journal.jsonl"), &origin, Some(record.clone())).unwrap()
}

pub(crate) fn some_undo() -> Undo {
    Undo::DeleteChaos {
        kind: "NetworkChaos".into(),
        namespace: NAMESPACE.into(),
        name: "never-sent".into(),
    }
}

fn fault(name: &str, after: &str, region: &str) -> serde_json::Value {
    json!({
        "name": name,
        "start": { "phase": "show", "after": after },
        "duration": "1s",
        "action": { "networkDelay": { "role": "edge", "region": region, "latencyMs": 100, "jitterMs": 0 } },
    })
}

pub(crate) fn timeline() -> Timeline {
    let scenario: ScenarioSpec = serde_json::from_value(json!({
        "title": "Slow edges",
        "audience": {
            "channel": "main",
            "regions": [{ "region": "eu", "share": 1 }],
            "phases": [{ "name": "show", "duration": "10s", "viewers": 2 }],
        },
        "faults": [fault("slow-eu", "1s", "eu"), fault("slow-us", "1500ms", "us")],
        "gates": [{ "name": "undone", "check": { "faultsUndone": {} } }],
    }))
    .unwrap();
    let platform = serde_json::from_value(json!({
        "channels": [{ "name": "main", "ladder": [{ "name": "low", "width": 256, "height": 144, "bitrateKbps": 120 }] }],
        "regions": [{ "name": "eu" }, { "name": "us" }],
    }))
    .unwrap();
    plan::plan(&scenario, &platform, None).unwrap()
}

async fn work(client: &Client, dir: &Path, record: &Arc<Record>, halt: &Halt) {
    let timeline = timeline();
    let (_writer, injector) = injector(client, dir, record);
    let (origin, faults) = (Instant::now(), &timeline.faults);
    let work = |index: usize| injector.work(&faults[index], origin, halt.token());
    tokio::try_join!(work(0), work(1)).unwrap();
}

/// The real injector, and what takes its evidence down.
pub(crate) fn injector(client: &Client, dir: &Path, record: &Arc<Record>) -> (Writer, Injector) {
    let (writer, recorder) = evidence(dir);
    let (_in, latest) = watch::channel(Snapshot::default());
    let subject = Subject {
        namespace: NAMESPACE.into(),
        platform: "cinema".into(),
    };
    let journal = journal(dir, record);
    let injector = Injector::new(client.clone(), subject, journal, recorder, latest, RUN, 1, UNDO_WITHIN);
    (writer, injector)
}

/// Evidence, written in another runtime: paused time does not jump while something blocks.
fn evidence(dir: &Path) -> (Writer, Recorder) {
    static ELSEWHERE: OnceLock<Runtime> = OnceLock::new();
    let elsewhere = ELSEWHERE.get_or_init(|| Runtime::new().unwrap());
    let _entered = elsewhere.enter();
    Writer::start(&dir.join("evidence.jsonl"), Instant::now()).unwrap()
}

/// What no runner may do.
async fn work_badly(client: &Client, dir: &Path, record: &Arc<Record>) {
    let action = FaultAction::RegionLoss { region: "eu".into() };
    let experiment = experiment(
        &action,
        "bad",
        NAMESPACE,
        &["edge-0".to_owned()],
        Duration::from_secs(30),
    );
    let undo = experiment.undo();
    let Experiment::Network(chaos) = experiment else {
        panic!("not a NetworkChaos")
    };
    let api: Api<NetworkChaos> = Api::namespaced(client.clone(), NAMESPACE);
    let journal = journal(dir, record);
    api.create(&PostParams::default(), &chaos).await.unwrap();
    let entry = journal.intent("bad", undo).await.unwrap();
    // From here on it behaves.
    let mine = json!({ "metadata": { "labels": { "showrunner.dev/run": RUN } } });
    api.patch("bad", &PatchParams::default(), &Patch::Merge(&mine))
        .await
        .unwrap();
    api.delete("bad", &kube::api::DeleteParams::default()).await.unwrap();
    while api.get_opt("bad").await.unwrap().is_some() {
        sleep(Duration::from_millis(100)).await;
    }
    journal
        .advance(&entry, showrunner_loadtest::fault::Stage::Undone)
        .await
        .unwrap();
}

/// `showrunner undo`.
pub(crate) async fn undo(client: &Client, source: &Source) -> Result<Report, UndoError> {
    undo::undo(client, source, &Settings::default(), &|_| {}).await
}

/// `showrunner undo` where there is something to undo from; the error says what it could not prove.
pub(crate) async fn recover(world: &World, source: &Source) -> Result<(), String> {
    if let Source::File(path) = source
        && !path.exists()
    {
        return Ok(());
    }
    match undo(&world.client("person"), source).await {
        Ok(report) if report.proved => Ok(()),
        Ok(report) => Err(format!("{report:?}")),
        // It died before it was on record, and so before anything was sent.
        Err(UndoError::NoSuchDrill { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs the operator's part until the Drill is finished.
pub(crate) async fn operate(client: Client, world: &World, within: Duration) -> Result<(), String> {
    let options = OperatorOptions {
        instance: Some("operator".into()),
        clock: Clock::runtime(jiff::Timestamp::UNIX_EPOCH),
        ..OperatorOptions::default()
    };
    let drills: Api<Drill> = Api::namespaced(world.client("looker"), NAMESPACE);
    let finished = async {
        loop {
            // Without a status nothing was ever sent.
            let drill = drills.get_opt(RUN).await.unwrap();
            match drill.and_then(|drill| drill.status) {
                None => return,
                Some(status) if DrillStatus::finished(&status) => return,
                Some(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    };
    tokio::select! {
        () = drills::run(client, options, CancellationToken::new()) => Err("the operator ended".into()),
        done = timeout(within, finished) => {
            done.map_err(|_| format!("not finished within {} s", within.as_secs()))
        }
    }
}

/// The operator.
pub(crate) async fn finisher(world: &World) -> Result<(), String> {
    operate(world.client("operator"), world, Duration::from_secs(120)).await
}
