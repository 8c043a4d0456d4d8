//! The sample of upstream's cases. Their facts (inputs and expected results) come from Kubernetes' own unit tests,
//! `pkg/controller/podautoscaler/{replica_calculator,horizontal}_test.go` and
//! `pkg/controller/podautoscaler/metrics/utilization_test.go`; each case names its file in `source`.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

#[path = "../examples/conformance/build.rs"]
mod build;
#[path = "../examples/conformance/cases.rs"]
mod cases;

const SAMPLE: &str = include_str!("fixtures/hpa_cases.json");

#[test]
fn every_upstream_case_passes() {
    let outcomes = cases::run_text(SAMPLE).unwrap();
    assert_eq!(outcomes.len(), 144, "the sample has shrunk or grown");
    let failures: Vec<String> = outcomes
        .into_iter()
        .filter_map(|outcome| outcome.failure.map(|failure| format!("{}\n{failure}", outcome.id)))
        .collect();
    assert!(
        failures.is_empty(),
        "{} cases failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// The runner itself can fail: each way a case can disagree is reported.
#[test]
fn a_wrong_expectation_is_reported() {
    let wrong = [
        (
            "utilization_ratio",
            r#"{"metrics_m":{"a":50},"requests_m":{"a":100},"target_utilization_pct":50}"#,
            r#"{"ratio":1.1}"#,
        ),
        (
            "utilization_ratio",
            r#"{"metrics_m":{"a":50},"requests_m":{"a":100},"target_utilization_pct":50}"#,
            r#"{"error_contains":"no metrics"}"#,
        ),
        (
            "utilization_ratio",
            r#"{"metrics_m":{"a":50},"requests_m":{},"target_utilization_pct":50}"#,
            r#"{"ratio":1.0}"#,
        ),
        (
            "utilization_ratio",
            r#"{"metrics_m":{"a":50},"requests_m":{},"target_utilization_pct":50}"#,
            r#"{"error_contains":"something else"}"#,
        ),
        (
            "scale_up_limit",
            r#"{"current":5,"up_events":[],"down_events":[],"rules":null}"#,
            r#"{"limit":9}"#,
        ),
        ("no_such_kind", "{}", "{}"),
    ];
    for (kind, input, expected) in wrong {
        let file = format!(r#"{{"cases":[{{"id":"x","kind":"{kind}","input":{input},"expected":{expected}}}]}}"#);
        let outcomes = cases::run_text(&file).unwrap();
        assert!(outcomes[0].failure.is_some(), "{kind} {expected} must fail");
    }
    assert!(cases::run_text("{}").is_err());
}

/// Kinds of which the sample has no row.
#[test]
fn further_kinds_are_understood() {
    let right = [
        (
            "metric_usage_ratio",
            r#"{"metrics_m":{"a":5000,"b":10000},"target_m":10000}"#,
            r#"{"ratio":0.75,"usage_m":7500}"#,
        ),
        (
            "scale_up_limit",
            r#"{"current":5,"up_events":[],"down_events":[],"rules":null}"#,
            r#"{"limit":10}"#,
        ),
        (
            "scale_up_limit",
            r#"{"current":10,"up_events":[{"change":3,"age_s":30}],"down_events":[{"change":1,"age_s":10}],
                "rules":{"stabilization_window_s":0,"select_policy":"Min",
                         "policies":[{"type":"Pods","value":4,"period_s":60},{"type":"Percent","value":50,"period_s":20}]}}"#,
            r#"{"limit":12}"#,
        ),
        (
            "scale_up_limit",
            r#"{"current":10,"rules":{"select_policy":"Disabled","policies":[{"type":"Pods","value":4,"period_s":60}]}}"#,
            r#"{"limit":10}"#,
        ),
    ];
    for (kind, input, expected) in right {
        let file = format!(r#"{{"cases":[{{"id":"x","kind":"{kind}","input":{input},"expected":{expected}}}]}}"#);
        let outcomes = cases::run_text(&file).unwrap();
        assert_eq!(outcomes[0].failure, None, "{kind}");
    }
}
