//! Writing status (client): only what differs.

use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use showrunner_crds::{
    platform::{StreamingPlatform, StreamingPlatformStatus},
    premiere::{Premiere, PremiereStatus},
};

use crate::premiere::Phase;

/// Why status could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The API server refused it, or could not be reached.
    #[error("status of {kind} {name}: {source}")]
    Patch {
        /// Kind of the resource.
        kind: &'static str,
        /// Name of the resource.
        name: String,
        /// What the API server said.
        source: kube::Error,
    },
}

/// Writes a platform's status if it is not that already. Tells whether it was written.
pub async fn update_platform(
    client: &Client,
    platform: &StreamingPlatform,
    status: &StreamingPlatformStatus,
) -> Result<bool, StatusError> {
    if platform.status.as_ref() == Some(status) {
        return Ok(false);
    }
    let api: Api<StreamingPlatform> = Api::namespaced(client.clone(), &platform.namespace().unwrap_or_default());
    let mut body = json!({ "status": status });
    forget(&json!({ "status": platform.status }), &mut body);
    let patch = Patch::Merge(body);
    match api.patch_status(&platform.name_any(), &manager(), &patch).await {
        Ok(_) => Ok(true),
        // Deleted meanwhile: there is nothing left to report on.
        Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(false),
        Err(source) => Err(StatusError::Patch {
            kind: "StreamingPlatform",
            name: platform.name_any(),
            source,
        }),
    }
}

/// Makes a merge patch of `after`: what `before` had and it has not is null, for what is not mentioned would stay
/// (RFC 7386).
fn forget(before: &Value, after: &mut Value) {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object_mut()) else {
        return;
    };
    for (name, value) in before {
        forget(value, after.entry(name).or_insert(Value::Null));
    }
}

/// Writes a premiere's phase if it is not that already. Tells whether it was written.
pub async fn update_premiere(client: &Client, premiere: &Premiere, phase: Phase) -> Result<bool, StatusError> {
    let status = PremiereStatus {
        phase: Some(phase.to_string()),
    };
    if premiere.status.as_ref() == Some(&status) {
        return Ok(false);
    }
    let api: Api<Premiere> = Api::namespaced(client.clone(), &premiere.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({ "status": status }));
    match api.patch_status(&premiere.name_any(), &manager(), &patch).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(false),
        Err(source) => Err(StatusError::Patch {
            kind: "Premiere",
            name: premiere.name_any(),
            source,
        }),
    }
}

fn manager() -> PatchParams {
    PatchParams {
        field_manager: Some("showrunner-operator/status".to_owned()),
        ..PatchParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_null_and_lists_are_whole() {
        let before =
            json!({ "status": { "summary": "old", "clusters": [1], "endpoints": { "services": [1], "kept": 1 } } });
        let mut patch = json!({ "status": { "summary": "new", "regions": [{ "a": 1 }], "endpoints": { "kept": 1 } } });
        forget(&before, &mut patch);
        assert_eq!(
            patch,
            json!({ "status": {
                "summary": "new", "regions": [{ "a": 1 }], "clusters": null,
                "endpoints": { "kept": 1, "services": null },
            } })
        );
        let mut first = json!({ "status": { "summary": "new" } });
        forget(&json!({ "status": null }), &mut first);
        assert_eq!(first, json!({ "status": { "summary": "new" } }));
    }
}
