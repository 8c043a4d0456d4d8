//! Steering manifests, as they come from the network.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use showrunner_loadtest::player::SteeringManifest;

fuzz_target!(|data: &[u8]| {
    let manifest = match SteeringManifest::parse(data) {
        Ok(manifest) => manifest,
        Err(error) => return assert!(error.to_string().len() < 1024 + data.len()),
    };
    assert_eq!(manifest.version, 1, "a version nobody knows is refused");
    // However hostile the server: neither a flood of polls nor a player that never asks again.
    assert!((Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&manifest.ttl()));
    let again = json!({
        "VERSION": manifest.version,
        "TTL": manifest.ttl,
        "RELOAD-URI": manifest.reload_uri,
        "PATHWAY-PRIORITY": manifest.priority,
    });
    assert_eq!(
        SteeringManifest::parse(again.to_string().as_bytes()).ok(),
        Some(manifest)
    );
});
