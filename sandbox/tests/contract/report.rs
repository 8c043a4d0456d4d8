//! What is printed at the end: one line for each suite, with counts for each backend.

use std::fmt::Write as _;

use crate::backend::Kind;
use crate::exclusions;
use crate::run::{Outcome, Result};

pub(crate) fn table(outcomes: &[(Kind, Vec<Result>)]) -> String {
    let mut suites: Vec<&str> = Vec::new();
    for (test, _) in outcomes.iter().flat_map(|(_, results)| results) {
        if !suites.contains(&test.suite) {
            suites.push(test.suite);
        }
    }
    suites.sort_unstable();
    let mut text = format!("\n{:<18}", "suite");
    for (kind, _) in outcomes {
        let _ = write!(text, " {:>28}", format!("{} pass/excl/fail", kind.name()));
    }
    for suite in suites.into_iter().chain(["total"]) {
        let _ = write!(text, "\n{suite:<18}");
        for (_, results) in outcomes {
            let counted = results
                .iter()
                .filter(|(test, _)| test.suite == suite || suite == "total");
            let (mut passed, mut excluded, mut failed) = (0, 0, 0);
            for (_, outcome) in counted {
                match outcome {
                    Outcome::Passed => passed += 1,
                    Outcome::Excluded => excluded += 1,
                    Outcome::Failed(_) => failed += 1,
                }
            }
            let _ = write!(text, " {:>28}", format!("{passed} / {excluded} / {failed}"));
        }
    }
    for (kind, results) in outcomes {
        for (test, _) in results
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Excluded))
        {
            if let Some(exclusion) = exclusions::find(*kind, &test.full_name()) {
                let _ = write!(
                    text,
                    "\nexcluded on {}: {}: {}",
                    kind.name(),
                    test.full_name(),
                    exclusion.instead
                );
            }
        }
    }
    text
}

pub(crate) fn failures(outcomes: &[(Kind, Vec<Result>)]) -> Vec<String> {
    let all = outcomes
        .iter()
        .flat_map(|(kind, results)| results.iter().map(move |result| (kind, result)));
    all.filter_map(|(kind, (test, outcome))| match outcome {
        Outcome::Failed(why) => Some(format!("{} on {}: {why}", test.full_name(), kind.name())),
        Outcome::Passed | Outcome::Excluded => None,
    })
    .collect()
}
