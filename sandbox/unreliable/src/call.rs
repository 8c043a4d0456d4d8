//! What a request asks for, as far as faults depend on it.

use http::{Method, Request};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// One object, a list, or anything else that is only read.
    Read,
    /// A watch.
    Watch,
    /// `POST`.
    Create,
    /// `PUT` or `PATCH`.
    Change,
    /// `DELETE`.
    Delete,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Name of the link it came over.
    pub client: String,
    /// What is asked.
    pub verb: Verb,
    /// HTTP method.
    pub method: Method,
    /// Path without query.
    pub path: String,
    /// Query, empty where there is none.
    pub query: String,
}

impl Call {
    /// Reads a request.
    pub(crate) fn of<B>(client: &str, request: &Request<B>) -> Self {
        let method = request.method().clone();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let watch = query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"));
        let verb = match method {
            Method::POST => Verb::Create,
            Method::PUT | Method::PATCH => Verb::Change,
            Method::DELETE => Verb::Delete,
            _ if watch => Verb::Watch,
            _ => Verb::Read,
        };
        Self {
            client: client.to_owned(),
            verb,
            method,
            path: request.uri().path().to_owned(),
            query,
        }
    }

    /// What it is about, in every run the same: clients name an Event by the time of day, which no seed decides.
    pub(crate) fn place(&self) -> &str {
        match self.path.find("/events/") {
            Some(at) => &self.path[..at + "/events".len()],
            None => &self.path,
        }
    }

    /// Whether it may change something.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self.verb, Verb::Create | Verb::Change | Verb::Delete)
    }

    /// Whether it goes on with a list begun earlier, which may have expired.
    pub(crate) fn continues(&self) -> bool {
        self.query.split('&').any(|pair| pair.starts_with("continue="))
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let watch = if self.verb == Verb::Watch { " (watch)" } else { "" };
        write!(f, "{}: {} {}{watch}", self.client, self.method, self.place())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn verbs() {
        for (method, uri, verb) in [
            ("GET", "/api/v1/pods", Verb::Read),
            ("GET", "/api/v1/pods?watch=true&resourceVersion=3", Verb::Watch),
            ("GET", "/api/v1/pods?labelSelector=watch=true", Verb::Read),
            ("POST", "/api/v1/pods", Verb::Create),
            ("PATCH", "/api/v1/pods/a/status", Verb::Change),
            ("DELETE", "/api/v1/pods/a", Verb::Delete),
        ] {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            assert_eq!(Call::of("c", &request).verb, verb, "{method} {uri}");
        }
    }

    #[test]
    fn the_name_of_an_event_is_no_part_of_the_place() {
        let named = "/apis/events.k8s.io/v1/namespaces/a/events/cinema.18a2f";
        for (path, place) in [
            (named, "/apis/events.k8s.io/v1/namespaces/a/events"),
            ("/api/v1/pods/events", "/api/v1/pods/events"),
        ] {
            let request = Request::builder().uri(path).body(()).unwrap();
            assert_eq!(Call::of("c", &request).place(), place);
        }
    }
}
