//! Of two operators one works: every write is made by who holds the Lease.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, ResourceExt as _,
    api::{WatchEvent, WatchParams},
};
use showrunner_unreliable::Call;

use crate::world::{NAMESPACE, World};

/// Who came to hold the Lease when; nobody where empty.
#[derive(Clone, Default)]
pub(crate) struct Holders(Arc<Mutex<Vec<(Duration, String)>>>);

impl Holders {
    /// Follows the Lease until it is dropped.
    pub(crate) async fn follow(self, world: Arc<World>) {
        let leases: Api<Lease> = Api::namespaced(world.client("holders"), NAMESPACE);
        let mut version = "0".to_owned();
        loop {
            let params = WatchParams::default();
            let mut events = leases.watch(&params, &version).await.expect("a watch").boxed();
            while let Some(event) = events.next().await {
                if let WatchEvent::Added(lease) | WatchEvent::Modified(lease) = event.expect("an event") {
                    version = lease.resource_version().unwrap();
                    let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
                    self.0.lock().unwrap().push((world.network.elapsed(), holder));
                }
            }
        }
    }

    pub(crate) fn list(&self) -> Vec<(Duration, String)> {
        self.0.lock().unwrap().clone()
    }
}

/// Writes by an operator while another held the Lease.
pub(crate) fn trespasses(holders: &[(Duration, String)], writes: &[(Duration, Call)]) -> Vec<String> {
    let about_platform = writes.iter().filter(|(_, call)| !call.path.contains("/leases"));
    about_platform
        .filter_map(|(at, call)| {
            // At one instant both may be seen: the watch tells a moment later.
            let held = |holder: &str| call.client.starts_with(&format!("{holder}.")) && !holder.is_empty();
            let before = holders.iter().rev().find(|(since, _)| since < at);
            let now = holders.iter().filter(|(since, _)| since == at);
            let fine = now.chain(before).any(|(_, holder)| held(holder));
            (!fine).then(|| {
                let holder = before.map_or("nobody", |(_, holder)| holder.as_str());
                format!("{call} at {at:?} while {holder:?} held the lease")
            })
        })
        .collect()
}
