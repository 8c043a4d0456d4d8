//! One module per verb or subresource.

pub(crate) mod answer;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod mutate;
pub(crate) mod patch;
pub(crate) mod pods;
pub(crate) mod proxy;
pub(crate) mod scale;
pub(crate) mod watch;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response};

use crate::body::ApiBody;
use crate::engine::{Engine, Strictness, WriteOptions};
use crate::error::{ApiError, ApiResult, Cause};
use crate::registry::ResourceDef;
use crate::request::{Query, ResourcePath};

/// Longest name of a field manager, in bytes.
const MANAGER: usize = 128;

/// A request for a resource, understood as far as its path and query go.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) engine: Arc<Engine>,
    pub(crate) def: Arc<ResourceDef>,
    pub(crate) path: ResourcePath,
    pub(crate) query: Query,
    pub(crate) parts: Parts,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn namespace(&self) -> &str {
        self.path.namespace.as_deref().unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.path.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    pub(crate) fn content_type(&self) -> &str {
        let value = self
            .headers()
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
    }

    /// The body as an object, JSON or YAML by its content type.
    pub(crate) fn object(&self) -> ApiResult<serde_json::Value> {
        let content_type = self.content_type();
        match content_type {
            "" | "application/json" => crate::engine::decode::parse(&self.body, false),
            "application/yaml" => crate::engine::decode::parse(&self.body, true),
            crate::protobuf::CONTENT_TYPE => crate::engine::decode::protobuf(&self.body),
            _ => Err(ApiError::unsupported_media_type("application/json, application/yaml")),
        }
    }

    /// The body as an object, and the options of writing it, which know of the fields that it has twice.
    pub(crate) fn decoded(&self) -> ApiResult<(serde_json::Value, WriteOptions)> {
        let mut options = self.write_options()?;
        let object = self.object()?;
        crate::engine::decode::must_tell(&self.def, &object, &self.body)?;
        if options.strictness != Strictness::Ignore && matches!(self.content_type(), "" | "application/json") {
            options.duplicates = crate::engine::duplicates::find(&self.body);
        }
        Ok((object, options))
    }

    /// The kind of a write's options, as refusals name it.
    fn options_kind(&self) -> &'static str {
        match self.parts.method {
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            _ => "CreateOptions",
        }
    }

    /// Options of a write from the query and the user agent.
    pub(crate) fn write_options(&self) -> ApiResult<WriteOptions> {
        let refuse = |cause| Err(ApiError::invalid_options(self.options_kind(), &[cause]));
        let strictness = match self.query.get("fieldValidation") {
            None | Some("Warn") => Strictness::Warn,
            Some("Ignore") => Strictness::Ignore,
            Some("Strict") => Strictness::Strict,
            Some(other) => {
                let supported = ["", "Ignore", "Strict", "Warn"].map(serde_json::Value::from);
                return refuse(Cause::not_supported("fieldValidation", &other.into(), &supported));
            }
        };
        if self.query.get("fieldManager").is_some_and(|name| name.len() > MANAGER) {
            return refuse(Cause {
                reason: "FieldValueTooLong",
                message: format!("Too long: may not be more than {MANAGER} bytes"),
                field: "fieldManager".to_owned(),
            });
        }
        Ok(WriteOptions {
            dry_run: self.query.dry_run(self.options_kind())?,
            manager: self.manager(),
            strictness,
            subresource: self.path.subresource.clone().unwrap_or_default(),
            duplicates: Vec::new(),
            patch: None,
        })
    }

    /// The field manager: named, or what the user agent starts with.
    fn manager(&self) -> String {
        if let Some(name) = self.query.get("fieldManager") {
            return name.to_owned();
        }
        let agent = self
            .headers()
            .get(http::header::USER_AGENT)
            .and_then(|value| value.to_str().ok());
        let agent = agent.unwrap_or_default().split('/').next().unwrap_or_default();
        if agent.is_empty() {
            "unknown".to_owned()
        } else {
            agent.to_owned()
        }
    }
}

/// Subresources other than status.
pub(crate) async fn subresource(call: Call) -> ApiResult<Response<ApiBody>> {
    let name = call.path.subresource.clone().unwrap_or_default();
    match (name.as_str(), &call.parts.method) {
        ("scale", _) if call.def.scale.is_some() => scale::serve(&call),
        ("binding", &Method::POST) if call.def.is("", "Pod") => pods::bind(&call),
        ("eviction", &Method::POST) if call.def.is("", "Pod") => pods::evict(&call),
        ("exec" | "attach" | "portforward", &Method::GET | &Method::POST) if call.def.is("", "Pod") => {
            pods::locate(&call).and_then(|()| Err(ApiError::no_such_path()))
        }
        ("log", &Method::GET) if call.def.is("", "Pod") => log::serve(&call).await,
        ("proxy", _) if call.def.is("", "Pod") || call.def.is("", "Service") => proxy::serve(&call).await,
        ("binding" | "eviction" | "log", _) if call.def.is("", "Pod") => Err(ApiError::method_not_allowed()),
        // Of any kind that is defined, these could be there: they are looked for in vain.
        ("status" | "scale", _) if call.def.custom.is_some() => Err(call.def.not_found(call.name())),
        _ => Err(ApiError::no_such_path()),
    }
}
