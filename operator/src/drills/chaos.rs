//! Taking back one mutation of a drill, a step at a time.

use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Preconditions},
};
use showrunner_crds::{drill::Undo, labels};

/// Kinds that a journal may name, with their plurals. A status is data: it must not make the operator delete anything else.
const KINDS: [(&str, &str); 2] = [("NetworkChaos", "networkchaos"), ("PodChaos", "podchaos")];

/// How far a mutation is after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It was seen to be gone.
    Gone,
    /// It was asked to go; its finalizer holds it until the fault is recovered.
    Going,
}

/// Why a mutation cannot be taken back.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChaosError {
    /// The cluster refused or failed.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// It is of a kind that no drill makes.
    #[error("kind `{0}` is none that a drill makes")]
    Kind(String),
    /// It is not in the drill's namespace.
    #[error("namespace `{0}` is not the drill's")]
    Namespace(String),
}

/// Takes one step towards taking back a mutation of the drill `run` in `namespace`.
pub(super) async fn step(client: &Client, namespace: &str, run: &str, undo: &Undo) -> Result<Step, ChaosError> {
    let (kind, name) = match undo {
        Undo::SelfHealing => return Ok(Step::Gone),
        Undo::DeleteChaos { namespace: of, .. } if of != namespace => return Err(ChaosError::Namespace(of.clone())),
        Undo::DeleteChaos { kind, name, .. } => (kind, name),
    };
    let known = KINDS.iter().find(|(known, _)| known == kind);
    let (kind, plural) = known.ok_or_else(|| ChaosError::Kind(kind.clone()))?;
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("chaos-mesh.org", "v1alpha1", kind), plural);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let Some(object) = api.get_opt(name).await? else {
        return Ok(Step::Gone);
    };
    if object.labels().get(labels::RUN).map(String::as_str) != Some(run) {
        // Someone else's: the drill's own was refused because of it.
        return Ok(Step::Gone);
    }
    if object.metadata.deletion_timestamp.is_none() {
        let this = DeleteParams {
            preconditions: Some(Preconditions {
                uid: object.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match api.delete(name, &this).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Step::Gone),
            deleted => drop(deleted?),
        }
    }
    Ok(Step::Going)
}
