//! `showrunner drill`.

mod live;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use kube::ResourceExt;
use showrunner_crds::{platform::StreamingPlatform, rules::patched, scenario::Scenario};
use showrunner_loadtest::{
    drill::{self, Drill, Folder, Live},
    fault::UNDO_WITHIN,
    guardrail::{Place, Terms, preflight},
    judge::{Verdict, exit},
    observe::Subject,
    plan::{self, Timeline},
    report,
};
use tokio_util::sync::CancellationToken;

use crate::{args::DrillArgs, failure::Failure, input, output::print, signals::stop_token, stage::Stage};

pub(crate) async fn run(args: DrillArgs) -> Result<u8, Failure> {
    if args.on_cluster() {
        return Box::pin(live::run(&args)).await;
    }
    let (mut file, scenario) = input::platform_and_scenario(&args.platform, &args.scenario)?;
    file.platform.spec = patched(&file.platform.spec, scenario.spec.platform_patch.as_ref())
        .map_err(|e| Failure::invalid(format!("{}: spec.platformPatch: {e}", args.scenario.display())))?;
    if scenario.spec.platform_patch.is_some() {
        input::patched_platform(&args.scenario, &file.platform)?;
    }
    let terms = args.limits.terms(Place::Sandbox);
    let timeline = timeline(&args, &scenario, &file.platform, &terms)?;
    if args.dry_run {
        print(&plan::render(&scenario.spec, &file.platform.name_any(), &timeline))?;
        return Ok(0);
    }
    let stop = stop_token()?;
    let run = run_name(&scenario);
    let (dir, _folder) = folder(&args, &run)?;
    let live = greet(&scenario, &file.platform, &timeline);
    live.update(|s| s.phase = "starting the sandbox".into());
    let stage = Stage::raise(&file, None, timeline.seed, args.control_plane).await?;
    let subject = Subject {
        namespace: stage.namespace.clone(),
        platform: stage.platform.clone(),
    };
    let drill = Drill {
        client: stage.sandbox.client(),
        subject,
        scenario_name: scenario.name_any(),
        scenario: scenario.spec,
        platform: file.platform.spec.clone(),
        seed: args.seed,
        run,
        dir: dir.clone(),
        undo_within: UNDO_WITHIN,
        terms,
        live: live.clone(),
    };
    let outcome = perform(drill, stop, async {
        format!("the sandbox broke: {}", stage.broken().await)
    })
    .await;
    if let Some(to) = &args.keep_logs
        && let Err(error) = keep_logs(stage.sandbox.root(), to)
    {
        live.say(&format!("logs could not be kept in {}: {error}", to.display()));
    }
    live.update(|s| s.phase = "ending every process".into());
    let struck = stage.strike().await;
    live.done();
    end(outcome, struck, &dir)
}

/// The plan of the drill.
fn timeline(
    args: &DrillArgs,
    scenario: &Scenario,
    platform: &StreamingPlatform,
    terms: &Terms,
) -> Result<Timeline, Failure> {
    let (timeline, mut mistakes) = plan::draft(&scenario.spec, &platform.spec, args.seed);
    mistakes.extend(preflight::misfits(&timeline, &scenario.spec, &platform.spec, terms));
    let mistakes = mistakes.into_iter();
    input::right(
        &args.scenario,
        mistakes.map(|mistake| (mistake.path, mistake.problem.to_string())),
    )?;
    Ok(timeline)
}

/// The folder of the run, and the right to write into it.
fn folder(args: &DrillArgs, run: &str) -> Result<(PathBuf, Folder), Failure> {
    let dir = args.out.clone().unwrap_or_else(|| Path::new("target/drills").join(run));
    let folder = Folder::claim(&dir).map_err(|error| Failure::with_code(error.to_string(), error.exit_code()))?;
    Ok((dir, folder))
}

fn greet(scenario: &Scenario, platform: &StreamingPlatform, timeline: &Timeline) -> Arc<Live> {
    let live = Live::new(std::io::stderr().is_terminal());
    live.say(&format!(
        "{} · platform {} · seed {}",
        scenario.spec.title,
        platform.name_any(),
        timeline.seed
    ));
    live
}

/// Runs the drill, and ends it early when what it stands on breaks.
async fn perform(
    drill: Drill,
    stop: CancellationToken,
    broken: impl Future<Output = String>,
) -> Result<Verdict, Failure> {
    let outcome = Box::pin(drill::run_on(drill, stop, broken)).await;
    outcome.map_err(|error| Failure::with_code(error.to_string(), error.exit_code()))
}

/// Tells the verdict and gives the exit code. `after` is how the rest went: that a fault may still be there outweighs it.
fn end(outcome: Result<Verdict, Failure>, after: Result<(), Failure>, dir: &Path) -> Result<u8, Failure> {
    let verdict = match (outcome, &after) {
        (Ok(verdict), _) => verdict,
        (Err(failure), Ok(())) => return Err(failure),
        (Err(failure), Err(also)) => return Err(failure.and(also)),
    };
    let code = verdict.exit_code();
    match tell(&verdict, dir).and(after) {
        Ok(()) => Ok(code),
        Err(failure) if code == exit::NOT_UNDONE => Err(failure.coded(code)),
        Err(failure) => Err(failure),
    }
}

fn tell(verdict: &Verdict, dir: &Path) -> Result<(), Failure> {
    print(&report::table(verdict, std::io::stdout().is_terminal()))?;
    print(&format!("  evidence and reports: {}\n\n", dir.display()))
}

/// Name of the scenario and the second it is run: unique on a machine, and sorted by time. It is the value of a label too,
/// which may have 63 characters.
fn run_name(scenario: &Scenario) -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    named(&scenario.name_any(), seconds)
}

fn named(scenario: &str, seconds: u64) -> String {
    let number = format!("-{seconds}");
    let short: String = scenario.chars().take(63 - number.len()).collect();
    format!("{}{number}", short.trim_end_matches(['-', '.']))
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

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use showrunner_loadtest::{evidence::RunEnd, judge::Outcome};

    use super::*;
    use crate::failure::report;

    fn verdict(undone: bool) -> Verdict {
        Verdict {
            run: "smoke-1".into(),
            scenario: "smoke".into(),
            title: "Smoke".into(),
            platform: "cinema".into(),
            seed: 1,
            outcome: Outcome::Pass,
            ended: RunEnd::Completed,
            undone,
            doubts: Vec::new(),
            gates: Vec::new(),
        }
    }

    #[test]
    fn a_fault_that_may_still_be_there_outweighs_what_fails_after_it() {
        let ended = |undone, failed: bool| {
            let after = if failed {
                Err(Failure::infrastructure("the operator died"))
            } else {
                Ok(())
            };
            format!("{:?}", report(end(Ok(verdict(undone)), after, Path::new("out"))))
        };
        let code = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(ended(true, false), code(exit::PASS));
        assert_eq!(ended(true, true), code(exit::INFRASTRUCTURE));
        assert_eq!(ended(false, true), code(exit::NOT_UNDONE));
        let neither = Failure::with_code("still there", exit::NOT_UNDONE);
        let also = Err(Failure::infrastructure("the operator died"));
        assert_eq!(
            format!("{:?}", report(end(Err(neither), also, Path::new("out")))),
            code(exit::NOT_UNDONE)
        );
    }

    #[test]
    fn the_name_of_a_run_fits_a_label() {
        assert_eq!(named("smoke", 1_800_000_000), "smoke-1800000000");
        let long = named(&"a-".repeat(100), 1_800_000_000);
        assert!(long.len() <= 63 && long.ends_with("a-1800000000"), "{long}");
    }
}
