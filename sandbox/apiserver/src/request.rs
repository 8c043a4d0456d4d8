//! What a request asks for: its path and its query.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::json;

use crate::error::{ApiError, ApiResult, Cause};

/// A resource path, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    /// What follows a `proxy` subresource, with its leading slash.
    pub(crate) rest: String,
}

/// Undoes percent-encoding; malformed escapes stay as they are.
pub(crate) fn percent_decode(text: &str, plus_is_space: bool) -> Cow<'_, str> {
    let encoded = text.contains('%') || (plus_is_space && text.contains('+'));
    if !encoded {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let (mut out, mut index) = (Vec::with_capacity(bytes.len()), 0);
    while index < bytes.len() {
        let escape = text
            .get(index + 1..index + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[index], escape) {
            (b'%', Some(byte)) => {
                out.push(byte);
                index += 2;
            }
            (b'+', _) if plus_is_space => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        index += 1;
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Parses `/api/v1/…` and `/apis/GROUP/VERSION/…`; `None` for paths that name no resource.
pub(crate) fn parse_path(path: &str) -> Option<ResourcePath> {
    let mut parts = path.trim_start_matches('/').splitn(4, '/');
    let (group, version, rest) = match parts.next()? {
        "api" => {
            let version = parts.next()?;
            let start = "/api/".len() + version.len();
            (String::new(), version, path.get(start + 1..)?)
        }
        "apis" => {
            let group = parts.next()?;
            let version = parts.next()?;
            (group.to_owned(), version, parts.next()?)
        }
        _ => return None,
    };
    let mut out = ResourcePath {
        group,
        version: version.to_owned(),
        ..ResourcePath::default()
    };
    let segments: Vec<&str> = rest.split('/').collect();
    let mut segments = segments.as_slice();
    // `namespaces/NAME` alone is the Namespace object, and `namespaces/NAME/status` its subresource.
    if let ["namespaces", namespace, resource, ..] = segments
        && !resource.is_empty()
        && !(out.group.is_empty() && matches!(*resource, "status" | "finalize"))
    {
        out.namespace = Some(percent_decode(namespace, false).into_owned());
        segments = &segments[2..];
    }
    let (resource, segments) = segments.split_first()?;
    if resource.is_empty() {
        return None;
    }
    (*resource).clone_into(&mut out.resource);
    if let Some((name, segments)) = segments.split_first()
        && !name.is_empty()
    {
        out.name = Some(percent_decode(name, false).into_owned());
        if let Some((subresource, tail)) = segments.split_first() {
            out.subresource = Some((*subresource).to_owned());
            if *subresource == "proxy" && !tail.is_empty() {
                out.rest = format!("/{}", tail.join("/"));
            } else if !tail.is_empty() {
                return None;
            }
        }
    }
    Some(out)
}

/// The query parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (
                        percent_decode(key, true).into_owned(),
                        percent_decode(value, true).into_owned(),
                    )
                })
                .collect(),
        )
    }

    /// A parameter that is present and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A switch: `true`, `1`, or present without a value.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|value| matches!(value.as_str(), "" | "true" | "1"))
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> ApiResult<Option<u64>> {
        let parse = |value: &str| {
            value
                .parse()
                .map_err(|_| ApiError::bad_request(format!("invalid value {value:?} for parameter {name}")))
        };
        self.get(name).map(parse).transpose()
    }

    /// A resource version; `0` counts as given. The error is what upstream says of one that is no number.
    pub(crate) fn resource_version(&self) -> Result<Option<u64>, String> {
        let parse = |value: &str| {
            let why = || {
                format!(
                    "resourceVersion: Invalid value: {value:?}: strconv.ParseUint: parsing {value:?}: invalid syntax"
                )
            };
            value.parse().map_err(|_| why())
        };
        self.get("resourceVersion").map(parse).transpose()
    }

    /// Whether nothing must be persisted. `options` is the kind that a refusal names, such as `CreateOptions`.
    pub(crate) fn dry_run(&self, options: &str) -> ApiResult<bool> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                let cause = Cause::not_supported("dryRun", &json!([other]), &["All".into()]);
                Err(ApiError::invalid_options(options, &[cause]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_name_their_parts() {
        let path = parse_path("/api/v1/namespaces/a/pods/p:8080/proxy/x/y").unwrap();
        assert_eq!((path.namespace.as_deref(), path.resource.as_str()), (Some("a"), "pods"));
        assert_eq!((path.name.as_deref(), path.rest.as_str()), (Some("p:8080"), "/x/y"));
        let path = parse_path("/api/v1/namespaces/a").unwrap();
        assert_eq!(
            (path.resource.as_str(), path.name.as_deref(), path.namespace),
            ("namespaces", Some("a"), None)
        );
        let path = parse_path("/api/v1/namespaces/a/status").unwrap();
        assert_eq!(
            (path.resource.as_str(), path.subresource.as_deref()),
            ("namespaces", Some("status"))
        );
        let path = parse_path("/apis/apps/v1/deployments").unwrap();
        assert_eq!(
            (path.group.as_str(), path.resource.as_str(), path.name),
            ("apps", "deployments", None)
        );
        assert_eq!(parse_path("/apis/apps/v1"), None);
        assert_eq!(parse_path("/healthz"), None);
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse(Some("labelSelector=app%3Dweb%2Ctier+in+(a)&force=true&watch="));
        assert_eq!(query.get("labelSelector"), Some("app=web,tier in (a)"));
        assert!(query.flag("force") && query.flag("watch") && !query.flag("missing"));
    }
}
