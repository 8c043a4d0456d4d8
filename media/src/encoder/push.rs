//! Pushing to one origin: in order, with bounded retry, filling it up when it has lost everything.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use showrunner_crds::config::PushConfig;
use tracing::{debug, info, warn};

use super::{
    history::History,
    metrics::{Metrics, PushLabels},
    queue::DropOldest,
    sink::Made,
};
use crate::{backoff::Backoff, client::Client, object::ObjectName};

const RETRY: Backoff = Backoff {
    base: Duration::from_millis(100),
    cap: Duration::from_secs(1),
};

/// What an origin said to one attempt.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Stored.
    Stored,
    /// It had it already.
    Known,
    /// It lacks the initialisation segment: it is new or was restarted.
    NeedsInit,
    /// It will never take this.
    Refused(StatusCode),
    /// Worth another attempt.
    Failed(String),
}

/// Pushes to one origin.
#[derive(Debug)]
pub struct Pusher {
    channel: String,
    source: String,
    origin: String,
    config: PushConfig,
    client: Client,
    history: Arc<Mutex<History>>,
    metrics: Arc<Metrics>,
    queue: DropOldest<Made>,
}

impl Pusher {
    /// A pusher with an empty queue; `origin` is a base URL.
    pub fn new(
        channel: &str,
        source: &str,
        origin: &str,
        config: &PushConfig,
        history: Arc<Mutex<History>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            channel: channel.to_owned(),
            source: source.to_owned(),
            origin: origin.trim_end_matches('/').to_owned(),
            config: config.clone(),
            client: Client::new(),
            history,
            metrics,
            queue: DropOldest::new(config.queue),
        }
    }

    /// Queues an object.
    pub fn offer(&self, made: Made) {
        if self.queue.push(made) {
            self.count("dropped");
        }
    }

    /// Whether everything queued has been taken up.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Pushes for as long as it is polled.
    pub async fn run(&self) {
        loop {
            let made = self.queue.pop().await;
            self.deliver(&made).await;
        }
    }

    async fn deliver(&self, made: &Made) {
        for attempt in 0..self.config.attempts.max(1) {
            if attempt > 0 {
                tokio::time::sleep(RETRY.jittered(attempt - 1)).await;
            }
            match self.attempt(&made.rendition, made.name, made.body.clone()).await {
                // An origin that had no initialisation segment has none of the past either.
                Outcome::Stored if made.name == ObjectName::Init => return self.refill(&made.rendition).await,
                Outcome::Stored | Outcome::Known => return self.count("taken"),
                Outcome::Refused(status) => {
                    warn!(origin = self.origin, rendition = made.rendition, object = %made.name, %status, "refused");
                    return self.count("refused");
                }
                Outcome::NeedsInit => return self.refill(&made.rendition).await,
                Outcome::Failed(error) => {
                    debug!(origin = self.origin, rendition = made.rendition, object = %made.name, attempt, error, "push failed");
                    self.count("failed");
                }
            }
        }
        warn!(origin = self.origin, rendition = made.rendition, object = %made.name, "given up");
        self.count("given_up");
    }

    /// Sends the initialisation segment again and the recent past, so that a restarted origin lists what its neighbours list. One
    /// attempt each: whatever interrupts it, the next segment starts it again if it is still needed.
    async fn refill(&self, rendition: &str) {
        let past = self
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .of(rendition);
        info!(
            origin = self.origin,
            rendition,
            objects = past.len(),
            "origin lacks the past, sending it"
        );
        for (name, body) in past {
            match self.attempt(rendition, name, body).await {
                Outcome::Stored | Outcome::Known => self.count("refilled"),
                // The oldest may have left the origin's window.
                Outcome::Refused(_) => {}
                Outcome::NeedsInit | Outcome::Failed(_) => return self.count("failed"),
            }
        }
    }

    async fn attempt(&self, rendition: &str, name: ObjectName, body: Bytes) -> Outcome {
        let url = format!("{}/ingest/{}/{rendition}/{name}", self.origin, self.channel);
        let headers = [
            ("x-showrunner-source", self.source.as_str()),
            ("content-type", name.content_type()),
        ];
        let deadline = Duration::from_millis(u64::from(self.config.timeout_ms));
        match self.client.send(Method::PUT, &url, &headers, body, deadline).await {
            Ok((status, _)) => judge(status),
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    fn count(&self, outcome: &'static str) {
        self.metrics
            .pushes
            .get_or_create(&PushLabels {
                origin: self.origin.clone(),
                outcome,
            })
            .inc();
    }
}

fn judge(status: StatusCode) -> Outcome {
    match status {
        StatusCode::PRECONDITION_FAILED => Outcome::NeedsInit,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Outcome::Failed(status.to_string()),
        StatusCode::CREATED => Outcome::Stored,
        status if status.is_success() => Outcome::Known,
        status if status.is_client_error() => Outcome::Refused(status),
        status => Outcome::Failed(status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert_eq!(judge(StatusCode::CREATED), Outcome::Stored);
        assert_eq!(judge(StatusCode::OK), Outcome::Known);
        assert_eq!(judge(StatusCode::PRECONDITION_FAILED), Outcome::NeedsInit);
        assert_eq!(
            judge(StatusCode::UNPROCESSABLE_ENTITY),
            Outcome::Refused(StatusCode::UNPROCESSABLE_ENTITY)
        );
        assert!(matches!(judge(StatusCode::SERVICE_UNAVAILABLE), Outcome::Failed(_)));
        assert!(matches!(judge(StatusCode::REQUEST_TIMEOUT), Outcome::Failed(_)));
    }
}
