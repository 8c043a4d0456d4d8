//! Three questions an on-call engineer asks, answered; the answers are kept as snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use jiff::SignedDuration;
use showrunner_autoscaling::audience::Capacity;
use showrunner_autoscaling::explain::{Explanation, File, InputError, Inputs, Options, Project, explain, parse_rate};
use showrunner_autoscaling::project::PodModel;

const LATE: &str = include_str!("fixtures/explain/late-tolerance.yaml");
const STUCK: &str = include_str!("fixtures/explain/stuck-missing-requests.yaml");
const FLAPPING: &str = include_str!("fixtures/explain/flapping-no-stabilization.yaml");

fn explained(file: &str, options: &Options) -> Explanation {
    explain(&Inputs::parse(&[file], None).unwrap(), options)
}

fn ids(explanation: &Explanation) -> Vec<&'static str> {
    explanation.findings.iter().map(|finding| finding.id).collect()
}

#[test]
fn scaled_too_late() {
    let explanation = explained(LATE, &Options::default());
    assert_eq!(ids(&explanation), ["within-tolerance"]);
    insta::assert_snapshot!(explanation.to_text());
}

/// The advice is right: with the target it names the same load scales, one percent more does not.
#[test]
fn the_advised_target_would_have_acted() {
    for (target, acts) in [(69, true), (70, false)] {
        let file = LATE.replace("averageUtilization: 70", &format!("averageUtilization: {target}"));
        let decision = explained(&file, &Options::default()).decision;
        assert_eq!(decision.desired > decision.current, acts, "target {target}");
    }
    let file = LATE.replace(
        "  minReplicas: 4\n",
        "  minReplicas: 4\n  behavior: {scaleUp: {tolerance: \"0.08\"}}\n",
    );
    assert_eq!(explained(&file, &Options::default()).decision.desired, 14);
}

#[test]
fn stuck_without_requests() {
    let explanation = explained(STUCK, &Options::default());
    assert_eq!(ids(&explanation), ["missing-request"]);
    insta::assert_snapshot!(explanation.to_text());
    let mended = STUCK.replace(
        "{name: mesh-proxy, resources: {}}",
        "{name: mesh-proxy, resources: {requests: {cpu: 100m}}}",
    );
    assert_eq!(
        explained(&mended, &Options::default()).decision.desired,
        6,
        "twice the size is the limit of one decision"
    );
}

#[test]
fn flapping_without_stabilization() {
    let explanation = explained(FLAPPING, &Options::default());
    assert_eq!(ids(&explanation), ["no-downscale-window"]);
    insta::assert_snapshot!(explanation.to_text());
    let calm = FLAPPING.replace("scaleDown: {stabilizationWindowSeconds: 0}", "scaleDown: {}");
    let explanation = explained(&calm, &Options::default());
    assert_eq!(
        (explanation.decision.desired, ids(&explanation)),
        (10, vec!["held-by-window"])
    );
}

/// 100 viewers a second for ten minutes.
fn ramp() -> Project {
    Project {
        per_second: parse_rate("100/s").unwrap(),
        rises_for: SignedDuration::from_mins(10),
        initial: None,
        model: PodModel {
            capacity: Capacity {
                viewers_per_replica: 2000,
                headroom_percent: 20,
            },
            saturation_percent: 100,
            start: SignedDuration::from_secs(20),
            metric_window: SignedDuration::from_secs(30),
            per_viewer_m: BTreeMap::new(),
        },
    }
}

#[test]
fn a_ramp_is_projected_beside_what_the_audience_needs() {
    let options = Options {
        project: Some(ramp()),
        ..Options::default()
    };
    let explanation = explained(LATE, &options);
    insta::assert_snapshot!(explanation.to_text().split("Projection").nth(1).unwrap());
    let json = explanation.to_json();
    assert_eq!(json["projection"]["projection"]["points"].as_array().unwrap().len(), 41);
    assert_eq!(json["projection"]["ramp"]["initial"], 18_240);
}

#[test]
fn json_says_the_same() {
    let json = explained(STUCK, &Options::default()).to_json();
    insta::assert_json_snapshot!(json);
}

#[test]
fn other_questions_get_an_answer_too() {
    let file = |from: &str, to: &str| LATE.replace(from, to);
    for (file, id) in [
        (file("replicas: 12, selector", "replicas: 0, selector"), "disabled"),
        (file("kind: PodMetrics", "kind: Unrelated"), "no-samples"),
        (file("phase: Running", "phase: Pending"), "none-ready"),
        (file("averageUtilization: 70", "averageUtilization: 10"), "rate-limited"),
        (
            file("maxReplicas: 40", "maxReplicas: 13").replace("averageUtilization: 70", "averageUtilization: 60"),
            "at-maximum",
        ),
        (
            file(
                "  minReplicas: 4\n",
                "  minReplicas: 4\n  behavior: {scaleUp: {stabilizationWindowSeconds: 60}}\n",
            ),
            "upscale-window",
        ),
        (file("kind: Deployment\nmetadata", "kind: Other\nmetadata"), "no-scale"),
    ] {
        let explanation = explained(&file, &Options::default());
        assert!(
            ids(&explanation).contains(&id),
            "{id} is missing in {:?}",
            ids(&explanation)
        );
        assert!(
            explanation.findings.iter().all(|finding| finding.what.ends_with('.')),
            "{:?}",
            explanation.findings
        );
    }
}

#[test]
fn inputs_that_cannot_be_explained_are_refused() {
    assert_eq!(Inputs::parse(&[""], None), Err(InputError::NoAutoscaler(String::new())));
    assert_eq!(
        Inputs::parse(&[LATE], Some("other")),
        Err(InputError::NoAutoscaler(" other".to_owned()))
    );
    assert!(matches!(Inputs::parse(&["a: [b"], None), Err(InputError::Syntax(_))));
    assert!(matches!(
        Inputs::parse(&[LATE, STUCK], None),
        Err(InputError::Several(_))
    ));
    assert!(Inputs::parse(&[LATE, STUCK], Some("edge")).is_ok());
    let broken = LATE.replace("window: 30s", "window: soon");
    assert!(matches!(Inputs::parse(&[&broken], None), Err(InputError::Shape(_))));
}

fn mistakes(text: &str) -> String {
    let file = File {
        name: "live.yaml",
        text,
    };
    Inputs::from_files(&[file], None).unwrap_err().to_string()
}

/// Line and column of the object, and every mistake at once.
#[test]
fn mistakes_are_named_with_their_place() {
    let broken = LATE
        .replacen("cpu: 742000000n", "cpu: lots", 1)
        .replacen("window: 30s", "window: soon", 1);
    let at = |what: &str| {
        let line = broken.lines().position(|line| line.contains(what)).unwrap();
        // The item begins with its `- apiVersion`.
        let item = |line: &&str| line.starts_with("  - ");
        line + 1
            - broken.lines().collect::<Vec<_>>()[..=line]
                .iter()
                .rev()
                .position(item)
                .unwrap()
    };
    let (soon, lots) = (at("window: soon"), at("cpu: lots"));
    let told = mistakes(&broken);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(
        lines[0].starts_with(&format!("live.yaml:{soon}:5: PodMetrics edge-0: window \"soon\"")),
        "{told}"
    );
    assert!(
        lines[1].starts_with(&format!("live.yaml:{lots}:5: PodMetrics edge-1: cpu")),
        "{told}"
    );

    assert!(
        mistakes("kind: [b").starts_with("live.yaml:1:"),
        "{}",
        mistakes("kind: [b")
    );
    assert!(
        mistakes("\n\njust words").starts_with("live.yaml:3:1: "),
        "{}",
        mistakes("\n\njust words")
    );
    let maximum = LATE.replace("maxReplicas: 40", "maxReplicas: many");
    assert!(
        mistakes(&maximum).starts_with("live.yaml:2:1: HorizontalPodAutoscaler edge: "),
        "{}",
        mistakes(&maximum)
    );
    let replicas = LATE.replace("replicas: 12, selector", "replicas: 5000000000, selector");
    assert!(mistakes(&replicas).contains("spec.replicas 5000000000 is not a 32-bit number"));
    let old = LATE.replace("autoscaling/v2", "autoscaling/v2beta2");
    assert!(mistakes(&old).contains("autoscaling/v2beta2 is not served any more"));
    // Anchors that explode end at a limit, not with the machine's memory.
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb = format!("{bomb}a{level}: &a{level} [{}]\n", before.trim_end_matches(", "));
    }
    assert!(mistakes(&bomb).starts_with("live.yaml:"), "{}", mistakes(&bomb));
}

/// A manifest lacks what an API server adds, and an older one says it otherwise.
#[test]
fn manifests_get_the_api_servers_defaults() {
    let metrics = "  metrics:\n    - type: Resource\n      \
                   resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}\n";
    assert!(LATE.contains(metrics));
    let target = |file: &str| {
        let inputs = Inputs::parse(&[file], None).unwrap();
        inputs.hpa.spec.metrics.unwrap()[0]
            .resource
            .as_ref()
            .unwrap()
            .target
            .average_utilization
    };
    assert_eq!(target(LATE), Some(70));
    assert_eq!(target(&LATE.replace(metrics, "")), Some(80));
    let first = LATE
        .replace(metrics, "  targetCPUUtilizationPercentage: 69\n")
        .replace("autoscaling/v2", "autoscaling/v1");
    assert_eq!(target(&first), Some(69));
    assert!(explained(&first, &Options::default()).decision.desired > 12);
}

/// What only the controller knows is said to be unknown.
#[test]
fn a_scale_down_without_memory_says_so() {
    let forgotten = FLAPPING
        .split("# What the controller remembers")
        .next()
        .unwrap()
        .replace("stabilizationWindowSeconds: 0", "stabilizationWindowSeconds: 120");
    let explanation = explained(&forgotten, &Options::default());
    assert!(explanation.decision.desired < explanation.decision.current);
    assert_eq!(ids(&explanation), ["memory-unknown"]);
    assert!(explanation.to_text().contains("up to 120 s later"));
}

/// A projection of an autoscaler that cannot read its metric says what it takes for granted.
#[test]
fn a_projection_says_what_it_assumes() {
    let project = |file: &str| {
        let options = Options {
            project: Some(ramp()),
            ..Options::default()
        };
        explained(file, &options).to_text()
    };
    let mended = "is mended first";
    assert!(project(STUCK).contains(mended));
    assert!(!project(LATE).contains(mended));
}

#[test]
fn rates_are_read_per_second() {
    assert_eq!(parse_rate("100/s"), Some(100.0));
    assert_eq!(parse_rate("6000/m"), Some(100.0));
    assert_eq!(parse_rate("36000/h"), Some(10.0));
    assert_eq!(parse_rate("7"), Some(7.0));
    for text in ["", "x/s", "1/d", "inf/s"] {
        assert_eq!(parse_rate(text), None, "{text:?}");
    }
}
