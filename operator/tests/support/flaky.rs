//! A client some of whose requests hang, and whose steering servers answer without pods.

use std::sync::{Arc, RwLock};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::json;
use showrunner_apiserver::{ApiBody, ApiServer};
use tower::ServiceExt;

use super::cluster::NAMESPACE;

type Test = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Which requests hang, by method and path: `PATCH /apis/…`.
#[derive(Clone, Default)]
pub(crate) struct Hanging(Arc<RwLock<Option<Test>>>);

impl Hanging {
    pub(crate) fn set(&self, test: impl Fn(&str) -> bool + Send + Sync + 'static) {
        *self.0.write().unwrap() = Some(Box::new(test));
    }

    pub(crate) fn clear(&self) {
        *self.0.write().unwrap() = None;
    }

    fn hangs(&self, request: &str) -> bool {
        self.0.read().unwrap().as_ref().is_some_and(|test| test(request))
    }

    /// Every steering server that answers has 100 viewers in the north.
    pub(crate) fn client(&self, server: &ApiServer) -> Client {
        let (service, hanging) = (server.service(), self.clone());
        let flaky = tower::service_fn(move |request: Request<Body>| {
            let (service, hanging) = (service.clone(), hanging.clone());
            async move {
                let line = format!("{} {}", request.method(), request.uri().path());
                if hanging.hangs(&line) {
                    return std::future::pending().await;
                }
                if line.ends_with("/proxy/audience") {
                    let report = json!({ "windowSeconds": 10.0, "pathways": { "north": 100.0 } });
                    return Ok(Response::new(ApiBody::full(report.to_string())));
                }
                service.oneshot(request).await
            }
        });
        Client::new(flaky, NAMESPACE)
    }
}
