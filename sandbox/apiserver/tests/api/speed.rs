//! How long a read takes in process. Prints; decides nothing.

use std::time::Instant;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;

use crate::common::{connect, create_config_map};

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn reads_take_microseconds() {
    let cluster = connect().await;
    create_config_map(&cluster.client, "a").await;
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let mut times = Vec::new();
    for _ in 0..20_000 {
        let start = Instant::now();
        api.get("a").await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!(
        "GET: p50 {:?}, p99 {:?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}
