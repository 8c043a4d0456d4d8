//! Keeps the table of Services in step with the API server.

use super::{Network, ServiceTable};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// An address somebody else holds is tried again this often.
const REBIND: Duration = Duration::from_secs(1);

pub(super) async fn follow(network: Network, client: Client, stop: CancellationToken) {
    let (services, service_writer) = reflector::store::<Service>();
    let (slices, slice_writer) = reflector::store::<EndpointSlice>();
    let service_events = reflector(
        service_writer,
        watcher(Api::<Service>::all(client.clone()), watcher::Config::default()),
    )
    .default_backoff()
    .map(|event| event.map(|event| (matches!(event, watcher::Event::InitDone), false)));
    let slice_events = reflector(
        slice_writer,
        watcher(Api::<EndpointSlice>::all(client), watcher::Config::default()),
    )
    .default_backoff()
    .map(|event| event.map(|event| (false, matches!(event, watcher::Event::InitDone))));
    let mut events = futures::stream::select(service_events.boxed(), slice_events.boxed()).ready_chunks(256);
    let closing = network.0.closing.clone();
    let mut failing = 0;
    let mut listed = (false, false);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = closing.cancelled() => return,
            chunk = events.next() => {
                let Some(chunk) = chunk else { return };
                for event in chunk {
                    match event {
                        Ok(done) => listed = (listed.0 || done.0, listed.1 || done.1),
                        Err(error) => tracing::warn!(%error, "watch of Services failed; it starts again"),
                    }
                }
            }
            () = tokio::time::sleep(REBIND), if failing > 0 => {}
        }
        // Half a picture would close listeners that the other half keeps open.
        if listed != (true, true) {
            continue;
        }
        let table = ServiceTable::build(&services.state(), &slices.state(), network.0.config.reported);
        let failed = network.set_services(table);
        if failed.len() != failing {
            for taken in &failed {
                tracing::warn!(%taken, "trying again");
            }
        }
        failing = failed.len();
    }
}
