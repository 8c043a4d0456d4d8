//! A server, a client, and waiting for conditions under a deadline.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use kube::core::Status;
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig, ListenHandle};

/// Longest anything here may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A connection to a server under test.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) client: kube::Client,
    listener: Option<ListenHandle>,
}

impl Cluster {
    /// Whether requests cross a socket.
    pub(crate) fn over_tcp(&self) -> bool {
        self.listener.is_some()
    }
}

/// A fresh server; in process, or over TCP where `APISERVER_TEST_TCP` is set.
pub(crate) async fn connect() -> Cluster {
    connect_with(ApiServerConfig::default()).await
}

pub(crate) async fn connect_with(config: ApiServerConfig) -> Cluster {
    let server = ApiServer::new(config);
    if std::env::var_os("APISERVER_TEST_TCP").is_none() {
        return Cluster {
            client: server.client("default"),
            server,
            listener: None,
        };
    }
    let listener = server.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let uri = format!("http://{}", listener.addr()).parse().unwrap();
    let mut config = kube::Config::new(uri);
    // Refusals are what these tests are about.
    config.default_retry = false;
    let client = kube::Client::try_from(config).unwrap();
    Cluster {
        server,
        client,
        listener: Some(listener),
    }
}

/// The first value `probe` gives, polled until the deadline.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < end, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The Status of a refused call.
pub(crate) fn refused<T: Debug>(result: kube::Result<T>) -> Box<Status> {
    match result {
        Err(kube::Error::Api(status)) => status,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// A raw request: method, path, content type, body. Gives the HTTP status, the JSON and the warnings.
pub(crate) async fn raw(
    client: &kube::Client,
    method: &str,
    path: &str,
    content_type: &str,
    body: &Value,
) -> (u16, Value, Vec<String>) {
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type);
    let response = client
        .send(request.body(kube::client::Body::from(body)).unwrap())
        .await
        .unwrap();
    let status = response.status().as_u16();
    let warnings = response
        .headers()
        .get_all("warning")
        .iter()
        .map(|w| w.to_str().unwrap().to_owned())
        .collect::<Vec<_>>();
    let bytes = response.into_body().collect_bytes().await.unwrap();
    let json = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    (status, json, warnings)
}

pub(crate) fn config_map(name: &str, key: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"app": name}}, "data": {key: value}})).unwrap()
}

pub(crate) async fn create_config_map(client: &kube::Client, name: &str) -> ConfigMap {
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    api.create(&PostParams::default(), &config_map(name, "k", "v"))
        .await
        .unwrap()
}

pub(crate) fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "web:1"}]}})
}
