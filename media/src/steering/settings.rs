//! The configuration in force: read, checked, and read again when the file changes. A broken new file changes nothing.

use std::{
    io,
    path::{Path, PathBuf},
};

use showrunner_crds::config::SteeringConfig;

use crate::{client, object::is_label};

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not the JSON that it should be.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A name that cannot be part of a path.
    #[error("`{0}` is not a DNS label")]
    Name(String),
    /// Two pathways or two channels of one name.
    #[error("`{0}` appears twice")]
    Twice(String),
    /// A URL that would break the playlist.
    #[error("`{0}` is not a URL that a playlist may hold")]
    PublicUrl(String),
    /// A URL that cannot be probed.
    #[error("probeUrl `{0}` is not an http:// URL")]
    ProbeUrl(String),
    /// A language that would break the playlist.
    #[error("audio.language `{0}` is not a BCP 47 tag")]
    Language(String),
    /// A channel without rungs, or a TTL of zero.
    #[error("{0} must not be empty or zero")]
    Empty(&'static str),
}

/// Parses and checks `text`, the contents of `path`.
pub fn parse(path: &Path, text: &[u8]) -> Result<SteeringConfig, SettingsError> {
    let config: SteeringConfig = serde_json::from_slice(text).map_err(|source| SettingsError::Malformed {
        path: path.to_owned(),
        source,
    })?;
    check(&config)?;
    Ok(config)
}

/// Reads the file's contents.
pub fn read(path: &Path) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|source| SettingsError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn check(config: &SteeringConfig) -> Result<(), SettingsError> {
    if config.ttl_seconds == 0 {
        return Err(SettingsError::Empty("ttlSeconds"));
    }
    if config
        .channels
        .iter()
        .any(|channel| channel.ladder.is_empty() || channel.frame_rate == 0)
    {
        return Err(SettingsError::Empty("channels[].ladder and frameRate"));
    }
    distinct(config.channels.iter().map(|channel| &channel.name))?;
    distinct(config.pathways.iter().map(|pathway| &pathway.id))?;
    for channel in &config.channels {
        distinct(channel.ladder.iter().map(|rung| &rung.name))?;
        let language = &channel.audio.language;
        if language.is_empty()
            || !language
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return Err(SettingsError::Language(language.clone()));
        }
    }
    for url in config
        .pathways
        .iter()
        .map(|pathway| &pathway.public_url)
        .chain([&config.public_url])
    {
        let web = url.starts_with("http://") || url.starts_with("https://");
        let quotable = url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        let whole = web && quotable && url.parse::<http::Uri>().is_ok();
        if !url.is_empty() && !whole {
            return Err(SettingsError::PublicUrl(url.clone()));
        }
    }
    let placed = config.pathways.iter().filter(|pathway| !pathway.public_url.is_empty());
    match placed
        .map(|pathway| &pathway.probe_url)
        .find(|url| !client::is_usable(url))
    {
        Some(bad) => Err(SettingsError::ProbeUrl(bad.clone())),
        None => Ok(()),
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), SettingsError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !is_label(name) {
            return Err(SettingsError::Name(name.clone()));
        }
        if !seen.insert(name) {
            return Err(SettingsError::Twice(name.clone()));
        }
    }
    Ok(())
}
