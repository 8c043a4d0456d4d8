//! The key that playback tokens are signed with: made once, never read, never replaced, never logged.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use rand::RngCore;
use showrunner_crds::labels;

use crate::{build::KEY_FILE, hex::hex, validate::ValidatedPlatform};

/// Length of the key in bytes; as text in the file, twice as many hexadecimal digits.
const KEY_BYTES: usize = 32;

/// Creates the Secret unless there is one. Needs the permission to create Secrets and none to read them.
pub(super) async fn ensure(client: &Client, platform: &ValidatedPlatform) -> kube::Result<()> {
    let mut key = [0_u8; KEY_BYTES];
    rand::rng().fill_bytes(&mut key);
    let text = hex(&key);
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(platform.signing_secret()),
            namespace: Some(platform.namespace.to_string()),
            labels: Some(BTreeMap::from([
                (labels::APP_NAME.to_owned(), labels::APP.to_owned()),
                (labels::APP_INSTANCE.to_owned(), platform.name.to_string()),
                (labels::APP_PART_OF.to_owned(), platform.name.to_string()),
                (labels::APP_MANAGED_BY.to_owned(), labels::MANAGER.to_owned()),
                (labels::PLATFORM.to_owned(), platform.name.to_string()),
            ])),
            owner_references: platform.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        data: Some([(KEY_FILE.to_owned(), ByteString(text.into_bytes()))].into()),
        type_: Some("Opaque".into()),
        ..Secret::default()
    };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), platform.namespace.as_str());
    match secrets.create(&PostParams::default(), &secret).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        result => result.map(drop),
    }
}
