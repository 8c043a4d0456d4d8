//! Several hands on one platform: server-side apply merges its lists by name, and defaults are nobody's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use showrunner_crds::{platform::StreamingPlatform, scenario::Scenario};
use support::cluster::{Cluster, NAMESPACE};

const KUBECTL: &str = "kubectl";
const CLIENT_SIDE: &str = "kubectl-client-side-apply";

fn rung(name: &str) -> Value {
    json!({ "name": name, "width": 640, "height": 360, "bitrateKbps": 600 })
}

fn platform(spec: &Value) -> Value {
    json!({
        "apiVersion": "showrunner.dev/v1alpha1", "kind": "StreamingPlatform", "metadata": { "name": "cinema" },
        "spec": spec,
    })
}

fn whole() -> Value {
    json!({
        "channels": [{ "name": "main", "ladder": [rung("hi")] }],
        "regions": [{ "name": "north" }, { "name": "south" }],
    })
}

/// `kubectl apply --server-side`, not forced.
async fn apply(cluster: &Cluster, manager: &str, spec: &Value) -> kube::Result<StreamingPlatform> {
    let params = PatchParams::apply(manager).validation_strict();
    cluster
        .platforms()
        .patch("cinema", &params, &Patch::Apply(platform(spec)))
        .await
}

fn names<'a>(items: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    items.into_iter().map(String::as_str).collect()
}

fn regions(platform: &StreamingPlatform) -> Vec<&str> {
    names(platform.spec.regions.iter().map(|region| &region.name))
}

fn refusal(answer: kube::Result<StreamingPlatform>) -> String {
    match answer.unwrap_err() {
        kube::Error::Api(status) => status.message,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn each_keeps_his_region_and_his_channel() {
    let cluster = Cluster::start().await;
    apply(&cluster, "platform-team", &whole()).await.unwrap();
    let theirs = json!({
        "channels": [{ "name": "extra", "ladder": [rung("lo")] }, { "name": "main", "ladder": [rung("lo")] }],
        "regions": [{ "name": "west", "weight": 7, "roles": ["edge"] }],
        "services": [{ "name": "tickets", "kind": "entitlement" }],
    });
    apply(&cluster, "night-shift", &theirs).await.unwrap();

    // Who applies his part again, with another value, changes that part alone.
    let mut ours = whole();
    ours["regions"][1]["weight"] = json!(30);
    let after = apply(&cluster, "platform-team", &ours).await.unwrap();
    assert_eq!(regions(&after), ["north", "south", "west"]);
    let weights: Vec<u32> = after.spec.regions.iter().map(|region| region.weight).collect();
    assert_eq!(weights, [100, 30, 7]);
    assert_eq!(
        names(after.spec.channels.iter().map(|channel| &channel.name)),
        ["extra", "main"],
        "in the order of who stated the most"
    );
    let ladder = &after.spec.channels[1].ladder;
    assert_eq!(names(ladder.iter().map(|rung| &rung.name)), ["hi", "lo"]);
    assert_eq!(after.spec.services.len(), 1);

    // What nobody states any more is gone, and only that.
    let left = json!({ "regions": [{ "name": "west", "weight": 7, "roles": ["edge"] }] });
    let after = apply(&cluster, "night-shift", &left).await.unwrap();
    assert_eq!(regions(&after), ["north", "south", "west"]);
    assert_eq!((after.spec.channels.len(), after.spec.services.len()), (1, 0));

    // Negative control: the same field of the same region is a conflict, and it says whose and where.
    let seized = json!({ "regions": [{ "name": "south", "weight": 1 }] });
    let refused = refusal(apply(&cluster, "night-shift", &seized).await);
    for said in ["platform-team", r#".spec.regions[name="south"].weight"#] {
        assert!(refused.contains(said), "{refused}");
    }
}

#[tokio::test]
async fn a_name_can_be_stated_once() {
    let cluster = Cluster::start().await;
    let mut twice = whole();
    twice["regions"][1]["name"] = json!("north");
    let refused = refusal(apply(&cluster, KUBECTL, &twice).await);
    assert!(
        refused.contains("regions") && refused.contains("north") && refused.contains("uplicate"),
        "{refused}"
    );
    // Written another way, it is refused in the words that `showrunner` uses for the file, too.
    let created = serde_json::from_value(platform(&twice)).unwrap();
    let refused = refusal(cluster.platforms().create(&PostParams::default(), &created).await);
    for said in ["spec.regions[1]: Duplicate value", "names of regions must be unique"] {
        assert!(refused.contains(said), "{refused}");
    }
}

/// What `kubectl apply` sends the first time, and `kubectl apply --server-side` after it: no need to force.
#[tokio::test]
async fn defaults_are_in_nobodys_way() {
    let cluster = Cluster::start().await;
    let api: Api<DynamicObject> = Api::namespaced_with(
        cluster.client.clone(),
        NAMESPACE,
        &kube::core::ApiResource::erase::<StreamingPlatform>(&()),
    );
    let params = PostParams {
        field_manager: Some(CLIENT_SIDE.to_owned()),
        ..PostParams::default()
    };
    let object = serde_json::from_value(platform(&whole())).unwrap();
    let created = api.create(&params, &object).await.unwrap();
    assert_eq!(
        created.data["spec"]["regions"][0]["weight"], 100,
        "or there are no defaults to get in the way"
    );
    apply(&cluster, KUBECTL, &whole()).await.unwrap();
    // Again, and again with other values for what had a default.
    apply(&cluster, KUBECTL, &whole()).await.unwrap();
    let mut changed = whole();
    changed["channels"][0]["audio"] = json!({ "bitrateKbps": 96 });
    changed["channels"][0]["ladder"][0]["bitrateKbps"] = json!(700);
    let fresh = Cluster::start().await;
    apply(&fresh, KUBECTL, &whole()).await.unwrap();
    for (weight, segment) in [(50, 4), (60, 6)] {
        changed["regions"][0]["weight"] = json!(weight);
        changed["channels"][0]["segmentSeconds"] = json!(segment);
        let after = apply(&fresh, KUBECTL, &changed).await.unwrap();
        assert_eq!(after.spec.regions[0].weight, weight);
        assert_eq!(after.spec.channels[0].segment_seconds, segment);
        assert_eq!(after.spec.channels[0].audio.bitrate_kbps, 96);
    }
    // Left out again, they are the defaults again.
    let after = apply(&fresh, KUBECTL, &whole()).await.unwrap();
    assert_eq!(
        (after.spec.regions[0].weight, after.spec.channels[0].segment_seconds),
        (100, 2)
    );
    assert_eq!(after.spec.channels[0].audio.bitrate_kbps, 48);
}

/// The roles of the default are nobody's. Were the list a set, they would stay beside the ones that are stated.
#[tokio::test]
async fn roles_replace_the_default() {
    let cluster = Cluster::start().await;
    let before = apply(&cluster, KUBECTL, &whole()).await.unwrap();
    assert_eq!(before.spec.regions[1].roles.len(), 6);
    let mut fewer = whole();
    fewer["regions"][1]["roles"] = json!(["edge", "steering"]);
    let after = apply(&cluster, KUBECTL, &fewer).await.unwrap();
    assert_eq!(after.spec.regions[1].roles.len(), 2);
}

/// A stored `testPattern` would make two inputs of one.
#[tokio::test]
async fn an_input_replaces_the_test_picture() {
    let cluster = Cluster::start().await;
    let mut stated = whole();
    for input in [
        None,
        Some(json!({ "url": "srt://a" })),
        Some(json!({ "testPattern": {} })),
        Some(json!({ "url": "srt://b" })),
    ] {
        match &input {
            Some(input) => stated["channels"][0]["input"] = input.clone(),
            None => stated = whole(),
        }
        apply(&cluster, KUBECTL, &stated).await.unwrap();
    }
    // Somebody else has to force it, and then it is replaced.
    let theirs = json!({ "channels": [{ "name": "main", "input": { "testPattern": {} } }] });
    assert!(refusal(apply(&cluster, "night-shift", &theirs).await).contains("input"));
    let params = PatchParams::apply("night-shift").force();
    let patch = Patch::Apply(platform(&theirs));
    let after = cluster.platforms().patch("cinema", &params, &patch).await.unwrap();
    assert_eq!(
        after.spec.channels[0].input,
        showrunner_crds::platform::Input::TestPattern
    );
}

#[tokio::test]
async fn scenarios_merge_too() {
    let cluster = Cluster::start().await;
    let api: Api<Scenario> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let base = json!({
        "title": "t", "gates": [{ "name": "calm", "check": { "faultsUndone": {} } }],
        "audience": {
            "channel": "main", "regions": [{ "region": "north", "share": 1 }],
            "phases": [{ "name": "a", "duration": "10s", "viewers": 1 }],
        },
    });
    let theirs = json!({
        "gates": [{ "name": "quick", "check": { "fatalSessions": { "atMost": 0 } } }],
        "audience": { "regions": [{ "region": "south", "share": 2 }], "networks": [{ "name": "5g", "share": 1, "downKbps": 9000 }] },
    });
    let apply = async |manager: &str, spec: &Value| {
        let mut object = platform(spec);
        object["kind"] = json!("Scenario");
        api.patch("cinema", &PatchParams::apply(manager), &Patch::Apply(object))
            .await
            .unwrap()
    };
    apply("a", &base).await;
    apply("b", &theirs).await;
    let after = apply("a", &base).await;
    assert_eq!((after.spec.gates.len(), after.spec.audience.regions.len()), (2, 2));
    assert_eq!(
        names(after.spec.audience.networks.iter().map(|network| &network.name)),
        ["5g"]
    );
}
