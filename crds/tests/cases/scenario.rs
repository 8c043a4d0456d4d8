//! Scenarios by themselves.

use serde_json::{Value, json};

use super::{Case, case};

/// Two phases, two faults, two gates.
pub(crate) fn scenario() -> Value {
    json!({
        "apiVersion": "showrunner.dev/v1alpha1",
        "kind": "Scenario",
        "metadata": {"name": "night"},
        "spec": {
            "title": "t",
            "audience": {
                "channel": "main",
                "regions": [{"region": "eu", "share": 1}, {"region": "us", "share": 1}],
                "phases": [
                    {"name": "up", "duration": "30s", "viewers": 10},
                    {"name": "on", "duration": "60s", "viewers": 10}],
            },
            "faults": [
                {"name": "lost", "start": {"phase": "on", "after": "10s"}, "duration": "20s",
                 "action": {"regionLoss": {"region": "eu"}}},
                {"name": "other", "start": {"phase": "on", "after": "40s"}, "duration": "10s",
                 "action": {"regionLoss": {"region": "us"}}}],
            "gates": [
                {"name": "startup", "check": {"startupTime": {"percentile": 95, "below": "2s"}}, "within": {"phase": "on"}},
                {"name": "failover", "check": {"failoverTime": {"fault": "lost", "within": "10s"}},
                 "within": {"fault": {"name": "lost", "after": "5s"}}}],
        }
    })
}

#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
fn fault(scenario: &mut Value, duration: &str, action: Value) {
    let fault = json!({"name": "f", "start": {"phase": "on"}, "duration": duration, "action": action});
    scenario["spec"]["faults"][1] = fault;
}

#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
fn gate(scenario: &mut Value, check: Value) {
    scenario["spec"]["gates"][0] = json!({"name": "g", "check": check});
}

/// Every case.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = timeline();
    cases.extend(faults());
    cases.extend(gates());
    cases.extend(guardrails());
    cases
}

fn timeline() -> Vec<Case> {
    vec![
        case(scenario(), |_| (), &[]),
        case(
            scenario(),
            |s| {
                // A fault that begins in a phase of an ambiguous name ends with whichever comes first.
                s["spec"]["faults"] = json!([]);
                s["spec"]["gates"] = json!([{"name": "g", "check": {"fatalSessions": {"atMost": 0}}}]);
                s["spec"]["audience"]["phases"][1]["name"] = json!("up");
            },
            &[("spec.audience.phases[1].name", "names of phases must be unique: `up`")],
        ),
        case(
            scenario(),
            |s| {
                let network = json!({"name": "home", "share": 1, "downKbps": 1000});
                s["spec"]["audience"]["networks"] = json!([network, network]);
            },
            &[(
                "spec.audience.networks[1].name",
                "names of networks must be unique: `home`",
            )],
        ),
        case(
            scenario(),
            |s| s["spec"]["audience"]["regions"][1]["region"] = json!("eu"),
            &[(
                "spec.audience.regions[1].region",
                "a region's share can be stated once: `eu`",
            )],
        ),
        case(
            scenario(),
            |s| s["spec"]["audience"]["phases"][0]["duration"] = json!("0s"),
            &[("spec.audience.phases[0].duration", "a phase must last longer than 0s")],
        ),
        case(
            scenario(),
            |s| s["spec"]["faults"][1]["name"] = json!("lost"),
            &[("spec.faults[1].name", "names of faults must be unique: `lost`")],
        ),
        case(
            scenario(),
            |s| s["spec"]["gates"][1]["name"] = json!("startup"),
            &[("spec.gates[1].name", "names of gates must be unique: `startup`")],
        ),
    ]
}

fn faults() -> Vec<Case> {
    vec![
        case(
            scenario(),
            |s| s["spec"]["faults"][0]["start"]["phase"] = json!("oh"),
            &[(
                "spec.faults[0].start.phase",
                "a fault starts in a phase of the audience: there is no phase `oh`; did you mean `on`? known: up, on",
            )],
        ),
        case(
            scenario(),
            |s| {
                s["spec"]["faults"][0]["start"]["after"] = json!("60s");
                s["spec"]["faults"][0]["duration"] = json!("1ms");
            },
            &[
                (
                    "spec.faults[0].start.after",
                    "a fault starts before its phase ends: phase `on` lasts 1m",
                ),
                ("spec.faults[0].duration", "a fault ends with the last phase"),
            ],
        ),
        case(
            scenario(),
            |s| s["spec"]["faults"][1]["duration"] = json!("20.001s"),
            &[("spec.faults[1].duration", "a fault ends with the last phase")],
        ),
        case(scenario(), |s| s["spec"]["faults"][1]["duration"] = json!("20s"), &[]),
        case(
            scenario(),
            |s| s["spec"]["faults"][1]["duration"] = json!("0s"),
            &[("spec.faults[1].duration", "the fault must last longer than 0s")],
        ),
        case(
            scenario(),
            |s| fault(s, "0s", json!({"podKill": {"role": "edge"}})),
            &[],
        ),
        case(
            scenario(),
            |s| fault(s, "0s", json!({"podKill": {"role": "edge", "count": 0}})),
            &[("spec.faults[1].action.podKill.count", "count must be at least 1")],
        ),
        case(
            scenario(),
            |s| fault(s, "0s", json!({"networkPartition": {"role": "edge"}})),
            &[("spec.faults[1].duration", "the fault must last longer than 0s")],
        ),
        case(
            scenario(),
            |s| fault(s, "5s", json!({"networkDelay": {"role": "edge", "latencyMs": 60_001}})),
            &[(
                "spec.faults[1].action.networkDelay.latencyMs",
                "latencyMs must be at most 60000",
            )],
        ),
        case(
            scenario(),
            |s| {
                fault(
                    s,
                    "5s",
                    json!({"networkDelay": {"role": "edge", "latencyMs": 10, "jitterMs": 11}}),
                );
            },
            &[(
                "spec.faults[1].action.networkDelay.jitterMs",
                "jitterMs must not be more than",
            )],
        ),
        case(
            scenario(),
            |s| fault(s, "0s", json!({"cacheFlush": {"role": "origin"}})),
            &[(
                "spec.faults[1].action.cacheFlush.role",
                "only edge and shield have caches",
            )],
        ),
        case(
            scenario(),
            |s| fault(s, "0s", json!({"cacheFlush": {"role": "shield"}})),
            &[],
        ),
        case(
            scenario(),
            |s| {
                fault(
                    s,
                    "5s",
                    json!({"serviceBrownOut": {"service": "a", "latencyMs": 60_001}}),
                );
            },
            &[(
                "spec.faults[1].action.serviceBrownOut.latencyMs",
                "latencyMs must be at most 60000",
            )],
        ),
        case(
            scenario(),
            |s| {
                fault(
                    s,
                    "5s",
                    json!({"serviceBrownOut": {"service": "a", "latencyMs": 1, "lossPercent": 101}}),
                );
            },
            &[(
                "spec.faults[1].action.serviceBrownOut.lossPercent",
                "lossPercent must be at most 100",
            )],
        ),
    ]
}

fn gates() -> Vec<Case> {
    vec![
        case(
            scenario(),
            |s| s["spec"]["gates"][0]["within"] = json!({"phase": "off"}),
            &[(
                "spec.gates[0].within.phase",
                "a gate's window is a phase of the audience: there is no phase `off`",
            )],
        ),
        case(
            scenario(),
            |s| s["spec"]["gates"][1]["within"] = json!({"fault": {"name": "x"}}),
            &[(
                "spec.gates[1].within.fault.name",
                "a gate's window is a fault of the scenario: there is no fault `x`",
            )],
        ),
        case(
            scenario(),
            |s| {
                s["spec"].as_object_mut().unwrap().remove("faults");
                s["spec"]["gates"].as_array_mut().unwrap().truncate(1);
                s["spec"]["gates"][0]["within"] = json!({"fault": {"name": "x"}});
            },
            &[(
                "spec.gates[0].within.fault.name",
                "a gate's window is a fault of the scenario: there is no fault `x`",
            )],
        ),
        case(
            scenario(),
            |s| gate(s, json!({"startupTime": {"percentile": 0, "below": "2s"}})),
            &[("spec.gates[0].check.startupTime.percentile", "a percentile is above 0")],
        ),
        case(
            scenario(),
            |s| gate(s, json!({"startupTime": {"percentile": 99.9, "below": "2s"}})),
            &[],
        ),
        case(
            scenario(),
            |s| gate(s, json!({"startupTime": {"percentile": 100.1, "below": "2s"}})),
            &[("spec.gates[0].check.startupTime.percentile", "a percentile is above 0")],
        ),
        case(
            scenario(),
            |s| gate(s, json!({"startupTime": {"percentile": 95, "below": "0s"}})),
            &[("spec.gates[0].check.startupTime.below", "below must be more than 0s")],
        ),
        case(
            scenario(),
            |s| gate(s, json!({"rebufferRatio": {"belowPercent": 0}})),
            &[(
                "spec.gates[0].check.rebufferRatio.belowPercent",
                "belowPercent is above 0",
            )],
        ),
        case(
            scenario(),
            |s| gate(s, json!({"failoverTime": {"fault": "nope", "within": "1s"}})),
            &[(
                "spec.gates[0].check.failoverTime.fault",
                "failoverTime is measured on a fault of the scenario: there is no",
            )],
        ),
        case(
            scenario(),
            |s| {
                fault(s, "5s", json!({"podKill": {"role": "edge"}}));
                gate(s, json!({"failoverTime": {"fault": "f", "within": "1s"}}));
            },
            &[(
                "spec.gates[0].check.failoverTime.fault",
                "viewers fail over when a region is lost",
            )],
        ),
        case(
            scenario(),
            |s| gate(s, json!({"failoverTime": {"fault": "lost", "within": "0s"}})),
            &[("spec.gates[0].check.failoverTime.within", "within must be more than 0s")],
        ),
        case(
            scenario(),
            |s| gate(s, json!({"edgeScaling": {"surge": "nope", "within": "1s"}})),
            &[(
                "spec.gates[0].check.edgeScaling.surge",
                "edgeScaling.surge is a phase of the audience: there is no",
            )],
        ),
        case(
            scenario(),
            |s| {
                gate(
                    s,
                    json!({"edgeScaling": {"surge": "on", "within": "1s", "backToPercent": 0}}),
                );
            },
            &[(
                "spec.gates[0].check.edgeScaling.backToPercent",
                "backToPercent is from 1 to 100",
            )],
        ),
        case(
            scenario(),
            |s| gate(s, json!({"segmentHitRatio": {"abovePercent": 100}})),
            &[(
                "spec.gates[0].check.segmentHitRatio.abovePercent",
                "abovePercent is at least 0",
            )],
        ),
        case(
            scenario(),
            |s| gate(s, json!({"originFetches": {"atMostPerObject": 0}})),
            &[(
                "spec.gates[0].check.originFetches.atMostPerObject",
                "atMostPerObject must be at least 1",
            )],
        ),
        case(
            scenario(),
            |s| gate(s, json!({"streamGap": {"below": "0s"}})),
            &[("spec.gates[0].check.streamGap.below", "below must be more than 0s")],
        ),
    ]
}

fn guardrails() -> Vec<Case> {
    vec![
        case(
            scenario(),
            |s| s["spec"]["guardrails"] = json!({"maxDuration": "210s", "maxRegions": 2, "maxPodPercent": 50}),
            &[],
        ),
        case(
            scenario(),
            |s| s["spec"]["guardrails"] = json!({"maxDuration": "209s"}),
            &[(
                "spec.guardrails.maxDuration",
                "guardrails.maxDuration holds all phases and two minutes for taking faults back: the phases take 90 s, \
                 maxDuration is 3m29s",
            )],
        ),
        case(
            scenario(),
            |s| s["spec"]["audience"]["phases"][0]["duration"] = json!("2h"),
            &[("spec.guardrails.maxDuration", "guardrails.maxDuration holds all phases")],
        ),
        case(
            scenario(),
            |s| {
                let stop = |window: &str| json!({"metric": "requestErrors", "window": window, "above": 0.5});
                s["spec"]["guardrails"]["stopWhen"] = json!([stop("10s"), stop("9.999s"), stop("10m"), stop("10m1s")]);
            },
            &[
                ("spec.guardrails.stopWhen[1].window", "a window is from 10s to 10m"),
                ("spec.guardrails.stopWhen[3].window", "a window is from 10s to 10m"),
            ],
        ),
        case(
            scenario(),
            |s| {
                let stop = |above: f64| json!({"metric": "fatalSessions", "above": above});
                s["spec"]["guardrails"]["stopWhen"] = json!([stop(0.0), stop(-0.1), stop(0.999), stop(1.0)]);
            },
            &[
                ("spec.guardrails.stopWhen[1].above", "above is a fraction"),
                ("spec.guardrails.stopWhen[3].above", "above is a fraction"),
            ],
        ),
    ]
}
