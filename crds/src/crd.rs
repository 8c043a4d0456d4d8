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
    rules::{self, Cluster, Rule},
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
        with_rules(Scenario::crd(), rules::SCENARIO.iter().flat_map(|group| *group)),
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
        let Cluster::Cel(cel) = rule.cluster else { continue };
        if let Some(node) = node_at(root, rule.at) {
            node.x_kubernetes_validations
                .get_or_insert_default()
                .push(ValidationRule {
                    rule: cel.into(),
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

    /// Each rule that a cluster holds stands once, at its place; what nobody holds stands nowhere.
    #[test]
    fn every_rule_finds_its_place() {
        let platform = rules::PLATFORM.iter().flat_map(|group| *group);
        let scenario = rules::SCENARIO.iter().flat_map(|group| *group);
        let carried = [
            places(&StreamingPlatform::crd(), platform),
            places(&Premiere::crd(), rules::PREMIERE),
            places(&Scenario::crd(), scenario),
        ];
        assert!(carried.iter().sum::<usize>() > 40, "{carried:?}");
    }

    /// How many of the rules a definition carries. `bare` is the same without them: types have rules of their own.
    fn places<'a, T: 'static>(bare: &CustomResourceDefinition, rules: impl IntoIterator<Item = &'a Rule<T>>) -> usize {
        let kind = &bare.spec.names.kind;
        let carrier = schema(&crd(kind).unwrap());
        let mut carried = 0;
        for rule in rules {
            let Cluster::Cel(cel) = rule.cluster else { continue };
            let steps = rule.at.split('.').filter(|step| !step.is_empty());
            let pointer: String = steps
                .map(|step| format!("/properties/{}", step.replace("[]", "/items")))
                .collect();
            let there = carrier.pointer(&format!("{pointer}/x-kubernetes-validations"));
            let same = |found: &&Value| found["message"] == rule.message && found["rule"] == cel;
            let found = there.and_then(Value::as_array).into_iter().flatten().filter(same);
            assert_eq!(found.count(), 1, "{kind}: at {:?}: {}", rule.at, rule.message);
            carried += 1;
        }
        assert_eq!(validations(&carrier) - validations(&schema(bare)), carried, "{kind}");
        carried
    }

    /// Rules anywhere in a schema.
    fn validations(node: &Value) -> usize {
        match node {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| match value {
                    Value::Array(rules) if name == "x-kubernetes-validations" => rules.len(),
                    _ => validations(value),
                })
                .sum(),
            Value::Array(items) => items.iter().map(validations).sum(),
            _ => 0,
        }
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

    /// Server-side apply treats a list that says nothing as atomic: whoever states one element owns them all, defaults
    /// included. So every list says how it merges.
    #[test]
    fn every_list_says_how_it_merges() {
        let mut lists = Vec::new();
        for crd in all_crds() {
            merging(&schema(&crd), &crd.spec.names.kind, &mut lists);
        }
        for (path, list) in &lists {
            assert_eq!(unclear(list), None, "{path}");
        }
        assert!(lists.len() > 15, "{}", lists.len());
    }

    fn merging(schema: &Value, path: &str, lists: &mut Vec<(String, Value)>) {
        if schema["type"] == "array" {
            lists.push((path.to_owned(), schema.clone()));
            merging(&schema["items"], &format!("{path}[]"), lists);
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            merging(property, &format!("{path}.{name}"), lists);
        }
    }

    /// What is wrong with the way a list merges.
    fn unclear(list: &Value) -> Option<&'static str> {
        let (type_, items) = (list["x-kubernetes-list-type"].as_str(), &list["items"]);
        let keys = list["x-kubernetes-list-map-keys"].as_array();
        let required = |key: &Value| items["required"].as_array().is_some_and(|names| names.contains(key));
        if type_ == Some("atomic") {
            None
        } else if list.get("default").is_some() {
            Some("elements of a default belong to nobody: in a list that merges they would stay for ever")
        } else if type_ == Some("map") && !keys.is_some_and(|keys| !keys.is_empty() && keys.iter().all(required)) {
            Some("its keys are not required")
        } else if type_.is_none() {
            Some("it says nothing")
        } else {
            None
        }
    }

    #[test]
    fn a_list_that_does_not_merge_is_noticed() {
        let items = serde_json::json!({ "type": "object", "required": ["name"] });
        for (list, clear) in [
            (serde_json::json!({ "items": items }), false),
            (
                serde_json::json!({ "x-kubernetes-list-type": "map", "items": items }),
                false,
            ),
            (
                serde_json::json!({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["kind"], "items": items }),
                false,
            ),
            (
                serde_json::json!({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": items }),
                true,
            ),
            (
                serde_json::json!({ "x-kubernetes-list-type": "set", "default": ["a"], "items": {} }),
                false,
            ),
            (
                serde_json::json!({ "x-kubernetes-list-type": "atomic", "default": ["a"], "items": {} }),
                true,
            ),
        ] {
            assert_eq!(unclear(&list).is_none(), clear, "{list}");
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
