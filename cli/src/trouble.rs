//! What keeps a platform from ever coming up: programs that are missing, crash again and again, cannot be started, or run
//! without ever being ready.
//!
//! It is looked for until the platform is `Ready` for the first time. After that, pods that fail are what a drill is about.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams},
};
use showrunner_crds::{
    labels,
    names::{ADMIN_PORT, HTTP_PORT},
    platform::{Role, StreamingPlatform},
};
use tokio::time::sleep;

use crate::failure::Failure;

/// How often the pods are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a container may wait for the same thing. The nodes try again every ten seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a container may run without being ready, before the platform has ever been: an encoder's first segments and an
/// origin's first playlist take some ten seconds, on a busy machine three times as long.
const UNREADY: Duration = Duration::from_secs(60);
/// Crashes of one container, none of which it survived long enough to be taken for running.
const CRASHES: i32 = 3;
/// Lines of a log that are shown.
const LINES: i64 = 20;

/// A container that does not start, or does not get ready, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Stuck {
    /// What its pod does for the platform.
    role: Option<Role>,
    pod: String,
    container: String,
    why: String,
    /// How long it may be so.
    patience: Duration,
    /// Whether it ran, and has a log.
    ran: bool,
}

impl Stuck {
    /// Whether it runs, and is only not ready.
    fn unready(&self) -> bool {
        self.patience == UNREADY
    }
}

/// Looks until the platform is ready for the first time; what is found before that goes into `found`.
pub(crate) async fn watch(client: Client, namespace: String, platform: String, found: Arc<OnceLock<String>>) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let platforms: Api<StreamingPlatform> = Api::namespaced(client, &namespace);
    let of_platform = ListParams::default().labels(&format!("{}={platform}", labels::PLATFORM));
    let mut since: HashMap<Stuck, Instant> = HashMap::new();
    loop {
        sleep(LOOK).await;
        if platforms.get(&platform).await.is_ok_and(|platform| ready(&platform)) {
            return;
        }
        // An API that does not answer is somebody else's to tell.
        let Ok(list) = pods.list(&of_platform).await else {
            continue;
        };
        let stuck: Vec<Stuck> = list.iter().flat_map(stuck).collect();
        since.retain(|known, _| stuck.contains(known));
        let lasting = stuck.into_iter().map(|one| {
            let first = *since.entry(one.clone()).or_insert_with(Instant::now);
            (one, first.elapsed())
        });
        if let Some(one) = cause(&lasting.collect::<Vec<_>>()) {
            let log = if one.ran {
                last_words(&pods, one).await
            } else {
                String::new()
            };
            let told = format!("{namespace}/{}, container {}: {}{log}", one.pod, one.container, one.why);
            let _ = found.set(told);
            return;
        }
    }
}

/// The trouble to tell, of all there is and how long each has lasted: one whose patience is over.
///
/// What runs without being ready may lack what comes from further up only (a cache has nothing to serve while no encoder
/// sends), so it is not told while something further up is stuck too, whose patience may end later.
fn cause(stuck: &[(Stuck, Duration)]) -> Option<&Stuck> {
    let follows = |one: &Stuck| {
        let further_up = |other: &Stuck| other.role.zip(one.role).is_some_and(|(other, role)| other < role);
        one.unready() && stuck.iter().any(|(other, _)| further_up(other))
    };
    let over = stuck.iter().filter(|(one, lasted)| *lasted >= one.patience);
    over.map(|(one, _)| one).find(|one| !follows(one))
}

fn ready(platform: &StreamingPlatform) -> bool {
    let conditions = platform.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The containers of a pod that crash, wait for something that is named, or are not ready.
fn stuck(pod: &Pod) -> Vec<Stuck> {
    let status = pod.status.as_ref();
    let containers = status
        .and_then(|status| status.init_container_statuses.as_ref())
        .into_iter()
        .chain(status.and_then(|status| status.container_statuses.as_ref()))
        .flatten();
    let label = pod.labels().get(labels::ROLE);
    let role = label.and_then(|label| Role::ALL.into_iter().find(|role| role.as_str() == label));
    let stuck = containers.filter_map(|container| {
        let (why, patience, ran) = trouble(container)?;
        Some(Stuck {
            role,
            pod: pod.name_any(),
            container: container.name.clone(),
            why,
            patience,
            ran,
        })
    });
    stuck.collect()
}

/// What is the matter with a container, how long that may last, and whether it has run.
fn trouble(container: &ContainerStatus) -> Option<(String, Duration, bool)> {
    let state = container.state.as_ref()?;
    if state.running.is_some() {
        return (!container.ready).then(|| {
            let seconds = UNREADY.as_secs();
            (format!("it runs, but was not ready within {seconds} s"), UNREADY, true)
        });
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    if reason != "CrashLoopBackOff" {
        // A reason alone (ContainerCreating, PodInitializing) is a step on the way.
        let message = waiting.message.as_deref().filter(|message| !message.is_empty())?;
        return Some((format!("{reason}: {message}"), PATIENCE, false));
    }
    // It starts after each of its restarts and the first time.
    let crashes = container.restart_count + 1;
    if crashes < CRASHES {
        return None;
    }
    let last = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let how = last.map_or_else(String::new, end);
    Some((format!("it crashed {crashes} times; {how}"), Duration::ZERO, true))
}

/// How a container ended.
fn end(last: &ContainerStateTerminated) -> String {
    let how = match last.signal {
        Some(signal) if signal != 0 => format!("the last time by signal {signal}"),
        _ => format!("the last time with exit code {}", last.exit_code),
    };
    match last.message.as_deref().filter(|message| !message.is_empty()) {
        Some(message) => format!("{how}: {message}"),
        None => how,
    }
}

/// The end of what a container said.
async fn last_words(pods: &Api<Pod>, stuck: &Stuck) -> String {
    let parameters = LogParams {
        container: Some(stuck.container.clone()),
        tail_lines: Some(LINES),
        ..LogParams::default()
    };
    match pods.logs(&stuck.pod, &parameters).await {
        Ok(log) if !log.trim().is_empty() => {
            let lines = log.trim_end().lines().map(|line| format!("  {line}"));
            format!("\nthe end of its log:\n{}", lines.collect::<Vec<_>>().join("\n"))
        }
        Ok(_) => "\nit said nothing".to_owned(),
        Err(error) => format!("\nits log cannot be read: {error}"),
    }
}

/// Fails when a port that every pod and Service listens on, each on an address of its own, is taken on all addresses.
pub(crate) fn ports_are_free() -> Result<(), Failure> {
    // An address of 127.0.0.0/8 that nobody is given: only a listener on all addresses is in the way there.
    let address = Ipv4Addr::new(127, 255, 255, 253);
    for port in [HTTP_PORT, ADMIN_PORT] {
        if let Err(error) = TcpListener::bind((address, port)) {
            return Err(Failure::infrastructure(format!(
                "port {port} cannot be used: {error}. Every pod and Service of a sandbox listens on it, each on a loopback \
                 address of its own; a server that listens on 0.0.0.0:{port} keeps them from it. Stop that server, or let it \
                 listen on 127.0.0.1 alone (`ss -ltnp sport = :{port}` names it)"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use super::*;
    use serde_json::{Value, json};

    fn pod(state: Value, restarts: i32, last: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "edge-0" },
            "status": { "containerStatuses": [{ "name": "varnish", "image": "varnish", "imageID": "", "ready": false,
                "restartCount": restarts, "state": state, "lastState": last }] },
        }))
        .unwrap()
    }

    fn waiting(reason: &str, message: Option<&str>) -> Value {
        json!({ "waiting": { "reason": reason, "message": message } })
    }

    #[test]
    fn steps_on_the_way_and_first_crashes_are_no_trouble() {
        let crash = json!({ "terminated": { "exitCode": 1 } });
        for pod in [
            pod(waiting("ContainerCreating", None), 0, json!({})),
            pod(waiting("PodInitializing", Some("")), 0, json!({})),
            pod(waiting("CrashLoopBackOff", Some("back-off")), 1, crash),
            Pod::default(),
        ] {
            assert_eq!(stuck(&pod), [], "{pod:?}");
        }
    }

    #[test]
    fn trouble_says_what_is_wrong() {
        let why = |pod: Pod| stuck(&pod).remove(0).why;
        assert_eq!(
            why(pod(
                waiting("ErrImagePull", Some("no program for image x")),
                0,
                json!({})
            )),
            "ErrImagePull: no program for image x"
        );
        let crash = |end: Value| {
            pod(
                waiting("CrashLoopBackOff", Some("back-off")),
                2,
                json!({ "terminated": end }),
            )
        };
        assert_eq!(
            why(crash(json!({ "exitCode": 3 }))),
            "it crashed 3 times; the last time with exit code 3"
        );
        assert_eq!(
            why(crash(
                json!({ "exitCode": 139, "signal": 11, "message": "core dumped" })
            )),
            "it crashed 3 times; the last time by signal 11: core dumped"
        );
        let crashed = &stuck(&crash(json!({ "exitCode": 3 })))[0];
        assert!(crashed.ran && crashed.patience == Duration::ZERO);
    }

    fn of(role: Role, why: &str, patience: Duration) -> Stuck {
        let why = why.to_owned();
        let (pod, container) = (format!("{role}-0"), role.to_string());
        Stuck {
            role: Some(role),
            pod,
            container,
            why,
            patience,
            ran: true,
        }
    }

    #[test]
    fn the_role_is_the_pods() {
        let mut pod = pod(json!({ "running": {} }), 0, json!({}));
        assert_eq!(stuck(&pod)[0].role, None);
        pod.labels_mut().insert(labels::ROLE.into(), "origin".into());
        assert_eq!(stuck(&pod)[0].role, Some(Role::Origin));
    }

    #[test]
    fn what_may_only_follow_waits_for_what_is_further_up() {
        let unready = |role| of(role, "not ready", UNREADY);
        let edge = (unready(Role::Edge), UNREADY + LOOK);
        let short = UNREADY.checked_sub(LOOK).unwrap();
        // The encoder ran later than the edge: its patience ends later, and it is the one to tell.
        let early = [edge.clone(), (unready(Role::Encoder), short)];
        assert_eq!(cause(&early), None);
        let late = [edge.clone(), (unready(Role::Encoder), UNREADY)];
        assert_eq!(cause(&late), Some(&late[1].0));
        // Alone, or with others further down, it is told.
        assert_eq!(cause(std::slice::from_ref(&edge)), Some(&edge.0));
        let down = [(unready(Role::Services), short), edge.clone()];
        assert_eq!(cause(&down), Some(&edge.0));
        // What crashes or cannot start has a reason of its own.
        let crashes = [
            (of(Role::Edge, "it crashed", Duration::ZERO), Duration::ZERO),
            (unready(Role::Encoder), short),
        ];
        assert_eq!(cause(&crashes), Some(&crashes[0].0));
        assert_eq!(cause(&[(unready(Role::Edge), short)]), None);
    }

    #[test]
    fn a_container_that_is_never_ready_is_trouble_in_the_end() {
        let mut pod = pod(json!({ "running": {} }), 0, json!({}));
        assert_eq!(stuck(&pod)[0].patience, UNREADY);
        let statuses = pod.status.as_mut().unwrap().container_statuses.as_mut().unwrap();
        statuses[0].ready = true;
        assert_eq!(stuck(&pod), []);
    }
}
