//! Validation of custom objects by their schema, in Kubernetes' words.

use serde_json::Value;

use super::prune::join;
use super::rules::Rules;
use crate::error::Cause;
use crate::schema::{ListKind, Schema, Ty};

/// Everything wrong with `value`.
pub(crate) fn validate(schema: &Schema, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if value.is_null() && schema.nullable {
        return;
    }
    if !type_matches(schema.ty, value) {
        let found = type_of(value);
        let detail = format!(
            "{} in body must be of type {}: \"{found}\"",
            display(path),
            with_article_free(schema.ty)
        );
        causes.push(Cause::type_invalid(display_field(path), found, detail));
        return;
    }
    if let Some(rules) = &schema.rules {
        check_rules(rules, schema, value, path, causes);
    }
    if let (Some(format), Value::String(text)) = (&schema.format, value)
        && !format_ok(format, text)
    {
        let detail = format!("{} in body must be of type {format}: {text:?}", display(path));
        causes.push(Cause {
            reason: "FieldValueTypeInvalid",
            ..Cause::invalid(display_field(path), value, detail)
        });
    }
    if schema.embedded {
        for name in ["apiVersion", "kind"] {
            if value[name].as_str().is_none_or(str::is_empty) {
                causes.push(Cause::required(join(path, name), ""));
            }
        }
    }
    match value {
        Value::Object(fields) => {
            for (name, child) in fields {
                let path = join(path, name);
                match (schema.known_field(name), child) {
                    (None, _) => {}
                    // Lists of Kubernetes' own types are not looked at: finalizers may be there twice.
                    (Some(inner), Value::Array(items)) if schema.type_name.is_some() && inner.ty == Ty::Array => {
                        validate_items(inner, items, &path, causes);
                    }
                    (Some(inner), child) => validate(inner, child, &path, causes),
                }
            }
        }
        Value::Array(items) => {
            check_list(schema, items, path, causes);
            validate_items(schema, items, path, causes);
        }
        _ => {}
    }
}

fn validate_items(list: &Schema, items: &[Value], path: &str, causes: &mut Vec<Cause>) {
    for (index, item) in items.iter().enumerate() {
        if let Some(schema) = &list.items {
            validate(schema, item, &format!("{path}[{index}]"), causes);
        }
    }
}

fn display(path: &str) -> &str {
    if path.is_empty() { "<nil>" } else { path }
}

fn display_field(path: &str) -> String {
    display(path).to_owned()
}

fn with_article_free(ty: Ty) -> &'static str {
    if ty == Ty::IntOrString {
        "integer,string"
    } else {
        ty.openapi()
    }
}

/// JSON type name of a value.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if is_integer(n) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_integer(n: &serde_json::Number) -> bool {
    n.is_i64() || n.is_u64() || n.as_f64().is_some_and(|f| f.fract() == 0.0)
}

/// Whether a value is of the type.
pub(crate) fn type_matches(ty: Ty, value: &Value) -> bool {
    match ty {
        Ty::Any => true,
        Ty::Object => value.is_object(),
        Ty::Array => value.is_array(),
        Ty::String => value.is_string(),
        Ty::Boolean => value.is_boolean(),
        Ty::Integer => value.as_number().is_some_and(is_integer),
        Ty::Number => value.is_number(),
        Ty::IntOrString => value.is_string() || value.as_number().is_some_and(is_integer),
        Ty::Quantity => value.is_string() || value.is_number(),
    }
}

fn check_rules(rules: &Rules, schema: &Schema, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name = display(path).to_owned();
    let mut invalid = |detail: String| causes.push(Cause::invalid(display_field(path), value, detail));
    match value {
        Value::Number(number) => {
            let n = number.as_f64().unwrap_or_default();
            if let Some(min) = rules.minimum
                && (n < min || (rules.exclusive_minimum && n <= min))
            {
                let than = if rules.exclusive_minimum {
                    "greater than"
                } else {
                    "greater than or equal to"
                };
                invalid(format!("{name} in body should be {than} {}", number_text(min)));
            }
            if let Some(max) = rules.maximum
                && (n > max || (rules.exclusive_maximum && n >= max))
            {
                let than = if rules.exclusive_maximum {
                    "less than"
                } else {
                    "less than or equal to"
                };
                invalid(format!("{name} in body should be {than} {}", number_text(max)));
            }
            if let Some(step) = rules.multiple_of
                && step > 0.0
                && ((n / step) - (n / step).round()).abs() > 1e-9
            {
                invalid(format!("{name} in body should be a multiple of {}", number_text(step)));
            }
        }
        Value::String(text) => {
            let length = text.chars().count();
            if rules.min_length.is_some_and(|min| length < min) {
                invalid(format!(
                    "{name} in body should be at least {} chars long",
                    rules.min_length.unwrap_or(0)
                ));
            }
            if let Some(max) = rules.max_length.filter(|max| length > *max) {
                causes.push(Cause {
                    reason: "FieldValueTooLong",
                    message: format!("Too long: may not be more than {max} bytes"),
                    field: display_field(path),
                });
            }
            if let Some(pattern) = rules.pattern.as_ref().filter(|p| !p.is_match(text)) {
                let detail = format!("{name} in body should match '{pattern}'");
                causes.push(Cause::invalid(display_field(path), value, detail));
            }
        }
        Value::Array(items) => {
            if let Some(min) = rules.min_items.filter(|min| items.len() < *min) {
                let detail = format!("{name} in body should have at least {min} items");
                causes.push(Cause::invalid(display_field(path), &items.len().into(), detail));
            }
            if let Some(max) = rules.max_items.filter(|max| items.len() > *max) {
                causes.push(Cause {
                    reason: "FieldValueTooMany",
                    message: format!("Too many: {}: must have at most {max} items", items.len()),
                    field: display_field(path),
                });
            }
            if rules.unique_items && duplicate(items).is_some() {
                let detail = format!("{name} in body shouldn't contain duplicates");
                causes.push(Cause::invalid(display_field(path), value, detail));
            }
        }
        Value::Object(fields) => {
            if let Some(min) = rules.min_properties.filter(|min| fields.len() < *min) {
                invalid(format!("{name} in body should have at least {min} properties"));
            }
            if let Some(max) = rules.max_properties.filter(|max| fields.len() > *max) {
                causes.push(Cause {
                    reason: "FieldValueTooMany",
                    message: format!("Too many: {}: must have at most {max} items", fields.len()),
                    field: display_field(path),
                });
            }
            for required in rules.required.iter().filter(|r| !fields.contains_key(*r)) {
                causes.push(Cause::required(join(path, required), ""));
            }
        }
        _ => {}
    }
    if !rules.enumeration.is_empty() && !rules.enumeration.contains(value) {
        causes.push(Cause::not_supported(display_field(path), value, &rules.enumeration));
    }
    check_branches(rules, schema, value, path, causes);
}

fn errors_of(schema: &Schema, value: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    validate(schema, value, path, &mut causes);
    causes
}

fn check_branches(rules: &Rules, _schema: &Schema, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name = display(path);
    let passing = |branches: &[std::sync::Arc<Schema>]| {
        branches
            .iter()
            .filter(|branch| errors_of(branch, value, path).is_empty())
            .count()
    };
    for branch in &rules.all_of {
        causes.extend(errors_of(branch, value, path));
    }
    if !rules.any_of.is_empty() && passing(&rules.any_of) == 0 {
        let detail = format!("{name} in body must validate at least one schema (anyOf)");
        causes.push(Cause::invalid(display_field(path), value, detail));
    }
    if !rules.one_of.is_empty() {
        let count = passing(&rules.one_of);
        if count != 1 {
            let found = if count == 0 {
                "Found none valid".to_owned()
            } else {
                format!("Found {count} valid alternatives")
            };
            let detail = format!("{name} in body must validate one and only one schema (oneOf). {found}");
            causes.push(Cause::invalid(display_field(path), value, detail));
        }
    }
    if let Some(not) = rules.not.as_ref().filter(|not| errors_of(not, value, path).is_empty()) {
        let _ = not;
        let detail = format!("{name} in body must not validate the schema (not)");
        causes.push(Cause::invalid(display_field(path), value, detail));
    }
}

fn number_text(n: f64) -> String {
    if n.fract() == 0.0 {
        format!("{n:.0}")
    } else {
        n.to_string()
    }
}

fn duplicate(items: &[Value]) -> Option<usize> {
    (1..items.len()).find(|i| items[..*i].contains(&items[*i]))
}

fn check_list(schema: &Schema, items: &[Value], path: &str, causes: &mut Vec<Cause>) {
    match &schema.list {
        ListKind::Atomic => {}
        ListKind::Set => {
            if let Some(index) = duplicate(items) {
                causes.push(Cause::duplicate(format!("{path}[{index}]"), &items[index]));
            }
        }
        ListKind::Map(keys) => {
            let identity = |item: &Value| -> Value {
                let keys = keys.iter().filter_map(|k| item.get(k).map(|v| (k.clone(), v.clone())));
                Value::Object(keys.collect())
            };
            let identities = items.iter().map(identity).collect::<Vec<_>>();
            for index in 1..identities.len() {
                if identities[..index].contains(&identities[index]) {
                    causes.push(Cause::duplicate(format!("{path}[{index}]"), &identities[index]));
                }
            }
        }
    }
}

/// The formats Kubernetes checks; unknown ones pass.
fn format_ok(format: &str, text: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => text.split_once('/').is_some_and(|(ip, bits)| {
            ip.parse::<std::net::IpAddr>().is_ok_and(|ip| {
                bits.parse::<u8>()
                    .is_ok_and(|b| b <= if ip.is_ipv4() { 32 } else { 128 })
            })
        }),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => uuid::Uuid::parse_str(text).is_ok(),
        "uri" => text.parse::<http::Uri>().is_ok_and(|uri| uri.scheme().is_some()),
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        "duration" => go_duration_ok(text),
        "email" => text
            .split_once('@')
            .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()),
        "hostname" => !text.is_empty() && text.len() <= 253 && text.split('.').all(crate::builtin::names::is_label),
        _ => true,
    }
}

/// Go's `time.ParseDuration` grammar.
fn go_duration_ok(text: &str) -> bool {
    let mut rest = text.trim_start_matches(['+', '-']);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        if number == 0 || rest[..number].parse::<f64>().is_err() {
            return false;
        }
        rest = &rest[number..];
        let Some(unit) = ["ns", "us", "µs", "ms", "s", "m", "h"]
            .iter()
            .find(|unit| rest.starts_with(**unit))
        else {
            return false;
        };
        rest = &rest[unit.len()..];
    }
    true
}
