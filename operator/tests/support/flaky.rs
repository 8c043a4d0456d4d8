//! A client some of whose requests hang, and whose steering servers answer without pods.

use std::sync::{Arc, Mutex, RwLock};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::json;
use showrunner_apiserver::{ApiBody, ApiServer};
use tower::ServiceExt;

use super::cluster::NAMESPACE;

type Test = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Which requests hang, by method and path: `PATCH /apis/…`; and which were made.
#[derive(Clone, Default)]
pub(crate) struct Hanging {
    test: Arc<RwLock<Option<Test>>>,
    /// What every request is refused with.
    refusal: Arc<RwLock<Option<String>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hanging {
    pub(crate) fn set(&self, test: impl Fn(&str) -> bool + Send + Sync + 'static) {
        *self.test.write().unwrap() = Some(Box::new(test));
    }

    pub(crate) fn clear(&self) {
        *self.test.write().unwrap() = None;
        *self.refusal.write().unwrap() = None;
    }

    pub(crate) fn refuse(&self, message: &str) {
        *self.refusal.write().unwrap() = Some(message.to_owned());
    }

    /// Requests since it was last asked, in order.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// Those of them that change something.
    pub(crate) fn writes(&self) -> Vec<String> {
        let mut requests = self.requests();
        requests.retain(|request| !request.starts_with("GET"));
        requests
    }

    fn hangs(&self, request: &str) -> bool {
        self.test.read().unwrap().as_ref().is_some_and(|test| test(request))
    }

    /// Every steering server that answers has 100 viewers in the north.
    pub(crate) fn client(&self, server: &ApiServer) -> Client {
        let (service, hanging) = (server.service(), self.clone());
        let flaky = tower::service_fn(move |request: Request<Body>| {
            let (service, hanging) = (service.clone(), hanging.clone());
            async move {
                let line = format!("{} {}", request.method(), request.uri().path());
                hanging.requests.lock().unwrap().push(line.clone());
                if hanging.hangs(&line) {
                    return std::future::pending().await;
                }
                let refusal = hanging.refusal.read().unwrap().clone();
                if let Some(message) = refusal {
                    let status = json!({ "kind": "Status", "status": "Failure", "message": message, "code": 500 });
                    let answer = Response::builder().status(500);
                    return Ok(answer.body(ApiBody::full(status.to_string())).unwrap());
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
