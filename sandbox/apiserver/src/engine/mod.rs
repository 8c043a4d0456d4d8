//! The write path: decode, default, validate, track ownership, commit.

pub(crate) mod decode;
pub(crate) mod delete;
pub(crate) mod duplicates;
pub(crate) mod metadata;
pub(crate) mod write;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::clusterip::ClusterIps;
use crate::config::ApiServerConfig;
use crate::nodes::NodeAccess;
use crate::registry::Registry;
use crate::store::Store;

/// Everything the handlers share.
pub(crate) struct Engine {
    pub(crate) config: ApiServerConfig,
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) ips: Mutex<ClusterIps>,
    nodes: RwLock<Option<Arc<dyn NodeAccess>>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(config: ApiServerConfig) -> Self {
        Self {
            store: Store::new(config.history, config.watch_queue),
            registry: Registry::new(),
            ips: Mutex::default(),
            nodes: RwLock::new(None),
            config,
        }
    }

    /// An engine of its own with everything that is in this one, except the way to the pods.
    pub(crate) fn fork(&self) -> Self {
        let ips = self.ips.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self {
            config: self.config.clone(),
            store: self.store.fork(),
            registry: self.registry.fork(),
            ips: Mutex::new(ips),
            nodes: RwLock::new(None),
        }
    }

    pub(crate) fn set_nodes(&self, nodes: Arc<dyn NodeAccess>) {
        *self.nodes.write().unwrap_or_else(PoisonError::into_inner) = Some(nodes);
    }

    pub(crate) fn nodes(&self) -> Option<Arc<dyn NodeAccess>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What to do about fields the type does not know (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Strictness {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// How a write is to be done.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) strictness: Strictness,
    /// Empty, `status` or `scale`: the endpoint written through.
    pub(crate) subresource: String,
    /// Paths of fields that the body has more than once.
    pub(crate) duplicates: Vec<String>,
    /// The body as sent, where it is a patch and not an object.
    pub(crate) patch: Option<String>,
}

/// `metav1.Time` of now.
pub(crate) fn now() -> String {
    let seconds = jiff::Timestamp::now().as_second();
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}
