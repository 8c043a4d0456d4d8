//! Objects that break a rule each, and an API server that has our definitions: what the reader of files says is what it says.
//! Included by whoever has one; `cases` stands beside it.

use std::collections::BTreeSet;

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::Value;
use showrunner_crds::{
    crd,
    rules::{self, Cluster, validate_platform, validate_premiere, validate_scenario},
};

use crate::cases;

/// What the API server says to an object; nothing where it takes it.
pub(crate) async fn refusal(client: &Client, object: &Value) -> Option<String> {
    let kind = object["kind"].as_str().unwrap();
    let definition = crd::crd(kind).unwrap();
    let resource = ApiResource {
        group: "showrunner.dev".into(),
        version: "v1alpha1".into(),
        api_version: "showrunner.dev/v1alpha1".into(),
        kind: kind.into(),
        plural: definition.spec.names.plural,
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match api
        .create(&dry_run, &serde_json::from_value(object.clone()).unwrap())
        .await
    {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message),
        Err(other) => panic!("{other}"),
    }
}

fn words(object: &Value) -> BTreeSet<&'static str> {
    let spec = object["spec"].clone();
    let violations = match object["kind"].as_str().unwrap() {
        "StreamingPlatform" => validate_platform(&serde_json::from_value(object.clone()).unwrap()),
        "Premiere" => validate_premiere(&serde_json::from_value(spec).unwrap()),
        _ => validate_scenario(&serde_json::from_value(spec).unwrap(), None),
    };
    violations.into_iter().map(|violation| violation.rule).collect()
}

/// Tells how many objects were refused, or taken, in the same words.
///
/// # Panics
/// If one was not, or a rule was never met.
pub(crate) async fn are_the_same(client: &Client) -> usize {
    let unheld: BTreeSet<&str> = rules::SCENARIO
        .iter()
        .flat_map(|group| group.iter())
        .filter(|rule| matches!(rule.cluster, Cluster::Nobody(_)))
        .map(|rule| rule.message)
        .collect();
    let every: BTreeSet<&str> = rules::PLATFORM
        .iter()
        .flat_map(|group| group.iter().map(|rule| rule.message))
        .chain(rules::PREMIERE.iter().map(|rule| rule.message))
        .chain(
            rules::SCENARIO
                .iter()
                .flat_map(|group| group.iter().map(|rule| rule.message)),
        )
        .collect();
    let (mut seen, mut count) = (BTreeSet::new(), 0);
    let cases = [
        cases::platform::cases(),
        cases::premiere::cases(),
        cases::scenario::cases(),
    ];
    for (index, case) in cases.into_iter().flatten().enumerate() {
        let wanted: BTreeSet<&str> = words(&case.object).difference(&unheld).copied().collect();
        let said = refusal(client, &case.object).await;
        assert_eq!(
            said.is_some(),
            !wanted.is_empty(),
            "case {index}: {said:?} for {wanted:?}"
        );
        let said = said.unwrap_or_default();
        // No more and no less: a rule that the file reader does not know would be said too.
        let found: BTreeSet<&str> = every.iter().copied().filter(|message| said.contains(message)).collect();
        assert_eq!(found, wanted, "case {index}: {said}");
        seen.extend(found);
        count += 1;
    }
    let held: BTreeSet<&str> = every.difference(&unheld).copied().collect();
    assert_eq!(seen, held, "every rule was met");
    count
}
