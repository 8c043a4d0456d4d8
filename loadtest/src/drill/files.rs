//! The files of a run.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    audience::{AudienceReport, GooseRun},
    evidence::Evidence,
    judge::Verdict,
    plan::Timeline,
    report,
};

/// What was seen.
pub(super) const EVIDENCE: &str = "evidence.jsonl";
/// The undo journal.
pub const JOURNAL: &str = "journal.jsonl";
const VERDICT: &str = "verdict.json";
const JUNIT: &str = "junit.xml";
const SUMMARY: &str = "summary.md";
const REPORT: &str = "report.html";
/// What goose counted.
const GOOSE: &str = "goose.json";
/// Its own report of that.
const GOOSE_HTML: &str = "goose.html";

/// Every file of a run, in its folder.
pub(super) const FILES: [&str; 8] = [EVIDENCE, JOURNAL, VERDICT, JUNIT, SUMMARY, REPORT, GOOSE, GOOSE_HTML];

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The disk refused.
    #[error("report {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It could not be rendered.
    #[error("report {}: {why}", path.display())]
    Render {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Writes `verdict.json`, `junit.xml`, `summary.md` and `report.html` into `dir`.
pub fn write_reports(dir: &Path, verdict: &Verdict, evidence: &Evidence) -> Result<(), ReportError> {
    let render = |name: &str, why: String| ReportError::Render {
        path: dir.join(name),
        why,
    };
    let json = serde_json::to_string_pretty(verdict).map_err(|e| render(VERDICT, e.to_string()))?;
    let junit = report::junit(verdict).map_err(|e| render(JUNIT, e.to_string()))?;
    for (name, text) in [
        (VERDICT, json + "\n"),
        (JUNIT, junit),
        (SUMMARY, summary(dir, verdict)),
        (REPORT, report::html(verdict, evidence)),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|source| ReportError::Io { path, source })?;
    }
    Ok(())
}

/// The summary, and where else to look.
fn summary(dir: &Path, verdict: &Verdict) -> String {
    let mut text = report::markdown(verdict);
    if dir.join(GOOSE).exists() {
        let _ = writeln!(
            text,
            "\nThe load generator's own metrics, by class of request, are in `{GOOSE}` and `{GOOSE_HTML}`."
        );
    }
    text
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Goose<'a, M> {
    /// The audience as goose would be told it on its command line (`--test-plan`).
    test_plan: String,
    /// Requests that are missing from the metrics because goose's queue was full.
    unreported: u64,
    metrics: &'a M,
}

/// Writes `goose.json`, goose's own metrics of the run and the test plan they belong to, and `goose.html`, its report.
pub(super) fn write_goose(dir: &Path, timeline: &Timeline, audience: &AudienceReport) -> Result<(), ReportError> {
    let Some(GooseRun { metrics, html }) = &audience.goose else {
        return Ok(());
    };
    let path = dir.join(GOOSE);
    let content = Goose {
        test_plan: timeline.test_plan(),
        unreported: audience.unreported,
        metrics,
    };
    let text = serde_json::to_string_pretty(&content).map_err(|e| ReportError::Render {
        path: path.clone(),
        why: e.to_string(),
    })?;
    std::fs::write(&path, text + "\n").map_err(|source| ReportError::Io { path, source })?;
    let Some(html) = html else { return Ok(()) };
    let path = dir.join(GOOSE_HTML);
    std::fs::write(&path, html).map_err(|source| ReportError::Io { path, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{evidence, verdict};

    #[test]
    fn the_summary_names_what_goose_counted_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let summary = || {
            write_reports(dir.path(), &verdict(), &evidence()).unwrap();
            std::fs::read_to_string(dir.path().join("summary.md")).unwrap()
        };
        assert!(!summary().contains(GOOSE));
        std::fs::write(dir.path().join(GOOSE), "{}").unwrap();
        assert!(summary().contains(GOOSE));
    }
}
