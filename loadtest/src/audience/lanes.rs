//! A viewer's connections: one request at a time on each, and as many to a host as a browser opens.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::http::{self, Access, Connection, FetchFailure, Method, Progress, Request, Response, Transferred};
use crate::player::{Fetch, FetchId};

/// Connections beyond which the one that was idle longest is closed: steering, services and an edge fit; a pathway left behind
/// goes.
const MAX_LANES: usize = 6;

type Answer = Result<Response, FetchFailure>;
type InFlight = Pin<Box<dyn Future<Output = (Option<Connection>, Answer)> + Send>>;

/// All connections of one viewer.
pub(super) struct Lanes {
    access: Arc<Access>,
    start: Instant,
    per_host: usize,
    open: Vec<Lane>,
}

struct Lane {
    host: Box<str>,
    port: u16,
    connection: Option<Connection>,
    /// How far the busy one is, where somebody may ask.
    progress: Option<Arc<Progress>>,
    /// Boxed, as most connections are idle most of the time.
    busy: Option<(Box<Fetch>, InFlight)>,
    queue: VecDeque<Fetch>,
    used: Instant,
}

impl Lanes {
    /// No connection yet; `start` is the origin of the player's time. `per_host` connections at most go to one host.
    pub(super) fn new(access: Arc<Access>, start: Instant, per_host: usize) -> Self {
        Self {
            access,
            start,
            per_host: per_host.max(1),
            open: Vec::new(),
        }
    }

    /// Sends a request on a connection that is free, on a new one, or behind others if there are enough.
    pub(super) fn send(&mut self, fetch: Fetch) {
        let index = self.lane(&fetch.url);
        self.open[index].queue.push_back(fetch);
        self.pump(index);
    }

    /// Drops a request. If it was on its way its connection closes; returns it then, with the bytes that are known to have come.
    pub(super) fn cancel(&mut self, id: FetchId) -> Option<(Fetch, u64)> {
        let bytes = self.progress(id).map_or(0, |seen| seen.bytes);
        for index in 0..self.open.len() {
            let lane = &mut self.open[index];
            lane.queue.retain(|fetch| fetch.id != id);
            if lane.busy.as_ref().is_some_and(|(fetch, _)| fetch.id == id) {
                let dropped = lane.busy.take().map(|(fetch, _)| *fetch);
                self.pump(index);
                return dropped.map(|fetch| (fetch, bytes));
            }
        }
        None
    }

    /// How far a request is; nothing if it is not on its way, or cannot be asked about.
    pub(super) fn progress(&self, id: FetchId) -> Option<Transferred> {
        let lane = self
            .open
            .iter()
            .find(|lane| lane.busy.as_ref().is_some_and(|(fetch, _)| fetch.id == id))?;
        lane.progress.as_ref().map(|progress| progress.look())
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.open.iter().all(|lane| lane.busy.is_none())
    }

    /// Forgets what has not been sent.
    pub(super) fn clear_queues(&mut self) {
        for lane in &mut self.open {
            lane.queue.clear();
        }
    }

    /// Waits for any answer. Pending for ever if nothing is on its way.
    pub(super) async fn next(&mut self) -> (Fetch, Answer) {
        let (index, fetch, connection, answer) = std::future::poll_fn(|context| {
            for (index, lane) in self.open.iter_mut().enumerate() {
                let Some((_, future)) = &mut lane.busy else { continue };
                if let Poll::Ready((connection, answer)) = future.as_mut().poll(context)
                    && let Some((fetch, _)) = lane.busy.take()
                {
                    return Poll::Ready((index, fetch, connection, answer));
                }
            }
            Poll::Pending
        })
        .await;
        let lane = &mut self.open[index];
        lane.connection = connection;
        lane.used = Instant::now();
        self.pump(index);
        (*fetch, answer)
    }

    fn lane(&mut self, url: &Url) -> usize {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(0);
        let same = |lane: &Lane| *lane.host == *host && lane.port == port;
        let there = || self.open.iter().enumerate().filter(|(_, lane)| same(lane));
        // A free one has the shortest queue. Of several the first, so that the last ones fall idle and close.
        let shortest = there().min_by_key(|(_, lane)| (lane.busy.is_some(), lane.queue.len()));
        if let Some((index, lane)) = shortest
            && (lane.busy.is_none() || there().count() >= self.per_host)
        {
            return index;
        }
        if self.open.len() >= MAX_LANES {
            let idle = |lane: &&(usize, &Lane)| lane.1.busy.is_none() && lane.1.queue.is_empty();
            let oldest = self.open.iter().enumerate().collect::<Vec<_>>();
            let oldest = oldest
                .iter()
                .filter(idle)
                .min_by_key(|(_, lane)| lane.used)
                .map(|(index, _)| *index);
            if let Some(oldest) = oldest {
                self.open.swap_remove(oldest);
            }
        }
        // Two or three it will be: room for more would be a good part of what an idle viewer holds.
        self.open.reserve_exact(1);
        self.open.push(Lane {
            host: host.into(),
            port,
            connection: None,
            progress: None,
            busy: None,
            queue: VecDeque::new(),
            used: Instant::now(),
        });
        self.open.len() - 1
    }

    /// Starts the next request of a lane that is free.
    fn pump(&mut self, index: usize) {
        let lane = &mut self.open[index];
        if lane.busy.is_some() {
            return;
        }
        let Some(fetch) = lane.queue.pop_front() else { return };
        if lane.queue.is_empty() {
            // A place to queue is needed seldom.
            lane.queue = VecDeque::new();
        }
        // Waiting behind this viewer's own request is not the server's doing: due once the connection is free.
        let due = (self.start + fetch.due).max(lane.used.min(Instant::now()));
        let mut request = Request {
            method: if fetch.post.is_some() {
                Method::Post
            } else {
                Method::Get
            },
            url: Arc::clone(&fetch.url),
            body: fetch.post.clone().unwrap_or_default(),
            bearer: fetch.bearer.as_deref().map(str::to_owned),
            capture: fetch.capture,
            due,
            deadlines: fetch.deadlines,
            progress: fetch.watched.then(Arc::default),
        };
        lane.progress.clone_from(&request.progress);
        let (mut slot, access) = (lane.connection.take(), Arc::clone(&self.access));
        let future = Box::pin(async move {
            let answer = http::fetch(&mut slot, &mut request, &access).await;
            (slot, answer)
        });
        lane.busy = Some((Box::new(fetch), future));
    }
}

/// How long a leaving viewer waits for what is on its way, so that requests and bytes add up on both sides.
pub(super) const LEAVE_GRACE: Duration = Duration::from_secs(2);
