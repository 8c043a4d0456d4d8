//! `x-kubernetes-validations`, through `kube-cel`.

use kube_cel::{CompiledSchema, ErrorKind, RootContext, ValidationError, Validator, compile_schema};
use serde_json::Value;

use super::validate::type_of;
use crate::error::Cause;

/// The compiled rules of one version of a custom resource.
pub(crate) struct CelRules {
    compiled: CompiledSchema,
    context: RootContext,
}

impl std::fmt::Debug for CelRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CelRules")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

thread_local! {
    // A validator is not Sync, and building one registers some hundred functions.
    static VALIDATOR: Validator = Validator::new();
}

impl CelRules {
    /// Compiles the rules of a schema; none where it has no rules.
    pub(crate) fn compile(schema: &Value, group: &str, version: &str, kind: &str) -> Option<Self> {
        if !mentions_rules(schema) {
            return None;
        }
        let context = RootContext {
            api_version: format!("{group}/{version}"),
            api_group: group.to_owned(),
            kind: kind.to_owned(),
        };
        Some(Self {
            compiled: compile_schema(schema),
            context,
        })
    }

    /// Checks an object; `old` where it is an update, for transition rules.
    pub(crate) fn check(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let result = VALIDATOR.with(|validator| {
            validator.validate_compiled_with_context(&self.compiled, object, old, Some(&self.context))
        });
        let errors = result
            .err()
            .map(kube_cel::ValidationErrors::into_vec)
            .unwrap_or_default();
        errors.iter().map(|error| cause(object, error)).collect()
    }
}

/// Why one rule does not compile, if it does not.
pub(crate) fn compiles(rule: &Value) -> Result<(), String> {
    let compiled = compile_schema(&serde_json::json!({"type": "object", "x-kubernetes-validations": [rule]}));
    match compiled.compilation_errors().first() {
        Some(error) => Err(format!("compilation failed: {error}")),
        None => Ok(()),
    }
}

fn mentions_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key == "x-kubernetes-validations" || mentions_rules(value)),
        Value::Array(items) => items.iter().any(mentions_rules),
        _ => false,
    }
}

fn cause(object: &Value, error: &ValidationError) -> Cause {
    let path = error.field_path.trim_start_matches('.');
    let pointer = pointer(path);
    let value = object.pointer(&pointer).unwrap_or(&Value::Null);
    let field = if path.is_empty() {
        "<nil>".to_owned()
    } else {
        path.to_owned()
    };
    match (&error.kind, error.reason.as_deref()) {
        (ErrorKind::ValidationFailure, Some("FieldValueForbidden")) => Cause::forbidden(field, &error.message),
        (ErrorKind::ValidationFailure, Some("FieldValueRequired")) => Cause::required(field, &error.message),
        (ErrorKind::ValidationFailure, _) if value.is_object() || value.is_array() => {
            Cause::invalid_as_a_whole(field, &error.message)
        }
        (ErrorKind::ValidationFailure, _) => Cause::invalid(field, value, &error.message),
        // What cannot be evaluated is told with the type of the value.
        _ => Cause::invalid(field, &type_of(value).into(), &error.message),
    }
}

/// JSON pointer of a field path such as `spec.items[2].name`.
fn pointer(path: &str) -> String {
    let mut out = String::new();
    for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
        out.push('/');
        out.push_str(
            &part
                .trim_end_matches(']')
                .trim_matches('"')
                .replace('~', "~0")
                .replace('/', "~1"),
        );
    }
    out
}
