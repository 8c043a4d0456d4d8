//! The verdict as a table for a terminal.

use std::fmt::Write;

use crate::judge::{Outcome, Verdict};

/// Writes the verdict; with colour where `colour` is set.
#[must_use]
pub fn table(verdict: &Verdict, colour: bool) -> String {
    let paint = |outcome: Outcome, text: &str| {
        let code = match outcome {
            Outcome::Pass => "32",
            Outcome::Fail => "31",
            Outcome::Inconclusive => "33",
        };
        if colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    let width = |of: fn(&crate::judge::GateResult) -> &str| {
        verdict.gates.iter().map(|g| of(g).chars().count()).max().unwrap_or(0)
    };
    let (name, measured) = (width(|g| &g.name), width(|g| &g.measured));
    let mut out = String::new();
    let _ = writeln!(
        out,
        "\n{} · platform {} · seed {}\n",
        verdict.title, verdict.platform, verdict.seed
    );
    for gate in &verdict.gates {
        let mark = match gate.outcome {
            Outcome::Pass => "✔ pass        ",
            Outcome::Fail => "✘ fail        ",
            Outcome::Inconclusive => "? inconclusive",
        };
        let _ = writeln!(
            out,
            "  {}  {:<name$}  {:<measured$}  {} (n={})",
            paint(gate.outcome, mark),
            gate.name,
            gate.measured,
            gate.asks,
            gate.samples
        );
        if gate.outcome != Outcome::Pass {
            let _ = writeln!(out, "                  {}", gate.because);
        }
    }
    for doubt in &verdict.doubts {
        let _ = writeln!(out, "\n  {} {doubt}", paint(Outcome::Inconclusive, "doubt:"));
    }
    if !verdict.undone {
        let _ = writeln!(
            out,
            "\n  {} not every fault is known to be undone",
            paint(Outcome::Fail, "undo:")
        );
    }
    let _ = writeln!(
        out,
        "\n  verdict: {}",
        paint(verdict.outcome, &verdict.outcome.to_string())
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::verdict;

    #[test]
    fn a_table_without_colour_has_no_escape() {
        assert!(!table(&verdict(), false).contains('\x1b'));
        assert!(table(&verdict(), true).contains('\x1b'));
    }

    #[test]
    fn a_table() {
        insta::assert_snapshot!(table(&verdict(), false));
    }
}
