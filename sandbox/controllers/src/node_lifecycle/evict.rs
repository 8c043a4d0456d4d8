//! When a NoExecute taint drives a pod away.

use super::taints::{NOT_READY, UNREACHABLE};
use crate::scheduler::tolerates;
use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// When the pod must go; `None` for never. A taint nobody tolerates acts at once, except that a pod which says nothing
/// about a lost node is treated as if admission had given it the usual tolerations of `default` length.
pub(super) fn deadline(pod: &Pod, taints: &[Taint], default: SignedDuration) -> Option<Timestamp> {
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default();
    let executing = taints.iter().filter(|taint| taint.effect == "NoExecute");
    executing.filter_map(|taint| one(tolerations, taint, default)).min()
}

fn one(tolerations: &[Toleration], taint: &Taint, default: SignedDuration) -> Option<Timestamp> {
    let since = taint.time_added.as_ref()?.0;
    let matching: Vec<&Toleration> = tolerations
        .iter()
        .filter(|toleration| tolerates(toleration, taint))
        .collect();
    let stay = if matching.is_empty() {
        let lost = taint.key == NOT_READY || taint.key == UNREACHABLE;
        if lost { default } else { SignedDuration::ZERO }
    } else {
        // The shortest limit counts; a toleration without one is for ever.
        SignedDuration::from_secs(
            matching
                .iter()
                .filter_map(|toleration| toleration.toleration_seconds)
                .min()?
                .max(0),
        )
    };
    since.checked_add(stay).ok()
}
