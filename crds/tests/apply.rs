//! What a file is refused for, an API server refuses in the same words.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cases;

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use showrunner_crds::{
    crd,
    rules::{self, Cluster, validate_platform, validate_premiere, validate_scenario},
};

async fn cluster() -> Client {
    let client = ApiServer::new(ApiServerConfig::default()).client("default");
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in crd::all_crds() {
        definitions.create(&PostParams::default(), &definition).await.unwrap();
    }
    client
}

/// What the API server says to an object; nothing where it takes it.
async fn refusal(client: &Client, object: &Value) -> Option<String> {
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

#[tokio::test]
async fn the_same_object_is_refused_in_the_same_words() {
    let client = cluster().await;
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
    let mut seen = BTreeSet::new();
    let cases = [
        cases::platform::cases(),
        cases::premiere::cases(),
        cases::scenario::cases(),
    ];
    for (index, case) in cases.into_iter().flatten().enumerate() {
        let wanted: BTreeSet<&str> = words(&case.object).difference(&unheld).copied().collect();
        let said = refusal(&client, &case.object).await;
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
    }
    let held: BTreeSet<&str> = every.difference(&unheld).copied().collect();
    assert_eq!(seen, held, "every rule was met");
}

#[tokio::test]
async fn a_duration_that_nobody_could_read_back_is_not_stored() {
    let client = cluster().await;
    for (duration, refused) in [("672h", false), ("673h", true), ("40320m1ms", true)] {
        let mut object = cases::premiere::cases().remove(0).object;
        object["spec"]["duration"] = json!(duration);
        let said = refusal(&client, &object).await;
        assert_eq!(said.is_some(), refused, "{duration}: {said:?}");
        assert!(said.is_none_or(|said| said.contains("a duration is at most four weeks, 672h")));
        let reads = serde_json::from_value::<showrunner_crds::premiere::PremiereSpec>(object["spec"].clone()).is_ok();
        assert_eq!(reads, !refused, "{duration}");
    }
}
