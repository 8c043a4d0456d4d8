//! The origin: takes PUTs from any number of encoders, serves the first valid copy of each segment.
//!
//! Objects live in memory, each PUT being published in one step once it is whole and valid: nobody ever sees half a segment.

mod deliver;
pub mod freshness;
pub mod metrics;
pub mod playlist;
mod routes;
pub mod stats;
pub mod store;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use showrunner_crds::{config::OriginConfig, wire::OriginStats};

pub use routes::router;

use self::{
    freshness::Stream,
    metrics::{ChannelLabels, Metrics},
    stats::Stats,
    store::ChannelStore,
};
use crate::{epoch, object::is_label, server::Limits};

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OriginError {
    /// Nothing to serve.
    #[error("channels: at least one is needed")]
    NoChannels,
    /// A name that cannot be part of a path.
    #[error("channels: `{0}` is not a DNS label")]
    Name(String),
    /// A channel without renditions.
    #[error("channels: `{0}` has no renditions")]
    NoRenditions(String),
    /// Two channels of one name.
    #[error("channels: `{0}` appears twice")]
    Twice(String),
}

/// One channel and its place in the configuration.
#[derive(Debug)]
struct Channel {
    index: usize,
    renditions: Vec<String>,
    segment_seconds: u32,
    store: Mutex<ChannelStore>,
}

impl Channel {
    fn store(&self) -> MutexGuard<'_, ChannelStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An origin's state.
#[derive(Debug)]
pub struct Origin {
    config: OriginConfig,
    limits: Limits,
    channels: HashMap<String, Channel>,
    stats: Stats,
    metrics: Metrics,
    started: Duration,
}

impl Origin {
    /// An empty origin.
    pub fn new(config: OriginConfig, limits: Limits) -> Result<Self, OriginError> {
        if config.channels.is_empty() {
            return Err(OriginError::NoChannels);
        }
        let mut channels = HashMap::new();
        for (index, channel) in config.channels.iter().enumerate() {
            if let Some(bad) = std::iter::once(&channel.name)
                .chain(&channel.renditions)
                .find(|name| !is_label(name))
            {
                return Err(OriginError::Name(bad.clone()));
            }
            if channel.renditions.is_empty() {
                return Err(OriginError::NoRenditions(channel.name.clone()));
            }
            let (renditions, segment_seconds) = (channel.renditions.clone(), channel.segment_seconds);
            let entry = Channel {
                index,
                renditions,
                segment_seconds,
                store: Mutex::new(ChannelStore::new(channel)),
            };
            if channels.insert(channel.name.clone(), entry).is_some() {
                return Err(OriginError::Twice(channel.name.clone()));
            }
        }
        let (stats, metrics) = (Stats::default(), Metrics::default());
        Ok(Self {
            config,
            limits,
            channels,
            stats,
            metrics,
            started: epoch::now(),
        })
    }

    /// Whether the streams are fresh at `now`: what `/healthz` says.
    pub fn is_ready(&self, now: Duration) -> bool {
        !self.config.freshness_enabled
            || freshness::is_fresh(&self.streams(), self.config.max_age_percent, self.started, now)
    }

    /// What shields fetched; single segments where their counts changed after `since`: what `/stats` says.
    pub fn report(&self, since: u64) -> OriginStats {
        self.stats.report(since, |(channel, rendition, number)| {
            let found = self.channels.iter().find(|(_, c)| c.index == channel);
            let (channel, rendition) = found.map_or(("", ""), |(name, c)| {
                (name, c.renditions.get(rendition).map_or("", String::as_str))
            });
            format!("{channel}/{rendition}/{number}")
        })
    }

    fn streams(&self) -> Vec<Stream> {
        let stream = |channel: &Channel| {
            let store = channel.store();
            Stream {
                timeline: store.timeline(),
                newest: store.newest(),
            }
        };
        self.channels.values().map(stream).collect()
    }

    fn refresh_gauges(&self, now: Duration) {
        for (name, channel) in &self.channels {
            let (newest, held) = {
                let store = channel.store();
                (store.newest(), store.bytes())
            };
            let labels = ChannelLabels { channel: name.clone() };
            if let Some(newest) = newest {
                self.metrics
                    .age
                    .get_or_create(&labels)
                    .set(now.saturating_sub(newest.published).as_secs_f64());
            }
            self.metrics
                .held
                .get_or_create(&labels)
                .set(i64::try_from(held).unwrap_or(i64::MAX));
        }
    }
}
