//! One step of a rolling update: never more than `replicas + maxSurge` pods, never fewer than
//! `replicas - maxUnavailable` available ones.

use super::{available, bounds, size, wanted};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;

/// The size the new set may have now. `new` is its present size, `total` that of all sets together.
pub(crate) fn new_size(deployment: &Deployment, new: i32, total: i32) -> i32 {
    let wanted = wanted(deployment);
    if new >= wanted {
        return wanted;
    }
    let room = wanted + bounds(deployment).0 - total;
    new + room.clamp(0, wanted - new)
}

/// New sizes of old sets, by name. First the pods that do not work anyway, then as many working ones as availability
/// leaves room for; older sets first.
pub(crate) fn shrink_old(deployment: &Deployment, new: &ReplicaSet, old: &[&ReplicaSet]) -> Vec<(String, i32)> {
    let minimum = wanted(deployment) - bounds(deployment).1;
    let total: i32 = old.iter().map(|set| size(set)).sum::<i32>() + size(new);
    // New pods that are not available yet must not be bought with old ones that are.
    let most = total - minimum - (size(new) - available(new));
    if most <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = old.iter().map(|set| size(set)).collect();
    let mut cleaned = 0;
    for (set, size) in old.iter().zip(&mut sizes) {
        let broken = (*size - available(set)).clamp(0, most - cleaned);
        *size -= broken;
        cleaned += broken;
    }
    let working: i32 = old.iter().map(|set| available(set)).sum::<i32>() + available(new);
    let mut spare = (working - minimum).max(0);
    for size in &mut sizes {
        let surplus = spare.min(*size);
        *size -= surplus;
        spare -= surplus;
    }
    let changed = old.iter().zip(sizes).filter(|(set, new)| size(set) != *new);
    changed.map(|(set, new)| (set.name_any(), new)).collect()
}
