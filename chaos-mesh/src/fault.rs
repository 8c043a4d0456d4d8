//! Builders of common faults. Every one is on all selected pods and lasts until the object is deleted; change `mode`,
//! `value` and `duration` of what they return where that is not meant.

use std::time::Duration;

use crate::{
    duration,
    kinds::{
        network::{Delay, Direction, Loss, NetworkAction, NetworkChaos, NetworkChaosSpec},
        pod::{PodAction, PodChaos, PodChaosSpec},
    },
    selector::{Mode, PodSelector},
};

fn network(name: &str, namespace: &str, selector: PodSelector, action: NetworkAction) -> NetworkChaos {
    let spec = NetworkChaosSpec {
        selector,
        mode: Mode::All,
        action,
        ..NetworkChaosSpec::default()
    };
    let mut chaos = NetworkChaos::new(name, spec);
    chaos.metadata.namespace = Some(namespace.to_owned());
    chaos
}

fn pod(name: &str, namespace: &str, selector: PodSelector, action: PodAction) -> PodChaos {
    let spec = PodChaosSpec {
        selector,
        mode: Mode::All,
        action,
        ..PodChaosSpec::default()
    };
    let mut chaos = PodChaos::new(name, spec);
    chaos.metadata.namespace = Some(namespace.to_owned());
    chaos
}

/// Cuts pods off from everyone, in both directions: a partition without a target.
#[must_use]
pub fn partition(name: &str, namespace: &str, selector: PodSelector) -> NetworkChaos {
    let mut chaos = network(name, namespace, selector, NetworkAction::Partition);
    chaos.spec.direction = Some(Direction::Both);
    chaos
}

/// Delays what pods send by `latency`, give or take `jitter`.
#[must_use]
pub fn delay(name: &str, namespace: &str, selector: PodSelector, latency: Duration, jitter: Duration) -> NetworkChaos {
    let mut chaos = network(name, namespace, selector, NetworkAction::Delay);
    chaos.spec.direction = Some(Direction::To);
    chaos.spec.delay = Some(Delay {
        latency: duration::format(latency),
        jitter: (!jitter.is_zero()).then(|| duration::format(jitter)),
        ..Delay::default()
    });
    chaos
}

/// Loses `percent` (0 to 100) of what pods send.
#[must_use]
pub fn loss(name: &str, namespace: &str, selector: PodSelector, percent: f64) -> NetworkChaos {
    let mut chaos = network(name, namespace, selector, NetworkAction::Loss);
    chaos.spec.direction = Some(Direction::To);
    chaos.spec.loss = Some(Loss {
        loss: percent.clamp(0.0, 100.0).to_string(),
        correlation: None,
    });
    chaos
}

/// Delays *and* loses what pods send, in one object (`netem`).
#[must_use]
pub fn brown_out(
    name: &str,
    namespace: &str,
    selector: PodSelector,
    latency: Duration,
    loss_percent: f64,
) -> NetworkChaos {
    let mut chaos = network(name, namespace, selector.clone(), NetworkAction::Netem);
    chaos.spec.direction = Some(Direction::To);
    chaos.spec.delay = delay(name, namespace, selector.clone(), latency, Duration::ZERO)
        .spec
        .delay;
    if loss_percent > 0.0 {
        chaos.spec.loss = loss(name, namespace, selector, loss_percent).spec.loss;
    }
    chaos
}

/// Deletes pods, at once or with a grace period (whole seconds).
#[must_use]
pub fn pod_kill(name: &str, namespace: &str, selector: PodSelector, grace: Duration) -> PodChaos {
    let mut chaos = pod(name, namespace, selector, PodAction::PodKill);
    chaos.spec.grace_period = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
    chaos
}

/// Keeps pods from working for as long as the object is there.
#[must_use]
pub fn pod_failure(name: &str, namespace: &str, selector: PodSelector) -> PodChaos {
    pod(name, namespace, selector, PodAction::PodFailure)
}

/// Kills containers of pods; their kubelet restarts them.
#[must_use]
pub fn container_kill<C: Into<String>>(
    name: &str,
    namespace: &str,
    selector: PodSelector,
    containers: impl IntoIterator<Item = C>,
) -> PodChaos {
    let mut chaos = pod(name, namespace, selector, PodAction::ContainerKill);
    chaos.spec.container_names = containers.into_iter().map(Into::into).collect();
    chaos
}
