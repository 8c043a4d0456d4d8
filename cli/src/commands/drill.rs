//! `showrunner drill`.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kube::ResourceExt;
use showrunner_crds::{
    rules::{patched, validate},
    scenario::Scenario,
    source::PlatformFile,
};
use showrunner_loadtest::{
    drill::{self, Drill, Live},
    fault::UNDO_WITHIN,
    judge::Verdict,
    observe::Subject,
    plan, report,
};
use tokio_util::sync::CancellationToken;

use crate::{args::DrillArgs, failure::Failure, input, output::print, signals::stop_token, stage::Stage};

/// How often the stage is looked at while a drill runs.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: DrillArgs) -> Result<u8, Failure> {
    let (mut file, scenario) = read(&args)?;
    let platform = patched(&file.platform.spec, scenario.spec.platform_patch.as_ref())
        .map_err(|e| Failure::invalid(format!("{}: spec.platformPatch: {e}", args.scenario.display())))?;
    let wrong: Vec<String> = validate(&platform)
        .into_iter()
        .map(|v| {
            format!(
                "{}: spec.platformPatch gives {}: {}",
                args.scenario.display(),
                v.path,
                v.message
            )
        })
        .collect();
    if !wrong.is_empty() {
        return Err(Failure::invalid(wrong.join("\n")));
    }
    file.platform.spec = platform;
    let timeline = plan::plan(&scenario.spec, &file.platform.spec, args.seed)
        .map_err(|e| Failure::invalid(format!("{}: {e}", args.scenario.display())))?;
    if args.dry_run {
        print(&plan::render(&scenario.spec, &file.platform.name_any(), &timeline))?;
        return Ok(0);
    }
    let stop = stop_token()?;
    let run = run_name(&scenario);
    let dir = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("target/drills").join(&run));
    std::fs::create_dir_all(&dir).map_err(|e| Failure::infrastructure(format!("{}: {e}", dir.display())))?;
    for stale in [
        "evidence.jsonl",
        "verdict.json",
        "junit.xml",
        "summary.md",
        "report.html",
        "journal.jsonl",
        "goose.json",
    ] {
        match std::fs::remove_file(dir.join(stale)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::infrastructure(format!(
                    "{}: {error}",
                    dir.join(stale).display()
                )));
            }
            _ => {}
        }
    }
    let live = Live::new(std::io::stderr().is_terminal());
    live.say(&format!(
        "{} · platform {} · seed {}",
        scenario.spec.title,
        file.platform.name_any(),
        timeline.seed
    ));
    live.update(|s| s.phase = "starting the sandbox".into());
    let stage = Stage::raise(&file, None, timeline.seed, args.control_plane).await?;
    let outcome = on_stage(&stage, &args, &file, scenario, run, &dir, &live, stop).await;
    if let Some(to) = &args.keep_logs
        && let Err(error) = keep_logs(stage.sandbox.root(), to)
    {
        live.say(&format!("logs could not be kept in {}: {error}", to.display()));
    }
    live.update(|s| s.phase = "ending every process".into());
    let struck = stage.strike().await;
    live.done();
    let verdict = outcome?;
    print(&report::table(&verdict, std::io::stdout().is_terminal()))?;
    print(&format!("  evidence and reports: {}\n\n", dir.display()))?;
    struck?;
    Ok(verdict.exit_code())
}

fn read(args: &DrillArgs) -> Result<(PlatformFile, Scenario), Failure> {
    input::platform_and_scenario(&args.platform, &args.scenario)
}

/// Name of the scenario and the second it is run: unique on a machine, and sorted by time.
fn run_name(scenario: &Scenario) -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    format!("{}-{seconds}", scenario.name_any())
}

/// Runs the drill, and ends it early when the stage breaks under it.
#[expect(clippy::too_many_arguments, reason = "wiring: each is used once")]
async fn on_stage(
    stage: &Stage,
    args: &DrillArgs,
    file: &PlatformFile,
    scenario: Scenario,
    run: String,
    dir: &Path,
    live: &Arc<Live>,
    stop: CancellationToken,
) -> Result<Verdict, Failure> {
    let drill = Drill {
        client: stage.sandbox.client(),
        subject: Subject {
            namespace: stage.namespace.clone(),
            platform: stage.platform.clone(),
        },
        scenario_name: scenario.name_any(),
        scenario: scenario.spec,
        platform: file.platform.spec.clone(),
        seed: args.seed,
        run,
        dir: PathBuf::from(dir),
        undo_within: UNDO_WITHIN,
        live: live.clone(),
    };
    let inner = stop.child_token();
    let mut running = std::pin::pin!(drill::run(drill, inner.clone()));
    let mut broken = None;
    let outcome = loop {
        tokio::select! {
            outcome = &mut running => break outcome,
            () = tokio::time::sleep(LOOK), if broken.is_none() => {
                broken = stage.failure();
                if broken.is_some() {
                    inner.cancel();
                }
            }
        }
    };
    if let Some(why) = broken {
        return Err(Failure::infrastructure(format!("the sandbox broke: {why}")));
    }
    outcome.map_err(|error| Failure::with_code(error.to_string(), error.exit_code()))
}

/// Copies the logs of every pod: `pods/<pod>/logs/<container>/<n>.log` under the sandbox's root.
fn keep_logs(root: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for pod in std::fs::read_dir(root.join("pods"))? {
        let pod = pod?;
        let Ok(containers) = std::fs::read_dir(pod.path().join("logs")) else {
            continue;
        };
        for container in containers {
            let container = container?;
            for log in std::fs::read_dir(container.path())? {
                let log = log?;
                let parts = [pod.file_name(), container.file_name(), log.file_name()];
                let name: Vec<String> = parts.iter().map(|p| p.to_string_lossy().into_owned()).collect();
                std::fs::copy(log.path(), to.join(name.join("_")))?;
            }
        }
    }
    Ok(())
}
