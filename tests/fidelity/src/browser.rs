//! hls.js in a headless Chromium over a line.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use crate::line::Line;
use crate::timeline::{Sample, Timeline};

/// What the browser may take beyond the time it plays.
const GRACE: Duration = Duration::from_secs(60);
/// A stop of the playhead shorter than this is not seen by a viewer, nor counted: browsers report a few milliseconds.
const SHORTEST_STALL: f64 = 0.05;

/// Why there is no timeline.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrowserError {
    /// node could not be started, or did not end.
    #[error("cannot run node: {0}")]
    Io(#[from] std::io::Error),
    /// It took too long.
    #[error("the browser did not end in time")]
    Late,
    /// It failed.
    #[error("the browser failed: {0}")]
    Failed(String),
    /// What it printed is not what it should be.
    #[error("the browser's evidence: {0}")]
    Evidence(#[from] serde_json::Error),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Evidence {
    hls_version: String,
    chromium: Option<String>,
    samples: Vec<Look>,
    events: Vec<Happening>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Look {
    t: f64,
    current_time: f64,
    buffered: f64,
}

#[derive(Debug, Deserialize)]
struct Happening {
    t: f64,
    kind: String,
    #[serde(default)]
    fatal: bool,
    #[serde(default)]
    details: Option<String>,
    #[serde(default, rename = "type")]
    media: Option<String>,
    #[serde(default)]
    bandwidth: Option<f64>,
}

/// A session and who played it.
#[derive(Debug)]
pub(crate) struct Played {
    /// The session.
    pub(crate) timeline: Timeline,
    /// Name and version of player and browser.
    pub(crate) player: String,
    /// Everything the page wrote down, for people.
    pub(crate) raw: String,
}

/// Plays for `length` with hls.js. `folder` holds the browser tests.
pub(crate) async fn watch(line: &Line, length: Duration, folder: &Path) -> Result<Played, BrowserError> {
    let running = Command::new("node")
        .arg(folder.join("play.mjs"))
        .arg(line.url.as_str())
        .arg(length.as_secs().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let output = timeout(length + GRACE, running)
        .await
        .map_err(|_| BrowserError::Late)??;
    if !output.status.success() {
        return Err(BrowserError::Failed(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    let raw = String::from_utf8_lossy(&output.stdout).into_owned();
    let evidence: Evidence = serde_json::from_str(&raw)?;
    Ok(Played {
        player: format!(
            "hls.js {} in Chromium {}",
            evidence.hls_version,
            evidence.chromium.as_deref().unwrap_or("of an unknown version")
        ),
        timeline: timeline(&evidence),
        raw,
    })
}

fn timeline(evidence: &Evidence) -> Timeline {
    let mut timeline = Timeline::default();
    let mut waiting = None;
    for event in &evidence.events {
        let at = event.t / 1000.0;
        match event.kind.as_str() {
            "playing" if timeline.startup.is_none() => timeline.startup = Some(at),
            "playing" => timeline.stalls.extend(waiting.take().map(|since| (since, at - since))),
            "waiting" if timeline.startup.is_some() => waiting = waiting.or(Some(at)),
            "fragBuffered" if event.media.as_deref() == Some("main") => {
                timeline
                    .estimates
                    .extend(event.bandwidth.map(|bandwidth| (at, bandwidth)));
            }
            "error" if event.fatal => {
                timeline.fatal = Some(event.details.clone().unwrap_or_default());
            }
            _ => {}
        }
    }
    let end = evidence.samples.last().map_or(0.0, |look| look.t / 1000.0);
    timeline.stalls.extend(waiting.map(|since| (since, end - since)));
    timeline.stalls.retain(|(_, length)| *length >= SHORTEST_STALL);
    // The playhead starts where the live window does, not at zero.
    let first = evidence.samples.iter().find(|look| look.current_time > 0.0);
    let origin = first.map_or(0.0, |look| look.current_time);
    timeline.samples = evidence
        .samples
        .iter()
        .map(|look| Sample {
            at: look.t / 1000.0,
            buffered: look.buffered,
            played: (look.current_time - origin).max(0.0),
        })
        .collect();
    timeline
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn waiting_before_the_start_is_no_stall() {
        let evidence: Evidence = serde_json::from_str(
            r#"{"hlsVersion":"1","chromium":null,
            "samples":[{"t":100,"currentTime":0,"buffered":0},{"t":1000,"currentTime":54.5,"buffered":4},{"t":9000,"currentTime":56.5,"buffered":1}],
            "events":[{"t":10,"kind":"waiting"},{"t":900,"kind":"playing"},{"t":3000,"kind":"waiting"},{"t":3020,"kind":"playing"},
                {"t":4000,"kind":"waiting"},{"t":5500,"kind":"playing"},{"t":8000,"kind":"waiting"}]}"#,
        )
        .unwrap();
        let timeline = timeline(&evidence);
        assert_eq!(timeline.startup, Some(0.9));
        assert_eq!(timeline.stalls, [(4.0, 1.5), (8.0, 1.0)]);
        assert!((timeline.samples[2].played - 2.0).abs() < 1e-9);
        assert_eq!(timeline.fatal, None);
    }
}
