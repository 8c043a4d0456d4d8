//! What a file is refused for, an API server refuses in the same words.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cases;
mod words;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use showrunner_crds::crd;
use words::refusal;

async fn cluster() -> Client {
    let client = ApiServer::new(ApiServerConfig::default()).client("default");
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in crd::all_crds() {
        definitions.create(&PostParams::default(), &definition).await.unwrap();
    }
    client
}

#[tokio::test]
async fn the_same_object_is_refused_in_the_same_words() {
    assert!(words::are_the_same(&cluster().await).await > 50);
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
