//! The key that playback tokens are signed with: made once, never replaced, never logged. Other clusters get the same, so that
//! what one region signs another takes; for that alone the operator reads it.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions},
};
use rand::RngCore;
use showrunner_crds::{annotations, labels};

use super::claim::Claim;
use crate::{
    build::KEY_FILE,
    hex::hex,
    validate::{RemoteCluster, ValidatedPlatform},
};

/// Length of the key in bytes; as text in the file, twice as many hexadecimal digits.
const KEY_BYTES: usize = 32;

/// What to do about the key.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a client has no state worth printing")]
pub enum Signing<'a> {
    /// Nothing this time.
    Leave,
    /// Make one, unless there is one.
    Make,
    /// Have the same as in the platform's own cluster, whose client this is.
    Copy(&'a Client),
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The API server refused it, or could not be reached.
    #[error(transparent)]
    Request(#[from] kube::Error),
    /// The key cannot be read where it was made.
    #[error("it cannot be copied from the platform's own cluster: {0}")]
    Unreadable(#[source] kube::Error),
    /// It has no key.
    #[error("it holds no {KEY_FILE}")]
    Empty,
    /// Somebody else's Secret has its name.
    #[error("{0} exists and belongs to someone else")]
    Foreign(String),
}

/// Makes sure of the key. To make it takes the permission to create Secrets and none to read them.
pub(super) async fn ensure(
    client: &Client,
    platform: &ValidatedPlatform,
    cluster: Option<&RemoteCluster>,
    claim: &Claim,
    signing: Signing<'_>,
) -> Result<(), SecretError> {
    match signing {
        Signing::Leave => Ok(()),
        Signing::Make => make(client, platform).await,
        Signing::Copy(home) => copy(home, client, platform, cluster, claim).await,
    }
}

/// Makes a key in the platform's own cluster, unless there is one.
pub(super) async fn make(client: &Client, platform: &ValidatedPlatform) -> Result<(), SecretError> {
    let mut key = [0_u8; KEY_BYTES];
    rand::rng().fill_bytes(&mut key);
    let secret = secret(platform, None, ByteString(hex(&key).into_bytes()));
    let secrets: Api<Secret> = Api::namespaced(client.clone(), platform.namespace.as_str());
    match secrets.create(&PostParams::default(), &secret).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

async fn copy(
    home: &Client,
    client: &Client,
    platform: &ValidatedPlatform,
    cluster: Option<&RemoteCluster>,
    claim: &Claim,
) -> Result<(), SecretError> {
    let name = platform.signing_secret();
    let origin: Api<Secret> = Api::namespaced(home.clone(), platform.namespace.as_str());
    let origin = origin.get(&name).await.map_err(SecretError::Unreadable)?;
    let key = origin
        .data
        .unwrap_or_default()
        .remove(KEY_FILE)
        .ok_or(SecretError::Empty)?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), platform.namespace_in(cluster).as_str());
    if let Some(there) = secrets.get_opt(&name).await? {
        let same = there.data.as_ref().and_then(|data| data.get(KEY_FILE)) == Some(&key);
        let ours = claim.holds(&there);
        let marked = there.annotations().get(annotations::CLUSTER) == cluster.map(RemoteCluster::mark).as_ref();
        if same && (marked || !ours) {
            return Ok(());
        }
        if !ours {
            return Err(SecretError::Foreign(name));
        }
        // It cannot be changed, nor marked anew: that the operator may not. Either the platform's own was made anew, or the
        // kubeconfig's Secret was renamed: what is cleared by the old name must not take the key along.
        secrets.delete(&name, &this_very(&there)).await?;
    }
    let secret = secret(platform, cluster, key);
    Ok(secrets.create(&PostParams::default(), &secret).await.map(drop)?)
}

/// Takes the key away from another cluster.
pub(crate) async fn remove(client: &Client, namespace: &str, name: &str, claim: &Claim) -> kube::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let there = match secrets.get_opt(name).await {
        Ok(there) => there,
        // Where there are no services, no permission for it is needed either.
        Err(kube::Error::Api(status)) if status.is_forbidden() => None,
        Err(error) => return Err(error),
    };
    let Some(there) = there.filter(|there| claim.holds(there)) else {
        return Ok(());
    };
    match secrets.delete(name, &this_very(&there)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        outcome => outcome.map(drop),
    }
}

fn this_very(secret: &Secret) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid: secret.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}

fn secret(platform: &ValidatedPlatform, cluster: Option<&RemoteCluster>, key: ByteString) -> Secret {
    let mut labels = BTreeMap::from([
        (labels::APP_NAME.to_owned(), labels::APP.to_owned()),
        (labels::APP_INSTANCE.to_owned(), platform.name.to_string()),
        (labels::APP_PART_OF.to_owned(), platform.name.to_string()),
        (labels::APP_MANAGED_BY.to_owned(), labels::MANAGER.to_owned()),
        (labels::PLATFORM.to_owned(), platform.name.to_string()),
    ]);
    let owner = platform.owner.clone().map(|owner| vec![owner]);
    if cluster.is_some() {
        let uid = platform.uid().unwrap_or_default();
        labels.insert(labels::OWNER.to_owned(), uid.to_owned());
    }
    Secret {
        metadata: ObjectMeta {
            name: Some(platform.signing_secret()),
            namespace: Some(platform.namespace_in(cluster).to_string()),
            labels: Some(labels),
            annotations: cluster.map(|cluster| [(annotations::CLUSTER.to_owned(), cluster.mark())].into()),
            owner_references: owner.filter(|_| cluster.is_none()),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        data: Some([(KEY_FILE.to_owned(), key)].into()),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}
