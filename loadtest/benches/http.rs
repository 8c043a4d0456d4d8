//! Requests per second of the viewers' HTTP client on one thread, beside a bare socket loop and, where installed, `wrk`, all
//! against the same server: `cargo bench -p showrunner-loadtest --bench http`. Prints ratios; absolute numbers are the
//! machine's.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use showrunner_loadtest::http::{Access, Request, fetch};
use url::Url;

const CONNECTIONS: usize = 50;
const LENGTH: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;
const BODY: usize = 400;

/// A server that does as little as possible: one thread, one answer.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n").into_bytes();
            answer.resize(answer.len() + BODY, b'x');
            let answer: Arc<[u8]> = answer.into();
            while let Ok((mut socket, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                    socket.set_nodelay(true).unwrap();
                    let mut buffer = [0; 2048];
                    while socket.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                        if socket.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    });
    address
}

/// Our client, one task and one connection each, on one thread.
fn ours(address: SocketAddr) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let url = Url::parse(&format!("http://{address}/")).unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (url, count) = (url.clone(), Arc::clone(&count));
            tasks.spawn(async move {
                let (mut slot, access) = (None, Access::unlimited());
                while began.elapsed() < LENGTH {
                    let request = Request::get(url.clone(), tokio::time::Instant::now());
                    fetch(&mut slot, request, &access).await.unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        tasks.join_all().await;
    });
    count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// The least there is: write to all connections, read from all, on one thread.
fn bare(address: SocketAddr) -> f64 {
    let mut sockets: Vec<TcpStream> = (0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    for socket in &sockets {
        socket.set_nodelay(true).unwrap();
    }
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut buffer = [0; 4096];
    let (mut count, began) = (0u64, Instant::now());
    while began.elapsed() < LENGTH {
        for socket in &mut sockets {
            socket.write_all(request.as_bytes()).unwrap();
        }
        for socket in &mut sockets {
            let mut left = BODY;
            while left > 0 {
                let got = socket.read(&mut buffer).unwrap();
                // The head comes with the first bytes; its length is what is over.
                left = left.saturating_sub(got);
            }
            count += 1;
        }
    }
    count as f64 / began.elapsed().as_secs_f64()
}

fn wrk(address: SocketAddr) -> Option<f64> {
    let output = Command::new("wrk")
        .args([
            "-t1",
            &format!("-c{CONNECTIONS}"),
            &format!("-d{}s", LENGTH.as_secs()),
            &format!("http://{address}/"),
        ])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"))?
        .trim()
        .parse()
        .ok()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let address = server();
    let mut ratios: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for round in 1..=ROUNDS {
        // Interleaved, so that a noisy neighbour hits all alike.
        let (ours, bare, wrk) = (ours(address), bare(address), wrk(address));
        println!("round {round}: viewer client {ours:.0}/s, bare loop {bare:.0}/s, wrk {wrk:.0?}/s");
        ratios[0].push(ours / bare);
        if let Some(wrk) = wrk {
            ratios[1].push(ours / wrk);
        }
    }
    let [bare, wrk] = ratios;
    println!("viewer client / bare loop: {:.2} (median of {ROUNDS})", median(bare));
    if wrk.is_empty() {
        println!("wrk is not installed");
    } else {
        println!("viewer client / wrk: {:.2} (median of {ROUNDS})", median(wrk));
    }
}
