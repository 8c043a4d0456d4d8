//! A server that does as little as possible, so that it is the client that is measured: one thread, one epoll loop, answers made
//! in advance. With `--spin` it never sleeps: no client pays for waking it.
//!
//! - `/bytes/N`: an object of N bytes. `/idle`: seconds without anything to do, where it does not sleep.
//! - `/play/SCENE/multivariant.m3u8`, `/steer/SCENE` and `/live/SCENE/RUNG/…`: a live stream with two pathways and separate
//!   audio. SCENE is `live-MS-BYTES` (segments of MS milliseconds and BYTES bytes, by the clock) or `flood-BYTES`: there the
//!   playlist always lists [`AHEAD`] segments beyond the one that this connection asked for last, so that a player without a
//!   buffer goal never waits.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);
/// Segments beyond the last one in a `flood` playlist.
const AHEAD: u64 = 1500;
/// Segments in a `live` playlist: a minute of 2 s ones.
const WINDOW: u64 = 30;
const FIRST: u64 = 100_000;
/// What viewers see of the stream: pathways, and rungs with their bandwidth.
const PATHWAYS: [&str; 3] = ["eu", "us", "apac"];
const RUNGS: [(&str, u64); 3] = [("360p", 800_000), ("540p", 1_600_000), ("720p", 3_000_000)];

struct Connection {
    socket: TcpStream,
    /// An answer the socket would not take in one piece, and how much of it is gone.
    pending: Option<(Arc<[u8]>, usize)>,
    /// Segment asked for last, video and audio.
    last: [u64; 2],
}

struct Server {
    address: SocketAddr,
    began: Instant,
    /// By request target.
    fixed: HashMap<Vec<u8>, Arc<[u8]>>,
    /// Live playlists by target, with the segment they end in.
    live: HashMap<Vec<u8>, (u64, Arc<[u8]>)>,
    bodies: HashMap<usize, Arc<[u8]>>,
    /// Time without anything to do.
    idle: Duration,
}

/// Serves until the process ends. Prints its address first.
pub(crate) fn main() {
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    println!("{address}");
    let mut server = Server {
        address,
        began: Instant::now(),
        fixed: HashMap::new(),
        live: HashMap::new(),
        bodies: HashMap::new(),
        idle: Duration::ZERO,
    };
    let mut poll = Poll::new().unwrap();
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .unwrap();
    let mut events = Events::with_capacity(1024);
    let mut connections: Vec<Option<Connection>> = vec![None];
    let mut free: Vec<usize> = Vec::new();
    let patience = std::env::args()
        .any(|argument| argument == "--spin")
        .then_some(Duration::ZERO);
    let mut idle_since: Option<Instant> = None;
    loop {
        match poll.poll(&mut events, patience) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.unwrap(),
        }
        if events.is_empty() {
            idle_since.get_or_insert_with(Instant::now);
        } else if let Some(since) = idle_since.take() {
            server.idle += since.elapsed();
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut socket, _)) = listener.accept() {
                    let _ = socket.set_nodelay(true);
                    let index = free.pop().unwrap_or_else(|| {
                        connections.push(None);
                        connections.len() - 1
                    });
                    poll.registry()
                        .register(&mut socket, Token(index), Interest::READABLE | Interest::WRITABLE)
                        .unwrap();
                    connections[index] = Some(Connection {
                        socket,
                        pending: None,
                        last: [FIRST; 2],
                    });
                }
                continue;
            }
            let index = event.token().0;
            let Some(connection) = &mut connections[index] else {
                continue;
            };
            if !serve(&mut server, connection) {
                connections[index] = None;
                free.push(index);
            }
        }
    }
}

/// Does what can be done on a connection now; `false` once it is over.
fn serve(server: &mut Server, connection: &mut Connection) -> bool {
    if let Some((answer, done)) = connection.pending.take()
        && !send(connection, &answer, done)
    {
        return false;
    }
    let mut buffer = [0; 4096];
    while connection.pending.is_none() {
        match connection.socket.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => {
                // Clients here send one small request at a time, which arrives in one piece.
                let answer = server.answer(&buffer[..count], &mut connection.last);
                if !send(connection, &answer, 0) {
                    return false;
                }
                // Less than the buffer: there was no more, and the next edge will tell.
                if count < buffer.len() {
                    return true;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
    true
}

fn send(connection: &mut Connection, answer: &Arc<[u8]>, mut done: usize) -> bool {
    while done < answer.len() {
        match connection.socket.write(&answer[done..]) {
            Ok(count) => done += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.pending = Some((Arc::clone(answer), done));
                return true;
            }
            Err(_) => return false,
        }
    }
    true
}

impl Server {
    fn answer(&mut self, request: &[u8], last: &mut [u64; 2]) -> Arc<[u8]> {
        let target = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        if let Some(answer) = self.fixed.get(target) {
            return Arc::clone(answer);
        }
        let text = String::from_utf8_lossy(target).into_owned();
        let path = text.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match parts[..] {
            ["bytes", size] => {
                let answer = self.body(size.parse().unwrap());
                self.fixed.insert(target.to_vec(), Arc::clone(&answer));
                answer
            }
            ["idle"] => wire(&self.idle.as_secs_f64().to_string()),
            ["play", scene, _] => wire(&self.multivariant(scene)),
            ["steer", _] => wire(r#"{"VERSION":1,"TTL":300,"PATHWAY-PRIORITY":["eu","us","apac"]}"#),
            ["live", scene, rung, file] => self.media(scene, rung, file, target, last),
            _ => Arc::from(&b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..]),
        }
    }

    fn body(&mut self, size: usize) -> Arc<[u8]> {
        let make = || wire(&"x".repeat(size));
        Arc::clone(self.bodies.entry(size).or_insert_with(make))
    }

    fn media(&mut self, scene: &str, rung: &str, file: &str, target: &[u8], last: &mut [u64; 2]) -> Arc<[u8]> {
        let fields: Vec<&str> = scene.split('-').collect();
        let audio = usize::from(rung == "audio");
        let bytes: usize = fields.last().and_then(|bytes| bytes.parse().ok()).unwrap();
        if let Some(number) = file.strip_prefix("seg_").and_then(|rest| rest.strip_suffix(".m4s")) {
            last[audio] = number.parse().unwrap();
            return self.body(bytes);
        }
        if file == "init.mp4" {
            return self.body(700);
        }
        if fields[0] == "flood" {
            return wire(&playlist(2.0, last[audio], AHEAD));
        }
        let segment = Duration::from_millis(fields[1].parse().unwrap());
        let edge = FIRST + (self.began.elapsed().as_nanos() / segment.as_nanos()) as u64;
        if let Some((_, answer)) = self.live.get(target).filter(|(end, _)| *end == edge) {
            return Arc::clone(answer);
        }
        let answer = wire(&playlist(segment.as_secs_f64(), edge, WINDOW));
        self.live.insert(target.to_vec(), (edge, Arc::clone(&answer)));
        answer
    }

    fn multivariant(&self, scene: &str) -> String {
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-CONTENT-STEERING:SERVER-URI=\"/steer/{scene}\",PATHWAY-ID=\"eu\"\n"
        );
        for pathway in PATHWAYS {
            // All on this host: what differs between pathways is not what is measured.
            let base = format!("http://{}/live/{scene}", self.address);
            let _ = writeln!(
                text,
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aud-{pathway}\",NAME=\"main\",DEFAULT=YES,AUTOSELECT=YES,URI=\"{base}/audio/index.m3u8\""
            );
            for (name, bandwidth) in RUNGS {
                let _ = writeln!(
                    text,
                    "#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},AVERAGE-BANDWIDTH={},CODECS=\"avc1.4d401f,mp4a.40.2\",AUDIO=\"aud-{pathway}\",PATHWAY-ID=\"{pathway}\"\n{base}/{name}/index.m3u8",
                    bandwidth * 9 / 10
                );
            }
        }
        text
    }
}

fn playlist(seconds: f64, first: u64, count: u64) -> String {
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-MAP:URI=\"init.mp4\"\n\
         #EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n",
        seconds.ceil()
    );
    for number in first..first + count {
        let _ = writeln!(text, "#EXTINF:{seconds:.3},\nseg_{number}.m4s");
    }
    text
}

/// With the headers that an edge adds.
fn wire(body: &str) -> Arc<[u8]> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: application/octet-stream\r\nCache-Control: max-age=60\r\n\
         X-Served-By: edge-0\r\nX-Cache: HIT\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Arc::from(format!("{head}{body}").into_bytes())
}
