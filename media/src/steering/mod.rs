//! Traffic steering: tells every player which region to play, and counts them by how they ask.
//!
//! It needs nothing but its configuration file: with the control plane down it goes on probing and failing over.

pub mod audience;
pub mod manifest;
pub mod multivariant;
pub mod order;
pub mod probe;
mod prober;
mod routes;
pub mod settings;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicU64},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use showrunner_crds::config::{Pathway, SteeringConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use routes::router;

use self::{audience::Audience, order::Viewer, probe::Health, settings::SettingsError};
use crate::server::{self, Limits};

/// How often the configuration file is looked at.
const RELOAD: Duration = Duration::from_secs(1);

/// Labels of one pathway.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PathwayLabels {
    pathway: String,
}

#[derive(Debug)]
struct Metrics {
    registry: Registry,
    plays: Counter,
    polls: Counter,
    up: Family<PathwayLabels, Gauge>,
    audience: Family<PathwayLabels, Gauge<f64, AtomicU64>>,
    broken: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("showrunner_steering");
        let (plays, polls, broken) = (Counter::default(), Counter::default(), Counter::default());
        let (up, audience) = (Family::default(), Family::default());
        registry.register("multivariant_loads", "Multivariant playlists served", plays.clone());
        registry.register("polls", "Steering manifests served", polls.clone());
        registry.register("pathway_up", "1 while probes of the pathway succeed", up.clone());
        registry.register(
            "audience",
            "Concurrent viewers by pathway that this server counts",
            audience.clone(),
        );
        registry.register(
            "config_rejected",
            "New configurations that were broken and not taken",
            broken.clone(),
        );
        Self {
            registry,
            plays,
            polls,
            up,
            audience,
            broken,
        }
    }
}

/// A steering server's state.
#[derive(Debug)]
pub struct Steering {
    config: RwLock<Arc<SteeringConfig>>,
    health: Mutex<BTreeMap<String, Health>>,
    audience: Mutex<Audience>,
    metrics: Metrics,
    started: Instant,
}

impl Steering {
    /// State with `config`, which [`settings::parse`] has checked.
    pub fn new(config: SteeringConfig) -> Self {
        Self {
            config: RwLock::new(Arc::new(config)),
            health: Mutex::default(),
            audience: Mutex::default(),
            metrics: Metrics::default(),
            started: Instant::now(),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<SteeringConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a checked configuration into force. Health is kept for pathways that stay.
    pub fn replace(&self, config: SteeringConfig) {
        let known = |id: &str| config.pathways.iter().any(|pathway| pathway.id == id);
        self.health().retain(|id, _| known(id));
        self.audience().retain(known);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Takes the result of one probe.
    pub fn probed(&self, pathway: &str, success: bool) {
        let config = self.config();
        if !config.pathways.iter().any(|known| known.id == pathway) {
            return;
        }
        let mut health = self.health();
        let entry = health.entry(pathway.to_owned()).or_default();
        let before = entry.is_up();
        *entry = entry.after(success, &config.probe);
        if before != entry.is_up() {
            warn!(pathway, up = entry.is_up(), "pathway changed");
        }
        self.metrics
            .up
            .get_or_create(&PathwayLabels {
                pathway: pathway.to_owned(),
            })
            .set(i64::from(entry.is_up()));
    }

    /// The pathways that `viewer` is given, best first. Without failover that is its own and no other.
    fn pathways<'a>(&self, config: &'a SteeringConfig, viewer: Viewer<'_>) -> Vec<&'a Pathway> {
        if !config.failover {
            return order::home(&config.pathways, viewer).into_iter().collect();
        }
        let health = self.health();
        order::order(&config.pathways, viewer, |id| {
            health.get(id).is_none_or(|health| health.is_up())
        })
    }

    fn saw(&self, pathway: &str) {
        self.audience().saw(pathway, self.started.elapsed());
    }

    fn health(&self) -> MutexGuard<'_, BTreeMap<String, Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn audience(&self) -> MutexGuard<'_, Audience> {
        self.audience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until `shutdown`: answers players, probes pathways, watches `path`.
pub async fn run(
    path: PathBuf,
    listener: TcpListener,
    limits: Limits,
    shutdown: CancellationToken,
) -> Result<(), SettingsError> {
    let text = settings::read(&path)?;
    let steering = Arc::new(Steering::new(settings::parse(&path, &text)?));
    let (probing, watching) = (Arc::clone(&steering), Arc::clone(&steering));
    let background = async move { tokio::join!(prober::run(probing), watch(watching, path, text)) };
    let serving = server::serve(listener, router(steering), limits, shutdown);
    tokio::select! {
        () = serving => {}
        _ = background => {}
    }
    Ok(())
}

/// Follows the file. What cannot be read or is broken is reported once and not taken.
async fn watch(steering: Arc<Steering>, path: PathBuf, mut seen: Vec<u8>) {
    let mut tick = tokio::time::interval(RELOAD);
    loop {
        tick.tick().await;
        // A file that is missing for a moment is being replaced.
        let Ok(text) = settings::read(&path) else { continue };
        if text == seen {
            continue;
        }
        match settings::parse(&path, &text) {
            Ok(config) => {
                info!(pathways = config.pathways.len(), "configuration changed");
                steering.replace(config);
            }
            Err(error) => {
                warn!(%error, "new configuration is broken, keeping the old one");
                steering.metrics.broken.inc();
            }
        }
        seen = text;
    }
}
