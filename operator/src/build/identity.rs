//! One ServiceAccount a role, without a token: nothing of the data plane talks to the API server.

use k8s_openapi::api::core::v1::ServiceAccount;
use showrunner_crds::platform::Role;

use super::{meta::About, object};
use crate::{kind::Kind, resources::Object, validate::ValidatedPlatform};

/// Name of a role's ServiceAccount.
pub(super) fn account(platform: &ValidatedPlatform, role: Role) -> String {
    format!("{}-{role}", platform.name)
}

pub(super) fn service_accounts(platform: &ValidatedPlatform, roles: &[Role]) -> Vec<Object> {
    roles
        .iter()
        .map(|&role| {
            let about = About::new(platform, None, role);
            let account = ServiceAccount {
                metadata: about.meta(account(platform, role)),
                automount_service_account_token: Some(false),
                ..ServiceAccount::default()
            };
            object(Kind::ServiceAccount, None, role, &account)
        })
        .collect()
}
