//! Platforms.

use serde_json::{Value, json};

use super::{Case, case};

const NO_RANGES: &[(&str, &str)] = &[(
    "spec.interconnect.sourceRanges",
    "a region with a cluster of its own needs interconnect.sourceRanges",
)];

/// Two regions and everything that a rule may want to change.
pub(crate) fn platform() -> Value {
    json!({
        "apiVersion": "showrunner.dev/v1alpha1",
        "kind": "StreamingPlatform",
        "metadata": {"name": "cinema"},
        "spec": {
            "channels": [
                {"name": "main", "ladder": [
                    {"name": "hi", "width": 640, "height": 360, "bitrateKbps": 600},
                    {"name": "lo", "width": 256, "height": 144, "bitrateKbps": 120}]},
                {"name": "second", "ladder": [{"name": "hi", "width": 640, "height": 360, "bitrateKbps": 600}]},
            ],
            "regions": [{"name": "eu"}, {"name": "us"}, {"name": "apac", "roles": ["edge"]}],
            "services": [
                {"name": "entitlement", "kind": "entitlement"},
                {"name": "licence", "kind": "licence", "url": "https://licence.example.com"}],
        }
    })
}

/// The same, fit for production.
fn production() -> Value {
    let mut platform = platform();
    platform["spec"]["environment"] = json!("production");
    for region in platform["spec"]["regions"].as_array_mut().unwrap() {
        region["publicUrl"] = json!("https://x.example.com");
    }
    platform
}

/// Every case.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(platform(), |_| (), &[]),
        case(production(), |_| (), &[]),
        // Names.
        case(
            platform(),
            |p| p["metadata"]["name"] = json!("1cinema"),
            &[("metadata.name", "the name must be a DNS label")],
        ),
        case(
            platform(),
            |p| p["metadata"]["name"] = json!("cin.ema"),
            &[("metadata.name", "the name must be a DNS label")],
        ),
        case(
            platform(),
            |p| p["metadata"]["name"] = json!("c".repeat(33)),
            &[("metadata.name", "the names of platform, region")],
        ),
        case(platform(), |p| p["metadata"]["name"] = json!("c".repeat(32)), &[]),
        case(
            platform(),
            |p| p["spec"]["services"][0]["name"] = json!("edge"),
            &[("spec.services[0].name", "a service may not have the name of a role")],
        ),
        case(
            platform(),
            |p| p["spec"]["services"][1]["name"] = json!("eu-licence"),
            &[(
                "spec.services[1].name",
                "a service's name may not begin with a region's",
            )],
        ),
        case(platform(), |p| p["spec"]["services"][1]["name"] = json!("europe"), &[]),
        // Channels.
        case(
            platform(),
            |p| p["spec"]["channels"][1]["name"] = json!("main"),
            &[("spec.channels[1].name", "names of channels must be unique")],
        ),
        case(
            platform(),
            |p| p["spec"]["channels"][0]["ladder"][1]["name"] = json!("hi"),
            &[("spec.channels[0].ladder[1].name", "names of rungs must be unique")],
        ),
        case(
            platform(),
            |p| p["spec"]["channels"][1]["ladder"][0]["name"] = json!("audio"),
            &[("spec.channels[1].ladder[0].name", "`audio` is the name")],
        ),
        case(
            platform(),
            |p| p["spec"]["channels"][0]["ladder"][0]["width"] = json!(641),
            &[("spec.channels[0].ladder[0].width", "width must be even")],
        ),
        case(
            platform(),
            |p| p["spec"]["channels"][0]["ladder"][1]["height"] = json!(145),
            &[("spec.channels[0].ladder[1].height", "height must be even")],
        ),
        case(
            platform(),
            |p| p["spec"]["channels"][0]["dvrWindow"] = json!("7999ms"),
            &[("spec.channels[0].dvrWindow", "dvrWindow must hold at least 4")],
        ),
        case(platform(), |p| p["spec"]["channels"][0]["dvrWindow"] = json!("8s"), &[]),
        case(
            platform(),
            |p| p["spec"]["channels"][1]["segmentSeconds"] = json!(10),
            &[],
        ),
        case(
            platform(),
            |p| {
                p["spec"]["channels"][1]["segmentSeconds"] = json!(10);
                p["spec"]["channels"][1]["dvrWindow"] = json!("39.5s");
            },
            &[("spec.channels[1].dvrWindow", "dvrWindow must hold at least 4")],
        ),
        // Regions.
        case(
            platform(),
            |p| p["spec"]["regions"][2]["name"] = json!("eu"),
            &[("spec.regions[2].name", "names of regions must be unique")],
        ),
        case(
            platform(),
            |p| p["spec"]["regions"][1]["cluster"] = json!({"kubeconfigSecretRef": {"name": "us"}}),
            NO_RANGES,
        ),
        case(
            platform(),
            |p| {
                p["spec"]["regions"][1]["cluster"] = json!({"kubeconfigSecretRef": {"name": "us"}});
                p["spec"]["interconnect"] = json!({"sourceRanges": []});
            },
            NO_RANGES,
        ),
        case(
            platform(),
            |p| {
                p["spec"]["regions"][1]["cluster"] =
                    json!({"kubeconfigSecretRef": {"name": "us.east", "key": "config"}, "namespace": "live"});
                p["spec"]["interconnect"] = json!({"sourceRanges": ["10.0.0.0/8", "2001:db8::/32"]});
            },
            &[],
        ),
        case(
            platform(),
            |p| p["spec"]["regions"][2]["roles"] = json!(["edge", "edge"]),
            &[("spec.regions[2].roles", "a role can be stated once")],
        ),
        case(
            platform(),
            |p| p["spec"]["regions"][2]["roles"] = json!(["edge", "origin"]),
            &[("spec.regions[2].roles", "encoder and origin go together")],
        ),
        case(
            platform(),
            |p| p["spec"]["regions"][2]["roles"] = json!(["edge", "encoder"]),
            &[("spec.regions[2].roles", "encoder and origin go together")],
        ),
        case(
            platform(),
            |p| {
                for index in 0..2 {
                    p["spec"]["regions"][index]["roles"] = json!(["shield", "edge", "steering", "services"]);
                }
            },
            &[(
                "spec.regions",
                "at least one region must have the roles encoder and origin",
            )],
        ),
        case(
            platform(),
            |p| {
                for index in 0..2 {
                    p["spec"]["regions"][index]["roles"] = json!(["encoder", "origin", "edge", "steering", "services"]);
                }
            },
            &[("spec.regions", "at least one region must have the role shield")],
        ),
        case(
            platform(),
            |p| {
                for index in 0..2 {
                    p["spec"]["regions"][index]["roles"] = json!(["encoder", "origin", "shield", "edge", "services"]);
                }
            },
            &[("spec.regions", "at least one region must have the role steering")],
        ),
        case(
            platform(),
            |p| {
                for index in 0..2 {
                    p["spec"]["regions"][index]["roles"] = json!(["encoder", "origin", "shield", "edge", "steering"]);
                }
            },
            &[("spec.services", "services without a url are deployed")],
        ),
        case(
            platform(),
            |p| {
                for index in 0..2 {
                    p["spec"]["regions"][index]["roles"] =
                        json!(["encoder", "origin", "shield", "steering", "services"]);
                }
                p["spec"]["regions"][2]["roles"] = json!(["shield"]);
            },
            &[
                ("spec.regions", "at least one region must have the role edge"),
                (
                    "spec.regions",
                    "at least one region with edges must have a weight above 0",
                ),
                ("spec.resilience.regionsToLose", "resilience.regionsToLose must be less"),
            ],
        ),
        case(
            platform(),
            |p| {
                for index in 0..3 {
                    p["spec"]["regions"][index]["weight"] = json!(0);
                }
            },
            &[(
                "spec.regions",
                "at least one region with edges must have a weight above 0",
            )],
        ),
        case(
            platform(),
            |p| p["spec"]["regions"][1]["publicUrl"] = json!("ftp://x"),
            &[("spec.regions[1].publicUrl", "publicUrl must begin with")],
        ),
        case(
            platform(),
            |p| p["spec"]["regions"][1]["publicUrl"] = json!("http://x"),
            &[],
        ),
        case(
            platform(),
            |p| p["spec"]["resilience"] = json!({"regionsToLose": 3}),
            &[("spec.resilience.regionsToLose", "resilience.regionsToLose must be less")],
        ),
        case(
            platform(),
            |p| p["spec"]["resilience"] = json!({"regionsToLose": 2}),
            &[],
        ),
        // Tiers.
        case(
            platform(),
            |p| p["spec"]["edge"] = json!({"autoscaling": {"minReplicas": 21}}),
            &[("spec.edge.autoscaling.minReplicas", "minReplicas must not be more")],
        ),
        case(
            platform(),
            |p| p["spec"]["edge"] = json!({"autoscaling": {"minReplicas": 20}}),
            &[],
        ),
        case(
            platform(),
            |p| p["spec"]["steering"] = json!({"probe": {"timeoutMs": 1000}}),
            &[("spec.steering.probe.timeoutMs", "timeoutMs must be less")],
        ),
        case(
            platform(),
            |p| p["spec"]["services"][1]["name"] = json!("entitlement"),
            &[("spec.services[1].name", "names of services must be unique")],
        ),
        case(
            platform(),
            |p| p["spec"]["services"][1]["url"] = json!("licence.example.com"),
            &[("spec.services[1].url", "url must begin with")],
        ),
        case(
            platform(),
            |p| {
                p["spec"].as_object_mut().unwrap().remove("services");
            },
            &[],
        ),
        // Images.
        case(
            platform(),
            |p| p["spec"]["images"] = json!({"cache": "  "}),
            &[(
                "spec.images.cache",
                "names of images and of the cache's command have no blanks",
            )],
        ),
        case(
            platform(),
            |p| p["spec"]["regions"][1]["publicUrl"] = json!("https://"),
            &[("spec.regions[1].publicUrl", "publicUrl must begin with")],
        ),
        case(
            platform(),
            |p| p["spec"]["services"][1]["url"] = json!("https://licence.example.com/a b"),
            &[("spec.services[1].url", "url must begin with")],
        ),
        case(
            platform(),
            |p| p["spec"]["services"][1]["url"] = json!("http://[2001:db8::1]:8443/licence"),
            &[],
        ),
        // Production.
        case(
            production(),
            |p| p["spec"]["regions"][2]["roles"] = json!(["shield"]),
            &[("spec.regions", "production needs at least 3 regions with edges")],
        ),
        case(
            production(),
            |p| p["spec"]["regions"][1]["roles"] = json!(["edge"]),
            &[("spec.regions", "production needs at least 2 regions that encode")],
        ),
        case(
            production(),
            |p| p["spec"]["resilience"] = json!({"regionsToLose": 0}),
            &[("spec.resilience.regionsToLose", "production must survive")],
        ),
        case(
            production(),
            |p| p["spec"]["regions"][0]["publicUrl"] = json!("http://x"),
            &[("spec.regions[0].publicUrl", "in production every region with edges")],
        ),
        case(
            production(),
            |p| {
                p["spec"]["regions"][0].as_object_mut().unwrap().remove("publicUrl");
            },
            &[("spec.regions[0].publicUrl", "in production every region with edges")],
        ),
        case(
            production(),
            |p| p["spec"]["services"][1]["url"] = json!("http://x"),
            &[("spec.services[1].url", "in production the url of a service")],
        ),
    ]
}
