//! What playback depends on besides media, in a small reference implementation: real enough for a drill to brown out.

pub mod licence;
mod routes;
#[cfg(test)]
mod tests;
pub mod token;

use std::{fs, io};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use showrunner_crds::{config::ServicesConfig, platform::ServiceKind};

pub use routes::router;

use self::token::Signer;

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// The key file cannot be read.
    #[error("keyFile {path}: {source}")]
    KeyFile {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The key is too short to sign with.
    #[error("keyFile {0}: at least 16 bytes are needed")]
    ShortKey(String),
    /// Tokens that are never valid.
    #[error("tokenSeconds must be positive")]
    TokenSeconds,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    endpoint: &'static str,
    status: u16,
}

/// A service's state.
#[derive(Debug)]
pub struct Services {
    config: ServicesConfig,
    /// There for the kinds that sign.
    signer: Option<Signer>,
    registry: Registry,
    answers: Family<AnswerLabels, Counter>,
}

impl Services {
    /// Reads the key file where the kind needs one. White space around the key is not part of it.
    pub fn new(config: ServicesConfig) -> Result<Self, ServicesError> {
        if config.token_seconds == 0 {
            return Err(ServicesError::TokenSeconds);
        }
        let signs = matches!(config.kind, ServiceKind::Entitlement | ServiceKind::Licence);
        let signer = if signs { Some(read_key(&config.key_file)?) } else { None };
        let mut registry = Registry::with_prefix("showrunner_services");
        let answers = Family::default();
        registry.register("answers", "Requests answered, by endpoint and status", answers.clone());
        Ok(Self {
            config,
            signer,
            registry,
            answers,
        })
    }
}

fn read_key(path: &str) -> Result<Signer, ServicesError> {
    let key = fs::read(path).map_err(|source| ServicesError::KeyFile {
        path: path.to_owned(),
        source,
    })?;
    Signer::new(key.trim_ascii()).ok_or_else(|| ServicesError::ShortKey(path.to_owned()))
}
