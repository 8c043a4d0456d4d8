//! Holds our simulated viewer against hls.js in a real browser: the same stream, the same line, the same bandwidth trace, at
//! the same time. Writes what was found to `docs/fidelity.md`.

mod browser;
mod compare;
mod line;
mod page;
mod recording;
mod stream;
mod timeline;
mod trace;
mod viewer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use showrunner_crds::platform::Channel;
use tokio::time::{Instant, sleep};

use crate::line::Line;
use crate::page::Run;
use crate::recording::Recording;
use crate::stream::Stream;
use crate::trace::Trace;

/// Segments that a playlist lists: 60 s, as in `examples/cinema.yaml`.
const WINDOW: u64 = 30;
/// Between the starts of the two browsers: a browser that starts needs the processor for itself.
const APART: Duration = Duration::from_secs(8);
/// The channel of `examples/cinema.yaml`.
const CHANNEL: &str = r"
name: main
ladder:
  - {name: 360p, width: 640, height: 360, bitrateKbps: 600}
  - {name: 240p, width: 426, height: 240, bitrateKbps: 300}
  - {name: 144p, width: 256, height: 144, bitrateKbps: 120}
audio: {bitrateKbps: 48}
segmentSeconds: 2
dvrWindow: 60s
";

/// Compares our viewer with hls.js.
#[derive(Debug, Parser)]
struct Args {
    /// Folder with the traces, `NAME.csv` each
    #[arg(long, value_name = "DIR", default_value = "tests/fidelity/traces")]
    traces: PathBuf,
    /// Only the traces of these names
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where in a segment play is pressed, in seconds; a run for each
    #[arg(long, value_name = "SECONDS", value_delimiter = ',', default_value = "0.4,1.0,1.6")]
    phases: Vec<f64>,
    /// How long is watched, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 75)]
    seconds: u64,
    /// Round-trip time of the line, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 40)]
    rtt: u64,
    /// Folder that keeps every run
    #[arg(long, value_name = "DIR", default_value = "target/fidelity")]
    runs: PathBuf,
    /// The browser tests' folder
    #[arg(long, value_name = "DIR", default_value = "tests/browser")]
    browser: PathBuf,
    /// The document to write, from all runs in the folder
    #[arg(long, value_name = "FILE", default_value = "docs/fidelity.md")]
    document: PathBuf,
    /// Write the document from the runs that are there, and play nothing
    #[arg(long)]
    no_play: bool,
    /// Play with our viewer alone, without a browser, and print its timeline
    #[arg(long)]
    alone: bool,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("fidelity: {failure}");
            ExitCode::from(6)
        }
    }
}

async fn run(args: Args) -> Result<bool, Failure> {
    let traces = traces(&args)?;
    if !args.no_play {
        let channel: Channel = serde_saphyr::from_str(CHANNEL)?;
        let count = WINDOW + args.seconds.div_ceil(u64::from(channel.segment_seconds)) + 2;
        eprintln!("encoding {count} segments");
        let recording = Arc::new(Recording::make(&channel, count).await?);
        for (name, trace) in &traces {
            for phase in &args.phases {
                eprintln!("{name}, play pressed {phase} s into a segment");
                play(&args, &recording, name, trace, Duration::try_from_secs_f64(*phase)?).await?;
            }
        }
    }
    if args.alone {
        return Ok(true);
    }
    let mut runs = page::load(&args.runs)?;
    // Those of another length, line or moment may lie there from before.
    runs.retain(|run| run.seconds == args.seconds && run.rtt_ms == args.rtt && args.phases.contains(&run.phase));
    let (text, agrees) = page::render(&runs, &page::traces_of(&args.traces)?);
    std::fs::write(&args.document, text)?;
    eprintln!(
        "{} written: {}",
        args.document.display(),
        if agrees { "they agree" } else { "they do not agree" }
    );
    Ok(agrees)
}

fn traces(args: &Args) -> Result<Vec<(String, Trace)>, Failure> {
    let all = page::traces_of(&args.traces)?;
    for name in &args.only {
        if !all.iter().any(|(known, _)| known == name) {
            return Err(format!("there is no trace `{name}` in {}", args.traces.display()).into());
        }
    }
    Ok(all
        .into_iter()
        .filter(|(name, _)| args.only.is_empty() || args.only.contains(name))
        .collect())
}

/// One run: our viewer and two browsers, each with a line of its own that follows the trace from its own start. The second browser shows how far hls.js is
/// from itself.
async fn play(
    args: &Args,
    recording: &Arc<Recording>,
    name: &str,
    trace: &Trace,
    phase: Duration,
) -> Result<(), Failure> {
    let (length, rtt) = (Duration::from_secs(args.seconds), Duration::from_millis(args.rtt));
    let stream = || Arc::new(Stream::new(Arc::clone(recording), WINDOW, phase));
    let (ours, theirs, again) = (stream(), stream(), stream());
    let lines = [
        Line::lay(&ours, rtt).await?,
        Line::lay(&theirs, rtt).await?,
        Line::lay(&again, rtt).await?,
    ];
    let [our_line, their_line, again_line] = &lines;
    let following = async {
        tokio::join!(
            our_line.follow(trace, &ours),
            their_line.follow(trace, &theirs),
            again_line.follow(trace, &again)
        )
    };
    if args.alone {
        let mut timeline = tokio::select! {
            timeline = viewer::watch(our_line, length) => timeline,
            _ = following => return Err("the trace ended".into()),
        };
        timeline.rungs = ours.rungs();
        timeline.requests = ours.requests();
        println!("{}", serde_json::to_string(&timeline)?);
        return Ok(());
    }
    let playing = async {
        let began = Instant::now();
        let second = async {
            sleep(APART).await;
            browser::watch(again_line, length, &args.browser).await
        };
        let played = tokio::join!(
            viewer::watch(our_line, length),
            browser::watch(their_line, length, &args.browser),
            second
        );
        (played, began.elapsed())
    };
    let ((mut our_timeline, their_play, again_play), took) = tokio::select! {
        played = playing => played,
        _ = following => return Err("the trace ended".into()),
    };
    let (mut their_play, mut again_play) = (their_play?, again_play?);
    our_timeline.rungs = ours.rungs();
    their_play.timeline.rungs = theirs.rungs();
    again_play.timeline.rungs = again.rungs();
    our_timeline.requests = ours.requests();
    their_play.timeline.requests = theirs.requests();
    again_play.timeline.requests = again.requests();
    let run = Run {
        trace: name.to_owned(),
        phase: phase.as_secs_f64(),
        rtt_ms: args.rtt,
        seconds: args.seconds,
        player: their_play.player,
        ladder: recording
            .channel
            .ladder
            .iter()
            .rev()
            .map(|rung| rung.name.clone())
            .collect(),
        ours: our_timeline,
        reference: their_play.timeline,
        again: again_play.timeline,
    };
    keep(&args.runs, &run, &their_play.raw)?;
    eprintln!("  {} s", took.as_secs());
    for (name, difference) in compare::compare(&run.reference, &run.ours, &run.ladder).rows() {
        eprintln!(
            "  {name}: {:.2} {:.2} ({:.1} %)",
            difference.reference,
            difference.other,
            difference.share * 100.0
        );
    }
    Ok(())
}

fn keep(folder: &Path, run: &Run, raw: &str) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let name = format!("{}-{:.1}", run.trace, run.phase);
    std::fs::write(folder.join(format!("{name}.json")), serde_json::to_vec(run)?)?;
    std::fs::write(folder.join(format!("{name}.browser")), raw)?;
    Ok(())
}
