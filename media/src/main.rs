//! The data-plane binary: see `showrunner-media --help`.

use std::process::ExitCode;

use clap::Parser;
use showrunner_media::{cli, telemetry};

/// Encoder agent, origin, steering and playback services.
#[derive(Parser)]
#[command(name = "showrunner-media", version)]
struct Command {
    #[command(flatten)]
    media: cli::MediaArgs,
}

fn main() -> ExitCode {
    let command = Command::parse();
    telemetry::init();
    cli::main(command.media)
}
