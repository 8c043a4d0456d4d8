//! The files of a run.

use std::path::{Path, PathBuf};

use crate::{evidence::Evidence, judge::Verdict, report};

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
    let json = serde_json::to_string_pretty(verdict).map_err(|e| render("verdict.json", e.to_string()))?;
    let junit = report::junit(verdict).map_err(|e| render("junit.xml", e.to_string()))?;
    for (name, text) in [
        ("verdict.json", json + "\n"),
        ("junit.xml", junit),
        ("summary.md", report::markdown(verdict)),
        ("report.html", report::html(verdict, evidence)),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|source| ReportError::Io { path, source })?;
    }
    Ok(())
}
