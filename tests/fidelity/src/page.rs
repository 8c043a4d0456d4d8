//! The document: pure, but for reading the runs.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::compare::{AGREED, Comparison, LEAST_STALLED, compare, median};
use crate::timeline::Timeline;
use crate::trace::Trace;

/// What stands before the tables.
const HEAD: &str = include_str!("head.md");
/// What stands after them.
const TAIL: &str = include_str!("tail.md");

/// One run: three sessions side by side.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// Name of the trace.
    pub(crate) trace: String,
    /// Where in a segment play was pressed, in seconds.
    pub(crate) phase: f64,
    /// Round-trip time in milliseconds.
    pub(crate) rtt_ms: u64,
    /// Length in seconds.
    pub(crate) seconds: u64,
    /// Name and version of the reference.
    pub(crate) player: String,
    /// Names of the rungs, lowest first.
    pub(crate) ladder: Vec<String>,
    /// Our viewer.
    pub(crate) ours: Timeline,
    /// hls.js.
    pub(crate) reference: Timeline,
    /// hls.js once more.
    pub(crate) again: Timeline,
}

/// All traces of a folder, by name.
pub(crate) fn traces_of(folder: &Path) -> Result<Vec<(String, Trace)>, Box<dyn std::error::Error + Send + Sync>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let trace = Trace::parse(&std::fs::read_to_string(&path)?)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            all.push((name, trace));
        }
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(all)
}

/// All runs of a folder.
pub(crate) fn load(folder: &Path) -> Result<Vec<Run>, Box<dyn std::error::Error + Send + Sync>> {
    let mut runs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            runs.push(
                serde_json::from_slice(&std::fs::read(&path)?)
                    .map_err(|error| format!("{}: {error}", path.display()))?,
            );
        }
    }
    runs.sort_by(|a: &Run, b: &Run| a.trace.cmp(&b.trace).then(a.phase.total_cmp(&b.phase)));
    Ok(runs)
}

/// The document, and whether every trace was run and all agree.
#[must_use]
pub(crate) fn render(runs: &[Run], traces: &[(String, Trace)]) -> (String, bool) {
    let mut text = HEAD.to_owned();
    let mut agrees = true;
    if let Some(run) = runs.first() {
        let _ = writeln!(
            text,
            "{} against our viewer, {} s a session, round trip {} ms.\n",
            run.player, run.seconds, run.rtt_ms
        );
    }
    text.push_str(
        "| trace | runs | figure | hls.js | our viewer | apart | hls.js from itself |\n|---|---|---|---|---|---|---|\n",
    );
    for (name, trace) in traces {
        let of: Vec<&Run> = runs.iter().filter(|run| run.trace == *name).collect();
        let ours: Vec<Comparison> = of
            .iter()
            .map(|run| compare(&run.reference, &run.ours, &run.ladder))
            .collect();
        let floor: Vec<Comparison> = of
            .iter()
            .map(|run| compare(&run.reference, &run.again, &run.ladder))
            .collect();
        let (Some(ours), Some(floor)) = (median(&ours), median(&floor)) else {
            agrees = false;
            let _ = writeln!(text, "| {name} | 0 | not run | | | | |");
            continue;
        };
        let (slowest, fastest) = trace.range();
        for (index, ((figure, found), (_, noise))) in ours.rows().into_iter().zip(floor.rows()).enumerate() {
            agrees &= found.agrees();
            let title = match index {
                0 => format!("{name} ({slowest}–{fastest} kbit/s) | {}", of.len()),
                _ => " | ".to_owned(),
            };
            let unit = if figure == "rung over time" { "" } else { " s" };
            let _ = writeln!(
                text,
                "| {title} | {figure} | {:.2}{unit} | {:.2}{unit} | {}{} | {} |",
                found.reference,
                found.other,
                percent(found.share),
                if found.agrees() { "" } else { " ✗" },
                percent(noise.share),
            );
        }
    }
    let _ = writeln!(text, "\nAsked for: within {}.", percent(AGREED));
    let listed = |run: &&Run| traces.iter().any(|(name, _)| *name == run.trace);
    if !runs
        .iter()
        .filter(listed)
        .any(|run| run.reference.stalled() >= LEAST_STALLED)
    {
        agrees = false;
        text.push_str("\nhls.js stalled on none of these traces, so nothing is said of stalls.\n");
    }
    text.push_str(TAIL);
    (text, agrees)
}

fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{:.1} %", share * 100.0)
    } else {
        "nothing to compare".into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::timeline::example;

    #[test]
    fn a_trace_that_was_not_run_does_not_agree() {
        let trace = Trace::parse("0,800").unwrap();
        let (text, agrees) = render(&[], &[("steady".into(), trace)]);
        assert!(!agrees && text.contains("| steady | 0 | not run |"), "{text}");
    }

    /// What is said of a run in which all players saw the same.
    fn said_of(session: &Timeline) -> (String, bool) {
        let run = Run {
            trace: "steady".into(),
            phase: 0.4,
            rtt_ms: 40,
            seconds: 60,
            player: "hls.js".into(),
            ladder: ["lo", "hi"].map(String::from).into(),
            ours: session.clone(),
            reference: session.clone(),
            again: session.clone(),
        };
        render(&[run], &[("steady".into(), Trace::parse("0,800").unwrap())])
    }

    #[test]
    fn sessions_without_anything_do_not_agree() {
        let (text, agrees) = said_of(&Timeline::default());
        assert!(!agrees && text.contains("nothing to compare ✗"), "{text}");
    }

    /// Two who never stall agree on stalls, whatever they would do in one.
    #[test]
    fn without_a_stall_nothing_is_said_of_stalls() {
        let mut session = example();
        let (text, agrees) = said_of(&session);
        assert!(agrees, "{text}");
        session.stalls.clear();
        let (text, agrees) = said_of(&session);
        assert!(!agrees && text.contains("nothing is said of stalls"), "{text}");
    }
}
