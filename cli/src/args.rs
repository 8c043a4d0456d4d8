//! Arguments.

mod explain;
mod lever;
mod limits;
mod undo;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub(crate) use explain::{ExplainArgs, ExplainSubject, HpaArgs, RampArgs, SettingsArgs};
pub(crate) use lever::{LeverAction, LeverArgs};
pub(crate) use limits::LimitArgs;
pub(crate) use undo::UndoArgs;

use crate::cluster::ClusterArgs;

/// Run streaming platforms on Kubernetes, and prove before the audience does that they hold.
#[derive(Debug, Parser)]
#[command(
    name = "showrunner",
    version,
    after_help = "Examples:\n  \
        showrunner drill scenarios/premiere-night.yaml --platform examples/cinema.yaml\n  \
        showrunner up -f examples/cinema.yaml\n  \
        showrunner judge target/drills/premiere-night-1/evidence.jsonl\n  \
        showrunner explain hpa -n cinema cinema-eu-edge --ramp 100/s --for 10m\n\n\
        Exit codes: 0 pass, 1 a gate failed, 2 invalid input, 3 inconclusive, 4 stopped by a guardrail, 5 undo not verified, 6 infrastructure."
)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a sandbox with a platform in it; it stays up until Ctrl-C
    Up(UpArgs),
    /// Stage a scenario against a platform, in a sandbox or on a cluster, and judge it
    Drill(DrillArgs),
    /// Take back what a drill has left in a cluster, and prove it
    Undo(UndoArgs),
    /// Judge a run again from its evidence alone
    Judge(JudgeArgs),
    /// Print every object that the operator would apply for a platform, as YAML
    Build(BuildArgs),
    /// Explain a decision of Kubernetes: why it did, or did not, scale
    Explain(ExplainArgs),
    /// End every drill of a cluster and let none start, or let them run again
    Lever(LeverArgs),
    /// Print the CustomResourceDefinitions as YAML
    Crd,
    /// Be a process of the data plane: encoder, origin, steering, services
    Media(showrunner_media::cli::MediaArgs),
    /// End the pods of a sandbox whose process was killed; started by that process
    #[command(hide = true)]
    Supervise(SuperviseArgs),
}

/// Arguments of `supervise`.
#[derive(Debug, ClapArgs)]
pub(crate) struct SuperviseArgs {
    /// The sandbox's folder, which says whose it is
    pub(crate) root: PathBuf,
}

/// What runs the sandbox's objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlaneArg {
    /// The one that is built in
    #[default]
    Embedded,
    /// Kubernetes' own, as `make kubernetes` builds it or KUBEBUILDER_ASSETS names it
    Real,
    /// Kubernetes' own API server, with the controllers and the scheduler that are built in
    RealApi,
}

/// Arguments of `up`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  showrunner up -f examples/cinema.yaml\n  \
    KUBECONFIG=target/sandbox/kubeconfig kubectl get platform -A")]
pub(crate) struct UpArgs {
    /// File with a StreamingPlatform, and Premieres if there are any
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where the kubeconfig is written
    #[arg(long, value_name = "FILE", default_value = "target/sandbox/kubeconfig")]
    pub(crate) kubeconfig: PathBuf,
    /// API server, controllers and scheduler
    #[arg(long, value_enum, default_value_t)]
    pub(crate) control_plane: PlaneArg,
}

/// Arguments of `drill`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    showrunner drill scenarios/premiere-night.yaml --platform examples/cinema.yaml\n  \
    showrunner drill scenarios/premiere-night.yaml --platform examples/cinema.yaml --dry-run\n  \
    showrunner drill scenarios/smoke.yaml --platform examples/cinema.yaml --seed 7 --out /tmp/run\n  \
    showrunner drill scenarios/smoke.yaml --platform cinema -n cinema --environment staging")]
pub(crate) struct DrillArgs {
    /// File with a Scenario
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: PathBuf,
    /// File with the StreamingPlatform to run it against; with -n, --kubeconfig or --context its name in the cluster
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) platform: PathBuf,
    /// Run it against a platform that is there, in this namespace of a cluster; nothing is started
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Print the timeline, its targets and what each step may touch, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Seed of every random choice; the scenario's own by default
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Folder for evidence and reports; `target/drills/<run>` by default
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// What it may do, besides what its scenario says.
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Keep the pods' logs: copy them to this folder before the sandbox is removed
    #[arg(long, value_name = "DIR", conflicts_with_all = ["namespace", "kubeconfig", "context"])]
    pub(crate) keep_logs: Option<PathBuf>,
    /// API server, controllers and scheduler
    #[arg(long, value_enum, default_value_t, conflicts_with_all = ["namespace", "kubeconfig", "context"])]
    pub(crate) control_plane: PlaneArg,
}

impl DrillArgs {
    /// Whether it runs against a platform that is there.
    pub(crate) fn on_cluster(&self) -> bool {
        self.namespace.is_some() || self.cluster.kubeconfig.is_some() || self.cluster.context.is_some()
    }
}

/// Arguments of `judge`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  showrunner judge target/drills/premiere-night-1/evidence.jsonl")]
pub(crate) struct JudgeArgs {
    /// Evidence of a run
    #[arg(value_name = "EVIDENCE")]
    pub(crate) evidence: PathBuf,
    /// Write the verdict as JSON instead of as a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the reports into this folder again
    #[arg(long, value_name = "DIR")]
    pub(crate) reports: Option<PathBuf>,
}

/// Arguments of `build`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  showrunner build -f examples/production.yaml | kubectl diff -f -")]
pub(crate) struct BuildArgs {
    /// File with a StreamingPlatform
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_only_a_sandbox_has_is_refused_for_a_cluster() {
        let drill = ["showrunner", "drill", "scenario.yaml", "--platform", "cinema"];
        let parse = |more: &[&str]| Args::try_parse_from(drill.iter().chain(more)).map_err(|error| error.kind());
        for sandbox in [["--keep-logs", "logs"], ["--control-plane", "real"]] {
            assert!(parse(&sandbox).is_ok(), "{sandbox:?}");
            for cluster in [["-n", "cinema"], ["--kubeconfig", "file"], ["--context", "production"]] {
                assert!(parse(&cluster).is_ok(), "{cluster:?}");
                let both = parse(&[sandbox, cluster].concat()).map(drop);
                assert_eq!(both, Err(ErrorKind::ArgumentConflict), "{sandbox:?} {cluster:?}");
            }
        }
    }
}
