//! What pods ask for and nodes have, in thousandths of each resource's unit.

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use showrunner_autoscaling::quantity;
use std::collections::BTreeMap;

/// Resource name to thousandths.
pub(crate) type Amounts = BTreeMap<String, i64>;

/// A quantity that does not parse counts as nothing: the API server refuses such objects.
pub(crate) fn amounts(quantities: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    let milli = |quantity: &Quantity| quantity::milli(quantity).unwrap_or(0);
    quantities
        .into_iter()
        .flatten()
        .map(|(name, quantity)| (name.clone(), milli(quantity)))
        .collect()
}

pub(crate) fn add(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let sum = to.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

/// The larger of each, as init containers run one after another.
fn at_least(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let most = to.entry(name.clone()).or_default();
        *most = (*most).max(*amount);
    }
}

/// Requests; limits stand in for requests that are not given.
fn of_container(container: &Container) -> Amounts {
    let resources = container.resources.as_ref();
    let mut wanted = amounts(resources.and_then(|resources| resources.limits.as_ref()));
    wanted.extend(amounts(resources.and_then(|resources| resources.requests.as_ref())));
    wanted
}

/// What a pod reserves: all containers and sidecars together, or the largest moment of initialisation, plus overhead;
/// requests of the pod as a whole override.
pub(crate) fn of(pod: &Pod) -> Amounts {
    let Some(spec) = pod.spec.as_ref() else {
        return Amounts::new();
    };
    let mut steady = Amounts::new();
    for container in &spec.containers {
        add(&mut steady, &of_container(container));
    }
    let (mut peak, mut sidecars) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sidecars, &of_container(container));
            at_least(&mut peak, &sidecars);
        } else {
            let mut now = sidecars.clone();
            add(&mut now, &of_container(container));
            at_least(&mut peak, &now);
        }
    }
    add(&mut steady, &sidecars);
    at_least(&mut steady, &peak);
    steady.extend(amounts(
        spec.resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref()),
    ));
    add(&mut steady, &amounts(spec.overhead.as_ref()));
    steady
}
