//! Certificates of a control plane: one authority, one certificate for all servers, one for each client.
//!
//! They live as long as the control plane does: its folder goes with it, and nothing is kept between two starts.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The user and group of a client, which is what its certificate says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    /// File name without its end.
    pub file: &'static str,
    /// User: the common name.
    pub user: &'static str,
    /// Group: the organisation.
    pub group: &'static str,
}

/// Whoever uses the sandbox: `system:masters` may do everything.
pub(super) const ADMIN: Identity = identity("admin", "sandbox", "system:masters");
/// The controllers, with the roles that Kubernetes gives them and no more.
pub(super) const CONTROLLER_MANAGER: Identity = identity(
    "controller-manager",
    "system:kube-controller-manager",
    "system:controllers",
);
/// The scheduler, likewise.
pub(super) const SCHEDULER: Identity = identity("scheduler", "system:kube-scheduler", "system:schedulers");
/// The API server towards nodes and towards the servers it aggregates.
pub(super) const FRONT_PROXY: Identity = identity("front-proxy", "system:front-proxy", "system:masters");

const fn identity(file: &'static str, user: &'static str, group: &'static str) -> Identity {
    Identity { file, user, group }
}

/// Under which name the server of metrics.k8s.io must show itself.
pub(super) const METRICS_HOST: &str = "metrics.kube-system.svc";

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub certificate: String,
    pub key: String,
}

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

/// The authority of one control plane.
pub(super) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    /// A new authority that writes into `directory`: `ca.crt`, and `service-accounts.key` and `.pub` for tokens.
    pub(super) fn create(directory: &Path) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = name("sandbox", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        let authority = Self {
            certificate,
            issuer: Issuer::new(params, key),
            directory: directory.to_owned(),
        };
        authority.write("ca.crt", &authority.certificate)?;
        let tokens = KeyPair::generate()?;
        authority.write("service-accounts.key", &tokens.serialize_pem())?;
        authority.write("service-accounts.pub", &tokens.public_key_pem())?;
        Ok(authority)
    }

    /// The authority's own certificate, PEM.
    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Path of a file of this authority.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// A certificate for servers on 127.0.0.1, written as `server.crt` and `server.key`.
    pub(super) fn server(&self) -> Result<Pair, CertificateError> {
        let names = [
            "127.0.0.1",
            "localhost",
            "kubernetes",
            "kubernetes.default.svc",
            METRICS_HOST,
        ];
        let mut params = CertificateParams::new(names.map(str::to_owned))?;
        params.distinguished_name = name("kube-apiserver", None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue("server", params)
    }

    /// A certificate for a client, written as `FILE.crt` and `FILE.key`.
    pub(super) fn client(&self, identity: Identity) -> Result<Pair, CertificateError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = name(identity.user, Some(identity.group));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(identity.file, params)
    }

    fn issue(&self, file: &str, mut params: CertificateParams) -> Result<Pair, CertificateError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let pair = Pair {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        };
        self.write(&format!("{file}.crt"), &pair.certificate)?;
        self.write(&format!("{file}.key"), &pair.key)?;
        Ok(pair)
    }

    /// Keys are for this user's eyes.
    fn write(&self, file: &str, text: &str) -> Result<(), CertificateError> {
        let path = self.path(file);
        super::write_private(&path, text).map_err(|source| CertificateError::Write { path, source })
    }
}

fn name(common: &str, organisation: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organisation) = organisation {
        name.push(DnType::OrganizationName, organisation);
    }
    name.push(DnType::CommonName, common);
    name
}
