//! A client for each cluster (client): made from its Secret, made anew when that changes.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, Config};
use sha2::{Digest, Sha256};

use super::kubeconfig::{self, KubeconfigError};
use crate::validate::RemoteCluster;

/// Clients kept at most. Beyond that all are made anew.
const MOST: usize = 256;

/// Why there is no client. The Secret is named by who reports it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The Secret is not there.
    #[error("there is no such Secret")]
    NoSecret,
    /// The Secret cannot be read.
    #[error("the Secret cannot be read: {0}")]
    Unreadable(#[source] kube::Error),
    /// The Secret has no such key.
    #[error("the Secret has no key {0}")]
    NoKey(String),
    /// What it holds is of no use.
    #[error("the kubeconfig is of no use: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// No client can be made from it. The reason would repeat what stands there.
    #[error("no client can be made from the kubeconfig: see to its certificates, its key, its token and its proxy")]
    Client,
}

/// Makes a client of a configuration.
#[derive(Clone)]
pub struct Connector(Arc<dyn Fn(Config) -> kube::Result<Client> + Send + Sync>);

impl Connector {
    /// One that makes them in another way than [`Client::try_from`].
    pub fn new(connect: impl Fn(Config) -> kube::Result<Client> + Send + Sync + 'static) -> Self {
        Self(Arc::new(connect))
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new(Client::try_from)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// Clients of other clusters.
pub struct Clients {
    connect: Connector,
    made: Mutex<HashMap<(String, RemoteCluster), Made>>,
}

struct Made {
    hash: [u8; 32],
    client: Client,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

impl Clients {
    /// No client yet.
    #[must_use]
    pub fn new(connect: Connector) -> Self {
        Self {
            connect,
            made: Mutex::default(),
        }
    }

    /// The client of a cluster. `home` is that of the cluster with the Secret, `namespace` the platform's.
    pub async fn get(&self, home: &Client, namespace: &str, cluster: &RemoteCluster) -> Result<Client, ClientError> {
        let secrets: Api<Secret> = Api::namespaced(home.clone(), namespace);
        let secret = secrets
            .get_opt(&cluster.secret)
            .await
            .map_err(ClientError::Unreadable)?;
        let mut data = secret.ok_or(ClientError::NoSecret)?.data.unwrap_or_default();
        let text = data.remove(&cluster.key);
        let text = text.ok_or_else(|| ClientError::NoKey(cluster.key.clone()))?;
        let hash: [u8; 32] = Sha256::digest(&text.0).into();
        let key = (namespace.to_owned(), cluster.clone());
        if let Some(client) = self.standing(&key, &hash) {
            return Ok(client);
        }
        let client = (self.connect.0)(kubeconfig::read(&text.0).await?).map_err(|_| ClientError::Client)?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= MOST {
            made.clear();
        }
        let made_now = Made {
            hash,
            client: client.clone(),
        };
        made.insert(key, made_now);
        Ok(client)
    }

    fn standing(&self, key: &(String, RemoteCluster), hash: &[u8; 32]) -> Option<Client> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = made.get(key).filter(|made| made.hash == *hash)?;
        Some(standing.client.clone())
    }
}
