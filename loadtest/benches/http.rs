//! Requests per second and core of what viewers are made of, beside `wrk` and a bare epoll loop, all against the same server:
//! `cargo bench -p showrunner-loadtest --bench http`.
//!
//! Server and client have a core each, and the server never sleeps, so that nobody pays for waking it. 50 keep-alive connections, objects of 400 bytes. Peers take turns, so that a noisy
//! neighbour hits all alike; ratios are medians over the rounds, per CPU second of the client, so that a server that keeps a
//! client waiting does not count against it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/plan.rs"]
mod plan;
#[path = "support/server.rs"]
mod server;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use showrunner_bench_support::books::{machine, median, target};
use showrunner_bench_support::process::{CLIENT_CORE, Run, Server, own_role, pinned, role, run};
use showrunner_loadtest::audience::{drive_audience, run_audience};
use showrunner_loadtest::http::{Access, Request, fetch};
use showrunner_loadtest::player::PlayerSettings;
use showrunner_loadtest::telemetry::{Meter, NullSink, Outcome, RequestClass, TelemetrySink};
use tokio_util::sync::CancellationToken;
use url::Url;

const CONNECTIONS: usize = 50;
const LENGTH: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;
const BODY: usize = 400;

/// The peers, in the order of the table. The first is what the others are held against.
const PEERS: [&str; 5] = ["wrk", "epoll", "hot-path", "viewers", "viewers-in-goose"];

fn main() {
    if showrunner_bench_support::is_test() {
        return;
    }
    match own_role() {
        None => compare(),
        Some((role, arguments)) => {
            let address = || arguments[0].parse().unwrap();
            match role.as_str() {
                "server" => server::main(),
                "epoll" => report(bare(address())),
                "hot-path" => report(hot_path(address())),
                "viewers" => report(viewers(address(), false)),
                "viewers-in-goose" => report(viewers(address(), true)),
                other => panic!("no role {other}"),
            }
        }
    }
}

/// What the parent reads.
fn report(requests: u64) {
    println!("{requests}");
}

fn compare() {
    let server = Server::start(true);
    // Requests per CPU second, and per second of time, by peer and round; the server's share of its core.
    let mut rates: [Vec<(f64, f64, f64)>; PEERS.len()] = Default::default();
    for round in 1..=ROUNDS {
        for (index, peer) in PEERS.iter().enumerate() {
            let Some((run, requests)) = measure(&server, peer) else {
                continue;
            };
            rates[index].push((requests / run.cpu, requests / LENGTH.as_secs_f64(), run.server_share));
        }
        println!("round {round} of {ROUNDS} done");
    }
    println!(
        "\n{:<18} {:>14} {:>12} {:>12} {:>8} {:>8}",
        "client", "req/CPU s", "req/s", "server core", "x wrk", "x epoll"
    );
    let mut fields = serde_json::Map::new();
    let ratio = |of: usize, to: usize| {
        let pairs: Vec<f64> = rates[of].iter().zip(&rates[to]).map(|(a, b)| a.0 / b.0).collect();
        median(&pairs)
    };
    for (index, peer) in PEERS.iter().enumerate() {
        let column = |pick: fn(&(f64, f64, f64)) -> f64| median(&rates[index].iter().map(pick).collect::<Vec<_>>());
        let (per_cpu, per_second, share) = (column(|r| r.0), column(|r| r.1), column(|r| r.2));
        println!(
            "{peer:<18} {per_cpu:>14.0} {per_second:>12.0} {:>10.0} % {:>8.2} {:>8.2}",
            share * 100.0,
            ratio(index, 0),
            ratio(index, 1)
        );
        fields.insert(
            (*peer).to_owned(),
            serde_json::json!({ "perCpuSecond": per_cpu, "perSecond": per_second, "serverShare": share,
                "overWrk": ratio(index, 0), "overEpoll": ratio(index, 1) }),
        );
    }
    println!();
    target("hot path / wrk", ratio(2, 0), "x", Some(1.0), None);
    target("hot path / epoll loop", ratio(2, 1), "x", Some(0.75), None);
    target("whole viewers / wrk", ratio(3, 0), "x", Some(0.5), None);
    target("whole viewers inside goose / wrk", ratio(4, 0), "x", None, None);
    machine("http", &fields.into());
}

fn measure(server: &Server, peer: &str) -> Option<(Run, f64)> {
    let address = server.address;
    if peer == "wrk" {
        let mut command = pinned(CLIENT_CORE, "wrk");
        command.args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{}s", LENGTH.as_secs())]);
        command.arg(format!("http://{address}/bytes/{BODY}"));
        let run = run(server, command)?;
        let line = run.output.lines().find(|line| line.contains(" requests in "))?;
        let requests = line.split_whitespace().next()?.parse().ok()?;
        return Some((run, requests));
    }
    let run = run(server, role(CLIENT_CORE, peer, &[address.to_string()]))?;
    let requests = run.output.trim().parse().ok()?;
    Some((run, requests))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// The viewers' client as a drill runs it: a task and a connection each, every request in the region's books, which are read
/// out once a second, and queued for goose, which collects ten times a second.
fn hot_path(address: SocketAddr) -> u64 {
    let url = Arc::new(Url::parse(&format!("http://{address}/bytes/{BODY}")).unwrap());
    let count = Arc::new(AtomicU64::new(0));
    let meter = Arc::new(Meter::new("east".into(), true));
    let end = tokio::time::Instant::now() + LENGTH;
    runtime().block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (url, count, meter) = (Arc::clone(&url), Arc::clone(&count), Arc::clone(&meter));
            tasks.spawn(async move {
                let (mut slot, access) = (None, Access::unlimited());
                let pathway: Arc<str> = "east".into();
                loop {
                    let due = tokio::time::Instant::now();
                    if due >= end {
                        return;
                    }
                    let mut request = Request::get_shared(Arc::clone(&url), due);
                    let answer = fetch(&mut slot, &mut request, &access).await.unwrap();
                    assert_eq!((answer.status, answer.bytes), (200, BODY as u64));
                    meter.request(
                        &pathway,
                        &Outcome {
                            class: RequestClass::Segment,
                            success: true,
                            status: answer.status,
                            latency: answer.total,
                            bytes: answer.bytes,
                            cache: answer.cache,
                        },
                    );
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut collect = tokio::time::interval(Duration::from_millis(100));
        for tick in 1.. {
            tokio::select! {
                _ = collect.tick() => {}
                joined = tasks.join_next() => {
                    if joined.is_none() {
                        break;
                    }
                }
            }
            if tick % 10 == 0 {
                std::hint::black_box(meter.take_second());
            }
            std::hint::black_box(meter.take_samples());
        }
    });
    count.load(Ordering::Relaxed)
}

/// The least there is: an epoll loop that knows how long the answer will be.
fn bare(address: SocketAddr) -> u64 {
    let mut poll = Poll::new().unwrap();
    let request = format!("GET /bytes/{BODY} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes();
    let length = {
        let mut probe = std::net::TcpStream::connect(address).unwrap();
        probe.write_all(&request).unwrap();
        let mut buffer = [0; 8192];
        let mut length = 0;
        while !buffer[..length].windows(4).any(|window| window == b"\r\n\r\n") || length < BODY {
            length += probe.read(&mut buffer[length..]).unwrap();
        }
        length
    };
    let mut sockets: Vec<(TcpStream, usize)> = (0..CONNECTIONS)
        .map(|index| {
            let socket = std::net::TcpStream::connect(address).unwrap();
            socket.set_nodelay(true).unwrap();
            socket.set_nonblocking(true).unwrap();
            let mut socket = TcpStream::from_std(socket);
            poll.registry()
                .register(&mut socket, Token(index), Interest::READABLE)
                .unwrap();
            socket.write_all(&request).unwrap();
            (socket, length)
        })
        .collect();
    let (mut events, mut buffer) = (Events::with_capacity(CONNECTIONS), [0; 8192]);
    let (mut count, began) = (0, Instant::now());
    while began.elapsed() < LENGTH {
        poll.poll(&mut events, Some(Duration::from_millis(100))).unwrap();
        for event in &events {
            let (socket, left) = &mut sockets[event.token().0];
            match socket.read(&mut buffer) {
                Ok(got) => {
                    assert!(got > 0, "the server closed the connection");
                    *left -= got;
                    if *left == 0 {
                        count += 1;
                        *left = length;
                        socket.write_all(&request).unwrap();
                    }
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
    count
}

/// The product's viewers, players and all: as many as there were connections, on a stream that always has the next segment, and
/// with no limit to what they buffer.
fn viewers(address: SocketAddr, in_goose: bool) -> u64 {
    let player = PlayerSettings {
        buffer_goal: Duration::from_hours(100_000),
        live_sync_durations: u32::MAX / 10,
        connections_per_host: 1,
        ..PlayerSettings::default()
    };
    let ramp = Duration::from_millis(50);
    let plan = plan::plan(
        (address, &format!("flood-{BODY}")),
        CONNECTIONS as u32,
        (ramp, LENGTH),
        player,
    );
    let sink: Arc<dyn TelemetrySink> = Arc::new(NullSink);
    let stop = CancellationToken::new();
    let report = runtime().block_on(async {
        let start = tokio::time::Instant::now();
        if in_goose {
            run_audience(plan, start, sink, stop).await
        } else {
            drive_audience(plan, start, sink, stop).await
        }
    });
    let report = report.unwrap();
    let errors: u64 = report.classes.values().map(|class| class.errors).sum();
    assert_eq!((report.fatal, errors), (0, 0), "the run itself must be clean");
    report.classes.values().map(|class| class.requests).sum()
}
