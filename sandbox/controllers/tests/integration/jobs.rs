//! Jobs end to end.

use crate::cluster::{Cluster, until};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_completes_and_is_removed() {
    let cluster = Cluster::start(1).await;
    cluster
        .create::<Job>(json!({
            "metadata": { "name": "sum" },
            "spec": { "completions": 5, "parallelism": 2, "completionMode": "Indexed", "ttlSecondsAfterFinished": 1,
                "template": { "metadata": { "labels": { "app": "sum" } }, "spec": { "restartPolicy": "Never",
                    "containers": [{ "name": "c", "image": "done" }] } } },
        }))
        .await;
    let status = until("it completes", || async {
        let status = cluster.api::<Job>().get_opt("sum").await.unwrap()?.status?;
        status.completion_time.is_some().then_some(status)
    })
    .await;
    assert_eq!(
        (status.succeeded, status.completed_indexes.as_deref()),
        (Some(5), Some("0-4"))
    );
    assert_eq!(status.failed.unwrap_or(0), 0);
    until("it expires", || async {
        cluster
            .api::<Job>()
            .get_opt("sum")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    until("its pods follow", || async {
        cluster
            .api::<Pod>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
            .then_some(())
    })
    .await;
    cluster.stop().await;
}
