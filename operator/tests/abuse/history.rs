//! What the conditions of platforms were, over time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt as _;
use kube::{
    Api, ResourceExt as _,
    api::{WatchEvent, WatchParams},
};
use showrunner_crds::platform::StreamingPlatform;

use crate::world::World;

/// When a condition of a platform (by UID) came to be what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: Duration,
    pub(crate) uid: String,
    pub(crate) type_: String,
    pub(crate) status: String,
    pub(crate) reason: String,
}

#[derive(Clone, Default)]
pub(crate) struct History(Arc<Mutex<Vec<Change>>>);

impl History {
    /// Follows every platform until it is dropped.
    pub(crate) async fn follow(self, world: Arc<World>) {
        let platforms: Api<StreamingPlatform> = Api::all(world.client("history"));
        let mut version = "0".to_owned();
        let mut known: BTreeMap<(String, String), String> = BTreeMap::new();
        loop {
            let params = WatchParams::default();
            let mut events = platforms.watch(&params, &version).await.expect("a watch").boxed();
            while let Some(event) = events.next().await {
                let (WatchEvent::Added(platform) | WatchEvent::Modified(platform)) = event.expect("an event") else {
                    continue;
                };
                version = platform.resource_version().unwrap();
                let uid = platform.uid().unwrap();
                for condition in platform.status.unwrap_or_default().conditions {
                    let key = (uid.clone(), condition.type_.clone());
                    if known.insert(key, condition.status.clone()).as_ref() != Some(&condition.status) {
                        self.0.lock().unwrap().push(Change {
                            at: world.network.elapsed(),
                            uid: uid.clone(),
                            type_: condition.type_,
                            status: condition.status,
                            reason: condition.reason,
                        });
                    }
                }
            }
        }
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.0.lock().unwrap().clone()
    }
}

/// Conditions that changed more than `most` times since `since`, except for their first appearance.
pub(crate) fn flapping(changes: &[Change], since: Duration, most: usize) -> Vec<String> {
    let mut toggles: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for change in changes {
        let key = (change.uid.as_str(), change.type_.as_str());
        let first = !seen.contains(&key);
        seen.push(key);
        if change.at >= since && !first {
            let told = format!("{} ({}) at {:?}", change.status, change.reason, change.at);
            toggles.entry(key).or_default().push(told);
        }
    }
    toggles
        .into_iter()
        .filter(|(_, told)| told.len() > most)
        .map(|((_, type_), told)| format!("{type_}: {}", told.join(", ")))
        .collect()
}

#[test]
fn toggles_are_counted_from_a_time_on() {
    let change = |at, type_: &str, status: &str| Change {
        at: Duration::from_secs(at),
        uid: "u".into(),
        type_: type_.into(),
        status: status.into(),
        reason: "R".into(),
    };
    let changes = [
        change(1, "Ready", "False"),
        change(2, "Ready", "True"),
        change(3, "Degraded", "False"),
        change(4, "Ready", "False"),
        change(5, "Ready", "True"),
    ];
    assert_eq!(flapping(&changes, Duration::ZERO, 2).len(), 1);
    assert_eq!(flapping(&changes, Duration::ZERO, 3).len(), 0);
    assert_eq!(flapping(&changes, Duration::from_secs(5), 0), ["Ready: True (R) at 5s"]);
    assert_eq!(flapping(&changes, Duration::from_secs(6), 0).len(), 0);
}
