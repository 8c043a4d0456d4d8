//! The verdict as JUnit XML: a test case a gate, so that CI systems show it as they show tests.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::judge::{Outcome, Verdict};

/// Writes the verdict. A gate without an answer is an *error*, not a failure and never a success.
pub fn junit(verdict: &Verdict) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new(format!("showrunner.{}", verdict.scenario));
    for gate in &verdict.gates {
        let status = match gate.outcome {
            Outcome::Pass => TestCaseStatus::success(),
            Outcome::Fail => status(NonSuccessKind::Failure, &gate.measured, &gate.because),
            Outcome::Inconclusive => status(NonSuccessKind::Error, &gate.measured, &gate.because),
        };
        let mut case = TestCase::new(gate.name.clone(), status);
        case.set_classname(format!("showrunner.{}", verdict.scenario));
        case.set_system_out(format!(
            "{} — measured {} over {} samples. {}",
            gate.asks, gate.measured, gate.samples, gate.because
        ));
        suite.add_test_case(case);
    }
    let whole = match (verdict.undone, verdict.doubts.is_empty()) {
        (true, true) => TestCaseStatus::success(),
        (false, _) => status(
            NonSuccessKind::Failure,
            "undo not verified",
            "not every fault is known to be undone",
        ),
        (true, false) => status(NonSuccessKind::Error, "inconclusive", &verdict.doubts.join("; ")),
    };
    let mut case = TestCase::new("the run itself", whole);
    case.set_classname(format!("showrunner.{}", verdict.scenario));
    suite.add_test_case(case);
    let mut report = Report::new(verdict.run.clone());
    report.add_test_suite(suite);
    report.to_string()
}

fn status(kind: NonSuccessKind, message: &str, description: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status
        .set_message(message.to_owned())
        .set_description(description.to_owned());
    status
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::verdict;

    #[test]
    fn failures_and_errors_are_told_apart() {
        let xml = junit(&verdict()).unwrap();
        assert_eq!(
            (xml.matches("<failure").count(), xml.matches("<error").count()),
            (1, 1),
            "{xml}"
        );
        assert!(
            xml.contains(r#"failures="1""#) && xml.contains(r#"errors="1""#),
            "{xml}"
        );
    }
}
