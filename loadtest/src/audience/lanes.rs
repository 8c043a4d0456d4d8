//! A viewer's connections: one per host, one request at a time on each.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::http::{self, Access, Connection, FetchFailure, Method, Request, Response};
use crate::player::{Fetch, FetchId};

/// Idle connections kept besides the busy ones. Steering, services and an edge fit; a pathway left behind goes.
const MAX_LANES: usize = 4;

type Answer = Result<Response, FetchFailure>;
type InFlight = Pin<Box<dyn Future<Output = (Option<Connection>, Answer)> + Send>>;

/// All connections of one viewer.
pub(super) struct Lanes {
    access: Arc<Access>,
    start: Instant,
    open: Vec<Lane>,
}

struct Lane {
    host: Box<str>,
    port: u16,
    connection: Option<Connection>,
    busy: Option<(Fetch, InFlight)>,
    queue: VecDeque<Fetch>,
    used: Instant,
}

impl Lanes {
    /// No connection yet; `start` is the origin of the player's time.
    pub(super) fn new(access: Arc<Access>, start: Instant) -> Self {
        Self {
            access,
            start,
            open: Vec::new(),
        }
    }

    /// Sends a request, or queues it behind the one on the same connection.
    pub(super) fn send(&mut self, fetch: Fetch) {
        let index = self.lane(&fetch.url);
        self.open[index].queue.push_back(fetch);
        self.pump(index);
    }

    /// Drops a request. If it was on its way its connection closes; returns it then.
    pub(super) fn cancel(&mut self, id: FetchId) -> Option<Fetch> {
        for index in 0..self.open.len() {
            let lane = &mut self.open[index];
            lane.queue.retain(|fetch| fetch.id != id);
            if lane.busy.as_ref().is_some_and(|(fetch, _)| fetch.id == id) {
                let dropped = lane.busy.take().map(|(fetch, _)| fetch);
                self.pump(index);
                return dropped;
            }
        }
        None
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
        (fetch, answer)
    }

    fn lane(&mut self, url: &Url) -> usize {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(0);
        if let Some(index) = self
            .open
            .iter()
            .position(|lane| *lane.host == *host && lane.port == port)
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
        self.open.push(Lane {
            host: host.into(),
            port,
            connection: None,
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
        // Waiting behind this viewer's own request is not the server's doing: due once the connection is free.
        let due = (self.start + fetch.due).max(lane.used.min(Instant::now()));
        let request = Request {
            method: if fetch.post.is_some() {
                Method::Post
            } else {
                Method::Get
            },
            url: fetch.url.clone(),
            body: fetch.post.clone().unwrap_or_default(),
            bearer: fetch.bearer.as_deref().map(str::to_owned),
            capture: fetch.capture,
            due,
            deadlines: fetch.deadlines,
        };
        let (mut slot, access) = (lane.connection.take(), Arc::clone(&self.access));
        let future = Box::pin(async move {
            let answer = http::fetch(&mut slot, request, &access).await;
            (slot, answer)
        });
        lane.busy = Some((fetch, future));
    }
}

/// How long a leaving viewer waits for what is on its way, so that requests and bytes add up on both sides.
pub(super) const LEAVE_GRACE: Duration = Duration::from_secs(2);
