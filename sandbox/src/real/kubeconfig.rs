//! Kubeconfigs for a server with certificates.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::certificates::Pair;
use crate::OURS;

/// A kubeconfig with everything in it. `current-context: sandbox` marks it as a sandbox's.
pub(super) fn yaml(server: &str, authority: &str, client: &Pair) -> String {
    let [authority, certificate, key] =
        [authority, client.certificate.as_str(), client.key.as_str()].map(|pem| STANDARD.encode(pem));
    format!(
        "apiVersion: v1\nkind: Config\n{OURS}\
         clusters:\n- name: sandbox\n  cluster:\n    server: {server}\n    certificate-authority-data: {authority}\n\
         contexts:\n- name: sandbox\n  context:\n    cluster: sandbox\n    user: sandbox\n    namespace: default\n\
         users:\n- name: sandbox\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_what_clients_read() {
        let pair = Pair {
            certificate: "C".into(),
            key: "K".into(),
        };
        let parsed = kube::config::Kubeconfig::from_yaml(&yaml("https://127.0.0.1:1", "A", &pair)).unwrap();
        assert_eq!(parsed.current_context.as_deref(), Some("sandbox"));
        let cluster = parsed.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.certificate_authority_data.as_deref(), Some("QQ=="));
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:1"));
    }
}
