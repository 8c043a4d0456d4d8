//! A drill against a platform that is there already: nothing is started, and nothing of the platform is changed but by faults.

use std::time::Duration;

use kube::ResourceExt;
use serde_json::Value;
use showrunner_crds::{
    platform::{StreamingPlatform, StreamingPlatformSpec},
    rules::patched,
    scenario::Scenario,
};
use showrunner_loadtest::{drill::Drill, fault::UNDO_WITHIN, guardrail::Place, observe::Subject, plan};
use tokio::time::timeout;

use super::{end, folder, greet, perform, run_name, timeline};
use crate::{args::DrillArgs, cluster::find, failure::Failure, input, output::print, signals::stop_token};

/// How long the cluster gets to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Differences that are named.
const NAMED: usize = 10;

pub(super) async fn run(args: &DrillArgs) -> Result<u8, Failure> {
    // What is wrong with the file is said before a cluster is asked.
    input::scenario(&args.scenario, None)?;
    let name = args
        .platform
        .to_str()
        .filter(|name| !name.contains('/'))
        .ok_or_else(|| {
            Failure::invalid(format!(
                "--platform {}: on a cluster it is the name of a StreamingPlatform there",
                args.platform.display()
            ))
        })?;
    let (client, default) = args.cluster.connect().await?;
    let namespace = args.namespace.clone().unwrap_or(default);
    let found = timeout(ANSWER, find::<StreamingPlatform>(&client, &namespace, name)).await;
    let platform = found.map_err(|_| {
        let seconds = ANSWER.as_secs();
        Failure::infrastructure(format!("the cluster does not answer within {seconds} s"))
    })??;
    let scenario = input::scenario(&args.scenario, Some(&platform.spec))?;
    unpatched(args, &scenario, &platform.spec)?;
    let terms = args.limits.terms(Place::Cluster);
    let timeline = timeline(args, &scenario, &platform, &terms)?;
    if args.dry_run {
        print(&plan::render(&scenario.spec, &platform.name_any(), &timeline))?;
        return Ok(0);
    }
    let stop = stop_token()?;
    let run = run_name(&scenario);
    let (dir, _folder) = folder(args, &run)?;
    let live = greet(&scenario, &platform, &timeline);
    live.say(&format!(
        "drill {run} in namespace {namespace}; `showrunner undo` takes it back if this process dies"
    ));
    let drill = Drill {
        client,
        subject: Subject {
            namespace,
            platform: platform.name_any(),
        },
        scenario_name: scenario.name_any(),
        scenario: scenario.spec,
        platform: platform.spec,
        seed: args.seed,
        run,
        dir: dir.clone(),
        undo_within: UNDO_WITHIN,
        terms,
        live: live.clone(),
    };
    let outcome = perform(drill, stop, std::future::pending()).await;
    live.done();
    end(outcome, Ok(()), &dir)
}

/// An error where the scenario wants another platform than the one that is there: a drill does not change it.
fn unpatched(args: &DrillArgs, scenario: &Scenario, there: &StreamingPlatformSpec) -> Result<(), Failure> {
    let invalid = |why: &dyn std::fmt::Display| {
        Failure::invalid(format!("{}: spec.platformPatch: {why}", args.scenario.display()))
    };
    let wanted = patched(there, scenario.spec.platform_patch.as_ref()).map_err(|error| invalid(&error))?;
    let value = |spec: &StreamingPlatformSpec| serde_json::to_value(spec).unwrap_or_default();
    let mut differences = Vec::new();
    differ("spec", &value(there), &value(&wanted), &mut differences);
    if differences.is_empty() {
        return Ok(());
    }
    let more = differences.len().saturating_sub(NAMED);
    let mut named: Vec<String> = differences.into_iter().take(NAMED).collect();
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    Err(invalid(&format!(
        "a platform that is there is not changed by a drill, and this one differs: {}",
        named.join("; ")
    )))
}

/// Paths at which two values differ, with both values.
fn differ(path: &str, there: &Value, wanted: &Value, differences: &mut Vec<String>) {
    match (there, wanted) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let none = &Value::Null;
                let (a, b) = (a.get(key).unwrap_or(none), b.get(key).unwrap_or(none));
                differ(&format!("{path}.{key}"), a, b, differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{path}[{index}]"), a, b, differences);
            }
        }
        (a, b) if a == b => {}
        (a, b) => differences.push(format!("{path} is {a}, not {b}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_with_their_places() {
        let mut found = Vec::new();
        let there = json!({ "edge": { "a": 1, "b": [1, 2] }, "same": true });
        let wanted = json!({ "edge": { "a": 2, "b": [1, 3] }, "same": true, "new": "x" });
        differ("spec", &there, &wanted, &mut found);
        assert_eq!(
            found,
            [
                "spec.edge.a is 1, not 2",
                "spec.edge.b[1] is 2, not 3",
                "spec.new is null, not \"x\""
            ]
        );
        found.clear();
        differ("spec", &there, &there, &mut found);
        assert!(found.is_empty());
    }
}
