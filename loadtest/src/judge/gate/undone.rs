//! Every fault was undone, and the steady state came back.

use super::Finding;
use crate::{
    evidence::SteadyStage,
    judge::{Facts, FaultSpan},
};

pub(super) fn judge(facts: &Facts) -> Finding {
    let injected: Vec<&FaultSpan> = facts.faults.iter().filter(|f| f.injected.is_some()).collect();
    if injected.is_empty() {
        return Finding::nothing("no fault was injected");
    }
    let failed: Vec<String> = facts
        .faults
        .iter()
        .filter(|f| !f.undone() || f.failed.is_some())
        .map(|f| format!("`{}`: {}", f.name, f.failed.as_deref().unwrap_or("no word of its undo")))
        .collect();
    let measured = format!(
        "{}/{} undone",
        injected.iter().filter(|f| f.undone()).count(),
        injected.len()
    );
    match facts.steady(SteadyStage::After) {
        None => Finding::nothing("the steady state afterwards was not looked at"),
        Some((true, detail)) if failed.is_empty() => {
            Finding::new(true, measured, injected.len(), format!("steady again: {detail}"))
        }
        Some((true, _)) => Finding::new(false, measured, injected.len(), failed.join("; ")),
        Some((false, detail)) => Finding::new(
            false,
            format!("{measured}, not steady"),
            injected.len(),
            detail.to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{judge::Outcome, testing::facts};

    fn run(undone_at: Option<i64>, steady: Option<bool>) -> Outcome {
        let mut facts = facts(vec![]);
        facts.faults = vec![FaultSpan {
            name: "f".into(),
            injected: Some(1),
            undone_at,
            failed: None,
        }];
        if let Some(ok) = steady {
            facts.steady.push((SteadyStage::After, ok, "detail".into()));
        }
        judge(&facts).outcome
    }

    #[test]
    fn undone_and_steady_passes_anything_less_does_not() {
        assert_eq!(run(Some(2), Some(true)), Outcome::Pass);
        assert_eq!(run(None, Some(true)), Outcome::Fail);
        assert_eq!(run(Some(2), Some(false)), Outcome::Fail);
        assert_eq!(run(Some(2), None), Outcome::Inconclusive);
        assert_eq!(judge(&facts(vec![])).outcome, Outcome::Inconclusive);
    }
}
