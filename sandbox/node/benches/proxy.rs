//! What a pod's way through the sandbox's network costs: `cargo bench -p showrunner-node --bench proxy`.
//!
//! Every request to a Service passes a userspace L4 proxy, which is where faults happen. Measured: bytes per CPU second of the
//! proxy, beside a plain copy loop with blocking sockets; and what it adds to a request's latency.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use showrunner_bench_support::books::{machine, median, percentile};
use showrunner_bench_support::process::{CLIENT_CORE, SERVER_CORE, cpu_of, own_role, role, role_anywhere};
use showrunner_node::key::{PodKey, ServiceKey};
use showrunner_node::network::{Backend, LinkTarget, Network, NetworkConfig, ServiceEntry, ServiceTable};

const CONNECTIONS: usize = 4;
const LENGTH: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;
const REQUESTS: usize = 20_000;
const CONNECTS: usize = 3000;
const ANSWER: usize = 400;
const BLOCK: usize = 256 * 1024;

fn main() {
    if showrunner_bench_support::is_test() {
        return;
    }
    match own_role() {
        None => compare(),
        Some((role, arguments)) => {
            let backend = || arguments[0].parse().unwrap();
            match role.as_str() {
                "server" => server(),
                "proxy" => proxy(backend()),
                "copy" => copy(backend()),
                other => panic!("no role {other}"),
            }
        }
    }
}

/// A process with an address, ended with this value.
struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peer {
    fn start(mut command: std::process::Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            child,
            address: line.trim().parse().unwrap(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn compare() {
    let mut rates: [Vec<f64>; 2] = Default::default();
    {
        let server = Peer::start(role(SERVER_CORE, "server", &[]));
        let backend = [server.address.to_string()];
        for round in 1..=ROUNDS {
            for (index, name) in ["proxy", "copy"].into_iter().enumerate() {
                let middle = Peer::start(role(CLIENT_CORE, name, &backend));
                rates[index].push(gigabytes_per_cpu_second(&middle));
            }
            println!("round {round} of {ROUNDS} done");
        }
    }
    let ratio = median(&rates[0].iter().zip(&rates[1]).map(|(a, b)| a / b).collect::<Vec<_>>());
    println!("\nBytes through a core, {CONNECTIONS} connections, median of {ROUNDS}:");
    println!("  the sandbox's network   {:.2} GB per CPU second", median(&rates[0]));
    println!("  plain copy loop         {:.2} GB per CPU second", median(&rates[1]));
    println!("  ratio                   {ratio:.2}");

    // Left to the scheduler, as in a sandbox.
    let server = Peer::start(role_anywhere("server", &[]));
    let backend = [server.address.to_string()];
    let through = Peer::start(role_anywhere("proxy", &backend));
    let plain = Peer::start(role_anywhere("copy", &backend));
    let (mut kept, mut fresh): ([Vec<f64>; 3], [Vec<f64>; 3]) = Default::default();
    let addresses = [server.address, through.address, plain.address];
    for _ in 0..ROUNDS {
        for (index, address) in addresses.into_iter().enumerate() {
            kept[index].extend(requests(address, REQUESTS / ROUNDS));
            fresh[index].extend(connects(address, CONNECTS / ROUNDS));
        }
    }
    println!("\nLatency in microseconds, one request at a time, answers of {ANSWER} bytes:");
    println!(
        "{:<26} {:>10} {:>10} {:>16} {:>16}",
        "", "p50", "p99", "connecting p50", "connecting p99"
    );
    let names = ["direct", "through the network", "through the copy loop"];
    for (index, name) in names.into_iter().enumerate() {
        println!(
            "{name:<26} {:>10.1} {:>10.1} {:>16.1} {:>16.1}",
            percentile(&kept[index], 50.0),
            percentile(&kept[index], 99.0),
            percentile(&fresh[index], 50.0),
            percentile(&fresh[index], 99.0)
        );
    }
    let added = |values: &[Vec<f64>; 3], index: usize, percent: f64| {
        percentile(&values[index], percent) - percentile(&values[0], percent)
    };
    println!(
        "The network adds {:.1} us at the median and {:.1} us at p99 (copy loop: {:.1} and {:.1}); with connecting {:.1} us at the median.",
        added(&kept, 1, 50.0),
        added(&kept, 1, 99.0),
        added(&kept, 2, 50.0),
        added(&kept, 2, 99.0),
        added(&fresh, 1, 50.0),
    );
    machine(
        "proxy",
        &json!({
            "gigabytesPerCpuSecond": median(&rates[0]),
            "copyLoopGigabytesPerCpuSecond": median(&rates[1]),
            "overCopyLoop": ratio,
            "addedUsP50": added(&kept, 1, 50.0),
            "addedUsP99": added(&kept, 1, 99.0),
            "addedUsP50Connecting": added(&fresh, 1, 50.0),
            "directUsP50": percentile(&kept[0], 50.0),
            "copyLoopAddedUsP50": added(&kept, 2, 50.0),
        }),
    );
}

/// Downloads as fast as it goes; bytes per CPU second of what is in the middle.
fn gigabytes_per_cpu_second(middle: &Peer) -> f64 {
    let cpu = cpu_of(middle.child.id());
    let began = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let address = middle.address;
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"G").unwrap();
                let (mut buffer, mut bytes) = (vec![0; BLOCK], 0u64);
                while began.elapsed() < LENGTH {
                    bytes += stream.read(&mut buffer).unwrap() as u64;
                }
                bytes
            })
        })
        .collect();
    let bytes: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    bytes as f64 / 1e9 / (cpu_of(middle.child.id()) - cpu)
}

/// Microseconds of each request on one connection.
fn requests(address: SocketAddr, count: usize) -> Vec<f64> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    (0..count).map(|_| exchange(&mut stream)).collect()
}

/// Microseconds of a connection with one request.
fn connects(address: SocketAddr, count: usize) -> Vec<f64> {
    let connect = |_| {
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        exchange(&mut stream);
        began.elapsed().as_secs_f64() * 1e6
    };
    (0..count).map(connect).collect()
}

fn exchange(stream: &mut TcpStream) -> f64 {
    let (began, mut answer) = (Instant::now(), [0; ANSWER]);
    stream.write_all(b"R").unwrap();
    stream.read_exact(&mut answer).unwrap();
    began.elapsed().as_secs_f64() * 1e6
}

/// A thread a connection. `R` is answered, after `G` bytes follow without end.
fn server() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    println!("{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        std::thread::spawn(move || {
            let (mut ask, answer, block) = ([0; 1], [b'x'; ANSWER], vec![0; BLOCK]);
            while stream.read(&mut ask).is_ok_and(|count| count > 0) {
                if ask == *b"R" && stream.write_all(&answer).is_err() {
                    return;
                }
                if ask == *b"G" {
                    while stream.write_all(&block).is_ok() {}
                    return;
                }
            }
        });
    }
}

/// The sandbox's network, with a pod's link to a Service whose one endpoint is the server.
fn proxy(backend: SocketAddr) {
    let SocketAddr::V4(backend) = backend else {
        panic!("not IPv4")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let network = Network::new(NetworkConfig::default());
        let service = ServiceKey::new("ns", "edge");
        let entry = ServiceEntry {
            ports: BTreeMap::from([(
                8080,
                vec![Backend {
                    ip: *backend.ip(),
                    port: backend.port(),
                    pod: Some(PodKey::new("ns", "edge-0")),
                    hostname: None,
                }],
            )]),
            ..ServiceEntry::default()
        };
        let refused = network.set_services(ServiceTable {
            services: BTreeMap::from([(service.clone(), entry)]),
        });
        assert!(refused.is_empty(), "{refused:?}");
        let target = LinkTarget {
            service,
            hostname: None,
        };
        let host = network.link(&PodKey::new("ns", "viewer"), &target).unwrap();
        println!("{host}:8080");
        std::future::pending::<()>().await;
    });
}

/// The same with two blocking threads a connection and nothing else.
fn copy(backend: SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    println!("{}", listener.local_addr().unwrap());
    for near in listener.incoming() {
        let (near, far) = (near.unwrap(), TcpStream::connect(backend).unwrap());
        for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
            to.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 64 * 1024];
                loop {
                    match from.read(&mut buffer) {
                        Ok(count) if count > 0 && to.write_all(&buffer[..count]).is_ok() => {}
                        _ => break,
                    }
                }
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
        }
    }
}
