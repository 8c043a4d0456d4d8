//! What we rendered once and no longer do, pure: found by label *and* owner, so that nothing of others is ever touched.

use std::collections::BTreeSet;

use kube::{ResourceExt, core::DynamicObject};

use super::claim::Claim;
use crate::{kind::Kind, observed::Live, resources::Object};

/// Objects of ours that are not among the rendered ones, kind after kind in the order in which they are applied.
pub(crate) fn orphans<'a>(live: &'a Live, rendered: &[Object], claim: &Claim) -> Vec<(Kind, &'a DynamicObject)> {
    let wanted: BTreeSet<(Kind, &str)> = rendered
        .iter()
        .map(|object| (object.kind, object.name.as_str()))
        .collect();
    live.iter()
        .filter(|(kind, object)| !wanted.contains(&(*kind, object.name_any().as_str())))
        .filter(|(_, object)| object.metadata.deletion_timestamp.is_none())
        .filter(|(_, object)| claim.holds(*object))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;
    use showrunner_crds::platform::Role;

    use super::*;

    fn config_map(name: &str, manager: &str, owner: &str, controller: bool) -> (Kind, DynamicObject) {
        let object = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "labels": { "app.kubernetes.io/managed-by": manager },
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "X", "name": "x", "uid": owner, "controller": controller,
                }],
            },
        }))
        .unwrap();
        (Kind::ConfigMap, object)
    }

    #[test]
    fn only_what_is_ours_and_unwanted_is_an_orphan() {
        let live = Live::new([
            config_map("wanted", "showrunner-operator", "u", true),
            config_map("left-over", "showrunner-operator", "u", true),
            config_map("other-platform", "showrunner-operator", "v", true),
            config_map("other-manager", "helm", "u", true),
            config_map("not-controlled", "showrunner-operator", "u", false),
        ]);
        let rendered = [Object {
            kind: Kind::ConfigMap,
            name: "wanted".into(),
            region: None,
            role: Role::Edge,
            cluster: None,
            withheld: false,
            body: json!({}),
        }];
        let names: Vec<String> = orphans(&live, &rendered, &Claim::Owner("u".to_owned()))
            .iter()
            .map(|(_, object)| object.name_any())
            .collect();
        assert_eq!(names, ["left-over"]);
    }
}
