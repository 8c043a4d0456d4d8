//! Scaling a Deployment that is paused, or whose size changed in the middle of a rollout.

use super::annotations::maximum;
use super::{available, bounds, is_rolling, size, wanted};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;

/// New sizes by name. While several sets have pods, the change is spread over them in proportion to their sizes, so
/// that a rollout in progress keeps its degree of advance.
pub(crate) fn scale(deployment: &Deployment, new: Option<&ReplicaSet>, old: &[&ReplicaSet]) -> Vec<(String, i32)> {
    let wanted = wanted(deployment);
    let active: Vec<&ReplicaSet> = old.iter().copied().chain(new).filter(|set| size(set) > 0).collect();
    // Only one set matters: it takes the whole change.
    let only = match active.as_slice() {
        [] => new.or_else(|| old.last().copied()),
        [one] => Some(*one),
        _ => None,
    };
    if let Some(set) = only {
        return if size(set) == wanted {
            Vec::new()
        } else {
            vec![(set.name_any(), wanted)]
        };
    }
    let saturated = new.is_some_and(|set| {
        size(set) == wanted && available(set) == wanted && super::annotations::desired(set) == Some(i64::from(wanted))
    });
    if saturated {
        return old
            .iter()
            .filter(|set| size(set) > 0)
            .map(|set| (set.name_any(), 0))
            .collect();
    }
    if is_rolling(deployment) {
        proportional(deployment, active)
    } else {
        Vec::new()
    }
}

fn proportional(deployment: &Deployment, mut active: Vec<&ReplicaSet>) -> Vec<(String, i32)> {
    let wanted = wanted(deployment);
    let allowed = if wanted > 0 { wanted + bounds(deployment).0 } else { 0 };
    let to_add = allowed - active.iter().map(|set| size(set)).sum::<i32>();
    // Growth favours newer sets of the same size, shrinking older ones.
    active.sort_by_key(|set| set.metadata.creation_timestamp.as_ref().map(|time| time.0));
    if to_add > 0 {
        active.reverse();
    }
    active.sort_by_key(|set| -size(set));
    let mut added = 0;
    let mut sizes: Vec<(&ReplicaSet, i32)> = Vec::new();
    for set in active {
        let share = share(deployment, set, to_add, added);
        added += share;
        sizes.push((set, size(set) + share));
    }
    // What rounding left over goes to the largest.
    if let Some((_, first)) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    sizes
        .into_iter()
        .filter(|(set, new)| size(set) != *new)
        .map(|(set, new)| (set.name_any(), new))
        .collect()
}

fn share(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    if to_add == 0 || added == to_add {
        return 0;
    }
    let wanted = wanted(deployment);
    let fraction = if wanted == 0 {
        -size(set)
    } else {
        let reported = deployment
            .status
            .as_ref()
            .and_then(|status| status.replicas)
            .unwrap_or(0);
        let before = maximum(set).filter(|&before| before > 0).unwrap_or(i64::from(reported));
        if before == 0 {
            return 0;
        }
        let after = f64::from(wanted + bounds(deployment).0);
        (f64::from(size(set)) * after / before as f64).round() as i32 - size(set)
    };
    let left = to_add - added;
    if to_add > 0 {
        fraction.min(left)
    } else {
        fraction.max(left)
    }
}
