//! Arguments of `lever`.

use clap::{Args as ClapArgs, Subcommand};

use crate::cluster::ClusterArgs;

/// Arguments of `lever`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    showrunner lever engage --reason \"cup final\"\n  \
    showrunner lever show --context production\n  \
    showrunner lever release\n\n\
    Exit codes: 0 done, 2 invalid input, 6 the cluster does not answer.")]
pub(crate) struct LeverArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub(crate) action: LeverAction,
}

/// What is done with the lever.
#[derive(Debug, Subcommand)]
pub(crate) enum LeverAction {
    /// End every drill of the cluster, taking its faults back, and let none start
    Engage(MoveArgs),
    /// Let drills run again
    Release(MoveArgs),
    /// Say whether drills may run
    Show(ClusterArgs),
}

/// Moving the lever.
#[derive(Debug, ClapArgs)]
pub(crate) struct MoveArgs {
    /// Why: whoever is stopped by it reads this
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}
