//! Writers that share a Drill, one of which fails.
#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use http::{Method, Request};
use kube::client::Body;
use showrunner_crds::drill::Undo;
use tower::ServiceExt as _;

use super::*;
use crate::testing::{drill_spec, server_with_drills};

/// A client whose status writes are counted; the one of number `refused` arrives broken, and is refused.
async fn cluster(refused: u32) -> Client {
    let server = server_with_drills().await;
    let writes = Arc::new(AtomicU32::new(0));
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let (server, writes) = (server.service(), writes.clone());
        async move {
            if request.method() == Method::PUT && request.uri().path().ends_with("/status") {
                // Whoever else wants to write comes to wait for its turn.
                tokio::task::yield_now().await;
                if writes.fetch_add(1, Ordering::SeqCst) + 1 == refused {
                    *request.body_mut() = Body::empty();
                }
            }
            server.oneshot(request).await
        }
    });
    Client::new(service, "cinema")
}

#[tokio::test]
async fn an_intent_that_was_accepted_is_so_though_the_next_write_fails() {
    // The first write puts the run on record.
    let client = cluster(3).await;
    let record = Record::create(&client, "cinema", "night-1", drill_spec(), "runner")
        .await
        .unwrap();
    let entry = JournalEntry {
        id: 0,
        fault: "lose-eu".into(),
        stage: JournalStage::Intent,
        undo: Undo::SelfHealing,
        at: Timestamp::UNIX_EPOCH,
    };
    let (accepted, refused) = tokio::join!(record.intent(&entry), record.phase(DrillPhase::Running));
    assert!(refused.is_err(), "the test is about a write that fails");
    accepted.unwrap();
    let drills: Api<Drill> = Api::namespaced(client, "cinema");
    let status = drills.get("night-1").await.unwrap().status.unwrap();
    assert_eq!(status.journal, [entry]);
}
