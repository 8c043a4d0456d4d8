//! Settings of the API server.

use std::time::Duration;

/// Settings of an [`ApiServer`](crate::ApiServer).
#[derive(Clone, Debug)]
pub struct ApiServerConfig {
    /// How many events each resource keeps for watches to resume from. Older ones expire (410 Gone).
    pub history: usize,
    /// How many events may wait for a slow watcher before its watch is cut with 410 Gone.
    pub watch_queue: usize,
    /// How often a watch that asked for bookmarks gets one.
    pub bookmark_interval: Duration,
    /// Longest a watch lasts when the client names no timeout.
    pub watch_timeout: Duration,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// Deadline of a proxied request, to the answer's headers.
    pub proxy_timeout: Duration,
    /// How long a pod that says nothing of it stays on a node that is lost (`--default-unreachable-toleration-seconds`,
    /// upstream's default: 5 min). Whole seconds.
    pub lost_node_toleration: Duration,
    /// How long Events live.
    pub event_ttl: Duration,
    /// `gitVersion` of `/version`.
    pub git_version: String,
}

impl Default for ApiServerConfig {
    fn default() -> Self {
        Self {
            history: 8192,
            watch_queue: 4096,
            bookmark_interval: Duration::from_secs(30),
            watch_timeout: Duration::from_mins(30),
            max_body: 3 * 1024 * 1024,
            proxy_timeout: Duration::from_secs(10),
            lost_node_toleration: Duration::from_mins(5),
            event_ttl: Duration::from_hours(1),
            git_version: "v1.36.4".to_owned(),
        }
    }
}
