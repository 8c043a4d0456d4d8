//! `showrunner supervise`: the process beside a sandbox that ends its pods when it is killed.

use std::process::ExitCode;

use showrunner_sandbox::crash::{Owner, supervise};

use crate::args::SuperviseArgs;

/// Waits on standard input. Nobody reads what it would say: what it could not end, the next start names.
pub(crate) fn run(args: &SuperviseArgs) -> ExitCode {
    // The folder says whose it is from before this process was started. If it is gone, somebody has cleaned up already.
    let Ok(owner) = Owner::read(&args.root) else {
        return ExitCode::SUCCESS;
    };
    match supervise(&owner, &args.root, std::io::stdin().lock()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
