//! The verdict as Markdown, for a step summary or an issue.

use std::fmt::Write;

use crate::judge::{Outcome, Verdict};

/// Writes the verdict.
#[must_use]
pub fn markdown(verdict: &Verdict) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# {} — {}\n", cell(&verdict.title), verdict.outcome);
    let _ = writeln!(
        out,
        "Run `{}` of scenario `{}` on platform `{}`, seed {}.\n",
        verdict.run, verdict.scenario, verdict.platform, verdict.seed
    );
    let _ = writeln!(
        out,
        "| | gate | asks | measured | samples | evidence |\n|---|---|---|---|---:|---|"
    );
    for gate in &verdict.gates {
        let mark = match gate.outcome {
            Outcome::Pass => "✅",
            Outcome::Fail => "❌",
            Outcome::Inconclusive => "❔",
        };
        let _ = writeln!(
            out,
            "| {mark} | {} | {} | {} | {} | {} |",
            cell(&gate.name),
            cell(&gate.asks),
            cell(&gate.measured),
            gate.samples,
            cell(&gate.because)
        );
    }
    for doubt in &verdict.doubts {
        let _ = writeln!(out, "\n> **Doubt:** {doubt}");
    }
    if !verdict.undone {
        let _ = writeln!(out, "\n> **Not every fault is known to be undone.**");
    }
    out
}

/// Text that cannot break out of a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::verdict;

    #[test]
    fn a_summary() {
        insta::assert_snapshot!(markdown(&verdict()));
    }

    #[test]
    fn a_cell_cannot_break_the_table() {
        assert_eq!(cell("a|b\nc"), "a\\|b c");
    }
}
