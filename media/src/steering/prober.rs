//! Probing every pathway that has an address, each on its own clock.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;
use tokio_util::task::AbortOnDropHandle;

use super::Steering;
use crate::client::Client;

/// How often the set of pathways is compared with what is being probed.
const RECONCILE: Duration = Duration::from_millis(250);

/// Probes for as long as it is polled; dropping it ends all probes.
pub(super) async fn run(steering: Arc<Steering>) {
    let client = Client::new();
    let mut running: HashMap<(String, String), AbortOnDropHandle<()>> = HashMap::new();
    let mut tick = tokio::time::interval(RECONCILE);
    loop {
        tick.tick().await;
        let config = steering.config();
        let wanted = |id: &str, url: &str| {
            config
                .pathways
                .iter()
                .any(|pathway| pathway.id == id && pathway.probe_url == url && !pathway.public_url.is_empty())
        };
        running.retain(|(id, url), _| wanted(id, url));
        for pathway in config.pathways.iter().filter(|pathway| !pathway.public_url.is_empty()) {
            let key = (pathway.id.clone(), pathway.probe_url.clone());
            running.entry(key).or_insert_with_key(|(id, url)| {
                AbortOnDropHandle::new(tokio::spawn(probe(
                    Arc::clone(&steering),
                    client.clone(),
                    id.clone(),
                    url.clone(),
                )))
            });
        }
    }
}

async fn probe(steering: Arc<Steering>, client: Client, id: String, url: String) {
    loop {
        let settings = steering.config().probe.clone();
        let deadline = Duration::from_millis(u64::from(settings.timeout_ms));
        let interval = Duration::from_millis(u64::from(settings.interval_ms.max(50)));
        let begun = tokio::time::Instant::now();
        let answer = client.send(Method::GET, &url, &[], Bytes::new(), deadline).await;
        let success = matches!(&answer, Ok((status, _)) if status.is_success());
        tracing::debug!(pathway = id, success, "probed");
        steering.probed(&id, success);
        // A tenth of jitter keeps several steering servers from probing in step.
        tokio::time::sleep_until(begun + interval.mul_f64(1.0 - rand::random::<f64>() / 10.0)).await;
    }
}
