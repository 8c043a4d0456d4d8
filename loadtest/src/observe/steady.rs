//! The steady state: what must hold before faults are injected, and again after they are undone.

use std::time::Duration;

use kube::Client;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Snapshot, Subject, snapshot};
use crate::http::{Access, Deadlines, Request, fetch};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Looks in a row that must agree.
const IN_A_ROW: u32 = 3;

/// What the platform's steady state was found to be.
#[derive(Clone, Debug)]
pub struct SteadyState {
    /// Whether it held before the deadline.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// The last look.
    pub snapshot: Snapshot,
}

/// Waits until the platform is `Ready`, every region serves, and the playback URL and every edge answer; or until the deadline.
pub async fn wait_steady(
    client: &Client,
    subject: &Subject,
    deadline: Duration,
    stop: &CancellationToken,
) -> SteadyState {
    let end = Instant::now() + deadline;
    let mut agreed = 0;
    let mut last = Snapshot::default();
    loop {
        let trouble = match snapshot(client, subject).await {
            Ok(seen) => {
                last = seen;
                let mut trouble = troubles(&last);
                if trouble.is_empty() {
                    trouble.extend(unreachable(&last).await);
                }
                trouble
            }
            Err(error) => vec![error.to_string()],
        };
        if trouble.is_empty() {
            agreed += 1;
            if agreed == IN_A_ROW {
                return SteadyState {
                    ok: true,
                    detail: summary(&last),
                    snapshot: last,
                };
            }
        } else {
            agreed = 0;
        }
        if Instant::now() >= end || stop.is_cancelled() {
            let waited = format!("not steady within {} s: ", deadline.as_secs());
            return SteadyState {
                ok: false,
                detail: waited + &trouble.join("; "),
                snapshot: last,
            };
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// What the platform's own status says is wrong.
fn troubles(seen: &Snapshot) -> Vec<String> {
    let Some(status) = seen.platform.as_ref().and_then(|p| p.status.as_ref()) else {
        return vec!["the platform has no status yet: does the operator run?".into()];
    };
    let mut trouble = Vec::new();
    match status.conditions.iter().find(|c| c.type_ == "Ready") {
        Some(ready) if ready.status == "True" => {}
        Some(ready) => trouble.push(format!("Ready is {}: {}", ready.status, ready.message)),
        None => trouble.push("the platform has no condition Ready yet".into()),
    }
    for region in &status.regions {
        for role in region.roles.iter().filter(|r| r.ready < r.desired) {
            trouble.push(format!(
                "{} {}: {} of {} ready",
                region.name, role.role, role.ready, role.desired
            ));
        }
    }
    if status.endpoints.channels.is_empty() {
        trouble.push("no channel has a playback URL yet".into());
    }
    trouble
}

/// What does not answer although the status says that it should.
async fn unreachable(seen: &Snapshot) -> Vec<String> {
    let Some(status) = seen.platform.as_ref().and_then(|p| p.status.as_ref()) else {
        return Vec::new();
    };
    let channels = status.endpoints.channels.iter().map(|c| c.url.clone());
    let edges = status
        .regions
        .iter()
        .filter_map(|r| Some(format!("{}/healthz", r.url.as_ref()?)));
    let mut trouble = Vec::new();
    for url in channels.chain(edges) {
        if let Err(error) = probe(&url).await {
            trouble.push(format!("{url}: {error}"));
        }
    }
    trouble
}

/// Asks once; anything but a success is trouble.
async fn probe(url: &str) -> Result<(), String> {
    let url = url.parse().map_err(|error| format!("{error}"))?;
    let mut request = Request {
        deadlines: Deadlines::all(Duration::from_secs(2)),
        ..Request::get(url, Instant::now())
    };
    match fetch(&mut None, &mut request, &Access::unlimited()).await {
        Ok(response) if (200..300).contains(&response.status) => Ok(()),
        Ok(response) => Err(format!("status {}", response.status)),
        Err(failure) => Err(failure.error.to_string()),
    }
}

fn summary(seen: &Snapshot) -> String {
    seen.edges
        .iter()
        .map(|e| format!("{} {}/{} edges", e.region, e.ready, e.desired))
        .collect::<Vec<_>>()
        .join(", ")
}
