//! The scale subresource.

use http::{Method, Response};
use serde_json::{Value, json};

use super::{Call, answer};
use crate::body::ApiBody;
use crate::engine::decode;
use crate::engine::write::Proposal;
use crate::error::{ApiError, ApiResult, Cause};
use crate::jsonpath;
use crate::patch::{json as json_patch, merge};
use crate::registry::{ResourceDef, Scale};

/// What a write makes of the current Scale.
type Change = Box<dyn Fn(&Value) -> ApiResult<Value>>;

/// GET, PUT and PATCH of `scale`.
pub(crate) fn serve(call: &Call) -> ApiResult<Response<ApiBody>> {
    let def = &call.def;
    let Some(paths) = &def.scale else {
        return Err(ApiError::no_such_path());
    };
    let (namespace, name) = (call.namespace(), call.name());
    let change: Change = match call.parts.method {
        Method::GET => {
            let object = call
                .engine
                .store
                .get(&def.storage, namespace, name)
                .ok_or_else(|| def.not_found(name))?;
            return Ok(answer::json(&render(def, paths, &def.served(&object.value))));
        }
        Method::PUT => {
            let scale = call.object()?;
            Box::new(move |_| Ok(scale.clone()))
        }
        Method::PATCH => {
            let patch = decode::parse(&call.body, true)?;
            let json = call.content_type() == "application/json-patch+json";
            Box::new(move |current| {
                if json {
                    return json_patch::apply(current, &patch);
                }
                let mut scale = current.clone();
                merge::apply(&mut scale, &patch);
                Ok(scale)
            })
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    let done = call
        .engine
        .update(def, namespace, name, &call.write_options()?, |current| {
            let scale = change(&render(def, paths, current))?;
            let replicas = scale["spec"]
                .get("replicas")
                .filter(|r| !r.is_null())
                .cloned()
                .unwrap_or_else(|| 0.into());
            if replicas.as_i64().is_none_or(|n| n < 0) {
                let detail = "must be greater than or equal to 0";
                let cause = Cause::invalid("spec.replicas", &replicas, detail);
                return Err(ApiError::invalid("autoscaling", "Scale", name, &[cause]));
            }
            let mut object = current.clone();
            jsonpath::set(&mut object, &paths.spec, replicas);
            if let Some(version) = scale["metadata"]["resourceVersion"].as_str().filter(|v| !v.is_empty()) {
                object["metadata"]["resourceVersion"] = version.into();
            }
            Ok(Proposal { object, managed: false })
        })?;
    Ok(answer::json(&render(def, paths, &def.served(&done.object.value))))
}

fn render(def: &ResourceDef, paths: &Scale, object: &Value) -> Value {
    let number = |path: &str| {
        jsonpath::find(object, path)
            .first()
            .and_then(|v| v.as_i64())
            .unwrap_or_default()
    };
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    let selector = match (&def.custom, &paths.selector) {
        (Some(_), Some(path)) => jsonpath::find(object, path)
            .first()
            .and_then(|v| v.as_str())
            .unwrap_or_default()
            .to_owned(),
        (Some(_), None) => String::new(),
        (None, _) => selector_text(&object["spec"]["selector"]),
    };
    let mut scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {}, "status": {"replicas": number(&paths.status)}});
    // None is written as nothing, as in every field that may be left out.
    if number(&paths.spec) != 0 {
        scale["spec"]["replicas"] = number(&paths.spec).into();
    }
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// A label selector in its query form.
fn selector_text(selector: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<String> = labels.map(|(key, value)| format!("{key}={}", text(value))).collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = text(&expression["key"]);
        let values = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect::<Vec<_>>()
            .join(",");
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("Exists") => key,
            _ => format!("!{key}"),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_print_as_queries() {
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"}]});
        assert_eq!(selector_text(&selector), "a=b,c in (d,e),!f");
    }
}
