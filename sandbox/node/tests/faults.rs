//! Services between real pods, and faults as custom resources, each with a negative control.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cluster;

use chaos_mesh_rs::{NetworkChaos, PodChaos, injected, recovered};
use cluster::{Cluster, DEADLINE, alive, eventually, ready, restarts};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use showrunner_apiserver::NodeAccess;
use showrunner_node::chaos;
use showrunner_node::key::PodKey;
use showrunner_node::network::LinkTarget;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const BIG: usize = 400_000;

/// Not a test: the server that pods of image `server` run. It answers with its pod's name, or with many bytes.
#[test]
#[ignore = "the program of the pods, not a test"]
fn serve() {
    let address = std::env::var("BIND").unwrap();
    let name = std::env::var("POD_NAME").unwrap();
    let listener = TcpListener::bind(address).unwrap();
    for stream in listener.incoming().flatten() {
        let name = name.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stream.try_clone().unwrap())
                .lines()
                .map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let body = if request.contains("/big") {
                vec![b'x'; BIG]
            } else {
                name.into_bytes()
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = (&stream)
                .write_all(head.as_bytes())
                .and_then(|()| (&stream).write_all(&body));
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = (&stream).read(&mut [0; 64]);
        });
    }
}

fn start() -> Cluster {
    Cluster::with(|config| {
        let own = std::env::current_exe().unwrap().display().to_string();
        let images = std::mem::take(&mut config.images);
        config.images = images.with("server", [own.as_str(), "--exact", "serve", "--ignored", "--nocapture"]);
    })
}

/// A pod of the test server, ready.
async fn server(cluster: &Cluster, name: &str, metadata: Value) -> PodKey {
    let container = json!({
        "image": "server:1", "command": null,
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "BIND", "value": "$(POD_IP):8080"}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1}
    });
    cluster.pod(name, "", container, json!({}), metadata).await;
    cluster.until_ready(name).await;
    PodKey::new("default", name)
}

/// A Service over these pods, its slice written by hand.
async fn service(cluster: &Cluster, name: &str, pods: &[&str]) {
    let spec = json!({"metadata": {"name": name}, "spec": {"selector": {"none": "none"}, "ports": [{"name": "http", "port": 8080}]}});
    cluster.create::<Service>(spec).await;
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|pod| {
            json!({"addresses": [cluster.ip(pod).to_string()], "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "name": pod, "namespace": "default"}})
        })
        .collect();
    let slice = json!({
        "metadata": {"name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints
    });
    cluster.create::<EndpointSlice>(slice).await;
}

/// A pod that names the Service in its arguments, and its link to it.
async fn client(cluster: &Cluster, name: &str, to: &str) -> String {
    cluster
        .script(name, &format!("echo link {to}.default.svc; sleep 1000"), json!({}))
        .await;
    cluster.until_ready(name).await;
    cluster.until_log(name, "link 127.").await;
    let target = LinkTarget {
        service: showrunner_node::key::ServiceKey::new("default", to),
        hostname: None,
    };
    let link = cluster
        .runtime
        .network()
        .link(&PodKey::new("default", name), &target)
        .unwrap();
    assert!(cluster.log(name).await.contains(&link), "the pod was told its own link");
    link
}

async fn get(host: &str, path: &str) -> std::io::Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect((host, 8080)).await?;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        Ok(body.to_owned())
    };
    timeout(DEADLINE, exchange)
        .await
        .expect("neither answer nor error within the deadline")
}

async fn chaos(cluster: &Cluster) -> CancellationToken {
    let stop = CancellationToken::new();
    chaos::install_definitions(&cluster.client).await.unwrap();
    chaos::spawn(cluster.client.clone(), cluster.runtime.clone(), 7, stop.clone());
    stop
}

async fn network_chaos(cluster: &Cluster, name: &str, spec: Value) {
    cluster
        .create::<NetworkChaos>(json!({"metadata": {"name": name}, "spec": spec}))
        .await;
    let api = cluster.api::<NetworkChaos>();
    eventually("the injection", || async {
        api.get(name)
            .await
            .unwrap()
            .status
            .is_some_and(|status| injected(&status))
    })
    .await;
}

async fn pod_chaos(cluster: &Cluster, name: &str, spec: Value) -> PodChaos {
    cluster
        .create::<PodChaos>(json!({"metadata": {"name": name}, "spec": spec}))
        .await;
    let api = cluster.api::<PodChaos>();
    eventually("the injection", || async {
        api.get(name)
            .await
            .unwrap()
            .status
            .is_some_and(|status| injected(&status))
    })
    .await;
    api.get(name).await.unwrap()
}

fn of(app: &str) -> Value {
    json!({"labelSelectors": {"app": app}})
}

#[tokio::test]
async fn services_balance_over_links_and_ingress_addresses() {
    let cluster = start();
    server(&cluster, "a", json!({})).await;
    server(&cluster, "b", json!({})).await;
    service(&cluster, "web", &["a", "b"]).await;
    let link = client(&cluster, "client", "web").await;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    eventually("both endpoints", || async { get(&link, "/").await.is_ok() }).await;
    for _ in 0..10 {
        *seen.entry(get(&link, "/").await.unwrap()).or_default() += 1;
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [5, 5]);
    let ingress = Ipv4Addr::new(
        127,
        30,
        (std::process::id() % 250) as u8,
        1 + (std::process::id() / 250 % 250) as u8,
    )
    .to_string();
    let services = cluster.api::<Service>();
    let balanced = Patch::Merge(json!({"spec": {"type": "LoadBalancer"}}));
    services.patch("web", &PatchParams::default(), &balanced).await.unwrap();
    let patch = json!({"status": {"loadBalancer": {"ingress": [{"ip": ingress}]}}});
    services
        .patch_status("web", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
    eventually("the ingress address", || async { get(&ingress, "/").await.is_ok() }).await;
    let cluster_ip = cluster
        .api::<Service>()
        .get("web")
        .await
        .unwrap()
        .spec
        .unwrap()
        .cluster_ip
        .unwrap();
    assert!(cluster_ip.starts_with("127.20."), "{cluster_ip}");
    cluster.stop().await;
}

#[tokio::test]
async fn an_isolated_pod_fails_its_probes_and_the_proxy_until_the_fault_is_deleted() {
    let cluster = start();
    let stop = chaos(&cluster).await;
    let lost = server(&cluster, "lost", json!({})).await;
    let kept = server(&cluster, "kept", json!({})).await;
    network_chaos(
        &cluster,
        "cut",
        json!({"selector": of("lost"), "mode": "all", "action": "partition", "direction": "both"}),
    )
    .await;
    cluster.until("lost", "unready", |pod| !ready(pod)).await;
    assert!(cluster.runtime.dial("default", &lost.name, 8080).await.is_err());
    assert!(cluster.runtime.dial("default", &kept.name, 8080).await.is_ok());
    assert!(
        ready(&cluster.api::<Pod>().get("kept").await.unwrap()),
        "the other pod is untouched"
    );
    let api = cluster.api::<NetworkChaos>();
    assert!(
        api.get("cut")
            .await
            .unwrap()
            .finalizers()
            .contains(&chaos_mesh_rs::FINALIZER.to_owned())
    );
    api.delete("cut", &DeleteParams::default()).await.unwrap();
    eventually("the recovery", || async {
        recovered(api.get_opt("cut").await.unwrap().as_ref())
    })
    .await;
    eventually("the object to go", || async {
        api.get_opt("cut").await.unwrap().is_none()
    })
    .await;
    cluster.until_ready("lost").await;
    assert_eq!(cluster.runtime.network().faults().names().count(), 0);
    stop.cancel();
    cluster.stop().await;
}

#[tokio::test]
async fn a_partition_with_a_target_touches_this_pair_only_and_ends_with_its_duration() {
    let cluster = start();
    let stop = chaos(&cluster).await;
    server(&cluster, "web", json!({})).await;
    service(&cluster, "web", &["web"]).await;
    let (near, far) = (
        client(&cluster, "near", "web").await,
        client(&cluster, "far", "web").await,
    );
    eventually("the Service", || async {
        get(&near, "/").await.is_ok() && get(&far, "/").await.is_ok()
    })
    .await;
    let target = json!({"selector": of("web"), "mode": "all"});
    let spec = json!({"selector": of("near"), "mode": "all", "action": "partition", "direction": "to", "target": target, "duration": "4s"});
    network_chaos(&cluster, "pair", spec).await;
    assert!(get(&near, "/").await.is_err());
    assert_eq!(get(&far, "/").await.unwrap(), "web");
    assert!(
        ready(&cluster.api::<Pod>().get("web").await.unwrap()),
        "probes are not of this pair"
    );
    let api = cluster.api::<NetworkChaos>();
    eventually("its end", || async {
        recovered(api.get_opt("pair").await.unwrap().as_ref())
    })
    .await;
    let status = api.get("pair").await.unwrap().status.unwrap();
    assert!(status.condition("AllRecovered") && !status.condition("AllInjected"));
    assert_eq!(status.experiment.container_records.len(), 2, "one record for each side");
    assert_eq!(get(&near, "/").await.unwrap(), "web");
    stop.cancel();
    cluster.stop().await;
}

#[tokio::test]
async fn a_paused_delay_is_lifted_and_comes_back() {
    let cluster = start();
    let stop = chaos(&cluster).await;
    server(&cluster, "web", json!({})).await;
    service(&cluster, "web", &["web"]).await;
    let link = client(&cluster, "client", "web").await;
    eventually("the Service", || async { get(&link, "/").await.is_ok() }).await;
    let slow = || async {
        let start = Instant::now();
        get(&link, "/").await.unwrap();
        start.elapsed() >= Duration::from_millis(300)
    };
    assert!(!slow().await, "before the fault");
    let delay = json!({"latency": "150ms"});
    network_chaos(
        &cluster,
        "slow",
        json!({"selector": of("web"), "mode": "all", "action": "delay", "delay": delay}),
    )
    .await;
    assert!(slow().await, "150 ms at the handshake and 150 ms at the answer");
    let api = cluster.api::<NetworkChaos>();
    let pause =
        |value: &str| Patch::Merge(json!({"metadata": {"annotations": {chaos_mesh_rs::PAUSE_ANNOTATION: value}}}));
    api.patch("slow", &PatchParams::default(), &pause("true"))
        .await
        .unwrap();
    eventually("the pause", || async {
        recovered(Some(&api.get("slow").await.unwrap()))
    })
    .await;
    assert!(!slow().await, "paused");
    api.patch("slow", &PatchParams::default(), &pause("false"))
        .await
        .unwrap();
    eventually("the resumption", || async {
        api.get("slow").await.unwrap().status.is_some_and(|s| injected(&s))
    })
    .await;
    assert!(slow().await);
    let record = &api
        .get("slow")
        .await
        .unwrap()
        .status
        .unwrap()
        .experiment
        .container_records[0];
    assert_eq!((record.injected_count, record.recovered_count), (2, 1));
    stop.cancel();
    cluster.stop().await;
}

#[tokio::test]
async fn the_egress_annotation_slows_its_pod_only() {
    let cluster = start();
    // 2.4 Mbit/s: 400 kB take 1.3 s.
    server(
        &cluster,
        "thin",
        json!({"annotations": {"kubernetes.io/egress-bandwidth": "2400k"}}),
    )
    .await;
    server(&cluster, "wide", json!({})).await;
    for name in ["thin", "wide"] {
        service(&cluster, name, &[name]).await;
    }
    let mut took = BTreeMap::new();
    for name in ["thin", "wide"] {
        let link = client(&cluster, &format!("to-{name}"), name).await;
        eventually("the Service", || async { get(&link, "/").await.is_ok() }).await;
        let start = Instant::now();
        assert_eq!(get(&link, "/big").await.unwrap().len(), BIG);
        took.insert(name, start.elapsed().as_secs_f64());
    }
    assert!((1.0..2.5).contains(&took["thin"]), "{took:?}");
    assert!(took["wide"] < took["thin"] / 2.0, "{took:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn pods_are_killed_containers_too_and_bystanders_live() {
    let cluster = start();
    let stop = chaos(&cluster).await;
    for name in ["victim", "crashed", "bystander"] {
        cluster.script(name, "exec sleep 1000", json!({})).await;
        cluster.until_ready(name).await;
    }
    let kill = json!({"selector": of("victim"), "mode": "one", "action": "pod-kill"});
    let killed = pod_chaos(&cluster, "kill", kill).await;
    cluster.until_gone("victim").await;
    assert_eq!(
        killed.status.unwrap().experiment.container_records[0].id,
        "default/victim"
    );
    let crash =
        json!({"selector": of("crashed"), "mode": "all", "action": "container-kill", "containerNames": ["main"]});
    pod_chaos(&cluster, "crash", crash).await;
    let pod = cluster
        .until("crashed", "restarted and ready", |pod| restarts(pod) == 1 && ready(pod))
        .await;
    let last = pod
        .status
        .unwrap()
        .container_statuses
        .unwrap()
        .remove(0)
        .last_state
        .unwrap()
        .terminated
        .unwrap();
    assert_eq!(last.exit_code, 137);
    let bystander = cluster.api::<Pod>().get("bystander").await.unwrap();
    assert!(ready(&bystander) && restarts(&bystander) == 0);
    // A kill leaves nothing to recover: its object goes at once.
    let api = cluster.api::<PodChaos>();
    api.delete("kill", &DeleteParams::default()).await.unwrap();
    eventually("the object to go", || async {
        api.get_opt("kill").await.unwrap().is_none()
    })
    .await;
    stop.cancel();
    cluster.stop().await;
}

#[tokio::test]
async fn a_failed_pod_does_nothing_until_it_is_healed() {
    let cluster = start();
    let stop = chaos(&cluster).await;
    server(&cluster, "web", json!({})).await;
    let pid = cluster.runtime.running_pids()[0];
    let spec = json!({"selector": of("web"), "mode": "all", "action": "pod-failure", "duration": "4s"});
    pod_chaos(&cluster, "failure", spec).await;
    cluster
        .until("web", "failed", |pod| !ready(pod) && restarts(pod) == 1)
        .await;
    assert!(!alive(pid));
    let pod = cluster
        .until("web", "healed", |pod| ready(pod) && restarts(pod) == 2)
        .await;
    assert_eq!(pod.spec.unwrap().containers[0].image.as_deref(), Some("server:1"));
    stop.cancel();
    cluster.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_said_and_nothing_happens() {
    let cluster = start();
    let stop = chaos(&cluster).await;
    server(&cluster, "web", json!({})).await;
    let duplicate =
        json!({"selector": of("web"), "mode": "all", "action": "duplicate", "duplicate": {"duplicate": "50"}});
    cluster
        .create::<NetworkChaos>(json!({"metadata": {"name": "double"}, "spec": duplicate}))
        .await;
    cluster.until_event("double", "Unsupported").await;
    let nobody = json!({"selector": of("nobody"), "mode": "all", "action": "partition", "direction": "both"});
    cluster
        .create::<NetworkChaos>(json!({"metadata": {"name": "void"}, "spec": nobody}))
        .await;
    cluster.until_event("void", "Failed").await;
    let api: Api<NetworkChaos> = cluster.api();
    for name in ["double", "void"] {
        eventually("the conditions", || async {
            let status = api.get(name).await.unwrap().status.unwrap_or_default();
            let selected = status.conditions.iter().find(|c| c.kind == "Selected").cloned();
            selected.is_some_and(|c| c.status == "False" && !c.reason.is_empty()) && !injected(&status)
        })
        .await;
        api.delete(name, &DeleteParams::default()).await.unwrap();
        eventually("the object to go", || async {
            api.get_opt(name).await.unwrap().is_none()
        })
        .await;
    }
    assert_eq!(cluster.runtime.network().faults().names().count(), 0);
    assert!(ready(&cluster.api::<Pod>().get("web").await.unwrap()));
    stop.cancel();
    cluster.stop().await;
}
