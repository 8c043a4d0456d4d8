//! `showrunner supervise`: the process beside a sandbox that ends its pods when it is killed.

use std::process::ExitCode;

use showrunner_sandbox::crash::{Owner, supervise};

use crate::args::SuperviseArgs;

/// Waits on standard input. Nobody reads what it would say: what it could not end, the next start names.
pub(crate) fn run(args: &SuperviseArgs) -> ExitCode {
    // An owner that is gone already, or whose number is somebody else's, left nothing that started after this.
    let Some(owner) = Owner::of(args.pid).filter(|owner| owner.start == args.start) else {
        return ExitCode::SUCCESS;
    };
    match supervise(&owner, &args.root, std::io::stdin().lock()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
