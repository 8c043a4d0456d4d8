//! A small live stream on loopback: steering, services and any number of edges, each of which can be made to fail.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::format_push_string
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How a host behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Answers.
    Up = 0,
    /// Accepts and says nothing, on open connections too.
    Hang = 1,
    /// Every request is answered 503.
    Unavailable = 2,
    /// Bodies stop half-way and the connection closes.
    Truncate = 3,
}

/// What was asked for and answered in full, by class.
#[derive(Debug, Default)]
pub struct Counts {
    by_class: Mutex<BTreeMap<&'static str, (u64, u64)>>,
    pub connections: AtomicU64,
}

impl Counts {
    pub fn get(&self, class: &str) -> (u64, u64) {
        self.by_class.lock().unwrap().get(class).copied().unwrap_or_default()
    }

    fn add(&self, class: &'static str, bytes: usize) {
        let mut by_class = self.by_class.lock().unwrap();
        let entry = by_class.entry(class).or_default();
        entry.0 += 1;
        entry.1 += bytes as u64;
    }
}

/// The stream itself, shared by all hosts.
pub struct Stream {
    pub began: Instant,
    pub segment: Duration,
    pub segment_bytes: usize,
    /// Set to freeze the live edge.
    pub frozen_at: AtomicU64,
    pub counts: Counts,
    /// Edge base URLs by pathway, in order of priority.
    pub pathways: Mutex<Vec<(String, String)>>,
    /// Priority in steering manifests; empty: no steering tag at all.
    pub priority: Mutex<Vec<String>>,
    pub ttl: u64,
    pub chunked: bool,
}

/// Segments in a playlist.
const WINDOW: u64 = 8;
const FIRST: u64 = 1000;

impl Stream {
    pub fn new(segment: Duration, segment_bytes: usize) -> Self {
        Self {
            began: Instant::now().checked_sub(segment * WINDOW as u32).unwrap(),
            segment,
            segment_bytes,
            frozen_at: AtomicU64::new(0),
            counts: Counts::default(),
            pathways: Mutex::default(),
            priority: Mutex::default(),
            ttl: 1,
            chunked: true,
        }
    }

    fn edge(&self) -> u64 {
        let live = (self.began.elapsed().as_millis() / self.segment.as_millis()) as u64;
        match self.frozen_at.load(Ordering::Relaxed) {
            0 => live,
            frozen => frozen,
        }
    }

    pub fn freeze(&self) {
        self.frozen_at.store(self.edge(), Ordering::Relaxed);
    }

    fn media(&self) -> String {
        let newest = self.edge();
        let first = newest.saturating_sub(WINDOW - 1);
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-MAP:URI=\"init.mp4\"\n",
            self.segment.as_secs_f64().ceil(),
            FIRST + first
        );
        for number in first..=newest {
            text += &format!(
                "#EXTINF:{:.3},\nseg_{}.m4s\n",
                self.segment.as_secs_f64(),
                FIRST + number
            );
        }
        text
    }

    fn multivariant(&self) -> String {
        let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n");
        let priority = self.priority.lock().unwrap();
        if let Some(first) = priority.first() {
            text += &format!("#EXT-X-CONTENT-STEERING:SERVER-URI=\"/steer/one\",PATHWAY-ID=\"{first}\"\n");
        }
        for (id, base) in self.pathways.lock().unwrap().iter() {
            text += &format!(
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aud-{id}\",NAME=\"main\",DEFAULT=YES,AUTOSELECT=YES,URI=\"{base}/live/one/audio/index.m3u8\"\n"
            );
            for (name, bandwidth) in [("hi", 800_000), ("lo", 200_000)] {
                text += &format!(
                    "#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},CODECS=\"avc1.4d401f,mp4a.40.2\",RESOLUTION=640x360,AUDIO=\"aud-{id}\",PATHWAY-ID=\"{id}\"\n{base}/live/one/{name}/index.m3u8\n"
                );
            }
        }
        text
    }

    fn manifest(&self) -> String {
        let priority = self.priority.lock().unwrap();
        serde_json::json!({ "VERSION": 1, "TTL": self.ttl, "PATHWAY-PRIORITY": &*priority }).to_string()
    }

    fn answer(&self, path: &str) -> Option<(&'static str, Vec<u8>)> {
        let path = path.split('?').next().unwrap_or(path);
        Some(match path {
            "/play/one/multivariant.m3u8" => ("multivariant", self.multivariant().into_bytes()),
            "/steer/one" => ("steering", self.manifest().into_bytes()),
            "/entitlement" => ("entitlement", br#"{"token":"t.o.k","expiresIn":60}"#.to_vec()),
            "/licence" => (
                "licence",
                br#"{"keys":[{"kty":"oct","kid":"AA","k":"AA"}],"type":"temporary"}"#.to_vec(),
            ),
            "/heartbeat" => ("heartbeat", b"{}".to_vec()),
            _ if path.ends_with("index.m3u8") => ("playlist", self.media().into_bytes()),
            _ if path.ends_with("init.mp4") => ("init", vec![1; 700]),
            _ if path.rsplit_once('.').is_some_and(|(_, extension)| extension == "m4s") => {
                let number: u64 = path.rsplit_once("seg_")?.1.strip_suffix(".m4s")?.parse().ok()?;
                if number > FIRST + self.edge() {
                    return None;
                }
                let audio = path.contains("/audio/");
                let size = if audio {
                    self.segment_bytes / 10
                } else {
                    self.segment_bytes
                };
                (if audio { "audio" } else { "segment" }, vec![2; size])
            }
            _ => return None,
        })
    }
}

/// One listener.
pub struct Host {
    pub url: String,
    mode: Arc<AtomicU8>,
    stop: CancellationToken,
}

impl Host {
    pub async fn start(stream: Arc<Stream>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (mode, stop) = (Arc::new(AtomicU8::new(0)), CancellationToken::new());
        tokio::spawn(serve(listener, stream, Arc::clone(&mode), stop.clone()));
        Self { url, mode, stop }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// Closes the listener and every connection.
    pub fn kill(&self) {
        self.stop.cancel();
    }
}

async fn serve(listener: TcpListener, stream: Arc<Stream>, mode: Arc<AtomicU8>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => {
                let (socket, _) = accepted.unwrap();
                stream.counts.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(connection(socket, Arc::clone(&stream), Arc::clone(&mode)));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(mut socket: TcpStream, stream: Arc<Stream>, mode: Arc<AtomicU8>) {
    let _ = socket.set_nodelay(true);
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            match socket.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let length: usize = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")
                    .map(str::to_owned)
            })
            .map_or(0, |length| length.trim().parse().unwrap());
        while buffer.len() < length {
            if socket.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        buffer.drain(..length);
        let mode = mode.load(Ordering::Relaxed);
        if mode == Mode::Hang as u8 {
            std::future::pending::<()>().await;
        }
        if mode == Mode::Unavailable as u8 {
            if socket
                .write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
                .await
                .is_err()
            {
                return;
            }
            continue;
        }
        let path = head.split(' ').nth(1).unwrap_or("/");
        let Some((class, body)) = stream.answer(path) else {
            let _ = socket
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                .await;
            continue;
        };
        let mut wire = Vec::with_capacity(body.len() + 200);
        if stream.chunked && class == "playlist" {
            wire.extend_from_slice(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(100) {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
        } else {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Cache: HIT\r\n\r\n",
                body.len()
            );
            wire.extend_from_slice(head.as_bytes());
            wire.extend_from_slice(&body);
        }
        if mode == Mode::Truncate as u8 {
            wire.truncate(wire.len() - body.len() / 2);
            let _ = socket.write_all(&wire).await;
            return;
        }
        if socket.write_all(&wire).await.is_err() {
            return;
        }
        stream.counts.add(class, body.len());
    }
}

/// Waits until `condition` holds; panics after `limit`.
pub async fn eventually(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
