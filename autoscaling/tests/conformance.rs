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
        (
            "scale_up_limit",
            r#"{"current":5,"up_events":[],"down_events":[],"rules":null}"#,
            "{}",
        ),
        (
            "metric",
            r#"{"current_replicas":2147483647,"metric_type":"pods","target_m":1,"levels_m":[1]}"#,
            r#"{"replicas":1}"#,
        ),
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

/// Rows beyond the sample: each kind with what is odd. Expected by hand from the published algorithm.
#[test]
fn odd_rows_are_computed_too() {
    let rules = |select: &str, policies: &str| {
        format!(
            r#"{{"current":10,"up_events":[{{"change":2,"age_s":30}}],"down_events":[{{"change":1,"age_s":30}}],
            "rules":{{"select_policy":{select},"policies":{policies}}}}}"#
        )
    };
    let both = r#"[{"type":"Pods","value":3,"period_s":60},{"type":"Percent","value":50,"period_s":60}]"#;
    let right = [
        // The mean is truncated: 7666.
        (
            "metric_usage_ratio",
            r#"{"metrics_m":{"a":5000,"b":10000,"c":8000},"target_m":10000}"#.to_owned(),
            r#"{"ratio":0.7666,"usage_m":7666}"#,
        ),
        (
            "metric_usage_ratio",
            r#"{"metrics_m":{"a":-500},"target_usage_m":1000}"#.to_owned(),
            r#"{"ratio":-0.5,"current_usage_m":-500}"#,
        ),
        (
            "metric_usage_ratio",
            r#"{"metrics_m":{},"target_m":1000}"#.to_owned(),
            r#"{"error":true}"#,
        ),
        // The period began with 10 - 2 + 1 = 9 replicas: 9 + 3, and 9 × 1.5 rounded up.
        ("scale_up_limit", rules(r#""Max""#, both), r#"{"limit":14}"#),
        ("scale_up_limit", rules(r#""Min""#, both), r#"{"limit":12}"#),
        ("scale_up_limit", rules(r#""Disabled""#, both), r#"{"limit":10}"#),
        ("scale_up_limit", rules("null", both), r#"{"limit":14}"#),
        // An empty list allows nothing, whatever is selected from it.
        ("scale_up_limit", rules(r#""Min""#, "[]"), r#"{"limit":2147483647}"#),
        ("scale_up_limit", rules(r#""Max""#, "[]"), r#"{"limit":-2147483648}"#),
        // 9 - 3, and 9 × 0.5 truncated.
        ("scale_down_limit", rules(r#""Max""#, both), r#"{"limit":4}"#),
        ("scale_down_limit", rules(r#""Min""#, both), r#"{"limit":6}"#),
        // No rules: the API's defaults, the larger of 4 pods and 100 %.
        (
            "scale_up_limit",
            r#"{"current":3,"rules":null}"#.to_owned(),
            r#"{"limit":7}"#,
        ),
        (
            "scale_up_limit",
            r#"{"current":2147483647,"rules":{"policies":[{"type":"Percent","value":100,"period_s":15}]}}"#.to_owned(),
            r#"{"limit":2147483647}"#,
        ),
        // A whole number is one however it is written, and missing fields have defaults.
        (
            "scale_up_limit",
            r#"{"current":5.0,"rules":{"policies":[{"type":"Pods","value":1,"period_s":15}]}}"#.to_owned(),
            r#"{"limit":6}"#,
        ),
        (
            "utilization_ratio",
            r#"{"metrics_m":{"a":9223372036854775807},"requests_m":{"a":1},"target_utilization_pct":50}"#.to_owned(),
            r#"{"utilization_pct":2147483647}"#,
        ),
        (
            "convert_no_behavior",
            r#"{"current":2147483647,"desired":2147483647,"min":0,"max":2147483647}"#.to_owned(),
            r#"{"replicas":2147483647,"condition":"DesiredWithinRange"}"#,
        ),
        (
            "stabilize_no_behavior",
            r#"{"recommendations":[{"replicas":9,"age_s":-60},{"replicas":11,"age_s":1e12}],"desired":5}"#.to_owned(),
            r#"{"replicas":9}"#,
        ),
        (
            "group_pods",
            r#"{"resource":"cpu","pods":[],"metrics":[]}"#.to_owned(),
            r#"{"ready_count":0,"unready":[],"missing":[],"ignored":[]}"#,
        ),
        (
            "metric",
            r#"{"current_replicas":-1,"metric_type":"external","target_m":4400,"levels_m":[8600]}"#.to_owned(),
            r#"{"error_contains":"no pods returned by selector"}"#,
        ),
        (
            "controller",
            r#"{"max":5,"spec_replicas":3,"metrics_spec":[{"type":"Resource","name":"cpu","target_utilization_pct":30}],
                "reported_levels_m":[300,500,700]}"#
                .to_owned(),
            r#"{"desired_replicas":5,"action":"ScaleUp"}"#,
        ),
    ];
    for (kind, input, expected) in right {
        let file = format!(r#"{{"cases":[{{"id":"odd","kind":"{kind}","input":{input},"expected":{expected}}}]}}"#);
        let outcome = cases::run_text(&file).unwrap().remove(0);
        assert_eq!(outcome.failure, None, "{kind} {input}");
    }
    for file in ["", "[]", "{}", r#"{"cases": {}}"#] {
        assert!(cases::run_text(file).is_err(), "{file:?}");
    }
    // A case without anything is a failure of its own, not of the file.
    for case in [
        "null",
        "{}",
        r#"{"kind": 5}"#,
        r#"{"kind": "controller", "expected": {"action": "None"}}"#,
    ] {
        let outcomes = cases::run_text(&format!(r#"{{"cases":[{case}]}}"#)).unwrap();
        assert!(outcomes[0].failure.is_some(), "{case}");
    }
}
