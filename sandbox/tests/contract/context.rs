//! What a test holds: a client, a namespace of its own, and requests in the words of HTTP, because status codes, reasons
//! and whole bodies are what the contract is about.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

use crate::trace::{Exchange, Trace};

/// Longest that anything awaited may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// The same where it is known not to happen: such a test need not be waited for as long.
pub(crate) const IN_VAIN: Duration = Duration::from_secs(2);

pub(crate) const JSON: &str = "application/json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
pub(crate) const APPLY_PATCH: &str = "application/apply-patch+yaml";
/// What kubectl asks for when it prints.
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// A test's connection to the server under test.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: kube::Client,
    /// A namespace that is this test's own.
    pub(crate) ns: String,
    /// A DNS label that is this test's own, for what has no namespace.
    pub(crate) id: String,
    pub(crate) trace: Arc<Mutex<Trace>>,
    pub(crate) expire: Arc<dyn Fn() + Send + Sync>,
    /// How long this test waits for anything.
    pub(crate) patience: Duration,
}

/// What the server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) asked: String,
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(
            (200..300).contains(&self.code),
            "{}: {} {}",
            self.asked,
            self.code,
            self.body
        );
        self.body
    }

    /// The body of a success with this very code.
    #[track_caller]
    pub(crate) fn code(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}: {}", self.asked, self.body);
        self.body
    }

    /// The Status of a refusal.
    #[track_caller]
    pub(crate) fn refused(self, code: u16, reason: &str) -> Value {
        assert_eq!(
            (self.code, self.body["reason"].as_str().unwrap_or_default()),
            (code, reason),
            "{}: {}",
            self.asked,
            self.body
        );
        self.body
    }

    /// A refusal as invalid that names these fields.
    #[track_caller]
    pub(crate) fn invalid(self, fields: &[&str]) -> Value {
        let body = self.refused(422, "Invalid");
        let causes = body["details"]["causes"].as_array().cloned().unwrap_or_default();
        for field in fields {
            assert!(
                causes.iter().any(|cause| cause["field"] == **field),
                "no cause names {field}: {body}"
            );
        }
        body
    }
}

/// A request, as [`Context::send`] takes it.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: String,
    pub(crate) content_type: &'a str,
    pub(crate) accept: &'a str,
    pub(crate) body: Option<&'a Value>,
}

impl<'a> Ask<'a> {
    /// A request in JSON, for JSON.
    pub(crate) fn json(method: &'a str, path: impl Into<String>, body: Option<&'a Value>) -> Self {
        Self {
            method,
            path: path.into(),
            content_type: JSON,
            accept: JSON,
            body,
        }
    }
}

impl Context {
    /// The path of a namespaced resource of `group_version` ("v1", "apps/v1") in this test's namespace.
    pub(crate) fn path(&self, group_version: &str, resource: &str) -> String {
        let root = if group_version.contains('/') { "apis" } else { "api" };
        format!("/{root}/{group_version}/namespaces/{}/{resource}", self.ns)
    }

    /// ConfigMaps of this test.
    pub(crate) fn maps(&self) -> String {
        self.path("v1", "configmaps")
    }

    pub(crate) async fn send(&self, ask: Ask<'_>) -> Answer {
        let answer = self.quiet(ask.clone()).await;
        self.trace.lock().unwrap().push(Exchange {
            method: ask.method.to_owned(),
            path: ask.path,
            content_type: ask.body.map(|_| ask.content_type.to_owned()),
            sent: ask.body.cloned(),
            code: answer.code,
            warnings: answer.warnings.clone(),
            body: answer.body.clone(),
        });
        answer
    }

    /// A request that is no part of the trace: how often it is made depends on time.
    pub(crate) async fn quiet(&self, ask: Ask<'_>) -> Answer {
        let asked = format!("{} {}", ask.method, ask.path);
        let body = ask.body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let mut request = http::Request::builder()
            .method(ask.method)
            .uri(&ask.path)
            .header("accept", ask.accept);
        if ask.body.is_some() {
            request = request.header("content-type", ask.content_type);
        }
        let response = self.client.send(request.body(Body::from(body)).unwrap()).await;
        let response = response.unwrap_or_else(|error| panic!("{asked}: {error}"));
        let code = response.status().as_u16();
        let warnings = response
            .headers()
            .get_all("warning")
            .iter()
            .map(|w| w.to_str().unwrap().to_owned())
            .collect();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        Answer {
            asked,
            code,
            body,
            warnings,
        }
    }

    pub(crate) async fn get(&self, path: impl Into<String>) -> Answer {
        self.bare("GET", path.into()).await
    }

    pub(crate) async fn get_as(&self, path: impl Into<String>, accept: &str) -> Answer {
        let ask = Ask::json("GET", path, None);
        self.send(Ask { accept, ..ask }).await
    }

    pub(crate) async fn post(&self, path: impl Into<String>, body: &Value) -> Answer {
        self.with("POST", path.into(), JSON, body).await
    }

    pub(crate) async fn put(&self, path: impl Into<String>, body: &Value) -> Answer {
        self.with("PUT", path.into(), JSON, body).await
    }

    pub(crate) async fn patch(&self, path: impl Into<String>, content_type: &str, body: &Value) -> Answer {
        self.with("PATCH", path.into(), content_type, body).await
    }

    pub(crate) async fn delete(&self, path: impl Into<String>) -> Answer {
        self.bare("DELETE", path.into()).await
    }

    pub(crate) async fn delete_with(&self, path: impl Into<String>, options: &Value) -> Answer {
        self.with("DELETE", path.into(), JSON, options).await
    }

    /// Server-side apply by `manager`.
    pub(crate) async fn apply(&self, path: &str, manager: &str, body: &Value) -> Answer {
        self.with("PATCH", format!("{path}?fieldManager={manager}"), APPLY_PATCH, body)
            .await
    }

    /// Server-side apply by `manager` that takes what others own.
    pub(crate) async fn force(&self, path: &str, manager: &str, body: &Value) -> Answer {
        self.with(
            "PATCH",
            format!("{path}?fieldManager={manager}&force=true"),
            APPLY_PATCH,
            body,
        )
        .await
    }

    async fn bare(&self, method: &str, path: String) -> Answer {
        self.send(Ask::json(method, path, None)).await
    }

    async fn with(&self, method: &str, path: String, content_type: &str, body: &Value) -> Answer {
        let ask = Ask::json(method, path, Some(body));
        self.send(Ask { content_type, ..ask }).await
    }

    /// Reads `path` until `wanted` of the answer holds.
    pub(crate) async fn until(&self, path: impl Into<String>, what: &str, wanted: impl Fn(&Answer) -> bool) -> Value {
        self.until_answer(Ask::json("GET", path, None), what, wanted).await
    }

    /// Pretends to create `body` until `wanted` of the answer holds: what a server decides by follows a moment later.
    pub(crate) async fn until_created(
        &self,
        path: &str,
        body: &Value,
        what: &str,
        wanted: impl Fn(&Answer) -> bool,
    ) -> Value {
        let ask = Ask::json("POST", format!("{path}?dryRun=All"), Some(body));
        self.until_answer(ask, what, wanted).await
    }

    /// Asks until `wanted` of the answer holds. No part of the trace: how often depends on time.
    async fn until_answer(&self, ask: Ask<'_>, what: &str, wanted: impl Fn(&Answer) -> bool) -> Value {
        let end = Instant::now() + self.patience;
        loop {
            let answer = self.quiet(ask.clone()).await;
            if wanted(&answer) {
                return answer.body;
            }
            assert!(
                Instant::now() < end,
                "never happened: {what}; last: {} {}",
                answer.code,
                answer.body
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until `path` is not found any more.
    pub(crate) async fn gone(&self, path: impl Into<String> + Send) {
        self.until(path, "the object is gone", |answer| answer.code == 404)
            .await;
    }

    /// Creates a definition of `kind` and waits until it is served. Gives the path of its objects in this test's namespace.
    pub(crate) async fn define(&self, kind: &str, schema: Value) -> String {
        self.define_with(kind, schema, |_| ()).await
    }

    /// The same, with changes to the definition.
    pub(crate) async fn define_with(&self, kind: &str, schema: Value, change: impl Fn(&mut Value) + Send) -> String {
        let mut definition = self.definition(kind, schema);
        change(&mut definition);
        let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
        // No part of the trace: how much of its status is there by now depends on time.
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        self.quiet(Ask::json("POST", definitions, Some(&definition)))
            .await
            .code(201);
        let path = format!("{definitions}/{name}");
        self.until(path, "the definition is established", |answer| {
            condition(&answer.body, "Established")
        })
        .await;
        let (group, plural) = (self.group(), format!("{}s", kind.to_lowercase()));
        let path = match definition["spec"]["scope"].as_str() {
            Some("Cluster") => format!("/apis/{group}/v1/{plural}"),
            _ => format!("/apis/{group}/v1/namespaces/{}/{plural}", self.ns),
        };
        // Established is when names are taken; serving follows a moment later.
        self.until(path.clone(), "the resource is served", |answer| answer.code == 200)
            .await;
        path
    }

    /// The API group of this test's definitions.
    pub(crate) fn group(&self) -> String {
        format!("{}.contract.example", self.id)
    }

    /// A definition with one version and this schema.
    pub(crate) fn definition(&self, kind: &str, schema: Value) -> Value {
        let (group, plural) = (self.group(), format!("{}s", kind.to_lowercase()));
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {"group": group, "scope": "Namespaced",
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
    }

    /// An object of a definition made by [`Context::define`].
    pub(crate) fn custom(&self, kind: &str, name: &str, spec: Value) -> Value {
        json!({"apiVersion": format!("{}/v1", self.group()), "kind": kind, "metadata": {"name": name}, "spec": spec})
    }
}

/// Whether a condition is true.
pub(crate) fn condition(object: &Value, kind: &str) -> bool {
    object["status"]["conditions"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["type"] == kind && one["status"] == "True"))
}
