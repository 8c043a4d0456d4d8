//! The edges of each rule: what holds exactly on them, and one step beyond.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use jiff::SignedDuration;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use showrunner_autoscaling::hpa::{
    Action, Bounds, Context, Decision, Direction, Group, History, Limit, Named, Observation, Phase, PodView, Readiness,
    ReadyCondition, Rules, SampleTime, Samples, Selector, Settings, Tolerances, change_within, evaluate, limit_plain,
    propose,
};

fn decide(hpa: &HorizontalPodAutoscaler, seen: &Observation, history: &mut History) -> Decision {
    evaluate(hpa, seen, history, &Settings::default(), now())
}

/// The size ten ready pods of one core get at `milli` each, target 50 %, with nothing remembered.
fn ten_pods_at(hpa: &HorizontalPodAutoscaler, milli: i64) -> i32 {
    decide(hpa, &seen(10, pods(10), samples(&[milli; 10])), &mut remembered(&[])).desired_replicas
}

fn reason(decision: &Decision, type_: &str) -> Option<(bool, &'static str)> {
    decision
        .conditions
        .iter()
        .find(|(name, _)| *name == type_)
        .map(|(_, found)| (found.status, found.reason))
}

#[test]
fn both_edges_of_the_tolerance_keep_the_size() {
    let hpa = hpa(1, 100, vec![cpu(50)]);
    for (milli, expected) in [
        (440, 9),
        (450, 10),
        (459, 10),
        (500, 10),
        (550, 10),
        (559, 10),
        (560, 12),
    ] {
        assert_eq!(ten_pods_at(&hpa, milli), expected, "{milli}m");
    }
}

#[test]
fn each_direction_has_its_tolerance() {
    let tolerant = |tolerance: &str| {
        let mut rules = rules(Some(0), None, &[]);
        rules.tolerance = Some(Quantity(tolerance.to_owned()));
        Some(rules)
    };
    let hpa = with_behavior(hpa(1, 100, vec![cpu(50)]), tolerant("0.02"), tolerant("0.3"));
    for (milli, expected) in [(340, 7), (350, 10), (500, 10), (510, 10), (520, 11)] {
        assert_eq!(ten_pods_at(&hpa, milli), expected, "{milli}m");
    }
    let gate_off = Settings {
        configurable_tolerance: false,
        ..Settings::default()
    };
    assert_eq!(
        Tolerances::of(hpa.spec.behavior.as_ref(), &gate_off),
        Tolerances { down: 0.1, up: 0.1 }
    );
}

#[test]
fn a_ratio_that_is_no_number_is_outside_every_tolerance() {
    assert!(!Tolerances { down: 1.0, up: 1.0 }.contain(f64::NAN));
}

#[test]
fn cpu_initialisation_ends_with_its_period() {
    let settings = Settings::default();
    let group = |start: i64, ready: Option<bool>, transition: i64, sampled: i64, window: i64| {
        let pod = PodView {
            phase: Phase::Running,
            start_time: Some(ago(start)),
            ready: ready.map(|ready| ReadyCondition {
                status: if ready { Readiness::True } else { Readiness::False },
                last_transition: ago(transition),
            }),
            ..PodView::default()
        };
        let time = SampleTime {
            timestamp: ago(sampled),
            window: SignedDuration::from_secs(window),
        };
        pod.group(Some(time), true, &settings, now())
    };
    assert_eq!(group(100, None, 0, 0, 30), Group::NoReadiness);
    // Within 300 s of the start: ready, and sampled wholly after that.
    assert_eq!(group(299, Some(false), 0, 0, 30), Group::InitializingUnready);
    assert_eq!(group(299, Some(true), 29, 0, 30), Group::InitializingStaleSample);
    assert_eq!(group(299, Some(true), 30, 0, 30), Group::Ready);
    // From 300 s on the sample's age does not matter.
    assert_eq!(group(300, Some(true), 29, 0, 30), Group::Ready);
    // Unready since less than 30 s after the start: never ready. Later: was ready once.
    assert_eq!(group(300, Some(false), 271, 0, 30), Group::NeverReady);
    assert_eq!(group(300, Some(false), 270, 0, 30), Group::Ready);
}

#[test]
fn an_unknown_readiness_is_not_unready() {
    let mut pod = pod("a");
    pod.start_time = Some(ago(100));
    pod.ready = Some(ReadyCondition {
        status: Readiness::Unknown,
        last_transition: ago(90),
    });
    let time = SampleTime {
        timestamp: now(),
        window: SignedDuration::from_secs(30),
    };
    assert_eq!(pod.group(Some(time), true, &Settings::default(), now()), Group::Ready);
    assert!(!pod.is_running_and_ready());
}

#[test]
fn only_cpu_has_rules_of_initialisation_and_deletion_comes_first() {
    let settings = Settings::default();
    let time = SampleTime {
        timestamp: now(),
        window: SignedDuration::from_secs(30),
    };
    let unready = PodView {
        phase: Phase::Running,
        ..PodView::default()
    };
    assert_eq!(unready.group(Some(time), false, &settings, now()), Group::Ready);
    assert_eq!(unready.group(None, false, &settings, now()), Group::Missing);
    let mut pending = PodView {
        phase: Phase::Pending,
        ..PodView::default()
    };
    assert_eq!(pending.group(None, false, &settings, now()), Group::Pending);
    pending.deleting = true;
    assert_eq!(pending.group(None, true, &settings, now()), Group::Deleting);
    let failed = PodView {
        phase: Phase::Failed,
        ..PodView::default()
    };
    assert_eq!(failed.group(Some(time), true, &settings, now()), Group::Failed);
    assert!(Group::Failed.is_ignored() && !Group::Failed.is_unready() && !Group::Missing.is_unready());
}

#[test]
fn missing_pods_hold_the_size_in_both_directions() {
    let hpa = hpa(1, 100, vec![cpu(50)]);
    let size = |missing: usize, milli: i64| {
        let samples = samples(&vec![milli; 10 - missing]);
        decide(&hpa, &seen(10, pods(10), samples), &mut remembered(&[])).desired_replicas
    };
    // Down: 8 at 20 %, 2 taken at 100 %: 36 % of 50 %, times 10.
    assert_eq!(size(0, 200), 4);
    assert_eq!(size(2, 200), 8);
    // Up: 8 at 90 %, 2 taken at 0 %: 72 % of 50 %, times 10.
    assert_eq!(size(0, 900), 18);
    assert_eq!(size(2, 900), 15);
    // 5 at 20 %, 5 at 100 %: 60 % would turn the direction.
    assert_eq!(size(5, 200), 10);
}

#[test]
fn missing_pods_are_full_up_to_a_target_above_all() {
    // Target 150 %: on the way down the missing are taken at 150 %, not at 100 %.
    let hpa = hpa(1, 100, vec![cpu(150)]);
    let found = decide(&hpa, &seen(10, pods(10), samples(&[600; 7])), &mut remembered(&[]));
    assert_eq!(
        found.desired_replicas, 6,
        "(7 × 60 + 3 × 150) / 10 = 87 %, of 150 % times 10"
    );
}

#[test]
fn unready_pods_are_idle_on_the_way_up_and_absent_on_the_way_down() {
    let hpa = hpa(1, 100, vec![cpu(50)]);
    let size = |milli: i64| {
        let mut pods = pods(10);
        for pod in pods.iter_mut().take(4) {
            pod.ready = None;
        }
        decide(&hpa, &seen(10, pods, samples(&[milli; 10])), &mut remembered(&[])).desired_replicas
    };
    // Up: 6 × 90 % over 10 pods is 54 %, which is tolerated; 6 × 100 % is 60 %, times 10.
    assert_eq!(size(900), 10);
    assert_eq!(size(1000), 12);
    // Down: 6 ready at 20 % of 50 %: 2.4, rounded up.
    assert_eq!(size(200), 3);
}

#[test]
fn utilisation_is_truncated_before_it_is_compared() {
    // 55.9 % is 55 %, and 55/50 is still tolerated.
    let hpa = hpa(1, 100, vec![cpu(50)]);
    assert_eq!(ten_pods_at(&hpa, 559), 10);
    assert_eq!(ten_pods_at(&hpa, 560), 12);
}

#[test]
fn windows_without_behavior_include_their_edge_and_with_it_exclude_it() {
    let plain = hpa(1, 100, vec![cpu(50)]);
    let behaved = with_behavior(plain.clone(), None, Some(rules(Some(300), None, &[])));
    for (hpa, age, expected) in [
        (&plain, 300, 9),
        (&plain, 301, 4),
        (&behaved, 299, 9),
        (&behaved, 300, 4),
    ] {
        let found = decide(
            hpa,
            &seen(10, pods(10), samples(&[200; 10])),
            &mut remembered(&[(9, age)]),
        );
        assert_eq!(
            found.desired_replicas,
            expected,
            "age {age}, behavior {}",
            hpa.spec.behavior.is_some()
        );
        let expected = if expected == 9 {
            "ScaleDownStabilized"
        } else {
            "ReadyForNewScale"
        };
        assert_eq!(reason(&found, "AbleToScale"), Some((true, expected)));
    }
}

#[test]
fn the_largest_recommendation_of_the_window_counts_and_the_newest_is_remembered() {
    let mut history = remembered(&[(7, 100), (12, 301), (8, 200), (20, 400)]);
    assert_eq!(history.stabilize_down(3, SignedDuration::from_secs(300), now()), 8);
    // The last of the stale ones has made room.
    let kept: Vec<i32> = history
        .recommendations
        .unwrap()
        .iter()
        .map(|past| past.replicas)
        .collect();
    assert_eq!(kept, [7, 12, 8, 3]);
}

#[test]
fn a_recommendation_at_the_edge_of_both_windows_is_neither_seen_nor_replaced() {
    let spec = rules(Some(60), None, &[]);
    let [up, down] = [Direction::Up, Direction::Down].map(|direction| Rules::new(direction, Some(&spec), 300));
    let mut history = remembered(&[(9, 60)]);
    assert_eq!(history.stabilize(5, 3, &up, &down, now()).replicas, 3);
    assert_eq!(history.recommendations.as_ref().unwrap().len(), 2);
    let mut history = remembered(&[(9, 61)]);
    history.stabilize(5, 3, &up, &down, now());
    assert_eq!(history.recommendations.unwrap().len(), 1);
}

#[test]
fn scale_up_can_be_stabilised_too() {
    let hpa = with_behavior(hpa(1, 100, vec![cpu(50)]), Some(rules(Some(120), None, &[])), None);
    let found = decide(
        &hpa,
        &seen(10, pods(10), samples(&[800; 10])),
        &mut remembered(&[(11, 60), (12, 30)]),
    );
    assert_eq!(found.desired_replicas, 11);
    assert_eq!(reason(&found, "AbleToScale"), Some((true, "ScaleUpStabilized")));
}

#[test]
fn the_current_size_is_the_first_recommendation_of_a_new_controller() {
    let hpa = hpa(1, 100, vec![cpu(50)]);
    let mut history = History::default();
    let found = decide(&hpa, &seen(10, pods(10), samples(&[200; 10])), &mut history);
    assert_eq!((found.desired_replicas, found.action()), (10, Action::None));
    assert_eq!(history.recommendations.unwrap().len(), 2);
}

#[test]
fn a_period_excludes_its_edge() {
    assert_eq!(change_within(&events(&[(3, 59), (5, 60), (7, 61)]), 60, now()), 3);
    assert_eq!(change_within(&events(&[(3, 59), (5, 60), (7, 61)]), 61, now()), 8);
}

#[test]
fn an_event_is_replaced_only_when_older_than_every_period() {
    let spec = rules(None, None, &[("Pods", 1, 60), ("Percent", 10, 120)]);
    let up = Rules::new(Direction::Up, Some(&spec), 300);
    for (age, kept) in [(119, 2), (120, 2), (121, 1)] {
        let mut history = History {
            up: events(&[(3, age)]),
            ..History::default()
        };
        history.store_event(&up, 5, now());
        assert_eq!(history.up.len(), kept, "age {age}");
        assert_eq!(history.up[kept - 1].change, 5);
    }
}

#[test]
fn policies_round_up_on_the_way_up_and_truncate_on_the_way_down() {
    let spec = rules(None, Some("Max"), &[("Percent", 10, 60)]);
    let limit = |direction, current| Rules::new(direction, Some(&spec), 300).limit(current, &[], &[], now(), |_| {});
    assert_eq!((limit(Direction::Up, 11), limit(Direction::Down, 11)), (13, 9));
    assert_eq!((limit(Direction::Up, 1), limit(Direction::Down, 1)), (2, 0));
}

#[test]
fn max_and_min_choose_the_change_not_the_size() {
    let policies = [("Pods", 2, 60), ("Percent", 50, 60)];
    let limit = |direction, select| {
        let spec = rules(None, select, &policies);
        Rules::new(direction, Some(&spec), 300).limit(10, &[], &[], now(), |_| {})
    };
    assert_eq!(limit(Direction::Up, Some("Max")), 15);
    assert_eq!(limit(Direction::Up, Some("Min")), 12);
    assert_eq!(limit(Direction::Up, None), 15);
    assert_eq!(limit(Direction::Down, Some("Max")), 5);
    assert_eq!(limit(Direction::Down, Some("Min")), 8);
    assert_eq!(limit(Direction::Up, Some("Disabled")), 10);
    assert_eq!(limit(Direction::Down, Some("Disabled")), 10);
}

#[test]
fn a_period_starts_from_the_size_before_its_changes() {
    // 10 now, 4 added and 1 removed within the period: it began with 7, and 50 % of that may be added.
    let spec = rules(None, None, &[("Percent", 50, 60)]);
    let up = Rules::new(Direction::Up, Some(&spec), 300);
    assert_eq!(
        up.limit(10, &events(&[(4, 30)]), &events(&[(1, 30)]), now(), |_| {}),
        11
    );
    // Used up: the size is held, not reduced.
    let hpa = with_behavior(hpa(1, 100, vec![cpu(50)]), Some(spec.clone()), None);
    let mut history = History {
        up: events(&[(8, 30)]),
        ..remembered(&[])
    };
    let found = decide(&hpa, &seen(10, pods(10), samples(&[900; 10])), &mut history);
    assert_eq!(found.desired_replicas, 10);
    assert_eq!(reason(&found, "ScalingLimited"), Some((true, "ScaleUpLimit")));
}

#[test]
fn unset_behavior_has_the_defaults_of_the_api() {
    let [up, down] = [Direction::Up, Direction::Down].map(|direction| Rules::new(direction, None, 240));
    assert_eq!((up.stabilization_seconds, down.stabilization_seconds), (0, 240));
    let limit = |rules: &Rules<'_>, current| rules.limit(current, &[], &[], now(), |_| {});
    assert_eq!([1, 3, 4, 5, 10].map(|current| limit(&up, current)), [5, 7, 8, 10, 20]);
    assert_eq!(limit(&down, 10), 0);
    assert_eq!((up.longest_period(), down.longest_period()), (15, 15));
}

#[test]
fn without_behavior_a_size_doubles_at_most_or_reaches_four() {
    let settings = Settings::default();
    let bounds = Bounds { min: 1, max: 100 };
    let limited = |current, desired| limit_plain(current, desired, bounds, &settings);
    assert_eq!(limited(1, 9), (4, Limit::ScaleUpLimit));
    assert_eq!(limited(2, 4), (4, Limit::DesiredWithinRange));
    assert_eq!(limited(3, 9), (6, Limit::ScaleUpLimit));
    assert_eq!(limited(50, 101), (100, Limit::TooManyReplicas));
    assert_eq!(limited(60, 101), (100, Limit::TooManyReplicas));
    assert_eq!(limited(50, 0), (1, Limit::TooFewReplicas));
}

#[test]
fn bounds_hold_with_behavior_too() {
    let plain = hpa(3, 12, vec![cpu(50)]);
    let hpa = with_behavior(plain, None, Some(rules(Some(0), None, &[])));
    let up = decide(&hpa, &seen(10, pods(10), samples(&[900; 10])), &mut remembered(&[]));
    assert_eq!(
        (up.desired_replicas, reason(&up, "ScalingLimited")),
        (12, Some((true, "TooManyReplicas")))
    );
    let down = decide(&hpa, &seen(10, pods(10), samples(&[50; 10])), &mut remembered(&[]));
    assert_eq!(
        (down.desired_replicas, reason(&down, "ScalingLimited")),
        (3, Some((true, "TooFewReplicas")))
    );
    // Reaching a bound exactly is no limitation.
    let exact = decide(&hpa, &seen(10, pods(10), samples(&[600; 10])), &mut remembered(&[]));
    assert_eq!(
        (exact.desired_replicas, reason(&exact, "ScalingLimited")),
        (12, Some((false, "DesiredWithinRange")))
    );
}

#[test]
fn a_size_outside_the_bounds_is_clamped_without_a_look_at_metrics() {
    let hpa = hpa(3, 8, vec![cpu(50)]);
    for (current, expected, why) in [(2, 3, "below Spec.MinReplicas"), (9, 8, "above Spec.MaxReplicas")] {
        let found = decide(
            &hpa,
            &seen(current, Vec::new(), Samples::default()),
            &mut remembered(&[]),
        );
        assert_eq!(found.desired_replicas, expected);
        assert!(found.rescale.as_ref().unwrap().reason.ends_with(why));
        assert_eq!(reason(&found, "ScalingActive"), None);
    }
    for current in [3, 8] {
        let found = decide(&hpa, &seen(current, pods(1), samples(&[500])), &mut remembered(&[]));
        assert_eq!(
            reason(&found, "ScalingActive"),
            Some((true, "ValidMetricFound")),
            "{current} is within"
        );
    }
}

#[test]
fn zero_switches_off_unless_zero_is_allowed() {
    let off = decide(
        &hpa(1, 8, vec![external("Value", "10")]),
        &seen(0, Vec::new(), viewers(25)),
        &mut remembered(&[]),
    );
    assert_eq!(reason(&off, "ScalingActive"), Some((false, "ScalingDisabled")));
    assert_eq!(off.desired_replicas, 0);
    let on = decide(
        &hpa(0, 8, vec![external("Value", "10")]),
        &seen(0, Vec::new(), viewers(25)),
        &mut remembered(&[]),
    );
    assert_eq!(on.desired_replicas, 3);
    // From zero there is no tolerance.
    let exact = decide(
        &hpa(0, 8, vec![external("Value", "10")]),
        &seen(0, Vec::new(), viewers(10)),
        &mut remembered(&[]),
    );
    assert_eq!(exact.desired_replicas, 1);
}

fn viewers(value: i64) -> Samples {
    viewers_m(vec![value * 1000])
}

fn viewers_m(values: Vec<i64>) -> Samples {
    let named = Named {
        name: "viewers".to_owned(),
        selector: None,
        object: None,
        answer: Ok(values),
    };
    Samples {
        external: vec![named],
        ..Samples::default()
    }
}

#[test]
fn a_value_target_multiplies_the_ready_pods_only() {
    let hpa = hpa(1, 100, vec![external("Value", "100")]);
    let mut pods = pods(10);
    pods[0].phase = Phase::Pending;
    pods[1].ready = None;
    let found = decide(&hpa, &seen(10, pods, viewers(150)), &mut remembered(&[]));
    assert_eq!(found.desired_replicas, 12, "1.5 × 8");
}

#[test]
fn an_average_target_is_shared_by_what_the_target_has() {
    let hpa = hpa(1, 100, vec![external("AverageValue", "100")]);
    for (total, expected) in [(900, 10), (899, 9), (1100, 10), (1101, 12)] {
        let found = decide(&hpa, &seen(10, Vec::new(), viewers(total)), &mut remembered(&[]));
        assert_eq!(found.desired_replicas, expected, "{total}");
    }
    let found = decide(
        &hpa,
        &seen(10, Vec::new(), viewers_m(vec![1_000_001])),
        &mut remembered(&[]),
    );
    assert_eq!(found.metrics[0].unwrap().value_m, 100_001, "mean, rounded up");
}

#[test]
fn sums_and_sizes_saturate() {
    let settings = Settings::default();
    let pods = pods(3);
    let context = Context {
        pods: &pods,
        spec_replicas: 3,
        status_replicas: 3,
        tolerances: Tolerances { down: 0.1, up: 0.1 },
        settings: &settings,
        now: now(),
    };
    let ask = |spec, values| propose(&spec, "live", &context, &viewers_m(values)).unwrap();
    let average = ask(external("AverageValue", "1m"), vec![i64::MAX, i64::MAX]);
    assert_eq!((average.replicas, average.value_m), (i32::MAX, i64::MAX));
    let value = ask(external("Value", "1m"), vec![i64::MAX / 2 + 1, i64::MAX / 2 + 1]);
    assert_eq!((value.replicas, value.value_m), (i32::MAX, i64::MAX));
    // An average takes a negative sum for an overflow, a value does not.
    assert_eq!(ask(external("AverageValue", "1"), vec![-5000]).replicas, i32::MAX);
    assert_eq!(ask(external("Value", "1"), vec![-5000]).replicas, -15);
}

#[test]
fn the_largest_metric_counts_and_a_failed_one_forbids_scaling_down() {
    let silent = external("AverageValue", "100");
    let size = |metrics, milli: i64| {
        decide(
            &hpa(1, 100, metrics),
            &seen(10, pods(10), samples(&[milli; 10])),
            &mut remembered(&[]),
        )
    };
    assert_eq!(size(vec![cpu(90), cpu(50), cpu(80)], 800).desired_replicas, 16);
    let up = size(vec![silent.clone(), cpu(50)], 800);
    assert_eq!((up.desired_replicas, up.error.is_some()), (16, true));
    assert_eq!(
        up.metrics.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true]
    );
    let keep = size(vec![silent.clone(), cpu(50)], 500);
    assert_eq!(reason(&keep, "ScalingActive"), Some((true, "ValidMetricFound")));
    let down = size(vec![silent.clone(), cpu(50)], 200);
    assert_eq!(
        (down.desired_replicas, reason(&down, "ScalingActive")),
        (10, Some((false, "FailedGetExternalMetric")))
    );
    let none = size(vec![silent.clone(), silent], 800);
    assert_eq!((none.desired_replicas, none.error.is_some()), (10, true));
    let reasons: Vec<_> = none.events.iter().map(|event| event.reason).collect();
    assert_eq!(
        reasons,
        [
            "FailedGetExternalMetric",
            "FailedGetExternalMetric",
            "FailedComputeMetricsReplicas"
        ]
    );
}

#[test]
fn a_spec_without_metrics_has_the_api_s_default() {
    let mut hpa = hpa(1, 100, Vec::new());
    assert_eq!(ten_pods_at(&hpa, 960), 12);
    hpa.spec.metrics = None;
    assert_eq!(ten_pods_at(&hpa, 960), 12);
    hpa.spec.min_replicas = None;
    assert_eq!(ten_pods_at(&hpa, 1), 1);
}

#[test]
fn a_written_scale_is_remembered_with_behavior_only() {
    let plain = hpa(1, 100, vec![cpu(50)]);
    let behaved = with_behavior(plain.clone(), None, Some(rules(Some(0), None, &[])));
    for (hpa, milli, up, down) in [(&plain, 900, 0, 0), (&behaved, 900, 1, 0), (&behaved, 100, 0, 1)] {
        let mut history = remembered(&[]);
        let mut found = decide(hpa, &seen(10, pods(10), samples(&[milli; 10])), &mut history);
        found.scale_written(hpa, &mut history, &Settings::default(), now());
        assert_eq!((history.up.len(), history.down.len()), (up, down));
        let change = history.up.iter().chain(&history.down).next().map(|event| event.change);
        assert_eq!(change, (up + down > 0).then_some(8));
        assert_eq!(reason(&found, "AbleToScale"), Some((true, "SucceededRescale")));
        let status = found.status(hpa, now());
        assert_eq!(status.desired_replicas, found.desired_replicas);
        assert_eq!(status.last_scale_time.unwrap().0, now());
    }
}

#[test]
fn a_refused_scale_changes_nothing() {
    let hpa = with_behavior(hpa(1, 100, vec![cpu(50)]), None, None);
    let mut history = remembered(&[]);
    let mut found = decide(&hpa, &seen(10, pods(10), samples(&[900; 10])), &mut history);
    found.scale_refused("conflict");
    found.scale_written(&hpa, &mut history, &Settings::default(), now());
    assert_eq!(
        (found.desired_replicas, found.action(), history.up.len()),
        (10, Action::None, 0)
    );
    assert_eq!(reason(&found, "AbleToScale"), Some((false, "FailedUpdateScale")));
    assert_eq!(found.status(&hpa, now()).last_scale_time, None);
}

#[test]
fn a_condition_keeps_its_time_while_its_status_stays() {
    let mut hpa = hpa(1, 100, vec![cpu(50)]);
    let found = decide(&hpa, &seen(10, pods(10), samples(&[500; 10])), &mut remembered(&[]));
    hpa.status = Some(found.status(&hpa, ago(500)));
    let again = found.status(&hpa, now());
    assert!(
        again
            .conditions
            .as_ref()
            .unwrap()
            .iter()
            .all(|one| one.last_transition_time.as_ref().unwrap().0 == ago(500))
    );
    let failed = decide(&hpa, &seen(10, pods(10), Samples::default()), &mut remembered(&[]));
    let status = failed.status(&hpa, now());
    let at = |name: &str| {
        let found = status
            .conditions
            .iter()
            .flatten()
            .find(|one| one.type_ == name)
            .unwrap();
        found.last_transition_time.as_ref().unwrap().0
    };
    assert_eq!((at("ScalingActive"), at("AbleToScale")), (now(), ago(500)));
    // What could not be read stays as it was.
    assert_eq!(status.current_metrics, again.current_metrics);
}

#[test]
fn selectors_are_checked_before_metrics() {
    let hpa = hpa(1, 100, vec![cpu(50)]);
    let ambiguous = Selector::Ambiguous {
        selector: "app=edge".to_owned(),
        autoscalers: vec!["live/edge".to_owned()],
    };
    for (selector, expected) in [
        (Selector::Missing, "InvalidSelector"),
        (Selector::Invalid("bad".to_owned()), "InvalidSelector"),
        (ambiguous, "AmbiguousSelector"),
    ] {
        let mut seen = seen(10, pods(10), samples(&[900; 10]));
        seen.scale.as_mut().unwrap().selector = selector;
        let found = decide(&hpa, &seen, &mut remembered(&[]));
        assert_eq!(reason(&found, "ScalingActive"), Some((false, expected)));
        assert_eq!(found.desired_replicas, 10);
    }
}

#[test]
fn a_container_metric_reads_that_container_alone() {
    let spec = metric(serde_json::json!({"type": "ContainerResource", "containerResource":
        {"name": "cpu", "container": "main", "target": {"type": "Utilization", "averageUtilization": 50}}}));
    let mut pods = pods(10);
    for pod in &mut pods {
        pod.containers.push(showrunner_autoscaling::hpa::ContainerRequests {
            name: "proxy".into(),
            ..Default::default()
        });
    }
    let hpa = hpa(1, 100, vec![spec]);
    let found = decide(&hpa, &seen(10, pods.clone(), samples(&[800; 10])), &mut remembered(&[]));
    assert_eq!(found.desired_replicas, 16);
    for pod in &mut pods {
        pod.containers.remove(0);
    }
    let found = decide(&hpa, &seen(10, pods, samples(&[800; 10])), &mut remembered(&[]));
    assert_eq!(
        reason(&found, "ScalingActive"),
        Some((false, "FailedGetContainerResourceMetric"))
    );
    assert!(found.error.unwrap().ends_with("container main not found in Pod pod-0"));
}
