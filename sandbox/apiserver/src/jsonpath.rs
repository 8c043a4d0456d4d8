//! The part of JSONPath that printer columns and scale paths use: fields, indexes, `[*]` and `[?(@.a=="b")]`.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
    All,
    Filter(Vec<Step>, String),
}

fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path
        .trim()
        .trim_start_matches('{')
        .trim_end_matches('}')
        .trim_start_matches('$');
    let mut out = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[?(") {
            let (condition, tail) = after.split_once(")]")?;
            let (left, right) = condition.split_once("==")?;
            let value = right.trim().trim_matches(['"', '\'']).to_owned();
            out.push(Step::Filter(steps(left.trim().strip_prefix('@')?)?, value));
            rest = tail;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (inner, tail) = after.split_once(']')?;
            out.push(match inner.trim() {
                "*" => Step::All,
                text => match text.parse() {
                    Ok(index) => Step::Index(index),
                    Err(_) => Step::Field(text.trim_matches(['"', '\'']).to_owned()),
                },
            });
            rest = tail;
        } else {
            let after = rest.strip_prefix('.').unwrap_or(rest);
            // A backslash keeps the next dot inside the name: `.metadata.labels.a\.b/c`.
            let mut name = String::new();
            let mut end = after.len();
            let mut characters = after.char_indices();
            while let Some((at, c)) = characters.next() {
                match c {
                    '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
                    '.' | '[' => {
                        end = at;
                        break;
                    }
                    other => name.push(other),
                }
            }
            if name.is_empty() && end == 0 && after.len() == rest.len() {
                return None;
            }
            if !name.is_empty() {
                out.push(Step::Field(name));
            }
            rest = &after[end..];
        }
    }
    Some(out)
}

fn select<'a>(nodes: Vec<&'a Value>, steps: &[Step]) -> Vec<&'a Value> {
    let mut nodes = nodes;
    for step in steps {
        nodes = nodes
            .into_iter()
            .flat_map(|node| -> Vec<&'a Value> {
                match step {
                    Step::Field(name) => node.get(name).into_iter().collect(),
                    Step::Index(index) => node.get(index).into_iter().collect(),
                    Step::All => match node {
                        Value::Array(items) => items.iter().collect(),
                        Value::Object(fields) => fields.values().collect(),
                        _ => Vec::new(),
                    },
                    Step::Filter(path, wanted) => {
                        let items = node.as_array().into_iter().flatten();
                        items
                            .filter(|item| select(vec![*item], path).iter().any(|v| text(v) == *wanted))
                            .collect()
                    }
                }
            })
            .collect();
    }
    nodes
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// All values at a path.
pub(crate) fn find<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    steps(path).map(|steps| select(vec![value], &steps)).unwrap_or_default()
}

/// Sets the value at a path of plain fields, making objects on the way. False where the path is anything else.
pub(crate) fn set(value: &mut Value, path: &str, new: Value) -> bool {
    let Some(steps) = steps(path) else { return false };
    let mut node = value;
    for step in &steps {
        let Step::Field(name) = step else { return false };
        if !node.is_object() {
            *node = Value::Object(serde_json::Map::new());
        }
        node = &mut node[name.as_str()];
    }
    *node = new;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_used_subset_works() {
        let object = json!({"metadata": {"labels": {"a.b/c": "x"}}, "status": {"n": 3,
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Done", "status": "False"}]}});
        let first = |path: &str| find(&object, path).first().map(|v| (*v).clone());
        assert_eq!(first(".status.n"), Some(json!(3)));
        assert_eq!(
            first(".status.conditions[?(@.type==\"Done\")].status"),
            Some(json!("False"))
        );
        assert_eq!(first(".status.conditions[1].type"), Some(json!("Done")));
        assert_eq!(first(".metadata.labels.a\\.b/c"), Some(json!("x")));
        assert_eq!(find(&object, ".status.conditions[*].type").len(), 2);
        assert_eq!(first(".status.missing"), None);
    }

    #[test]
    fn setting_makes_the_way() {
        let mut object = json!({});
        assert!(set(&mut object, ".spec.replicas", json!(2)));
        assert_eq!(object, json!({"spec": {"replicas": 2}}));
        assert!(!set(&mut object, ".spec[*]", json!(2)));
    }
}
