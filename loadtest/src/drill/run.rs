//! Running a drill from its preflight to its verdict.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use showrunner_crds::platform::StreamingPlatformStatus;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Drill, DrillError, live::Tee, viewers::audience_plan, write_reports};
use crate::{
    audience::run_audience,
    evidence::{Event, Header, Recorder, SCHEMA, SteadyStage, Writer, read},
    fault::{FaultError, Injector, Journal},
    judge::{Verdict, judge},
    observe::{Snapshot, observe, wait_steady},
    plan::{Timeline, plan},
};

/// Time between the preflight and the audience's first moment, in which everything is set up.
const LEAD: Duration = Duration::from_secs(1);

/// Runs a drill. `stop` ends it early: faults are undone, the evidence says that it was cut short.
pub async fn run(drill: Drill, stop: CancellationToken) -> Result<Verdict, DrillError> {
    let timeline = Arc::new(plan(&drill.scenario, &drill.platform, drill.seed)?);
    drill.live.update(|s| s.phase = "waiting for the steady state".into());
    let deadline = drill.scenario.steady_state_deadline.0;
    let before = wait_steady(&drill.client, &drill.subject, deadline, &stop).await;
    if stop.is_cancelled() {
        return Err(DrillError::Interrupted);
    }
    if !before.ok {
        return Err(DrillError::NotSteady(before.detail));
    }
    let status = before
        .snapshot
        .platform
        .as_ref()
        .and_then(|p| p.status.clone())
        .unwrap_or_default();
    let started = Timestamp::now();
    let origin = Instant::now() + LEAD;
    let (writer, recorder) = Writer::start(&drill.dir.join("evidence.jsonl"), origin)?;
    recorder.record(Event::Run(Box::new(header(&drill, &timeline, started))));
    recorder.record(Event::Steady {
        stage: SteadyStage::Before,
        ok: true,
        detail: before.detail,
    });
    let outcome = perform(&drill, &timeline, &status, &recorder, before.snapshot, origin, &stop).await;
    let end = match &outcome {
        Ok(()) if stop.is_cancelled() => "interrupted".to_owned(),
        Ok(()) => "completed".to_owned(),
        Err(error) => error.to_string(),
    };
    let end = match recorder.lost() {
        0 => end,
        lost => format!("{lost} events were lost"),
    };
    recorder.record(Event::End { outcome: end });
    drop(recorder);
    let written = writer.finish().await;
    let evidence = read(&drill.dir.join("evidence.jsonl"))?;
    let verdict = judge(&evidence);
    write_reports(&drill.dir, &verdict, &evidence)?;
    // A fault that may still be there outweighs what stopped the run, and that what can be judged of it. The files are there
    // either way.
    if !verdict.undone {
        if let Err(error) = outcome {
            drill.live.say(&error.to_string());
        }
        return Ok(verdict);
    }
    outcome?;
    written?;
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
async fn perform(
    drill: &Drill,
    timeline: &Arc<Timeline>,
    status: &StreamingPlatformStatus,
    recorder: &Recorder,
    first: Snapshot,
    origin: Instant,
    stop: &CancellationToken,
) -> Result<(), DrillError> {
    let viewers = audience_plan(&drill.scenario.audience, &drill.platform, status, timeline.seed)?;
    // Ends audience, faults and phases; the observer goes on until the platform is steady again.
    let run_stop = stop.child_token();
    let watch_stop = CancellationToken::new();
    // Whichever way this ends: the tasks hold the evidence open.
    let _guards = (run_stop.clone().drop_guard(), watch_stop.clone().drop_guard());
    let journal = Journal::open(&drill.dir.join("journal.jsonl"))?;
    let (latest_in, latest) = watch::channel(first);
    let observer = tokio::spawn(observe(
        drill.client.clone(),
        drill.subject.clone(),
        recorder.clone(),
        latest_in,
        watch_stop.clone(),
    ));
    let suffix = drill.run.rsplit('-').next().unwrap_or("0").to_lowercase();
    let injector = Arc::new(Injector::new(
        drill.client.clone(),
        drill.subject.clone(),
        journal,
        recorder.clone(),
        latest.clone(),
        suffix,
        timeline.seed,
    ));
    let mut faults: JoinSet<(String, Result<(), FaultError>)> = JoinSet::new();
    for index in 0..timeline.faults.len() {
        let (injector, timeline, stop) = (injector.clone(), timeline.clone(), run_stop.clone());
        faults.spawn(async move {
            let planned = &timeline.faults[index];
            (planned.fault.name.clone(), injector.work(planned, origin, &stop).await)
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
    let audience = tokio::spawn(run_audience(viewers, origin, Arc::new(tee), run_stop.clone()));
    let faults = async {
        let mut first = Ok(());
        while let Some(joined) = faults.join_next().await {
            let (name, result) = joined?;
            if let Err(source) = result {
                // A fault that did not happen proves nothing: stop here instead of going through the motions.
                run_stop.cancel();
                first = first.and(Err(match source {
                    FaultError::Guardrail(why) => DrillError::Guardrail(format!("guardrail at fault `{name}`: {why}")),
                    source => DrillError::Fault { name, source },
                }));
            }
        }
        first
    };
    let audience = async {
        let outcome = audience.await;
        if !matches!(outcome, Ok(Ok(_))) {
            // Without an audience the faults would prove nothing.
            run_stop.cancel();
        }
        outcome
    };
    let (audience, faults) = tokio::join!(audience, faults);
    run_stop.cancel();
    phases.await?;
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
    observer.await?;
    faults?;
    let report = audience??;
    info!(?report, "the audience has gone");
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
