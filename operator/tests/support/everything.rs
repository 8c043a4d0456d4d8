//! What the operator writes, and what is written for it; and what of that any two runs differ in.

use serde_json::{Value, json};
use showrunner_operator::{apply::APPLIED_HASH, kind::Kind};

/// Paths of the lists of all that the operator writes, and of the platforms that it writes them for.
pub(crate) fn everything() -> Vec<String> {
    let rendered = Kind::ALL.map(Kind::api_resource).map(|kind| {
        let root = if kind.group.is_empty() { "api" } else { "apis" };
        format!("/{root}/{}/{}", kind.api_version, kind.plural)
    });
    let others = ["/api/v1/secrets", "/apis/showrunner.dev/v1alpha1/streamingplatforms"];
    rendered.into_iter().chain(others.map(str::to_owned)).collect()
}

/// Takes out what is drawn, and what is made of UIDs.
pub(crate) fn mask(object: &mut Value) {
    if object["type"] == "Opaque" && object.get("data").is_some() {
        object["data"] = json!("secret");
    }
    let hash = format!("/metadata/annotations/{}", APPLIED_HASH.replace('/', "~1"));
    if let Some(hash) = object.pointer_mut(&hash) {
        *hash = json!("hash");
    }
}
