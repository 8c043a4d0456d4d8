//! A cache process under the rendered rules, and origins whose behaviour a test commands.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use showrunner_operator::{
    build::vcl::{CacheConfig, CacheTier, arguments, render},
    validate::units::Mebibytes,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinHandle,
};

const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for a condition, and fails the test when it does not come in time.
pub(crate) async fn until(what: &str, condition: impl AsyncFnMut() -> bool) {
    until_within(DEADLINE, what, condition).await;
}

/// The same with a deadline of its own.
pub(crate) async fn until_within(deadline: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(deadline, waiting)
        .await
        .unwrap_or_else(|_| panic!("no {what} within {deadline:?}"));
}

/// A loopback address that no other test has: the ports are fixed, as in a pod.
fn address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let (process, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("127.{}.{}.{}", 100 + process / 250 % 100, 1 + process % 250, n)
}

pub(crate) struct Answer {
    pub status: u16,
    headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

async fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let headers = lines.concat();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).await.unwrap();
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or_else(|| panic!("{line:?}"));
        let mut headers = BTreeMap::new();
        loop {
            line.clear();
            reader.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers
            .get("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).await.unwrap();
        Answer {
            status,
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    };
    tokio::time::timeout(DEADLINE, exchange)
        .await
        .expect("an answer in time")
}

#[derive(Default)]
struct State {
    status: u16,
    sick: bool,
    delay: Duration,
    hits: BTreeMap<String, u32>,
    shield: Option<String>,
}

pub(crate) struct FakeOrigin {
    address: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

impl FakeOrigin {
    pub(crate) async fn start() -> Self {
        let address = address();
        let listener = TcpListener::bind((address.as_str(), 8080)).await.unwrap();
        let state = Arc::new(Mutex::new(State {
            status: 200,
            ..State::default()
        }));
        let shared = state.clone();
        let server = tokio::spawn(async move {
            // Dropped with the server: a killed origin cuts its connections too.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, shared.clone()));
            }
        });
        Self { address, state, server }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    pub(crate) fn answer(&self, status: u16) {
        self.change(|state| state.status = status);
    }

    pub(crate) fn healthy(&self, healthy: bool) {
        self.change(|state| state.sick = !healthy);
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.change(|state| state.delay = delay);
    }

    pub(crate) fn kill(&self) {
        self.server.abort();
    }

    pub(crate) fn hits(&self, path: &str) -> u32 {
        self.state.lock().unwrap().hits.get(path).copied().unwrap_or(0)
    }

    pub(crate) fn total(&self) -> u32 {
        self.state.lock().unwrap().hits.values().sum()
    }

    pub(crate) fn last_shield(&self) -> Option<String> {
        self.state.lock().unwrap().shield.clone()
    }
}

impl Drop for FakeOrigin {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, delay, body) = {
            let mut state = state.lock().unwrap();
            if path == "/healthz" {
                (if state.sick { 503 } else { 200 }, Duration::ZERO, String::new())
            } else {
                *state.hits.entry(path.clone()).or_default() += 1;
                state.shield = head
                    .lines()
                    .filter_map(|line| line.split_once(": "))
                    .find(|(name, _)| name.eq_ignore_ascii_case("x-showrunner-shield"))
                    .map(|(_, value)| value.to_owned());
                (state.status, state.delay, format!("{path} #{}", state.hits[&path]))
            }
        };
        tokio::time::sleep(delay).await;
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        // The cache's probes read to the end of the connection, and say so.
        let last = head.to_ascii_lowercase().contains("connection: close");
        if reader.get_mut().write_all(answer.as_bytes()).await.is_err() || last {
            return;
        }
    }
}

pub(crate) struct Cache {
    address: String,
    directory: tempfile::TempDir,
    _process: Child,
}

impl Cache {
    /// Starts the cache on an address of its own and waits until it answers and has looked at its upstreams.
    pub(crate) async fn start(tier: CacheTier, origins: &[&FakeOrigin]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = address();
        let upstreams: Vec<_> = origins
            .iter()
            .enumerate()
            .map(|(n, origin)| (format!("origin-{n}"), origin.address.clone()))
            .collect();
        let marker = directory.path().join("drain");
        let rules = directory.path().join("default.vcl");
        let vcl = render(&CacheConfig {
            tier,
            title: "under test",
            upstreams: &upstreams,
            drain_marker: marker.to_str().unwrap(),
        });
        std::fs::write(&rules, vcl).unwrap();
        let work = directory.path().join("work");
        let arguments = arguments(Mebibytes(32), work.to_str().unwrap(), rules.to_str().unwrap());
        let process = Command::new("varnishd")
            .args(arguments.iter().map(|argument| {
                argument
                    .replace("$(POD_IP)", &address)
                    .replace("$(POD_NAME)", "pod-under-test")
            }))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("varnishd is installed (apt-get install varnish)");
        let cache = Self {
            address,
            directory,
            _process: process,
        };
        until("cache", async || {
            TcpStream::connect((cache.address.as_str(), 8080)).await.is_ok()
        })
        .await;
        until("healthy cache", async || cache.get("/healthz").await.status == 200).await;
        cache
    }

    pub(crate) fn drain_marker(&self) -> PathBuf {
        self.directory.path().join("drain")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[]).await
    }

    pub(crate) async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        request(&format!("{}:8080", self.address), method, path, headers).await
    }

    pub(crate) async fn admin(&self, method: &str, path: &str) -> Answer {
        request(&format!("{}:8081", self.address), method, path, &[]).await
    }
}
