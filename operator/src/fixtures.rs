//! Platforms that the tests share.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use showrunner_crds::platform::StreamingPlatform;

use crate::validate::{ValidatedPlatform, validate};

/// Three regions: two that encode, one of edges alone.
pub(crate) fn cinema_resource() -> StreamingPlatform {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "showrunner.dev/v1alpha1",
        "kind": "StreamingPlatform",
        "metadata": { "name": "cinema", "namespace": "stage", "uid": "11111111-2222-3333-4444-555555555555", "generation": 3 },
        "spec": {
            "channels": [{
                "name": "main",
                "ladder": [
                    { "name": "hi", "width": 640, "height": 360, "bitrateKbps": 600 },
                    { "name": "lo", "width": 256, "height": 144, "bitrateKbps": 150 }
                ]
            }],
            "regions": [
                { "name": "north" },
                { "name": "south", "weight": 50 },
                { "name": "west", "roles": ["edge", "steering"], "weight": 50, "publicUrl": "https://west.example/" }
            ],
            "edge": { "viewersPerReplica": 50, "egressMbps": 40 },
            "services": [
                { "name": "tickets", "kind": "entitlement" },
                { "name": "keys", "kind": "licence", "url": "https://keys.example/" }
            ]
        }
    }))
    .expect("the fixture deserialises")
}

pub(crate) fn cinema() -> ValidatedPlatform {
    validate(&cinema_resource()).expect("the fixture is valid")
}
