//! `HTTPChaos`: requests or responses are aborted, late or changed.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::experiment;
use crate::{
    selector::{Mode, PodSelector},
    status::ChaosStatus,
};

/// HTTP requests or responses of pods are aborted, late or changed.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "chaos-mesh.org",
    version = "v1alpha1",
    kind = "HTTPChaos",
    plural = "httpchaos",
    singular = "httpchaos",
    namespaced,
    status = "ChaosStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct HTTPChaosSpec {
    /// Which pods.
    pub selector: PodSelector,
    /// How many of them.
    pub mode: Mode,
    /// The number that the mode needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How long it lasts, in Go's notation; until it is deleted where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// What is touched.
    pub target: HttpTarget,
    /// Port that the pods serve.
    #[serde(default)]
    pub port: i32,
    /// Path of the requests concerned, a glob; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Method of the requests concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Status code of the responses concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Headers of the requests concerned. In snake case on the wire, alone among its neighbours.
    #[serde(rename = "request_headers", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub request_headers: BTreeMap<String, String>,
    /// Headers of the responses concerned. In snake case on the wire, too.
    #[serde(rename = "response_headers", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_headers: BTreeMap<String, String>,
    /// The connection is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<bool>,
    /// It is late by this, a Go duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// Parts are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<Replace>,
    /// Parts are added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Patch>,
}

/// What is touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpTarget {
    /// The request.
    #[default]
    Request,
    /// The response.
    Response,
}

/// Parts that are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replace {
    /// Path of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Method of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Status code of a response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Body, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Query parameters of a request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queries: BTreeMap<String, String>,
    /// Headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// Parts that are added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Patch {
    /// Changes to the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<PatchBody>,
    /// Query parameters that are appended, as pairs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<Vec<String>>,
    /// Headers that are appended, as pairs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Vec<String>>,
}

/// Changes to a body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PatchBody {
    /// `JSON`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A JSON merge patch.
    pub value: String,
}

experiment!(HTTPChaos);
