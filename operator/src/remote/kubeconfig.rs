//! Kubeconfigs out of Secrets.
//!
//! Who may write a Secret in the platform's namespace writes it, and the operator may do more than they. So it may name no
//! command to run and no file to read here, and what it says is never repeated: it has keys in it.

use kube::{
    Config,
    config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig},
};

/// Why a kubeconfig is of no use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KubeconfigError {
    /// It is not text.
    #[error("it is not UTF-8")]
    NotText,
    /// It is no YAML, or says something else than a kubeconfig.
    #[error("it is not a kubeconfig")]
    NotOne,
    /// It would have the operator run a command or read a file.
    #[error("it uses `{0}`, which is not taken from a Secret: write keys, tokens and certificates into it as data")]
    Refused(&'static str),
    /// It would take anybody's word for being the cluster, and give them the token.
    #[error(
        "it uses `insecure-skip-tls-verify`: state the cluster's authority instead, as `certificate-authority-data`"
    )]
    Unverified,
    /// Its current context leads to no cluster.
    #[error("its current context does not lead to a cluster with a URL, and a user")]
    Incomplete,
}

/// Reads a kubeconfig.
pub async fn read(bytes: &[u8]) -> Result<Config, KubeconfigError> {
    let text = std::str::from_utf8(bytes).map_err(|_| KubeconfigError::NotText)?;
    // The reason would repeat what stands there.
    let kubeconfig = Kubeconfig::from_yaml(text).map_err(|_| KubeconfigError::NotOne)?;
    let users = kubeconfig.auth_infos.iter().filter_map(|user| user.auth_info.as_ref());
    let clusters = kubeconfig
        .clusters
        .iter()
        .filter_map(|cluster| cluster.cluster.as_ref());
    if let Some(field) = users
        .filter_map(user_uses)
        .chain(clusters.filter_map(cluster_uses))
        .next()
    {
        return Err(KubeconfigError::Refused(field));
    }
    let mut clusters = kubeconfig
        .clusters
        .iter()
        .filter_map(|cluster| cluster.cluster.as_ref());
    if clusters.any(|cluster| cluster.insecure_skip_tls_verify == Some(true)) {
        return Err(KubeconfigError::Unverified);
    }
    // The reason would repeat names, URLs and data.
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|_| KubeconfigError::Incomplete)
}

fn user_uses(user: &AuthInfo) -> Option<&'static str> {
    [
        (user.exec.is_some(), "exec"),
        (user.auth_provider.is_some(), "auth-provider"),
        (user.token_file.is_some(), "tokenFile"),
        (user.client_certificate.is_some(), "client-certificate"),
        (user.client_key.is_some(), "client-key"),
    ]
    .into_iter()
    .find_map(|(used, field)| used.then_some(field))
}

fn cluster_uses(cluster: &Cluster) -> Option<&'static str> {
    cluster
        .certificate_authority
        .is_some()
        .then_some("certificate-authority")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kubeconfig(user: &str, cluster: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        )
    }

    #[tokio::test]
    async fn keys_are_taken_and_commands_and_files_are_not() {
        let there = "server: 'https://south.example:6443'";
        let config = read(kubeconfig("token: t", there).as_bytes()).await.unwrap();
        assert_eq!(config.cluster_url.host(), Some("south.example"));
        for (user, cluster, field) in [
            ("exec: {command: /bin/sh, apiVersion: v1}", there, "exec"),
            ("auth-provider: {name: gcp, config: {}}", there, "auth-provider"),
            (
                "tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token",
                there,
                "tokenFile",
            ),
            ("client-certificate: /etc/passwd", there, "client-certificate"),
            ("client-key: /etc/passwd", there, "client-key"),
            (
                "token: t",
                "server: 'https://x', certificate-authority: /etc/passwd",
                "certificate-authority",
            ),
        ] {
            let refused = read(kubeconfig(user, cluster).as_bytes()).await.err();
            assert_eq!(refused, Some(KubeconfigError::Refused(field)), "{user} {cluster}");
        }
        let anybody = "server: 'https://x', insecure-skip-tls-verify: true";
        let refused = read(kubeconfig("token: t", anybody).as_bytes()).await.err();
        assert_eq!(refused, Some(KubeconfigError::Unverified));
        assert!(
            read(kubeconfig("token: t", &anybody.replace("true", "false")).as_bytes())
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn what_is_none_is_not_repeated() {
        for text in [
            "hunter2",
            "clusters: hunter2",
            "- hunter2",
            "users: [{name: u, user: {token: [hunter2]}}]",
        ] {
            let error = read(text.as_bytes()).await.unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert_eq!(read(&[0xff]).await.err(), Some(KubeconfigError::NotText));
        for text in [
            "apiVersion: v1\nkind: Config\ncurrent-context: hunter2\n".to_owned(),
            kubeconfig("token: t", "server: 'https://x'").replace("cluster: k", "cluster: hunter2"),
            kubeconfig("token: t", "server: 'hunter2 hunter2'"),
            kubeconfig("token: t", "server: 'https://x', proxy-url: 'hunter2 hunter2'"),
            kubeconfig("token: t", ""),
        ] {
            let refused = read(text.as_bytes()).await.unwrap_err();
            assert_eq!(refused, KubeconfigError::Incomplete, "{text}");
            assert!(!refused.to_string().contains("hunter2"));
        }
    }
}
