//! The `showrunner` command.

mod args;
mod cluster;
mod commands;
mod failure;
mod input;
mod output;
mod signals;
mod stage;
mod trouble;

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    // A media process writes into a pod's log: everything from `info` on, without colour. A person gets warnings.
    let media = matches!(args.command, Command::Media(_));
    let level = EnvFilter::try_from_env("SHOWRUNNER_LOG")
        .unwrap_or_else(|_| EnvFilter::new(if media { "info" } else { "error" }));
    tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_ansi(!media && std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    // goose's reqwest and kube both speak TLS: the process has one provider, chosen here.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed already");
    }
    match args.command {
        Command::Media(media) => showrunner_media::cli::main(media),
        Command::Up(up) => failure::report(runtime(commands::up::run(up))),
        Command::Drill(drill) => failure::report(runtime(commands::drill::run(drill))),
        Command::Undo(undo) => failure::report(runtime(commands::undo::run(undo))),
        Command::Judge(judge) => failure::report(commands::judge::run(&judge)),
        Command::Build(build) => failure::report(commands::build::run(&build)),
        Command::Explain(explain) => failure::report(runtime(commands::explain::run(explain))),
        Command::Lever(lever) => failure::report(runtime(commands::lever::run(lever))),
        Command::Supervise(args) => commands::supervise::run(&args),
        Command::Crd => failure::report(commands::crd::run()),
    }
}

/// Runs a command on a runtime of its own.
fn runtime(command: impl Future<Output = Result<u8, failure::Failure>>) -> Result<u8, failure::Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| failure::Failure::infrastructure(format!("no runtime: {error}")))?;
    let result = runtime.block_on(command);
    // Tasks that do not end by themselves must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result
}
