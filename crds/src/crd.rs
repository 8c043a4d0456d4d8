//! The CustomResourceDefinitions, rules included.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, ValidationRule,
};
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{
    drill::Drill,
    platform::StreamingPlatform,
    premiere::Premiere,
    rules::{self, Rule},
    scenario::Scenario,
};

/// Every definition, in the order in which a reader meets them.
///
/// Install these, not `StreamingPlatform::crd()`: only these carry the rules.
#[must_use]
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    vec![
        with_rules(
            StreamingPlatform::crd(),
            rules::PLATFORM.iter().flat_map(|group| *group),
        ),
        with_rules(Premiere::crd(), rules::PREMIERE),
        Scenario::crd(),
        Drill::crd(),
    ]
}

/// The definition of the kind, if it is one of ours.
#[must_use]
pub fn crd(kind: &str) -> Option<CustomResourceDefinition> {
    all_crds().into_iter().find(|crd| crd.spec.names.kind == kind)
}

/// A definition as a YAML document.
#[must_use]
pub fn to_yaml(crd: &CustomResourceDefinition) -> String {
    // A definition is maps, lists and scalars: there is nothing in it that YAML cannot say.
    serde_saphyr::to_string(crd).unwrap_or_default()
}

/// All definitions as one YAML stream.
#[must_use]
pub fn all_yaml() -> String {
    all_crds()
        .iter()
        .flat_map(|crd| ["---\n".to_owned(), to_yaml(crd)])
        .collect()
}

/// The `openAPIV3Schema` of a definition's only version, as JSON.
#[must_use]
pub fn schema(crd: &CustomResourceDefinition) -> Value {
    let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref());
    schema
        .and_then(|schema| serde_json::to_value(schema.open_api_v3_schema.as_ref()?).ok())
        .unwrap_or_default()
}

fn with_rules<'a, T: 'static>(
    mut crd: CustomResourceDefinition,
    rules: impl IntoIterator<Item = &'a Rule<T>>,
) -> CustomResourceDefinition {
    let root = crd
        .spec
        .versions
        .iter_mut()
        .find_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
    let Some(root) = root else { return crd };
    for rule in rules {
        if let Some(node) = node_at(root, rule.at) {
            node.x_kubernetes_validations
                .get_or_insert_default()
                .push(ValidationRule {
                    rule: rule.cel.into(),
                    message: Some(rule.message.into()),
                    ..ValidationRule::default()
                });
        }
    }
    crd
}

/// The part of a schema that a path such as `spec.channels[].ladder` names; empty: the root.
fn node_at<'a>(root: &'a mut JSONSchemaProps, path: &str) -> Option<&'a mut JSONSchemaProps> {
    let mut node = root;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let (name, lists) = (step.trim_end_matches("[]"), step.matches("[]").count());
        node = node.properties.as_mut()?.get_mut(name)?;
        for _ in 0..lists {
            let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut node.items else {
                return None;
            };
            node = items;
        }
    }
    Some(node)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_rule_finds_its_place() {
        let count = |crd: &CustomResourceDefinition| schema(crd).to_string().matches("\"rule\":").count();
        let crds = all_crds();
        assert_eq!(
            count(&crds[0]),
            rules::PLATFORM.iter().map(|group| group.len()).sum::<usize>()
        );
        assert_eq!(count(&crds[1]), rules::PREMIERE.len());
    }

    #[test]
    fn definitions_are_structural_small_and_described() {
        for crd in all_crds() {
            let schema = schema(&crd);
            let text = schema.to_string();
            let kind = &crd.spec.names.kind;
            for keyword in ["$ref", "\"anyOf\"", "\"allOf\""] {
                assert!(!text.contains(keyword), "{kind} has {keyword}");
            }
            // Definitions above 256 KiB cannot be applied with `kubectl apply`: its annotation would not fit.
            assert!(
                to_yaml(&crd).len() < 128 * 1024,
                "{kind} is {} bytes",
                to_yaml(&crd).len()
            );
            assert_eq!(
                crd.spec.names.categories.as_deref(),
                Some(&["showrunner".to_owned()][..]),
                "{kind}"
            );
            undescribed(&schema["properties"]["spec"], &format!("{kind}.spec"));
        }
    }

    /// Every field of a spec says what it is.
    fn undescribed(schema: &Value, path: &str) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            assert!(property["description"].is_string(), "{path} has no description");
            undescribed(property, &path);
            undescribed(&property["items"], &path);
        }
    }

    #[test]
    fn yaml_reads_back() {
        for crd in all_crds() {
            assert_eq!(
                serde_saphyr::from_str::<CustomResourceDefinition>(&to_yaml(&crd)).unwrap(),
                crd
            );
        }
    }
}
