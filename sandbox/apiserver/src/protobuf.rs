//! The few messages that kubectl's imperative commands (`create namespace`, `create configmap`, `drain`, …) send as
//! protobuf even to a server that answers in JSON. A table names the fields; anything else that is set is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Content type of Kubernetes' protobuf.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

#[derive(Clone, Copy)]
enum Field {
    Text,
    Bytes,
    Number,
    Bool,
    Message(&'static [Row]),
    TextMap,
    BytesMap,
    Texts,
    Messages(&'static [Row]),
}

/// Number, JSON name and form of a field.
type Row = (u64, &'static str, Field);

const META: &[Row] = &[
    (1, "name", Field::Text),
    (2, "generateName", Field::Text),
    (3, "namespace", Field::Text),
    (5, "uid", Field::Text),
    (6, "resourceVersion", Field::Text),
    (11, "labels", Field::TextMap),
    (12, "annotations", Field::TextMap),
];
const NAMESPACE: &[Row] = &[(1, "metadata", Field::Message(META))];
const CONFIG_MAP: &[Row] = &[
    (1, "metadata", Field::Message(META)),
    (2, "data", Field::TextMap),
    (3, "binaryData", Field::BytesMap),
    (4, "immutable", Field::Bool),
];
const SECRET: &[Row] = &[
    (1, "metadata", Field::Message(META)),
    (2, "data", Field::BytesMap),
    (3, "type", Field::Text),
    (4, "stringData", Field::TextMap),
    (5, "immutable", Field::Bool),
];
const PRECONDITIONS: &[Row] = &[(1, "uid", Field::Text), (2, "resourceVersion", Field::Text)];
const DELETE_OPTIONS: &[Row] = &[
    (1, "gracePeriodSeconds", Field::Number),
    (2, "preconditions", Field::Message(PRECONDITIONS)),
    (3, "orphanDependents", Field::Bool),
    (4, "propagationPolicy", Field::Text),
    (5, "dryRun", Field::Texts),
];
const EVICTION: &[Row] = &[
    (1, "metadata", Field::Message(META)),
    (2, "deleteOptions", Field::Message(DELETE_OPTIONS)),
];
const RESOURCE_ATTRIBUTES: &[Row] = &[
    (1, "namespace", Field::Text),
    (2, "verb", Field::Text),
    (3, "group", Field::Text),
    (4, "version", Field::Text),
    (5, "resource", Field::Text),
    (6, "subresource", Field::Text),
    (7, "name", Field::Text),
];
const NON_RESOURCE_ATTRIBUTES: &[Row] = &[(1, "path", Field::Text), (2, "verb", Field::Text)];
const ACCESS_SPEC: &[Row] = &[
    (1, "resourceAttributes", Field::Message(RESOURCE_ATTRIBUTES)),
    (2, "nonResourceAttributes", Field::Message(NON_RESOURCE_ATTRIBUTES)),
];
const ACCESS_REVIEW: &[Row] = &[
    (1, "metadata", Field::Message(META)),
    (2, "spec", Field::Message(ACCESS_SPEC)),
];
const RULES_SPEC: &[Row] = &[(1, "namespace", Field::Text)];
const RULES_REVIEW: &[Row] = &[
    (1, "metadata", Field::Message(META)),
    (2, "spec", Field::Message(RULES_SPEC)),
];
const SELECTOR: &[Row] = &[(1, "matchLabels", Field::TextMap)];
const PORT: &[Row] = &[
    (1, "name", Field::Text),
    (2, "hostPort", Field::Number),
    (3, "containerPort", Field::Number),
    (4, "protocol", Field::Text),
];
const CONTAINER: &[Row] = &[
    (1, "name", Field::Text),
    (2, "image", Field::Text),
    (3, "command", Field::Texts),
    (4, "args", Field::Texts),
    (6, "ports", Field::Messages(PORT)),
];
const POD_SPEC: &[Row] = &[
    (2, "containers", Field::Messages(CONTAINER)),
    (3, "restartPolicy", Field::Text),
];
const TEMPLATE: &[Row] = &[
    (1, "metadata", Field::Message(META)),
    (2, "spec", Field::Message(POD_SPEC)),
];
const DEPLOYMENT_SPEC: &[Row] = &[
    (1, "replicas", Field::Number),
    (2, "selector", Field::Message(SELECTOR)),
    (3, "template", Field::Message(TEMPLATE)),
];
const DEPLOYMENT: &[Row] = &[
    (1, "metadata", Field::Message(META)),
    (2, "spec", Field::Message(DEPLOYMENT_SPEC)),
];

fn message(kind: &str) -> Option<&'static [Row]> {
    Some(match kind {
        "Namespace" | "ServiceAccount" => NAMESPACE,
        "ConfigMap" => CONFIG_MAP,
        "Secret" => SECRET,
        "Deployment" => DEPLOYMENT,
        "DeleteOptions" => DELETE_OPTIONS,
        "Eviction" => EVICTION,
        "SelfSubjectAccessReview" => ACCESS_REVIEW,
        "SelfSubjectRulesReview" => RULES_REVIEW,
        _ => return None,
    })
}

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// Not Kubernetes' protobuf, or cut short.
    #[error("the protobuf body is malformed")]
    Malformed,
    /// A kind, or a field of one, that is accepted as JSON only.
    #[error("{0} is accepted as application/json only")]
    Unsupported(String),
}

#[derive(Clone, Copy)]
enum Raw<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

fn varint(input: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first().ok_or(DecodeError::Malformed)?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DecodeError::Malformed)
}

fn next<'a>(input: &mut &'a [u8]) -> Result<(u64, Raw<'a>), DecodeError> {
    let tag = varint(input)?;
    let take = |input: &mut &'a [u8], length: usize| {
        let (head, rest) = input.split_at_checked(length).ok_or(DecodeError::Malformed)?;
        *input = rest;
        Ok(head)
    };
    let raw = match tag & 7 {
        0 => Raw::Varint(varint(input)?),
        1 => Raw::Bytes(take(input, 8)?),
        2 => {
            let length = usize::try_from(varint(input)?).map_err(|_| DecodeError::Malformed)?;
            Raw::Bytes(take(input, length)?)
        }
        5 => Raw::Bytes(take(input, 4)?),
        _ => return Err(DecodeError::Malformed),
    };
    Ok((tag >> 3, raw))
}

fn text(bytes: &[u8]) -> Result<Value, DecodeError> {
    std::str::from_utf8(bytes)
        .map(Value::from)
        .map_err(|_| DecodeError::Malformed)
}

/// Whether a message holds nothing but zero values, as Go's encoder writes for structs that are not set.
fn is_zero(raw: Raw<'_>, depth: usize) -> bool {
    match raw {
        Raw::Varint(value) => value == 0,
        Raw::Bytes([]) => true,
        Raw::Bytes(mut bytes) if depth < 8 => {
            while !bytes.is_empty() {
                match next(&mut bytes) {
                    Ok((_, raw)) if is_zero(raw, depth + 1) => {}
                    _ => return false,
                }
            }
            true
        }
        Raw::Bytes(_) => false,
    }
}

fn decode_message(rows: &[Row], mut input: &[u8], path: &str) -> Result<Map<String, Value>, DecodeError> {
    let mut out = Map::new();
    while !input.is_empty() {
        let (number, raw) = next(&mut input)?;
        let Some((_, name, field)) = rows.iter().find(|row| row.0 == number) else {
            if is_zero(raw, 0) {
                continue;
            }
            return Err(DecodeError::Unsupported(format!("field {number} of {path}")));
        };
        let here = || format!("{path}.{name}");
        match (field, raw) {
            // An empty string is how an unset one is sent.
            (Field::Text, Raw::Bytes([])) => {}
            (Field::Text, Raw::Bytes(bytes)) => drop(out.insert((*name).to_owned(), text(bytes)?)),
            (Field::Bytes, Raw::Bytes(bytes)) => drop(out.insert((*name).to_owned(), STANDARD.encode(bytes).into())),
            (Field::Number, Raw::Varint(value)) => drop(out.insert((*name).to_owned(), value.cast_signed().into())),
            (Field::Bool, Raw::Varint(value)) => drop(out.insert((*name).to_owned(), (value != 0).into())),
            (Field::Message(rows), Raw::Bytes(bytes)) => {
                out.insert((*name).to_owned(), decode_message(rows, bytes, &here())?.into());
            }
            (Field::Messages(rows), Raw::Bytes(bytes)) => {
                push(&mut out, name, decode_message(rows, bytes, &here())?.into());
            }
            (Field::Texts, Raw::Bytes(bytes)) => push(&mut out, name, text(bytes)?),
            (Field::TextMap | Field::BytesMap, Raw::Bytes(bytes)) => {
                let value = if matches!(field, Field::TextMap) {
                    Field::Text
                } else {
                    Field::Bytes
                };
                let mut entry = decode_message(&[(1, "key", Field::Text), (2, "value", value)], bytes, &here())?;
                let key = entry.get("key").and_then(Value::as_str).unwrap_or_default().to_owned();
                let value = entry.remove("value").unwrap_or_else(|| "".into());
                let map = out
                    .entry((*name).to_owned())
                    .or_insert_with(|| Value::Object(Map::new()));
                map[key] = value;
            }
            _ => return Err(DecodeError::Malformed),
        }
    }
    Ok(out)
}

fn push(out: &mut Map<String, Value>, name: &str, value: Value) {
    if let Value::Array(list) = out.entry(name.to_owned()).or_insert_with(|| Value::Array(Vec::new())) {
        list.push(value);
    }
}

/// Decodes a body to the JSON form of its object.
pub(crate) fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    const ENVELOPE: &[Row] = &[
        (1, "type", Field::Message(TYPE)),
        (2, "raw", Field::Bytes),
        (4, "contentType", Field::Text),
    ];
    const TYPE: &[Row] = &[(1, "apiVersion", Field::Text), (2, "kind", Field::Text)];
    let envelope = body.strip_prefix(MAGIC).ok_or(DecodeError::Malformed)?;
    let envelope = decode_message(ENVELOPE, envelope, "Unknown")?;
    let part = |name: &str| {
        envelope
            .get("type")
            .and_then(|t| t[name].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let (kind, api_version) = (part("kind"), part("apiVersion"));
    let rows = message(&kind).ok_or_else(|| DecodeError::Unsupported(kind.clone()))?;
    let raw = envelope.get("raw").and_then(Value::as_str).unwrap_or_default();
    let raw = STANDARD.decode(raw).map_err(|_| DecodeError::Malformed)?;
    let mut object = decode_message(rows, &raw, &kind)?;
    object.insert("kind".to_owned(), kind.into());
    object.insert("apiVersion".to_owned(), api_version.into());
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    fn envelope(kind: &str, raw: &[u8]) -> Vec<u8> {
        let ty = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [
            MAGIC.to_vec(),
            field(1, &ty),
            field(2, raw),
            field(3, b""),
            field(4, b""),
        ]
        .concat()
    }

    #[test]
    fn a_config_map_is_read() {
        let entry = [field(1, b"k"), field(2, b"v")].concat();
        let meta = [field(1, b"a"), field(2, b""), field(8, &field(1, b""))].concat();
        let raw = [field(1, &meta), field(2, &entry)].concat();
        assert_eq!(
            decode(&envelope("ConfigMap", &raw)).unwrap(),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}})
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_not_dropped() {
        let raw = field(2, &field(9, b"set"));
        let error = decode(&envelope("Deployment", &raw)).unwrap_err();
        assert_eq!(error, DecodeError::Unsupported("field 9 of Deployment.spec".into()));
        assert_eq!(
            decode(&envelope("Gadget", b"")).unwrap_err(),
            DecodeError::Unsupported("Gadget".into())
        );
        assert_eq!(decode(b"k8s\0\x0a\xff").unwrap_err(), DecodeError::Malformed);
        assert_eq!(decode(b"{}").unwrap_err(), DecodeError::Malformed);
    }
}
