//! GET of one object and of lists.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Call, answer};
use crate::body::ApiBody;
use crate::error::{ApiError, ApiResult, Cause};
use crate::registry::ResourceDef;
use crate::selector::{FieldSelector, LabelSelector};
use crate::store::object::Stored;
use crate::table;

/// Label and field selector of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Selector {
    pub(crate) fn of(call: &Call) -> ApiResult<Self> {
        Ok(Self {
            labels: LabelSelector::parse(call.query.get("labelSelector").unwrap_or_default())?,
            fields: FieldSelector::parse(call.query.get("fieldSelector").unwrap_or_default(), &call.def.fields)?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }
}

/// GET of one object.
pub(crate) fn get(call: &Call) -> ApiResult<Response<ApiBody>> {
    let def = &call.def;
    let object = call.engine.store.get(&def.storage, call.namespace(), call.name());
    let requested = call.query.resource_version().map_err(ApiError::unmapped)?;
    check_reached(call, requested)?;
    let object = object.ok_or_else(|| def.not_found(call.name()))?;
    if let Some(kind) = table::wanted(call.headers(), call.query.get("includeObject")) {
        return Ok(answer::json(&table::render_one(def, &object, &kind)));
    }
    Ok(answer::json_bytes(StatusCode::OK, answer::object_json(def, &object)))
}

/// GET of a collection.
pub(crate) fn list(call: &Call) -> ApiResult<Response<ApiBody>> {
    let (def, store) = (&call.def, &call.engine.store);
    let selector = Selector::of(call)?;
    let requested = call.query.resource_version();
    let requested = requested.map_err(|why| ApiError::bad_request(format!("invalid resource version: {why}")))?;
    check_options(call)?;
    check_reached(call, requested)?;
    let limit = call
        .query
        .number("limit")?
        .filter(|limit| *limit > 0)
        .and_then(|limit| usize::try_from(limit).ok());
    let start = call.query.get("continue").map(Continue::parse).transpose()?;
    if start.is_some() && requested.is_some_and(|revision| revision > 0) {
        let message = "specifying resource version is not allowed when using continue";
        return Err(ApiError::bad_request(message));
    }
    // A later page is of the same moment as the first one, and so is a list of exactly one version.
    let exact = requested.filter(|_| call.query.get("resourceVersionMatch") == Some("Exact"));
    let moment = start.as_ref().map(|start| start.revision).or(exact);
    let from = start
        .as_ref()
        .map(|start| (start.namespace.as_str(), start.name.as_str()));
    let namespace = call.path.namespace.as_deref();
    let named = selector.fields.name();
    let matches = |object: &Stored| {
        if selector.is_empty() {
            return true;
        }
        if named.is_some_and(|name| object.value["metadata"]["name"] != name) {
            return false;
        }
        if def.converts() {
            selector.matches(&def.served(&object.value))
        } else {
            selector.matches(&object.value)
        }
    };
    let mut page = match moment {
        None => store.list(&def.storage, namespace, from, limit, matches),
        Some(moment) => store.list_at(&def.storage, namespace, from, limit, moment, matches).map_err(|_| {
            ApiError::expired(if start.is_some() {
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter."
            } else {
                "The resourceVersion for the provided list is too old."
            })
        })?,
    };
    let revision = page.revision;
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let Some((namespace, name)) = page.next.take() {
        metadata["continue"] = Continue {
            revision,
            namespace,
            name,
        }
        .to_text()
        .into();
        if selector.is_empty() {
            metadata["remainingItemCount"] = page.remaining.into();
        }
    }
    if let Some(kind) = table::wanted(call.headers(), call.query.get("includeObject")) {
        return Ok(answer::json(&table::render(def, &page.items, &kind, &metadata)));
    }
    if def.custom.is_some() && metadata.get("continue").is_none() {
        // Where nothing is known of a type, nothing is left out for being empty.
        metadata["continue"] = "".into();
    }
    Ok(answer::json_bytes(StatusCode::OK, render(def, &page.items, &metadata)))
}

/// Refuses a version that is not there yet.
fn check_reached(call: &Call, requested: Option<u64>) -> ApiResult<()> {
    let current = call.engine.store.revision();
    let Some(wanted) = requested.filter(|wanted| *wanted > current) else {
        return Ok(());
    };
    let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    let cause = json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1});
    Err(ApiError {
        details: Some(Box::new(cause)),
        ..ApiError::timeout(message)
    })
}

/// Refuses options that make no sense, for a list or, where `watch` is asked for, a watch.
pub(super) fn check_options(call: &Call) -> ApiResult<()> {
    let (version, how) = (
        call.query.get("resourceVersion"),
        call.query.get("resourceVersionMatch"),
    );
    let initial = call.query.get("sendInitialEvents").is_some();
    let mut causes = Vec::new();
    let mut forbid = |field: &str, detail: &str| causes.push(Cause::forbidden(field, detail));
    let watch = call.query.flag("watch");
    if !watch && how.is_some() && version.is_none() {
        forbid(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        );
    }
    match (watch, initial, how) {
        (true, false, Some(_)) => forbid(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (true, true, how) if how != Some("NotOlderThan") => forbid(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (false, true, _) => forbid("sendInitialEvents", "sendInitialEvents is forbidden for list"),
        (false, false, Some(_)) if version.is_some() && call.query.get("continue").is_some() => forbid(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden when continue is provided",
        ),
        (false, false, Some("Exact")) if version == Some("0") => forbid(
            "resourceVersionMatch",
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (false, false, Some(other)) if version.is_some() && !matches!(other, "Exact" | "NotOlderThan") => {
            let supported = ["Exact", "NotOlderThan", ""].map(Value::from);
            causes.push(Cause::not_supported("resourceVersionMatch", &other.into(), &supported));
        }
        _ => {}
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid_options("ListOptions", &causes))
    }
}

/// A list, put together from the items' rendered JSON.
fn render(def: &ResourceDef, items: &[std::sync::Arc<Stored>], metadata: &Value) -> Bytes {
    let rendered: Vec<Bytes> = items.iter().map(|item| answer::object_json(def, item)).collect();
    let mut out = BytesMut::with_capacity(256 + rendered.iter().map(|b| b.len() + 1).sum::<usize>());
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        def.list_kind,
        def.api_version()
    );
    out.put_slice(head.as_bytes());
    for (index, item) in rendered.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(item);
    }
    out.put_slice(b"]}");
    out.freeze()
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Continue {
    revision: u64,
    namespace: String,
    name: String,
}

impl Continue {
    fn parse(token: &str) -> ApiResult<Self> {
        let invalid = || ApiError::bad_request("continue key is not valid");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let json: Value = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        let text = |name: &str| json[name].as_str().map(str::to_owned).ok_or_else(invalid);
        Ok(Self {
            revision: json["rv"].as_u64().ok_or_else(invalid)?,
            namespace: text("namespace")?,
            name: text("name")?,
        })
    }

    fn to_text(&self) -> String {
        let json = json!({"v": "meta.k8s.io/v1", "rv": self.revision, "namespace": self.namespace, "name": self.name});
        URL_SAFE_NO_PAD.encode(json.to_string())
    }
}
