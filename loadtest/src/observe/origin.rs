//! Asking origins how often each shield fetched what.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use showrunner_crds::{labels, names, platform::Role, wire::OriginStats};
use tokio::time::timeout;
use tracing::debug;

use super::Subject;
use crate::evidence::OriginSeen;

/// How long one origin may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// Origins asked at a time.
const AT_ONCE: usize = 4;

/// Where each origin's report left off, by pod: instance and cursor.
#[derive(Debug, Default)]
pub(super) struct Cursors(BTreeMap<String, (String, u64)>);

impl Cursors {
    /// What to ask an origin with. An instance that is not known yet is asked for everything.
    fn since(&self, pod: &str) -> u64 {
        self.0.get(pod).map_or(0, |(_, cursor)| *cursor)
    }

    /// Takes a report in. Where another instance answered than the one the cursor was from, the report left something out, and
    /// the next time it is asked for everything.
    fn advance(&mut self, pod: &str, stats: &OriginStats) {
        let known = self.0.get(pod);
        let whole = known.is_none_or(|(instance, cursor)| *instance == stats.instance || *cursor == 0);
        let cursor = if whole { stats.cursor } else { 0 };
        self.0.insert(pod.to_owned(), (stats.instance.clone(), cursor));
    }
}

/// Asks every origin pod through the API server for what is new since the last time, and records each answer as it comes. An
/// origin that does not answer is left out: its next report has it all.
pub(super) async fn ask_all(client: &Client, subject: &Subject, cursors: &mut Cursors, record: impl Fn(OriginSeen)) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &subject.namespace);
    let selector = format!(
        "{}={},{}={}",
        labels::PLATFORM,
        subject.platform,
        labels::ROLE,
        Role::Origin
    );
    let listed = match timeout(DEADLINE, pods.list(&ListParams::default().labels(&selector))).await {
        Ok(Ok(listed)) => listed,
        Ok(Err(error)) => {
            debug!(%error, "origins cannot be listed");
            return;
        }
        Err(_) => return,
    };
    let asks = listed.items.iter().map(ResourceExt::name_any);
    let asks: Vec<_> = asks.map(|pod| (cursors.since(&pod), pod)).collect();
    let mut answers = stream::iter(asks)
        .map(|(since, pod)| ask(client, subject, pod, since))
        .buffer_unordered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        let Some(seen) = answer else { continue };
        cursors.advance(&seen.pod, &seen.stats);
        record(seen);
    }
}

async fn ask(client: &Client, subject: &Subject, pod: String, since: u64) -> Option<OriginSeen> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{pod}:{}/proxy/stats?since={since}",
        subject.namespace,
        names::HTTP_PORT
    );
    let request = http::Request::get(path).body(Vec::new()).ok()?;
    match timeout(DEADLINE, client.request(request)).await {
        Ok(Ok(stats)) => Some(OriginSeen { pod, stats }),
        Ok(Err(error)) => {
            debug!(%error, pod, "origin gave no statistics");
            None
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(instance: &str, cursor: u64) -> OriginStats {
        OriginStats {
            instance: instance.into(),
            cursor,
            ..OriginStats::default()
        }
    }

    #[test]
    fn an_origin_is_asked_for_what_is_new_and_a_new_instance_for_everything() {
        let mut cursors = Cursors::default();
        assert_eq!(cursors.since("o"), 0);
        cursors.advance("o", &stats("a", 7));
        assert_eq!(cursors.since("o"), 7);
        cursors.advance("o", &stats("b", 9));
        assert_eq!(
            cursors.since("o"),
            0,
            "it was asked with a cursor of the instance before"
        );
        cursors.advance("o", &stats("b", 9));
        assert_eq!(cursors.since("o"), 9);
        assert_eq!(cursors.since("p"), 0);
    }
}
