//! Running a drill from its preflight to its verdict.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use showrunner_crds::drill::DrillPhase;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Drill, DrillError,
    files::{EVIDENCE, write_goose},
    folder::clear,
    gather::{Worked, gather},
    halt::Halt,
    live::Tee,
    recorded::{clear_the_way, journal, note_phase, recorded},
    viewers::audience_plan,
    write_reports,
};
use crate::{
    audience::run_audience,
    evidence::{Event, Header, Recorder, RunEnd, SCHEMA, SteadyStage, Writer, read},
    fault::Injector,
    guardrail::{self, Limits, Watchdog},
    judge::{Verdict, judge},
    observe::{Snapshot, SteadyState, observe, wait_steady},
    plan::{Timeline, plan},
    record::Record,
};

/// Time between the preflight and the audience's first moment, in which everything is set up.
const LEAD: Duration = Duration::from_secs(1);

/// Runs a drill. `stop` ends it early: faults are undone, the evidence says that it was cut short.
pub async fn run(drill: Drill, stop: CancellationToken) -> Result<Verdict, DrillError> {
    Box::pin(run_on(drill, stop, std::future::pending())).await
}

/// Runs a drill on something that may break: `broken` gives why, and ends the run.
pub async fn run_on(
    drill: Drill,
    stop: CancellationToken,
    broken: impl Future<Output = String>,
) -> Result<Verdict, DrillError> {
    let timeline = Arc::new(plan(&drill.scenario, &drill.platform, drill.seed)?);
    guardrail::preflight::fits(&timeline, &drill.scenario, &drill.platform, &drill.terms)?;
    let watchdog = Watchdog::new(drill.terms.clone(), drill.scenario.guardrails.clone(), Instant::now());
    // Before anything is written to the cluster.
    if let Err(error) = guardrail::preflight::may_start(&drill.client, &drill.subject, &drill.terms, &stop).await {
        return refused(&drill, &timeline, error, &stop).await;
    }
    let halt = Halt::new(stop.child_token());
    let running = recorded(&drill, timeline.seed, &halt, async |record| {
        match clear_the_way(&drill, &record, &halt).await {
            Ok(()) => {}
            Err(error @ (DrillError::Guardrail(_) | DrillError::Interrupted)) => {
                return refused(&drill, &timeline, error, &stop).await;
            }
            Err(error) => return Err(error),
        }
        staged(&drill, &timeline, record, &watchdog, &halt, &stop).await
    });
    let mut running = pin!(running);
    tokio::select! {
        outcome = &mut running => return outcome,
        why = broken => halt.broken(why),
    }
    running.await
}

/// The verdict of a drill that may not begin.
async fn refused(
    drill: &Drill,
    timeline: &Timeline,
    error: DrillError,
    stop: &CancellationToken,
) -> Result<Verdict, DrillError> {
    let evidence = open_evidence(drill, timeline, Instant::now())?;
    conclude(drill, evidence, Err(error), stop).await
}

/// Preflight, performance and verdict of a drill that is on record.
async fn staged(
    drill: &Drill,
    timeline: &Arc<Timeline>,
    record: Arc<Record>,
    watchdog: &Arc<Watchdog>,
    halt: &Halt,
    stop: &CancellationToken,
) -> Result<Verdict, DrillError> {
    note_phase(&record, DrillPhase::Preflight).await;
    drill.live.update(|s| s.phase = "waiting for the steady state".into());
    let deadline = drill.scenario.steady_state_deadline.0;
    let before = wait_steady(&drill.client, &drill.subject, deadline, halt.token()).await;
    let allowed = may_begin(drill, &before, halt, stop).await;
    let origin = Instant::now() + LEAD;
    let (writer, recorder) = open_evidence(drill, timeline, origin)?;
    recorder.record(Event::Steady {
        stage: SteadyStage::Before,
        ok: before.ok,
        detail: before.detail.clone(),
    });
    let outcome = match allowed {
        Ok(()) => {
            let first = before.snapshot;
            let performed = perform(drill, timeline, &recorder, watchdog, first, origin, halt, &record);
            let mut performed = Box::pin(performed);
            tokio::select! {
                outcome = &mut performed => outcome,
                why = writer.trouble() => {
                    halt.broken(format!("{why}; the run ends early, since it would prove nothing"));
                    performed.await
                }
            }
        }
        Err(error) => Err(error),
    };
    conclude(drill, (writer, recorder), outcome, stop).await
}

/// Whether the audience may come: nobody ended the run, the platform is steady, and load may go where it says that it is.
async fn may_begin(
    drill: &Drill,
    before: &SteadyState,
    halt: &Halt,
    interrupted: &CancellationToken,
) -> Result<(), DrillError> {
    if interrupted.is_cancelled() {
        return Err(DrillError::Interrupted);
    }
    halt.check()?;
    if !before.ok {
        return Err(DrillError::NotSteady(before.detail.clone()));
    }
    let (terms, channel) = (&drill.terms, &drill.scenario.audience.channel);
    guardrail::preflight::may_load(&drill.client, &before.snapshot, channel, terms, halt.token()).await
}

/// Begins the evidence of a run whose audience comes at `origin`. From here on the folder has nothing of an earlier run.
fn open_evidence(drill: &Drill, timeline: &Timeline, origin: Instant) -> Result<(Writer, Recorder), DrillError> {
    clear(&drill.dir)?;
    let (writer, recorder) = Writer::start(&drill.dir.join(EVIDENCE), origin)?;
    recorder.record(Event::Run(Box::new(header(drill, timeline, Timestamp::now()))));
    Ok((writer, recorder))
}

/// Ends the evidence with how the run ended, judges it and writes the reports.
async fn conclude(
    drill: &Drill,
    (writer, recorder): (Writer, Recorder),
    outcome: Result<(), DrillError>,
    stop: &CancellationToken,
) -> Result<Verdict, DrillError> {
    let (end, detail) = match (&outcome, recorder.lost()) {
        (Err(error), _) => (error.end(), error.to_string()),
        (Ok(()), lost) if lost > 0 => (RunEnd::Infrastructure, format!("{lost} events were lost")),
        (Ok(()), _) if stop.is_cancelled() => (RunEnd::Interrupted, "interrupted".to_owned()),
        (Ok(()), _) => (RunEnd::Completed, String::new()),
    };
    recorder.record(Event::End { outcome: end, detail });
    drop(recorder);
    let written = writer.finish().await;
    // What stopped the run is in the evidence: the verdict says it, and with it the exit code, as it will whenever the
    // evidence is judged again.
    if let Err(error) = &outcome {
        drill.live.say(&error.to_string());
    }
    let judged = read(&drill.dir.join(EVIDENCE)).map(|evidence| {
        let verdict = judge(&evidence);
        let reported = write_reports(&drill.dir, &verdict, &evidence);
        (verdict, reported)
    });
    // Evidence that is not whole says nothing of what was undone. Whether something is left, the journal knows.
    written?;
    let (verdict, reported) = judged?;
    match reported {
        // A fault that may still be there outweighs everything.
        Err(error) if !verdict.undone => drill.live.say(&error.to_string()),
        reported => reported?,
    }
    Ok(verdict)
}

fn header(drill: &Drill, timeline: &Timeline, started: Timestamp) -> Header {
    Header {
        schema: SCHEMA,
        run: drill.run.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        seed: timeline.seed,
        scenario_name: drill.scenario_name.clone(),
        scenario: drill.scenario.clone(),
        platform_name: drill.subject.platform.clone(),
        platform: drill.platform.clone(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Audience, faults and observer, until the audience has gone; then the undo and its proof.
#[expect(clippy::too_many_arguments, reason = "wiring: each is used once")]
async fn perform(
    drill: &Drill,
    timeline: &Arc<Timeline>,
    recorder: &Recorder,
    watchdog: &Arc<Watchdog>,
    first: Snapshot,
    origin: Instant,
    halt: &Halt,
    record: &Arc<Record>,
) -> Result<(), DrillError> {
    let status = first
        .platform
        .as_ref()
        .and_then(|p| p.status.clone())
        .unwrap_or_default();
    let hosts = drill.terms.hosts.clone();
    let viewers = audience_plan(&drill.scenario.audience, &drill.platform, &status, timeline.seed, hosts)?;
    // Ends audience, faults and phases; the observer goes on until the platform is steady again.
    let run_stop = halt.token().clone();
    note_phase(record, DrillPhase::Running).await;
    let watch_stop = CancellationToken::new();
    // Whichever way this ends: the tasks hold the evidence open.
    let _guards = (run_stop.clone().drop_guard(), watch_stop.clone().drop_guard());
    let journal = journal(drill, record).await?;
    let (latest_in, latest) = watch::channel(first);
    let observer = tokio::spawn(observe(
        drill.client.clone(),
        drill.subject.clone(),
        recorder.clone(),
        latest_in,
        watch_stop.clone(),
    ));
    let injector = Injector::new(
        drill.client.clone(),
        drill.subject.clone(),
        journal,
        recorder.clone(),
        latest.clone(),
        &drill.run,
        timeline.seed,
        drill.undo_within,
    );
    let injector = Arc::new(injector.limited(Limits::of(&drill.scenario.guardrails, drill.terms.place)));
    let mut faults: JoinSet<Worked> = JoinSet::new();
    for index in 0..timeline.faults.len() {
        let (injector, timeline, stop) = (injector.clone(), timeline.clone(), run_stop.clone());
        faults.spawn(async move {
            let planned = &timeline.faults[index];
            let worked = Box::pin(injector.work(planned, origin, &stop)).await;
            (planned.fault.name.clone(), worked)
        });
    }
    let phases = tokio::spawn(announce(
        drill.live.clone(),
        timeline.clone(),
        latest,
        recorder.clone(),
        origin,
        run_stop.clone(),
    ));
    let tee = Tee {
        recorder: recorder.clone(),
        live: drill.live.clone(),
        viewers: Mutex::new(BTreeMap::new()),
    };
    let sink = Arc::new(watchdog.sink(tee));
    let audience = tokio::spawn(run_audience(viewers, origin, sink, run_stop.clone()));
    let audience = async {
        let outcome = audience.await;
        if !matches!(outcome, Ok(Ok(_))) {
            // Without an audience the faults would prove nothing.
            run_stop.cancel();
        }
        outcome
    };
    let played = async {
        let played = tokio::join!(audience, gather(faults, &run_stop));
        run_stop.cancel();
        played
    };
    let watched = watchdog.watch(drill.client.clone(), timeline, origin, halt, &run_stop);
    let ((audience, (faults, panicked)), ()) = tokio::join!(played, watched);
    if panicked && let Err(error) = injector.sweep().await {
        warn!(%error, "what a fault left could not be taken back");
    }
    let phases = phases.await;
    note_phase(record, DrillPhase::Undoing).await;
    drill
        .live
        .update(|s| s.phase = "waiting for the steady state to return".into());
    // Also after an interruption: whether everything is back is what a person wants to know then.
    let patience = drill.scenario.steady_state_deadline.0;
    let after = wait_steady(&drill.client, &drill.subject, patience, &CancellationToken::new()).await;
    recorder.record(Event::Steady {
        stage: SteadyStage::After,
        ok: after.ok,
        detail: after.detail,
    });
    watch_stop.cancel();
    let observer = observer.await;
    halt.check()?;
    faults?;
    let report = audience??;
    phases?;
    observer?;
    info!(
        sessions = report.sessions,
        fatal = report.fatal,
        "the audience has gone"
    );
    write_goose(&drill.dir, timeline, &report)?;
    Ok(())
}

/// Records phases as they begin and keeps the live line up to date.
async fn announce(
    live: Arc<super::Live>,
    timeline: Arc<Timeline>,
    mut latest: watch::Receiver<Snapshot>,
    recorder: Recorder,
    origin: Instant,
    stop: CancellationToken,
) {
    sleep_until(origin).await;
    let mut current = String::new();
    let mut next = origin;
    while !stop.is_cancelled() {
        let ms = origin.elapsed().as_millis() as u64;
        if ms >= timeline.length_ms {
            return;
        }
        if let Some(phase) = timeline.phase_at(ms)
            && phase.name != current
        {
            current.clone_from(&phase.name);
            recorder.record(Event::Phase { name: current.clone() });
            live.say(&format!(
                "{}  phase {current}: {} viewers",
                crate::plan::clock(ms),
                phase.to_viewers
            ));
        }
        let edges = latest.borrow_and_update().edges.clone();
        let faults = timeline
            .faults
            .iter()
            .filter(|f| (f.inject_ms..=f.undo_ms).contains(&ms))
            .map(|f| f.fault.name.clone())
            .collect();
        live.update(|status| {
            status.phase.clone_from(&current);
            status.clock = (ms, timeline.length_ms);
            status.edges = edges;
            status.faults = faults;
        });
        next += Duration::from_millis(500);
        tokio::select! {
            () = sleep_until(next) => {}
            () = stop.cancelled() => return,
        }
    }
}
