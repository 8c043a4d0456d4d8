//! The request a pod's usage is measured against.

use std::collections::BTreeMap;

use super::pods::PodView;

/// A request that cannot be determined; texts as Kubernetes prints them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A container sets no request: utilisation has no denominator.
    #[error("missing request for {resource} in container {container} of Pod {pod}")]
    Container {
        /// Resource name.
        resource: String,
        /// Container name.
        container: String,
        /// Pod name.
        pod: String,
    },
    /// The pod sets requests as a whole, but none for this resource, nor do its containers.
    #[error("missing pod-level request for {resource} in Pod {pod}")]
    PodLevel {
        /// Resource name.
        resource: String,
        /// Pod name.
        pod: String,
    },
    /// The metric names a container that this pod lacks.
    #[error("container {container} not found in Pod {pod}")]
    NoContainer {
        /// Container name.
        container: String,
        /// Pod name.
        pod: String,
    },
}

impl PodView {
    /// The request in thousandths: of `container` alone if given, else of the pod as a whole if it sets one (and
    /// `pod_level` allows), else the sum over containers, all of which must set it.
    pub fn request(&self, resource: &str, container: Option<&str>, pod_level: bool) -> Result<i64, RequestError> {
        if let (None, true, Some(whole)) = (container, pod_level, &self.pod_level) {
            return whole.get(resource).copied().ok_or_else(|| RequestError::PodLevel {
                resource: resource.to_owned(),
                pod: self.name.clone(),
            });
        }
        let mut total = 0_i64;
        for candidate in &self.containers {
            if container.is_some_and(|name| name != candidate.name) {
                continue;
            }
            let request = candidate
                .requests
                .get(resource)
                .ok_or_else(|| RequestError::Container {
                    resource: resource.to_owned(),
                    container: candidate.name.clone(),
                    pod: self.name.clone(),
                })?;
            if container.is_some() {
                return Ok(*request);
            }
            total = total.wrapping_add(*request);
        }
        match container {
            Some(container) => Err(RequestError::NoContainer {
                container: container.to_owned(),
                pod: self.name.clone(),
            }),
            None => Ok(total),
        }
    }
}

/// The requests of all `pods` by name, or the first error in their order; see [`PodView::request`].
pub fn calculate_requests(
    pods: &[PodView],
    resource: &str,
    container: Option<&str>,
    pod_level: bool,
) -> Result<BTreeMap<String, i64>, RequestError> {
    pods.iter()
        .map(|pod| Ok((pod.name.clone(), pod.request(resource, container, pod_level)?)))
        .collect()
}
