//! What holds for every input, and a second, literal implementation of the sample arithmetic to compare with.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use jiff::SignedDuration;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use proptest::prelude::*;
use showrunner_autoscaling::audience::Capacity;
use showrunner_autoscaling::growth::Growth;
use showrunner_autoscaling::hpa::{
    Direction, Group, History, Observation, Phase, PodView, Readiness, ReadyCondition, Rules, SampleTime, Samples,
    Settings, evaluate, evaluate_traced,
};
use showrunner_autoscaling::project::{PodModel, Ramp, project};

/// A pod in any state, and its CPU sample if there is one.
fn any_pod() -> impl Strategy<Value = (PodView, Option<(i64, i64)>)> {
    let phase = prop_oneof![
        6 => Just(Phase::Running),
        1 => Just(Phase::Pending),
        1 => Just(Phase::Failed),
        1 => Just(Phase::Succeeded)
    ];
    let start = prop_oneof![Just(30_i64), Just(299), Just(300), Just(301), Just(86_400)];
    let ready = prop_oneof![4 => Just(Some(Readiness::True)), 1 => Just(Some(Readiness::False)), 1 => Just(None)];
    let transition = prop_oneof![Just(10_i64), Just(30), Just(31), Just(271), Just(280)];
    let sample = prop::option::weighted(0.8, (0_i64..2000, 0_i64..40));
    let request = prop_oneof![9 => (1_i64..2000).prop_map(Some), 1 => Just(Some(0))];
    (
        phase,
        prop::bool::weighted(0.1),
        start,
        ready,
        transition,
        sample,
        request,
    )
        .prop_map(|(phase, deleting, start, ready, transition, sample, request)| {
            let mut pod = pod("");
            pod.phase = phase;
            pod.deleting = deleting;
            pod.start_time = Some(ago(start));
            pod.ready = ready.map(|status| ReadyCondition {
                status,
                last_transition: ago(transition.min(start)),
            });
            if let Some(request) = request {
                pod.containers[0].requests.insert("cpu".to_owned(), request);
            }
            (pod, sample)
        })
}

/// Up to 40 pods, their samples, and samples of pods that are gone.
fn any_fleet() -> impl Strategy<Value = (Vec<PodView>, Samples)> {
    let gone = prop::collection::vec(0_i64..2000, 0..3);
    (prop::collection::vec(any_pod(), 1..40), gone).prop_map(|(fleet, gone)| {
        let (mut pods, mut usage) = (Vec::new(), Vec::new());
        for (at, (mut pod, sampled)) in fleet.into_iter().enumerate() {
            pod.name = format!("pod-{at}");
            if let Some((milli, age)) = sampled {
                let mut found = sample(&pod.name, milli);
                found.timestamp = ago(age);
                usage.push(found);
            }
            pods.push(pod);
        }
        usage.extend(
            gone.iter()
                .enumerate()
                .map(|(at, milli)| sample(&format!("gone-{at}"), *milli)),
        );
        (pods, Samples::of_resources(usage))
    })
}

fn any_hpa() -> impl Strategy<Value = HorizontalPodAutoscaler> {
    let direction = || {
        let policy = prop_oneof![
            (1_i32..10, 15_i32..120).prop_map(|(value, period)| ("Pods", value, period)),
            (1_i32..200, 15_i32..120).prop_map(|(value, period)| ("Percent", value, period)),
        ];
        let select = prop::option::of(prop_oneof![Just("Max"), Just("Min"), Just("Disabled")]);
        let fields = (
            prop::option::of(0_i32..600),
            select,
            prop::collection::vec(policy, 0..3),
        );
        prop::option::of(fields.prop_map(|(window, select, policies)| rules(window, select, &policies)))
    };
    (
        0_i32..10,
        0_i32..60,
        10_i32..150,
        prop::option::of((direction(), direction())),
    )
        .prop_map(|(min, more, target, behavior)| {
            let hpa = hpa(min, (min + more).max(1), vec![cpu(target)]);
            match behavior {
                Some((up, down)) => with_behavior(hpa, up, down),
                None => hpa,
            }
        })
}

fn any_history() -> impl Strategy<Value = History> {
    let recommendations = prop::option::of(prop::collection::vec((0_i32..60, 0_i64..700), 0..12));
    let changes = || prop::collection::vec((1_i32..10, 0_i64..200), 0..6);
    (recommendations, changes(), changes()).prop_map(|(recommendations, up, down)| History {
        up: events(&up),
        down: events(&down),
        ..recommendations.map_or_else(History::default, |all| remembered(&all))
    })
}

/// The published rules, step by step, on maps.
fn literal(pods: &[PodView], samples: &Samples, target: i32, current: i32) -> Result<i32, ()> {
    let settings = Settings::default();
    let mut metrics: BTreeMap<String, i64> = BTreeMap::new();
    let mut times = BTreeMap::new();
    for usage in samples.resource.as_ref().unwrap() {
        metrics.insert(usage.pod.clone(), usage.containers[0].usage["cpu"]);
        times.insert(
            usage.pod.clone(),
            SampleTime {
                timestamp: usage.timestamp,
                window: usage.window,
            },
        );
    }
    if metrics.is_empty() {
        return Err(());
    }
    let (mut ready, mut unready, mut missing) = (0, BTreeSet::new(), BTreeSet::new());
    for pod in pods {
        let group = pod.group(times.get(&pod.name).copied(), true, &settings, now());
        if group == Group::Ready {
            ready += 1;
        } else if group == Group::Missing {
            missing.insert(pod.name.clone());
        } else {
            metrics.remove(&pod.name);
            if group.is_unready() {
                unready.insert(pod.name.clone());
            }
        }
    }
    let requests: BTreeMap<String, i64> = pods
        .iter()
        .map(|pod| (pod.name.clone(), pod.containers[0].requests["cpu"]))
        .collect();
    let percent = |metrics: &BTreeMap<String, i64>| {
        let known = || metrics.iter().filter(|(name, _)| requests.contains_key(*name));
        let usage: i64 = known().map(|(_, value)| value).sum();
        let requested: i64 = known().map(|(name, _)| requests[name]).sum();
        if requested == 0 {
            Err(())
        } else {
            Ok(f64::from((usage * 100 / requested) as i32) / f64::from(target))
        }
    };
    let ratio = percent(&metrics)?;
    let kept = |ratio: f64| (0.9..=1.1).contains(&ratio);
    if missing.is_empty() && (unready.is_empty() || ratio <= 1.0) {
        return Ok(if kept(ratio) {
            current
        } else {
            (ratio * f64::from(ready)).ceil() as i32
        });
    }
    for name in &missing {
        if ratio < 1.0 {
            metrics.insert(name.clone(), requests[name] * i64::from(target.max(100)) / 100);
        } else if ratio > 1.0 {
            metrics.insert(name.clone(), 0);
        }
    }
    if ratio > 1.0 {
        metrics.extend(unready.iter().map(|name| (name.clone(), 0)));
    }
    let new = percent(&metrics)?;
    let size = (new * metrics.len() as f64).ceil() as i32;
    let turned = (ratio < 1.0 && new > 1.0) || (ratio > 1.0 && new < 1.0);
    let against = (new < 1.0 && size > current) || (new > 1.0 && size < current);
    Ok(if kept(new) || turned || against { current } else { size })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sizes_agree_with_the_literal_rules((pods, samples) in any_fleet(), target in 10_i32..150, current in 1_i32..50) {
        let hpa = hpa(0, i32::MAX, vec![cpu(target)]);
        let settings = Settings { scale_up_limit_factor: 1e9, ..Settings::default() };
        let expected = literal(&pods, &samples, target, current);
        let found = evaluate(&hpa, &seen(current, pods, samples), &mut remembered(&[]), &settings, now());
        match expected {
            Ok(size) => prop_assert_eq!(found.desired_replicas, size),
            Err(()) => prop_assert!(found.error.is_some() && found.rescale.is_none()),
        }
    }

    #[test]
    fn a_decided_size_is_within_its_bounds(
        hpa in any_hpa(), (pods, samples) in any_fleet(), history in any_history(), current in 0_i32..80
    ) {
        let (min, max) = (hpa.spec.min_replicas.unwrap(), hpa.spec.max_replicas);
        let found = evaluate(&hpa, &seen(current, pods, samples), &mut history.clone(), &Settings::default(), now());
        if found.rescale.is_some() {
            prop_assert!((min..=max).contains(&found.desired_replicas));
            prop_assert_ne!(found.desired_replicas, current);
        } else {
            prop_assert_eq!(found.desired_replicas, current);
        }
    }

    #[test]
    fn more_load_never_asks_for_less(
        loads in prop::collection::vec((0_i64..3000, 0_i64..500), 1..30), target in 10_i32..150
    ) {
        let hpa = hpa(0, 1000, vec![cpu(target)]);
        let settings = Settings { scale_up_limit_factor: 1e9, ..Settings::default() };
        let n = loads.len();
        let size = |loads: Vec<i64>| {
            let seen = seen(n as i32, pods(n), samples(&loads));
            evaluate(&hpa, &seen, &mut remembered(&[]), &settings, now()).desired_replicas
        };
        let less = size(loads.iter().map(|(load, _)| *load).collect());
        let more = size(loads.iter().map(|(load, more)| load + more).collect());
        prop_assert!(less <= more, "{less} at less load, {more} at more");
    }

    #[test]
    fn nothing_changes_inside_the_tolerance(n in 1_usize..40, target in 10_i32..150, part in -0.099_f64..0.099) {
        let percent = (f64::from(target) * (1.0 + part)).round();
        prop_assume!((0.9..=1.1).contains(&(percent / f64::from(target))));
        let hpa = hpa(0, 1000, vec![cpu(target)]);
        let seen = seen(n as i32, pods(n), samples(&vec![percent as i64 * 10; n]));
        let found = evaluate(&hpa, &seen, &mut remembered(&[]), &Settings::default(), now());
        prop_assert_eq!(found.desired_replicas, n as i32);
    }

    #[test]
    fn stabilised_sizes_stay_within_what_was_recommended(
        history in any_history(), current in 0_i32..60, desired in 0_i32..60, up in 0_i32..600, down in 0_i32..600
    ) {
        let within = |seconds: i64, inclusive: bool| {
            let cutoff = ago(seconds);
            let past = history.recommendations.iter().flatten();
            let seen = past.filter(|past| past.at > cutoff || (inclusive && past.at == cutoff));
            seen.map(|past| past.replicas).chain([desired]).collect::<Vec<_>>()
        };
        let plain = history.clone().stabilize_down(desired, SignedDuration::from_secs(i64::from(down)), now());
        prop_assert_eq!(plain, *within(i64::from(down), true).iter().max().unwrap());

        let (up_rules, down_rules) = (rules(Some(up), None, &[]), rules(Some(down), None, &[]));
        let [up_rules, down_rules] = [
            Rules::new(Direction::Up, Some(&up_rules), 300),
            Rules::new(Direction::Down, Some(&down_rules), 300),
        ];
        let found = history.clone().stabilize(current, desired, &up_rules, &down_rules, now()).replicas;
        let highest = *within(i64::from(down), false).iter().max().unwrap();
        let lowest = *within(i64::from(up), false).iter().min().unwrap();
        prop_assert!((lowest..=highest).contains(&found));
        prop_assert!(found == current || found == lowest || found == highest);
    }

    #[test]
    fn a_decision_is_a_function_of_its_inputs_and_not_of_their_order(
        hpa in any_hpa(), (pods, samples) in any_fleet(), history in any_history(), current in 0_i32..60, turn in 0_usize..40
    ) {
        let settings = Settings::default();
        let observation = seen(current, pods, samples);
        let run = |observation: &Observation| {
            let mut history = history.clone();
            let decision = evaluate(&hpa, observation, &mut history, &settings, now());
            (decision, history)
        };
        let first = run(&observation);
        prop_assert_eq!(&first, &run(&observation));
        let mut traced_history = history.clone();
        let (traced, trace) = evaluate_traced(&hpa, &observation, &mut traced_history, &settings, now());
        prop_assert_eq!(&first, &(traced, traced_history));
        prop_assert!(!trace.steps.is_empty());
        let mut turned = observation.clone();
        let pods = turned.pods.len();
        turned.pods.rotate_left(turn % pods);
        turned.samples.resource.as_mut().unwrap().reverse();
        prop_assert_eq!(&first, &run(&turned));
    }

    #[test]
    fn no_policy_is_exceeded_within_its_period(value in 1_i32..8, period in 15_i32..120, loads in prop::collection::vec(0_i64..2000, 20)) {
        let policy = || Some(rules(Some(0), None, &[("Pods", value, period)]));
        let hpa = with_behavior(hpa(1, 500, vec![cpu(50)]), policy(), policy());
        let (mut size, mut history, settings) = (20, remembered(&[]), Settings::default());
        let mut sizes = Vec::new();
        for (step, load) in loads.into_iter().enumerate() {
            let now = now() + SignedDuration::from_secs(15) * step as i32;
            let n = size as usize;
            let mut found = evaluate(&hpa, &seen(size, pods(n), samples(&vec![load; n])), &mut history, &settings, now);
            found.scale_written(&hpa, &mut history, &settings, now);
            sizes.push((now, size, found.desired_replicas));
            size = found.desired_replicas;
        }
        let period = SignedDuration::from_secs(i64::from(period));
        for (now, before, after) in &sizes {
            // A change up ends no higher, one down no lower, than the policy's value from the size at the start of its
            // period. (A change back may undo all the period did before, so sizes a period apart can differ by more.)
            let (_, start, _) = sizes.iter().find(|(at, ..)| *at > *now - period).unwrap();
            prop_assert!(after <= before || *after <= start + value, "up from {start} to {after} within {period:#}");
            prop_assert!(after >= before || *after >= start - value, "down from {start} to {after} within {period:#}");
        }
    }

    #[test]
    fn no_projection_outgrows_the_law(
        target in 30_u32..90, start in 5_i64..60, window in 15_i64..60, replicas in 1_u32..10
    ) {
        let hpa = hpa(1, 100_000, vec![cpu(target as i32)]);
        let settings = Settings { scale_up_limit_factor: 1e9, ..Settings::default() };
        let model = PodModel {
            capacity: Capacity { viewers_per_replica: 1000, headroom_percent: 0 },
            saturation_percent: 100,
            start: SignedDuration::from_secs(start),
            metric_window: SignedDuration::from_secs(window),
            per_viewer_m: BTreeMap::new(),
        };
        let growth = Growth {
            target_percent: target,
            saturation_percent: 100,
            pod_start: model.start,
            metric_window: model.metric_window,
            sync_period: settings.sync_period,
        };
        let flood = Ramp { initial: 100_000_000, per_second: 0.0, rises_for: SignedDuration::ZERO };
        let lasts = SignedDuration::from_mins(5);
        let found = project(&hpa, replicas, remembered(&[]), &flood, &model, &settings, lasts, now()).unwrap();
        for point in &found.points {
            let most = growth.at_most(replicas, SignedDuration::from_secs(point.second));
            prop_assert!(point.ready <= most, "{} ready after {} s, the law allows {most}", point.ready, point.second);
        }
        // It is a bound worth having: growth does come.
        prop_assert!(found.points.last().unwrap().ready > replicas);
    }
}

#[test]
fn a_large_fleet_in_any_order_is_joined_alike() {
    let hpa = hpa(1, 100_000, vec![cpu(50)]);
    let loads: Vec<i64> = (0..1000).map(|at| 300 + at % 700).collect();
    let straight = seen(1000, pods(1000), samples(&loads));
    let mut turned = straight.clone();
    turned.samples.resource.as_mut().unwrap().reverse();
    let size = |seen| evaluate(&hpa, seen, &mut remembered(&[]), &Settings::default(), now()).desired_replicas;
    assert_eq!(size(&straight), size(&turned));
    assert_eq!(size(&straight), 1160);
}
