//! Revisions: each pod template the set has had, as a ControllerRevision, so that a pod can be made from the old one
//! while an update is held back by its partition.

use crate::model::hash::short_hash;
use crate::model::meta::{controller_ref, is_controlled_by};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use serde_json::json;

/// The revisions in play.
pub(crate) struct Revisions {
    /// Made from the set's present template.
    pub(crate) update: ControllerRevision,
    /// `update` must be created, or (when it exists with a lower number, after a rollback) renumbered.
    pub(crate) write: bool,
    /// The template pods of the current revision are made from.
    pub(crate) current: ControllerRevision,
    /// Beyond the history limit and used by nothing.
    pub(crate) expired: Vec<ControllerRevision>,
}

/// Picks the revisions from those in the namespace. `live` names revisions that pods still carry.
pub(crate) fn pick(
    set: &StatefulSet,
    all: &[&ControllerRevision],
    live: &[&str],
) -> Result<Revisions, serde_json::Error> {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let mut mine: Vec<&ControllerRevision> = all
        .iter()
        .copied()
        .filter(|revision| is_controlled_by(*revision, uid))
        .collect();
    mine.sort_by_key(|revision| (revision.revision, revision.name_any()));
    let newest = mine.last().map_or(0, |revision| revision.revision);
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let hash = short_hash(&template, set.status.as_ref().and_then(|status| status.collision_count))?;
    let name = format!("{}-{hash}", set.name_any());
    let known = mine.iter().copied().find(|revision| revision.name_any() == name);
    // Two have one number where one's making went unanswered and was late. (Upstream then goes by the time they were made.)
    let alone = mine.iter().filter(|revision| revision.revision == newest).count() == 1;
    let (update, write) = match known {
        Some(known) if known.revision == newest && alone => (known.clone(), false),
        Some(known) => (
            ControllerRevision {
                revision: newest + 1,
                ..known.clone()
            },
            true,
        ),
        None => (new(set, &template, name.clone(), &hash, newest + 1)?, true),
    };
    let reported = set
        .status
        .as_ref()
        .and_then(|status| status.current_revision.clone())
        .unwrap_or_default();
    let current = mine
        .iter()
        .copied()
        .find(|revision| revision.name_any() == reported)
        .unwrap_or(&update)
        .clone();
    let limit = set
        .spec
        .as_ref()
        .and_then(|spec| spec.revision_history_limit)
        .unwrap_or(10);
    let unused: Vec<&ControllerRevision> = mine
        .into_iter()
        .filter(|revision| {
            let its = revision.name_any();
            its != name && its != current.name_any() && !live.contains(&its.as_str())
        })
        .collect();
    let surplus = unused.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    let expired = unused.into_iter().take(surplus).cloned().collect();
    Ok(Revisions {
        update,
        write,
        current,
        expired,
    })
}

fn new(
    set: &StatefulSet,
    template: &PodTemplateSpec,
    name: String,
    hash: &str,
    revision: i64,
) -> Result<ControllerRevision, serde_json::Error> {
    let mut labels = template
        .metadata
        .as_ref()
        .and_then(|meta| meta.labels.clone())
        .unwrap_or_default();
    labels.insert(super::identity::REVISION_LABEL.into(), hash.into());
    Ok(ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: set.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![controller_ref(set)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(
            json!({ "spec": { "template": serde_json::to_value(template)? } }),
        )),
        revision,
    })
}

/// The template a revision stands for.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let data = &revision.data.as_ref()?.0;
    serde_json::from_value(data.get("spec")?.get("template")?.clone()).ok()
}
