//! The network on real sockets: balancing, half-close, and every fault with its negative control.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use showrunner_node::key::{Peer, PodKey, ServiceKey};
use showrunner_node::network::{
    Backend, FaultRule, Impairment, LinkTarget, Network, NetworkConfig, PeerSet, PodLimits, ServiceEntry, ServiceTable,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const PORT: u16 = 8080;
const DEADLINE: Duration = Duration::from_secs(20);

fn network(hang: Duration) -> Network {
    Network::new(NetworkConfig {
        seed: 1,
        hang,
        ..NetworkConfig::default()
    })
}

fn pod(name: &str) -> PodKey {
    PodKey::new("ns", name)
}

fn service(name: &str) -> ServiceKey {
    ServiceKey::new("ns", name)
}

fn target(name: &str) -> LinkTarget {
    LinkTarget {
        service: service(name),
        hostname: None,
    }
}

fn backend(ip: Ipv4Addr, name: &str) -> Backend {
    Backend {
        ip,
        port: PORT,
        pod: Some(pod(name)),
        hostname: None,
    }
}

fn table(name: &str, backends: Vec<Backend>) -> ServiceTable {
    let entry = ServiceEntry {
        ports: BTreeMap::from([(PORT, backends)]),
        ..ServiceEntry::default()
    };
    ServiceTable {
        services: BTreeMap::from([(service(name), entry)]),
    }
}

/// A server that reads its whole request, then answers `name:request` and closes.
async fn answerer(network: &Network, name: &'static str) -> Ipv4Addr {
    let ip = network.add_pod(&pod(name), PodLimits::default()).unwrap();
    let listener = TcpListener::bind((ip, PORT)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = String::new();
                if stream.read_to_string(&mut request).await.is_ok() {
                    let _ = stream.write_all(format!("{name}:{request}").as_bytes()).await;
                }
            });
        }
    });
    ip
}

/// A server that sends `bytes` zeros to each caller.
async fn source(network: &Network, name: &'static str, bytes: usize) -> Ipv4Addr {
    let ip = network.add_pod(&pod(name), PodLimits::default()).unwrap();
    let listener = TcpListener::bind((ip, PORT)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let block = vec![0u8; 256 * 1024];
                let mut left = bytes;
                while left > 0 {
                    let n = left.min(block.len());
                    if stream.write_all(&block[..n]).await.is_err() {
                        return;
                    }
                    left -= n;
                }
            });
        }
    });
    ip
}

async fn ask(host: &str, request: &str) -> std::io::Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect((host, PORT)).await?;
        stream.write_all(request.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    timeout(DEADLINE, exchange)
        .await
        .expect("no answer and no error within the deadline")
}

async fn download(host: &str) -> (usize, Duration) {
    let start = Instant::now();
    let mut stream = TcpStream::connect((host, PORT)).await.unwrap();
    let mut buffer = vec![0u8; 256 * 1024];
    let mut total = 0;
    loop {
        match timeout(DEADLINE, stream.read(&mut buffer)).await.unwrap() {
            Ok(0) => return (total, start.elapsed()),
            Ok(n) => total += n,
            Err(error) => panic!("after {total} bytes: {error}"),
        }
    }
}

fn both_ways(one: &str, impairment: &Impairment) -> Vec<FaultRule> {
    vec![
        FaultRule {
            from: PeerSet::pod(pod(one)),
            to: PeerSet::Any,
            impairment: impairment.clone(),
        },
        FaultRule {
            from: PeerSet::Any,
            to: PeerSet::pod(pod(one)),
            impairment: impairment.clone(),
        },
    ]
}

fn partition() -> Impairment {
    Impairment {
        partition: true,
        ..Impairment::default()
    }
}

#[tokio::test]
async fn a_link_balances_in_turn_and_half_close_survives() {
    let network = network(Duration::from_secs(5));
    let a = answerer(&network, "a").await;
    let b = answerer(&network, "b").await;
    network.add_pod(&pod("client"), PodLimits::default()).unwrap();
    assert!(
        network
            .set_services(table("web", vec![backend(a, "a"), backend(b, "b")]))
            .is_empty()
    );
    let host = network.link(&pod("client"), &target("web")).unwrap();
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(ask(&host, "hello").await.unwrap());
    }
    answers.sort();
    assert_eq!(answers, ["a:hello", "a:hello", "b:hello", "b:hello"]);
    let traffic = network.traffic();
    let client = traffic.iter().find(|t| t.pod == pod("client")).unwrap();
    assert_eq!(
        (client.bytes_sent, client.bytes_received, client.connections_total),
        (20, 28, 4)
    );
}

#[tokio::test]
async fn a_refused_endpoint_is_skipped_and_none_at_all_resets() {
    let network = network(Duration::from_secs(5));
    let a = answerer(&network, "a").await;
    let dead = network.add_pod(&pod("dead"), PodLimits::default()).unwrap();
    network.set_services(table("web", vec![backend(dead, "dead"), backend(a, "a")]));
    let host = network.link(&pod("client"), &target("web")).unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&host, "x").await.unwrap(), "a:x");
    }
    network.set_services(table("web", vec![backend(dead, "dead")]));
    assert!(ask(&host, "x").await.is_err());
    network.set_services(table("web", vec![]));
    assert!(ask(&host, "x").await.is_err());
    network.set_services(ServiceTable::default());
    assert!(ask(&host, "x").await.is_err(), "a deleted Service listens no more");
    assert!(network.link(&pod("client"), &target("web")).is_err());
}

#[tokio::test]
async fn a_partition_hangs_then_resets_and_touches_only_its_pair() {
    let hang = Duration::from_millis(600);
    let network = network(hang);
    let a = answerer(&network, "a").await;
    for client in ["one", "two"] {
        network.add_pod(&pod(client), PodLimits::default()).unwrap();
    }
    network.set_services(table("web", vec![backend(a, "a")]));
    let (one, two) = (
        network.link(&pod("one"), &target("web")).unwrap(),
        network.link(&pod("two"), &target("web")).unwrap(),
    );
    assert_ne!(one, two, "each pod has its own link");
    let mut established = TcpStream::connect((one.as_str(), PORT)).await.unwrap();
    established.write_all(b"begun").await.unwrap();
    assert_eq!(ask(&one, "x").await.unwrap(), "a:x");
    network.set_fault("cut", both_ways("one", &partition()));
    let start = Instant::now();
    assert!(ask(&one, "x").await.is_err());
    assert!(start.elapsed() >= hang, "reset too early: {:?}", start.elapsed());
    assert_eq!(ask(&two, "x").await.unwrap(), "a:x", "the other pod is untouched");
    let mut rest = String::new();
    assert!(
        timeout(DEADLINE, established.read_to_string(&mut rest))
            .await
            .unwrap()
            .is_err(),
        "established ones are cut"
    );
    assert!(network.clear_fault("cut"));
    assert_eq!(ask(&one, "x").await.unwrap(), "a:x");
}

#[tokio::test]
async fn a_healed_partition_lets_the_stalled_connection_go_on() {
    let network = network(Duration::from_secs(30));
    let a = answerer(&network, "a").await;
    network.set_services(table("web", vec![backend(a, "a")]));
    let host = network.link(&pod("one"), &target("web")).unwrap();
    network.set_fault("cut", both_ways("a", &partition()));
    let asking = tokio::spawn(async move { ask(&host, "x").await });
    assert!(
        timeout(Duration::from_millis(300), async {
            while !asking.is_finished() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .is_err()
    );
    network.clear_fault("cut");
    assert_eq!(asking.await.unwrap().unwrap(), "a:x");
}

#[tokio::test]
async fn an_isolated_pod_fails_dials_of_the_host_too() {
    let network = network(Duration::from_millis(200));
    answerer(&network, "a").await;
    assert!(network.dial(Peer::Host, &pod("a"), PORT).await.is_ok());
    network.set_fault("cut", both_ways("a", &partition()));
    let error = network.dial(Peer::Host, &pod("a"), PORT).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    network.clear_fault("cut");
    assert!(network.dial(Peer::Host, &pod("a"), PORT).await.is_ok());
    assert_eq!(
        network.dial(Peer::Host, &pod("nobody"), PORT).await.unwrap_err().kind(),
        std::io::ErrorKind::NotFound
    );
}

#[tokio::test]
async fn delay_adds_latency_and_keeps_throughput() {
    let network = network(Duration::from_secs(10));
    let bytes = 24 * 1024 * 1024;
    let a = source(&network, "a", bytes).await;
    network.set_services(table("web", vec![backend(a, "a")]));
    let host = network.link(&pod("one"), &target("web")).unwrap();
    let (_, plain) = download(&host).await;
    network.set_fault(
        "slow",
        both_ways(
            "a",
            &Impairment {
                delay: Duration::from_millis(50),
                ..Impairment::default()
            },
        ),
    );
    let (total, slow) = download(&host).await;
    assert_eq!(total, bytes);
    // The handshake pays a round trip and the data one way; a chunk-by-chunk delay would need 384 × 50 ms = 19 s.
    assert!(slow >= plain + Duration::from_millis(100), "{plain:?} → {slow:?}");
    assert!(slow < Duration::from_secs(6), "{slow:?}");
    network.clear_fault("slow");
    let (_, healed) = download(&host).await;
    assert!(healed < slow, "{healed:?} vs {slow:?}");
}

#[tokio::test]
async fn the_egress_annotation_limits_the_sum_and_shares_it_fairly() {
    let network = network(Duration::from_secs(10));
    let a = source(&network, "a", 500_000).await;
    network.set_services(table("web", vec![backend(a, "a")]));
    let host = network.link(&pod("one"), &target("web")).unwrap();
    let (_, free) = download(&host).await;
    assert!(free < Duration::from_millis(500), "unlimited: {free:?}");
    network.set_limits(
        &pod("a"),
        PodLimits {
            egress: Some(1_000_000),
            ingress: None,
        },
    );
    let start = Instant::now();
    let (one, two) = tokio::join!(download(&host), download(&host));
    let took = start.elapsed().as_secs_f64();
    assert!((0.85..1.6).contains(&took), "1 MB at 1 MB/s took {took}");
    let apart = one.1.abs_diff(two.1);
    assert!(apart < Duration::from_millis(200), "unfair by {apart:?}");
}

#[tokio::test]
async fn total_loss_resets_and_no_loss_does_not() {
    let network = network(Duration::from_millis(300));
    let a = answerer(&network, "a").await;
    network.set_services(table("web", vec![backend(a, "a")]));
    let host = network.link(&pod("one"), &target("web")).unwrap();
    network.set_fault(
        "loss",
        both_ways(
            "a",
            &Impairment {
                loss_percent: 100.0,
                ..Impairment::default()
            },
        ),
    );
    assert!(ask(&host, "x").await.is_err());
    network.set_fault(
        "loss",
        both_ways(
            "a",
            &Impairment {
                loss_percent: 0.0,
                ..Impairment::default()
            },
        ),
    );
    assert_eq!(ask(&host, "x").await.unwrap(), "a:x");
}

#[tokio::test]
async fn an_endpoint_taken_out_finishes_what_it_began() {
    let network = network(Duration::from_secs(10));
    let a = answerer(&network, "a").await;
    network.set_services(table("web", vec![backend(a, "a")]));
    let host = network.link(&pod("one"), &target("web")).unwrap();
    let mut established = TcpStream::connect((host.as_str(), PORT)).await.unwrap();
    established.write_all(b"be").await.unwrap();
    // The proxy must have it through to the endpoint before the endpoint goes.
    timeout(DEADLINE, async {
        while !network
            .traffic()
            .iter()
            .any(|t| t.pod == pod("a") && t.bytes_received == 2)
        {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    network.set_services(table("web", vec![]));
    assert!(ask(&host, "new").await.is_err());
    established.write_all(b"gun").await.unwrap();
    established.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, established.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer, "a:begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fast_path_is_fast() {
    let network = network(Duration::from_secs(10));
    let bytes = 512 * 1024 * 1024;
    let a = source(&network, "a", bytes).await;
    network.set_services(table("web", vec![backend(a, "a")]));
    let host = network.link(&pod("one"), &target("web")).unwrap();
    let (total, took) = download(&host).await;
    assert_eq!(total, bytes);
    let rate = total as f64 / took.as_secs_f64() / 1e9;
    println!("fast path: {rate:.2} GB/s");
    assert!(rate > 0.1, "{rate} GB/s");
}

/// Somebody else's listener is told, with the time it has been in the way, until it ends.
#[tokio::test]
async fn an_address_that_is_taken_is_told() {
    let network = network(Duration::from_secs(5));
    // An address that no pool gives out.
    let address = Ipv4Addr::new(127, 0, 77, 1);
    let holder = TcpListener::bind((address, 0)).await.unwrap();
    let port = holder.local_addr().unwrap().port();
    let entry = ServiceEntry {
        cluster_ips: vec![address],
        ports: BTreeMap::from([(port, vec![])]),
        ..ServiceEntry::default()
    };
    let table = ServiceTable {
        services: BTreeMap::from([(service("web"), entry)]),
    };
    assert_eq!(network.taken(), None);
    let failed = network.set_services(table.clone());
    let told = failed[0].to_string();
    assert!(
        told.contains(&format!("{address}:{port}")) && told.contains("web"),
        "{told}"
    );
    let again = network.set_services(table.clone());
    assert_eq!(again, failed, "since the first time");
    assert_eq!(network.taken().as_ref(), failed.first());
    drop(holder);
    assert_eq!(network.set_services(table), []);
    assert_eq!(network.taken(), None);
    network.close();
}
