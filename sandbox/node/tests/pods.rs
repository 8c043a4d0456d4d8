//! Pods as real processes, against the API server in process.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cluster;

use cluster::{Cluster, alive, condition, eventually, ready, restarts, waiting_reason};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use showrunner_apiserver::{LogOptions, NodeAccess};
use std::time::Duration;

#[tokio::test]
async fn a_pod_runs_becomes_ready_and_is_gone_when_deleted() {
    let cluster = Cluster::start().await;
    cluster
        .script(
            "web",
            "echo hello; echo oops >&2; trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done",
            json!({}),
        )
        .await;
    let pod = cluster.until_ready("web").await;
    let status = pod.status.clone().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip, Some(cluster.ip("web").to_string()));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert_eq!(condition(&pod, "PodScheduled"), Some("True"));
    cluster.until_log("web", "hello").await;
    cluster.until_log("web", "oops").await;
    cluster.until_event("web", "Started").await;
    let pid = cluster.runtime.running_pids()[0];
    assert!(alive(pid));
    cluster.delete("web").await;
    cluster.until_gone("web").await;
    assert!(!alive(pid), "the object outlived the process");
    cluster.until_event("web", "Killing").await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_node_registers_and_sends_heartbeats() {
    let cluster = Cluster::with(|config| config.heartbeat = Duration::from_millis(100));
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "kube-node-lease");
    let renewed = || async {
        leases
            .get_opt("n1")
            .await
            .unwrap()
            .and_then(|lease| lease.spec?.renew_time)
    };
    eventually("a lease", || async { renewed().await.is_some() }).await;
    let node = nodes.get("n1").await.unwrap();
    assert_eq!(node.labels()["topology.kubernetes.io/region"], "west");
    let status = node.status.unwrap();
    assert!(
        status
            .conditions
            .unwrap()
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True")
    );
    assert_eq!(status.allocatable.unwrap()["pods"].0, "110");
    let first = renewed().await;
    eventually("another heartbeat", || async { renewed().await > first }).await;
    assert!(cluster.runtime.kill_node("n1"));
    assert!(!cluster.runtime.kill_node("n1"));
    cluster.stop().await;
}

#[tokio::test]
async fn environment_and_arguments_are_expanded() {
    let cluster = Cluster::start().await;
    cluster
        .create::<ConfigMap>(json!({"metadata": {"name": "cm"}, "data": {"COLOUR": "green"}}))
        .await;
    let container = json!({
        "command": ["sh", "-c", "echo \"$0 $1 $BIND $COLOUR $HOME.\"; sleep 1000", "$(POD_NAME)", "$$(POD_NAME)"],
        "envFrom": [{"configMapRef": {"name": "cm"}}],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "BIND", "value": "$(POD_IP):8080"}]
    });
    cluster.script("env", "", container).await;
    cluster.until_ready("env").await;
    let expected = format!("env $(POD_NAME) {}:8080 green .", cluster.ip("env"));
    cluster.until_log("env", &expected).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_crashing_container_backs_off_and_keeps_its_previous_log() {
    let cluster = Cluster::start().await;
    cluster.script("crash", "echo run; exit 3", json!({})).await;
    let pod = cluster
        .until("crash", "backing off", |pod| {
            waiting_reason(pod).as_deref() == Some("CrashLoopBackOff") && restarts(pod) >= 2
        })
        .await;
    let container = pod.status.unwrap().container_statuses.unwrap().remove(0);
    let last = container.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    assert!(!container.ready);
    let previous = LogOptions {
        previous: true,
        ..LogOptions::default()
    };
    assert_eq!(cluster.log_with("crash", previous).await.unwrap(), "run\n");
    cluster.until_event("crash", "BackOff").await;
    cluster.stop().await;
}

#[tokio::test]
async fn restart_policies_end_pods() {
    let cluster = Cluster::start().await;
    for (name, policy, script) in [("done", "OnFailure", "exit 0"), ("failed", "Never", "exit 1")] {
        cluster
            .pod(name, script, json!({}), json!({"restartPolicy": policy}), json!({}))
            .await;
    }
    let phase = |expected: &'static str| {
        move |pod: &Pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some(expected)
    };
    let done = cluster.until("done", "Succeeded", phase("Succeeded")).await;
    cluster.until("failed", "Failed", phase("Failed")).await;
    assert!(!ready(&done));
    assert_eq!(restarts(&done), 0);
    cluster.delete("done").await;
    cluster.until_gone("done").await;
    cluster.stop().await;
}

#[tokio::test]
async fn init_containers_run_first_and_in_order() {
    let cluster = Cluster::start().await;
    let init = |name: &str, script: &str| {
        json!({"name": name, "image": "test", "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "work", "mountPath": "/scratch"}]})
    };
    let spec = json!({
        "volumes": [{"name": "work", "emptyDir": {}}],
        "initContainers": [init("one", "echo 1 >> /scratch/order"), init("two", "echo 2 >> /scratch/order")],
    });
    let mount = json!({"volumeMounts": [{"name": "work", "mountPath": "/scratch"}]});
    cluster
        .pod(
            "init",
            "tr '\\n' ' ' < /scratch/order; echo main; sleep 1000",
            mount,
            spec,
            json!({}),
        )
        .await;
    let pod = cluster.until_ready("init").await;
    let main = LogOptions {
        container: Some("main".into()),
        ..LogOptions::default()
    };
    eventually("the log", || async {
        cluster.log_with("init", main.clone()).await.unwrap_or_default() == "1 2 main\n"
    })
    .await;
    assert_eq!(pod.status.unwrap().init_container_statuses.unwrap().len(), 2);
    cluster.stop().await;
}

#[tokio::test]
async fn probes_decide_readiness_and_life() {
    let cluster = Cluster::start().await;
    let volumes = json!({"volumes": [{"name": "d", "emptyDir": {}}]});
    let exec =
        |file: &str| json!({"exec": {"command": ["test", "-e", file]}, "periodSeconds": 1, "failureThreshold": 1});
    let container = json!({
        "volumeMounts": [{"name": "d", "mountPath": "/d"}],
        "readinessProbe": exec("/d/ready"),
        // Not before the container has taken away what it died of.
        "livenessProbe": {"exec": {"command": ["test", "!", "-e", "/d/dead"]}, "initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 1},
    });
    let script = "if [ -e /d/dead ]; then rm /d/dead; touch /d/ready; else sleep 1; touch /d/dead; fi; exec sleep 1000";
    cluster.pod("probed", script, container, volumes, json!({})).await;
    let pod = cluster
        .until("probed", "running", |pod| condition(pod, "Initialized") == Some("True"))
        .await;
    assert!(!ready(&pod), "not ready before its probe says so");
    let pod = cluster
        .until("probed", "restarted and ready", |pod| restarts(pod) == 1 && ready(pod))
        .await;
    assert!(
        pod.status.unwrap().container_statuses.unwrap()[0]
            .last_state
            .as_ref()
            .unwrap()
            .terminated
            .is_some()
    );
    cluster.until_event("probed", "Unhealthy").await;
    cluster.stop().await;
}

#[tokio::test]
async fn pre_stop_runs_before_the_signal_and_kill_follows_the_deadline() {
    let cluster = Cluster::start().await;
    let out = tempfile::tempdir().unwrap();
    let host =
        json!({"volumes": [{"name": "out", "hostPath": {"path": out.path()}}], "terminationGracePeriodSeconds": 1});
    let container = json!({
        "volumeMounts": [{"name": "out", "mountPath": "/out"}],
        "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /out/order"]}}},
    });
    // It ignores SIGTERM: only SIGKILL ends it.
    let script = "trap 'echo term >> /out/order' TERM; touch /out/up; while :; do sleep 0.05; done";
    cluster.pod("stubborn", script, container, host, json!({})).await;
    cluster.until_ready("stubborn").await;
    eventually("the trap", || async { out.path().join("up").exists() }).await;
    let pid = cluster.runtime.running_pids()[0];
    cluster.delete("stubborn").await;
    cluster.until_gone("stubborn").await;
    assert!(!alive(pid));
    assert_eq!(
        std::fs::read_to_string(out.path().join("order")).unwrap(),
        "hook\nterm\n"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn config_maps_are_projected_translated_and_updated_live() {
    let cluster = Cluster::start().await;
    cluster
        .create::<Service>(json!({"metadata": {"name": "origin"}, "spec": {"ports": [{"port": 8080}]}}))
        .await;
    let map =
        json!({"metadata": {"name": "cm"}, "data": {"conf": "url=http://origin.default.svc:8080 dir=/etc/app v=1"}});
    cluster.create::<ConfigMap>(map).await;
    let spec = json!({"volumes": [{"name": "c", "configMap": {"name": "cm"}}]});
    let container = json!({"volumeMounts": [{"name": "c", "mountPath": "/etc/app"}]});
    cluster
        .pod(
            "app",
            "while :; do cat /etc/app/conf; echo; sleep 0.1; done",
            container,
            spec,
            json!({}),
        )
        .await;
    cluster.until_ready("app").await;
    cluster.until_log("app", "v=1").await;
    let log = cluster.log("app").await;
    assert!(
        !log.contains(".svc") && log.contains("url=http://127.") && !log.contains("dir=/etc/app"),
        "{log}"
    );
    let patch = json!({"data": {"conf": "v=2 in /etc/app"}});
    cluster
        .api::<ConfigMap>()
        .patch("cm", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
    cluster.until_log("app", "v=2 in ").await;
    assert_eq!(
        restarts(&cluster.api::<Pod>().get("app").await.unwrap()),
        0,
        "no restart for new content"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_missing_holds_the_pod_and_is_said() {
    let cluster = Cluster::start().await;
    cluster
        .script("lost", "echo http://later.default.svc:80; sleep 1000", json!({}))
        .await;
    cluster
        .until("lost", "waiting for its Service", |pod| {
            waiting_reason(pod).as_deref() == Some("ServiceNotFound")
        })
        .await;
    cluster.until_event("lost", "ServiceNotFound").await;
    cluster
        .create::<Service>(json!({"metadata": {"name": "later"}, "spec": {"ports": [{"port": 80}]}}))
        .await;
    cluster.until_ready("lost").await;

    let spec = json!({"volumes": [{"name": "c", "configMap": {"name": "absent"}}]});
    cluster.pod("mapless", "sleep 1000", json!({}), spec, json!({})).await;
    cluster.until_event("mapless", "FailedMount").await;
    cluster
        .create::<ConfigMap>(json!({"metadata": {"name": "absent"}, "data": {}}))
        .await;
    cluster.until_ready("mapless").await;

    cluster
        .script("imageless", "", json!({"image": "no/such:1", "command": null}))
        .await;
    let pod = cluster
        .until("imageless", "refused", |pod| {
            waiting_reason(pod).as_deref() == Some("ErrImagePull")
        })
        .await;
    let state = pod.status.unwrap().container_statuses.unwrap().remove(0).state.unwrap();
    let message = state.waiting.unwrap().message.unwrap();
    assert!(
        message.contains("known images") && message.contains("pause"),
        "{message}"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn a_forced_deletion_ends_the_process_and_a_namesake_starts_after_it() {
    let cluster = Cluster::start().await;
    cluster
        .script("twin", "trap '' TERM; while :; do sleep 0.05; done", json!({}))
        .await;
    let first = cluster.until_ready("twin").await;
    let pid = cluster.runtime.running_pids()[0];
    cluster
        .api::<Pod>()
        .delete("twin", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    cluster.script("twin", "sleep 1000", json!({})).await;
    let second = cluster.until_ready("twin").await;
    assert_ne!(first.uid(), second.uid());
    assert!(!alive(pid), "the first was still alive when the second became ready");
    cluster.stop().await;
}

#[tokio::test]
async fn usage_counts_the_whole_tree() {
    let cluster = Cluster::start().await;
    cluster
        .script("busy", "sh -c 'while :; do :; done' & wait", json!({}))
        .await;
    cluster.script("idle", "sleep 1000", json!({})).await;
    cluster.until_ready("busy").await;
    let cpu = |name: &'static str| {
        let usage = cluster.runtime.usage();
        usage
            .into_iter()
            .find(|pod| pod.pod == name)
            .map(|pod| (pod.containers[0].cpu_nanocores, pod.containers[0].memory_bytes))
    };
    eventually("CPU time of a child", || async {
        cpu("busy").is_some_and(|(cpu, _)| cpu > 100_000_000)
    })
    .await;
    eventually("an idle reading", || async {
        cpu("idle").is_some_and(|(cpu, memory)| cpu < 50_000_000 && memory > 0)
    })
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_lost_node_kills_its_pods_and_reports_nothing() {
    let cluster = Cluster::start().await;
    cluster
        .script("victim", "trap '' TERM; while :; do sleep 0.05; done", json!({}))
        .await;
    cluster.until_ready("victim").await;
    let pid = cluster.runtime.running_pids()[0];
    cluster.runtime.kill_node("n1");
    eventually("the process to end", || async { !alive(pid) }).await;
    let pod = cluster.api::<Pod>().get("victim").await.unwrap();
    assert!(ready(&pod), "the object still says what was last known");
    cluster.stop().await;
}

#[tokio::test]
async fn stopping_leaves_no_process_even_of_those_that_fled_their_group() {
    let cluster = Cluster::start().await;
    cluster
        .script("daemon", "setsid sleep 987654 & exec sleep 1000", json!({}))
        .await;
    cluster.until_ready("daemon").await;
    let fled = || {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let mut found = entries
            .filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == b"sleep\0987654\0"));
        found.next().is_some()
    };
    eventually("the daemon", || async { fled() }).await;
    cluster.stop().await;
    assert!(!fled());
}

#[tokio::test]
async fn a_sidecar_ends_with_its_pod_and_the_pod_stays_to_be_read() {
    let cluster = Cluster::start().await;
    let sidecar =
        json!({"name": "side", "image": "test", "restartPolicy": "Always", "command": ["sh", "-c", "exec sleep 1000"]});
    let spec = json!({"restartPolicy": "Never", "initContainers": [sidecar]});
    cluster.pod("job", "echo done", json!({}), spec, json!({})).await;
    let pod = cluster
        .until("job", "Succeeded", |pod| {
            pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Succeeded")
        })
        .await;
    // The phase is the main container's; the sidecar is told to end at the same moment.
    eventually("the sidecar to end", || async {
        cluster.runtime.running_pids().is_empty()
    })
    .await;
    assert!(pod.metadata.deletion_timestamp.is_none());
    let main = LogOptions {
        container: Some("main".into()),
        ..LogOptions::default()
    };
    assert_eq!(cluster.log_with("job", main).await.unwrap(), "done\n");
    cluster.delete("job").await;
    cluster.until_gone("job").await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_node_that_comes_back_runs_its_pods_again() {
    let cluster = Cluster::start().await;
    cluster.script("back", "exec sleep 1000", json!({})).await;
    cluster.until_ready("back").await;
    let pid = cluster.runtime.running_pids()[0];
    cluster.runtime.kill_node("n1");
    eventually("the process to end", || async {
        cluster.runtime.running_pids().is_empty() && !alive(pid)
    })
    .await;
    cluster.runtime.spawn_node(showrunner_node::NodeConfig::new("n1"));
    eventually("another process", || async {
        !cluster.runtime.running_pids().is_empty()
    })
    .await;
    cluster.stop().await;
}
