//! Arguments of `undo`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use crate::cluster::ClusterArgs;

/// Arguments of `undo`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    showrunner undo target/drills/premiere-night-1 --kubeconfig target/sandbox/kubeconfig\n  \
    showrunner undo premiere-night-1 -n cinema\n  \
    showrunner undo --all -n cinema --json\n\n\
    It takes back what the run's journal names and what carries the run's label, and proves that nothing of it is left and \
    that the platform is in its steady state again. A runner that still lives is told to stop. Doing it twice does no harm.\n\n\
    Exit codes: 0 undone and proved, 2 invalid input, 5 undo not verified, 6 the cluster does not answer.")]
pub(crate) struct UndoArgs {
    /// Folder of a run, its journal, or the name of its Drill in the cluster
    #[arg(value_name = "RUN", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) run: Option<PathBuf>,
    /// Every Drill of the namespace that is not known to be over
    #[arg(long)]
    pub(crate) all: bool,
    /// Namespace of the Drill; by default that of the kubeconfig's context
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Write what was done as JSON to standard output
    #[arg(long)]
    pub(crate) json: bool,
}
