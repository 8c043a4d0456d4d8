//! One request, from the instant it is due to the last byte of its response.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use url::Url;

use super::head::{CacheStatus, Head, HeadError};
use super::incoming::Incoming;
use super::stream::Stream;
use super::{Access, BodyError, Deadlines, Progress, Transferred};

/// Most redirects followed.
const MAX_REDIRECTS: u8 = 5;

/// Request methods a viewer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Call a service, with a JSON body.
    Post,
}

/// What to ask for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Absolute `http` URL.
    pub url: Arc<Url>,
    /// JSON body of a `Post`.
    pub body: Vec<u8>,
    /// Bearer token, where needed.
    pub bearer: Option<String>,
    /// Keep the body up to this many bytes; 0 drains it unread.
    pub capture: usize,
    /// When it was meant to be sent. Latency counts from here.
    pub due: Instant,
    /// Limits.
    pub deadlines: Deadlines,
    /// Kept up to date with what has come, for somebody who looks on.
    pub progress: Option<Arc<Progress>>,
}

impl Request {
    /// A `GET` whose body is drained.
    #[must_use]
    pub fn get(url: Url, due: Instant) -> Self {
        Self::get_shared(Arc::new(url), due)
    }

    /// The same, of a URL that is asked for again and again.
    #[must_use]
    pub fn get_shared(url: Arc<Url>, due: Instant) -> Self {
        Self {
            method: Method::Get,
            url,
            body: Vec::new(),
            bearer: None,
            capture: 0,
            due,
            deadlines: Deadlines::default(),
            progress: None,
        }
    }
}

/// A response read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// From due to the first byte.
    pub first_byte: Duration,
    /// From due to the last byte.
    pub total: Duration,
    /// From the actual start of the request to its first byte: what the network took, without the generator's lateness.
    pub network_first_byte: Duration,
    /// From the actual start to the last byte.
    pub network_total: Duration,
    /// Body bytes, decoded.
    pub bytes: u64,
    /// The body, where captured.
    pub body: Option<Vec<u8>>,
    /// What the edge cache said.
    pub cache: Option<CacheStatus>,
    /// Whether an open connection was used.
    pub reused: bool,
    /// The URL that answered, after redirects.
    pub url: Arc<Url>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Neither `http` nor something we can speak.
    #[error("scheme `{0}` is not supported, only http is")]
    UnsupportedScheme(String),
    /// The host is not among those that load may go to.
    #[error("load may not go to `{0}`")]
    HostNotAllowed(String),
    /// The URL has no host, or the name is unknown.
    #[error("cannot resolve the host: {0}")]
    Resolve(io::Error),
    /// Connection refused, unreachable, reset.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// No connection within the deadline.
    #[error("connect timed out")]
    ConnectTimeout,
    /// No answer within the deadline.
    #[error("no first byte within the deadline")]
    FirstByteTimeout,
    /// Silence inside the body.
    #[error("body stalled")]
    Stalled,
    /// Took longer than the whole request may.
    #[error("request timed out")]
    TotalTimeout,
    /// The connection ended before an answer.
    #[error("connection closed: {0}")]
    Closed(io::Error),
    /// The answer is not HTTP.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The body is broken or short.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body is longer than the caller can take.
    #[error("body larger than {0} bytes")]
    TooLarge(usize),
    /// Redirected more than five times, or to nowhere.
    #[error("too many or invalid redirects")]
    Redirects,
}

impl HttpError {
    /// Whether the failure was silence rather than an answer.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::ConnectTimeout | Self::FirstByteTimeout | Self::Stalled | Self::TotalTimeout
        )
    }
}

/// A failed request.
#[derive(Debug)]
pub struct FetchFailure {
    /// Why.
    pub error: HttpError,
    /// From due to the failure.
    pub elapsed: Duration,
    /// Body bytes that had come.
    pub bytes: u64,
    /// From the actual start of the last request to its first byte, if one came.
    pub network_first_byte: Option<Duration>,
    /// From the actual start of the last request to the failure.
    pub network_total: Duration,
}

/// What is known of a request whether or not it ends well.
struct Course {
    /// When the last request was sent: redirects make another.
    started: Instant,
    first_byte: Option<Instant>,
    /// Body bytes of all.
    bytes: u64,
}

impl Course {
    fn failed(&self, error: HttpError, due: Instant) -> FetchFailure {
        let now = Instant::now();
        FetchFailure {
            error,
            elapsed: now.saturating_duration_since(due),
            bytes: self.bytes,
            network_first_byte: self.first_byte.map(|at| at.saturating_duration_since(self.started)),
            network_total: now.saturating_duration_since(self.started),
        }
    }
}

/// An open keep-alive connection to one host.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    authority: Authority,
}

/// Host and port of an `http` URL, as the `Host` header has them.
#[derive(Debug)]
struct Authority {
    text: Box<str>,
    port: u16,
}

impl Authority {
    fn of(url: &Url) -> Result<Self, HttpError> {
        if url.scheme() != "http" {
            return Err(HttpError::UnsupportedScheme(url.scheme().to_owned()));
        }
        let host = url
            .host_str()
            .ok_or_else(|| HttpError::Resolve(io::ErrorKind::InvalidInput.into()))?;
        let port = url.port_or_known_default().unwrap_or(80);
        Ok(Self {
            text: format!("{host}:{port}").into(),
            port,
        })
    }

    fn serves(&self, url: &Url) -> bool {
        let rest = url.host_str().and_then(|host| self.text.strip_prefix(host));
        // What follows the host is the port, or else this is the beginning of a longer name.
        url.scheme() == "http"
            && url.port_or_known_default() == Some(self.port)
            && rest.is_some_and(|rest| rest.starts_with(':'))
    }
}

/// Sends `request` on the connection in `slot`, or a new one, and reads the response to its end. A connection that may be
/// used again is left in `slot`. Dropping the future closes the connection.
///
/// The request is the caller's, and stays where it is: a future that took it in would hold it twice, for every request that is
/// on its way. Redirects are followed in place.
pub async fn fetch(
    slot: &mut Option<Connection>,
    request: &mut Request,
    access: &Access,
) -> Result<Response, FetchFailure> {
    let due = request.due;
    let mut course = Course {
        started: due,
        first_byte: None,
        bytes: 0,
    };
    for _ in 0..=MAX_REDIRECTS {
        let answer = exchange(slot, request, access, &mut course).await;
        let (head, response) = answer.map_err(|error| course.failed(error, due))?;
        let (301 | 302 | 303 | 307 | 308, Some(location)) = (head.status, head.location) else {
            return Ok(response);
        };
        match request.url.join(&location) {
            Ok(url) => request.url = Arc::new(url),
            Err(_) => break,
        }
        if !matches!(head.status, 307 | 308) {
            request.method = Method::Get;
            request.body.clear();
        }
    }
    Err(course.failed(HttpError::Redirects, due))
}

/// One request without redirects; a reused connection that died silently is replaced once.
async fn exchange(
    slot: &mut Option<Connection>,
    request: &Request,
    access: &Access,
    course: &mut Course,
) -> Result<(Head, Response), HttpError> {
    (course.started, course.first_byte) = (Instant::now(), None);
    let mut connection = slot
        .take()
        .filter(|connection| connection.authority.serves(&request.url));
    let limit = request.deadlines.connect.min(request.deadlines.first_byte);
    loop {
        let reused = connection.is_some();
        let mut open = match connection.take() {
            Some(open) => open,
            // Boxed, as it is rare: its room would be in every request that is on its way.
            None => Box::pin(connect(&request.url, access, course.started + limit)).await?,
        };
        let transfer = Transfer {
            request,
            access,
            reused,
        };
        match transfer.run(&mut open, course).await {
            Ok((head, response)) => {
                if head.keep_alive {
                    *slot = Some(open);
                }
                return Ok((head, response));
            }
            // The server closed an idle connection just as we used it: not its fault, and nothing was answered.
            Err(HttpError::Closed(_)) if reused && course.first_byte.is_none() => {}
            Err(error) => return Err(error),
        }
    }
}

async fn connect(url: &Url, access: &Access, deadline: Instant) -> Result<Connection, HttpError> {
    let authority = Authority::of(url)?;
    if !access.allows(url) {
        return Err(HttpError::HostNotAllowed(url.host_str().unwrap_or_default().to_owned()));
    }
    let connecting = async {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let addresses = tokio::net::lookup_host(&*authority.text)
            .await
            .map_err(HttpError::Resolve)?;
        for address in addresses {
            match Stream::connect(address, access.receive_buffer()).await {
                Ok(stream) => {
                    if !access.rtt().is_zero() {
                        tokio::time::sleep(access.rtt()).await;
                    }
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(HttpError::Connect(last))
    };
    let stream = timeout_at(deadline, connecting)
        .await
        .map_err(|_| HttpError::ConnectTimeout)??;
    Ok(Connection { stream, authority })
}

/// One exchange on one connection.
struct Transfer<'a> {
    request: &'a Request,
    access: &'a Access,
    reused: bool,
}

impl Transfer<'_> {
    async fn run(&self, open: &mut Connection, course: &mut Course) -> Result<(Head, Response), HttpError> {
        let limits = self.request.deadlines;
        let total = course.started + limits.total;
        let mut deadline = (course.started + limits.first_byte).min(total);
        if !self.access.rtt().is_zero() {
            tokio::time::sleep(self.access.rtt()).await;
        }
        let rest = open
            .stream
            .send_now(|out| encode(out, self.request, &open.authority))
            .map_err(HttpError::Closed)?;
        if let Some(rest) = rest {
            Box::pin(timeout_at(deadline, open.stream.write_all(&rest)))
                .await
                .map_err(|_| HttpError::FirstByteTimeout)?
                .map_err(HttpError::Closed)?;
        }

        let mut incoming = Incoming::new(self.request.capture);
        let mut alarm = pin!(sleep_until(deadline));
        let now = loop {
            let read = match self.allowance(deadline).await {
                Some(allowance) => {
                    let consume = |data: &[u8]| incoming.feed(data);
                    open.stream.read_by(allowance, deadline, alarm.as_mut(), consume).await
                }
                None => Ok(None),
            };
            let count = match read {
                Ok(Some(count)) => count,
                Err(error) if !incoming.has_head() => return Err(HttpError::Closed(error)),
                Err(_) => 0,
                Ok(None) => {
                    course.bytes += incoming.bytes();
                    return Err(timed_out(course.first_byte.is_some(), deadline >= total));
                }
            };
            self.access.take(count);
            let now = Instant::now();
            if count > 0 && course.first_byte.is_none() {
                course.first_byte = Some(now);
            }
            let outcome = if count == 0 { incoming.close() } else { incoming.check() };
            if let Err(error) = outcome {
                course.bytes += incoming.bytes();
                return Err(error);
            }
            if incoming.is_done() {
                break now;
            }
            if let Some(progress) = &self.request.progress {
                progress.note(Transferred {
                    bytes: course.bytes + incoming.bytes(),
                    length: incoming.length(),
                    first_byte: course.first_byte.map(|at| at.saturating_duration_since(course.started)),
                });
            }
            if course.first_byte.is_some() {
                deadline = (now + limits.stall).min(total);
            }
        };
        course.bytes += incoming.bytes();
        let first_byte = course.first_byte.unwrap_or(now);
        let (mut head, body, extra) = incoming.finish()?;
        head.keep_alive &= !extra;
        let response = Response {
            status: head.status,
            first_byte: first_byte.saturating_duration_since(self.request.due),
            total: now.saturating_duration_since(self.request.due),
            network_first_byte: first_byte.saturating_duration_since(course.started),
            network_total: now.saturating_duration_since(course.started),
            bytes: course.bytes,
            body,
            cache: head.cache,
            reused: self.reused,
            url: Arc::clone(&self.request.url),
        };
        Ok((head, response))
    }

    /// How much may be read, once anything may; `None` if that is not by `deadline`.
    async fn allowance(&self, deadline: Instant) -> Option<usize> {
        if !self.access.is_shaped() {
            return Some(usize::MAX);
        }
        timeout_at(deadline, self.access.allowance()).await.ok()
    }
}

fn timed_out(answered: bool, total: bool) -> HttpError {
    match (answered, total) {
        (_, true) => HttpError::TotalTimeout,
        (true, false) => HttpError::Stalled,
        (false, false) => HttpError::FirstByteTimeout,
    }
}

fn encode(out: &mut Vec<u8>, request: &Request, authority: &Authority) {
    use std::io::Write as _;
    let method: &str = match request.method {
        Method::Get => "GET ",
        Method::Post => "POST ",
    };
    let path = &request.url[url::Position::BeforePath..url::Position::AfterQuery];
    let line_end = "\r\nUser-Agent: showrunner-viewer\r\nAccept: */*\r\n";
    for part in [method, path, " HTTP/1.1\r\nHost: ", &authority.text, line_end] {
        out.extend_from_slice(part.as_bytes());
    }
    // Writing to a `Vec` cannot fail.
    if let Some(token) = &request.bearer {
        let _ = write!(out, "Authorization: Bearer {token}\r\n");
    }
    if request.method == Method::Post {
        let _ = write!(
            out,
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            request.body.len()
        );
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&request.body);
}
