//! The network: an address for each pod, Services as userspace L4 proxies, and faults between any two peers.
//!
//! A pod reaches a Service through a *link*: an address of the pod's own for that Service. The proxy behind it knows both
//! ends, so a fault can touch exactly this pair. Callers outside any pod use the ClusterIP or the load-balancer address.

mod address;
mod bucket;
mod connection;
mod fault;
mod listener;
mod pump;
mod reported;
mod shaper;
mod state;
mod table;
mod traffic;
mod watch;

pub use bucket::TokenBucket;
pub use fault::{Effective, FaultRule, FaultSet, Impairment, PeerSet, RateLimit};
pub use listener::Balance;
pub use reported::ReportedAddresses;
pub use shaper::{Loss, Shaper, draw_loss};
pub use state::PodLimits;
pub use table::{Backend, ServiceEntry, ServiceTable};
pub use traffic::{PodTraffic, Traffic};

use crate::key::{Peer, PodKey, ServiceKey};
use address::{AddressPool, LINK_OCTETS, POD_OCTETS};
use listener::{ListenerHandle, Route, listen};
use state::SharedState;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch as watch_channel};
use tokio_util::sync::CancellationToken;

/// Settings of a [`Network`].
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Seeds packet loss and jitter.
    pub seed: u64,
    /// How long a partitioned connection hangs before it is reset.
    pub hang: Duration,
    /// How long a connect to an endpoint may take.
    pub connect_timeout: Duration,
    /// Connections on which nothing moves for this long are closed.
    pub idle_timeout: Duration,
    /// Connections at once; more wait in the listeners' backlogs. Each takes two file descriptors.
    pub max_connections: usize,
    /// How connections are spread over endpoints.
    pub balance: Balance,
    /// Idle time that a bandwidth limit lets through at once.
    pub burst: Duration,
    /// How the API server is told the addresses of pods.
    pub reported: ReportedAddresses,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            hang: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_mins(15),
            max_connections: 8192,
            balance: Balance::default(),
            burst: Duration::from_millis(50),
            reported: ReportedAddresses::default(),
        }
    }
}

/// What a pod refers to by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkTarget {
    /// The Service.
    pub service: ServiceKey,
    /// One endpoint of it (`POD.SERVICE.NAMESPACE.svc`).
    pub hostname: Option<String>,
}

/// Why a link could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The Service does not exist (yet).
    #[error("Service {0} does not exist")]
    NoSuchService(ServiceKey),
    /// No address or port was to be had.
    #[error("cannot listen for Service {0}: {1}")]
    Io(ServiceKey, #[source] io::Error),
}

/// An address of a Service on which something outside this network listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The address.
    pub address: Ipv4Addr,
    /// The port.
    pub port: u16,
    /// The Service.
    pub service: ServiceKey,
    /// Since when listening there has failed.
    pub since: Instant,
    /// Why, in the machine's words.
    pub why: String,
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            address,
            port,
            service,
            why,
            ..
        } = self;
        write!(f, "cannot listen on {address}:{port} for Service {service}: {why}")
    }
}

#[derive(Debug)]
struct PodEntry {
    ip: Ipv4Addr,
}

#[derive(Debug)]
struct Listeners {
    pods: AddressPool,
    links: AddressPool,
    /// Link addresses by (pod, target).
    by_link: BTreeMap<(PodKey, LinkTarget), Ipv4Addr>,
    running: BTreeMap<(Ipv4Addr, u16), ListenerHandle>,
    taken: Vec<Taken>,
}

/// What connections share.
#[derive(Debug)]
pub(crate) struct Inner {
    config: NetworkConfig,
    state: Arc<SharedState>,
    pool: Arc<pump::BufferPool>,
    traffic: Traffic,
    table: RwLock<Arc<ServiceTable>>,
    pods: RwLock<HashMap<PodKey, PodEntry>>,
    listeners: Mutex<Listeners>,
    slots: Arc<Semaphore>,
    ordinal: AtomicU64,
    closing: CancellationToken,
    services: watch_channel::Sender<u64>,
}

/// The network of one cluster. Clones share it; [`Network::close`] ends it.
#[derive(Clone, Debug)]
pub struct Network(Arc<Inner>);

impl Network {
    /// A network without pods or Services.
    pub fn new(config: NetworkConfig) -> Self {
        Self(Arc::new(Inner {
            state: Arc::new(SharedState::new(config.burst)),
            pool: Arc::default(),
            traffic: Traffic::default(),
            table: RwLock::default(),
            pods: RwLock::default(),
            listeners: Mutex::new(Listeners {
                pods: AddressPool::new(POD_OCTETS),
                links: AddressPool::new(LINK_OCTETS),
                by_link: BTreeMap::new(),
                running: BTreeMap::new(),
                taken: Vec::new(),
            }),
            slots: Arc::new(Semaphore::new(config.max_connections)),
            ordinal: AtomicU64::new(0),
            closing: CancellationToken::new(),
            services: watch_channel::Sender::new(0),
            config,
        }))
    }

    /// Gives a pod its address. A pod that has one keeps it.
    pub fn add_pod(&self, pod: &PodKey, limits: PodLimits) -> io::Result<Ipv4Addr> {
        let existing = self.0.pod_ip(pod);
        let ip = match existing {
            Some(ip) => ip,
            None => self.0.listeners().pods.allocate()?,
        };
        if existing.is_none() {
            self.0
                .pods
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(pod.clone(), PodEntry { ip });
        }
        self.set_limits(pod, limits);
        Ok(ip)
    }

    /// Sets a pod's bandwidth limits; existing connections follow at once.
    pub fn set_limits(&self, pod: &PodKey, limits: PodLimits) {
        self.0.state.modify(|conditions| {
            if limits == PodLimits::default() {
                conditions.limits.remove(pod).is_some()
            } else {
                conditions.limits.insert(pod.clone(), limits) != Some(limits)
            }
        });
    }

    /// Takes a pod's address and links away. Its processes are expected to be gone.
    pub fn remove_pod(&self, pod: &PodKey) {
        let entry = self.0.pods.write().unwrap_or_else(PoisonError::into_inner).remove(pod);
        self.set_limits(pod, PodLimits::default());
        self.0.traffic.forget(pod);
        let mut listeners = self.0.listeners();
        let gone: Vec<_> = listeners
            .by_link
            .keys()
            .filter(|(owner, _)| owner == pod)
            .cloned()
            .collect();
        for link in gone {
            if let Some(address) = listeners.by_link.remove(&link) {
                listeners.running.retain(|(at, _), _| *at != address);
                listeners.links.release(address);
            }
        }
        if let Some(PodEntry { ip }) = entry {
            listeners.pods.release(ip);
        }
    }

    /// The host under which `pod` reaches `target`: a link address, made at first use, on which every port of the Service
    /// listens by the time this returns; or the name an ExternalName Service stands for.
    pub fn link(&self, pod: &PodKey, target: &LinkTarget) -> Result<String, LinkError> {
        let table = self.0.table();
        let Some(entry) = table.services.get(&target.service) else {
            return Err(LinkError::NoSuchService(target.service.clone()));
        };
        if let Some(name) = &entry.external_name {
            return Ok(name.clone());
        }
        let fail = |error| LinkError::Io(target.service.clone(), error);
        let mut listeners = self.0.listeners();
        let key = (pod.clone(), target.clone());
        let known = listeners.by_link.get(&key).copied();
        let address = match known {
            Some(address) => address,
            None => listeners.links.allocate().map_err(fail)?,
        };
        for port in entry.ports.keys() {
            let at = (address, *port);
            if listeners.running.contains_key(&at) {
                continue;
            }
            match listen(&self.0, address, route(&key, *port)) {
                Ok(handle) => listeners.running.insert(at, handle),
                Err(error) => {
                    if known.is_none() {
                        listeners.running.retain(|(other, _), _| *other != address);
                        listeners.links.release(address);
                    }
                    return Err(fail(error));
                }
            };
        }
        listeners.by_link.insert(key, address);
        Ok(address.to_string())
    }

    /// Replaces the table of Services: listeners come and go to match. Returns the addresses that could not be bound,
    /// which a later call tries again.
    pub fn set_services(&self, table: ServiceTable) -> Vec<Taken> {
        let table = Arc::new(table);
        let before = {
            let mut current = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, Arc::clone(&table))
        };
        if !table.same_names(&before) {
            self.0.services.send_modify(|count| *count = count.wrapping_add(1));
        }
        let mut listeners = self.0.listeners();
        let mut desired: BTreeMap<(Ipv4Addr, u16), Route> = BTreeMap::new();
        for (service, entry) in &table.services {
            for address in entry.cluster_ips.iter().chain(&entry.ingress_ips) {
                for port in entry.ports.keys() {
                    let route = Route {
                        source: None,
                        service: service.clone(),
                        port: *port,
                        hostname: None,
                    };
                    desired.insert((*address, *port), route);
                }
            }
        }
        for (key, address) in &listeners.by_link {
            if let Some(entry) = table.services.get(&key.1.service) {
                desired.extend(entry.ports.keys().map(|port| ((*address, *port), route(key, *port))));
            }
        }
        listeners
            .running
            .retain(|at, handle| desired.get(at) == Some(&handle.route));
        let mut failed = Vec::new();
        for (at, route) in desired {
            if listeners.running.contains_key(&at) {
                continue;
            }
            let service = route.service.clone();
            match listen(&self.0, at.0, route) {
                Ok(handle) => {
                    listeners.running.insert(at, handle);
                }
                Err(error) => {
                    let known = listeners.taken.iter().find(|taken| (taken.address, taken.port) == at);
                    failed.push(Taken {
                        address: at.0,
                        port: at.1,
                        service,
                        since: known.map_or_else(Instant::now, |taken| taken.since),
                        why: error.to_string(),
                    });
                }
            }
        }
        listeners.taken.clone_from(&failed);
        failed
    }

    /// The Service's address that could not be bound for longest.
    #[must_use]
    pub fn taken(&self) -> Option<Taken> {
        self.0.listeners().taken.iter().min_by_key(|taken| taken.since).cloned()
    }

    /// Moves when Services or their ports come or go (not when their endpoints do).
    pub fn services_changed(&self) -> watch_channel::Receiver<u64> {
        self.0.services.subscribe()
    }

    /// Puts a fault in force under a name, replacing what that name stood for.
    pub fn set_fault(&self, name: &str, rules: Vec<FaultRule>) {
        self.0.state.modify(|conditions| {
            let before = conditions.faults.clone();
            conditions.faults.set(name, rules);
            conditions.faults != before
        });
    }

    /// Ends a fault; whether it was in force.
    pub fn clear_fault(&self, name: &str) -> bool {
        self.0.state.modify(|conditions| conditions.faults.remove(name))
    }

    /// A copy of the faults in force.
    pub fn faults(&self) -> FaultSet {
        self.0.state.current().faults.clone()
    }

    /// Opens a connection to a port of a pod, as `from` would see it: partitions make it hang and fail, latency and
    /// limits apply.
    pub async fn dial(&self, from: Peer, pod: &PodKey, port: u16) -> io::Result<TcpStream> {
        let (server, to) = self.open(&from, pod, port).await?;
        let conditions = self.0.state.current();
        if self.0.state.way(&conditions, &from, &to).is_clear() && self.0.state.way(&conditions, &to, &from).is_clear()
        {
            return Ok(server);
        }
        self.relayed(server, from, to).await
    }

    /// The same for a connection that is kept for later requests: it meets faults that come in force meanwhile, too.
    pub async fn dial_lasting(&self, from: Peer, pod: &PodKey, port: u16) -> io::Result<TcpStream> {
        let (server, to) = self.open(&from, pod, port).await?;
        self.relayed(server, from, to).await
    }

    async fn open(&self, from: &Peer, pod: &PodKey, port: u16) -> io::Result<(TcpStream, Peer)> {
        let ip = self.0.pod_ip(pod).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("pod {pod} has no address on this network"),
            )
        })?;
        let to = Peer::Pod(pod.clone());
        let server = connection::open(&self.0, from, &to, ip, port).await?;
        Ok((server, to))
    }

    /// A stream whose bytes pass through whatever is in force between the two.
    async fn relayed(&self, server: TcpStream, from: Peer, to: Peer) -> io::Result<TcpStream> {
        let Ok(permit) = Arc::clone(&self.0.slots).try_acquire_owned() else {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many connections"));
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let near = TcpStream::connect(listener.local_addr()?).await?;
        let (far, caller) = listener.accept().await?;
        if caller != near.local_addr()? {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "somebody else took the relay's connection",
            ));
        }
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            connection::relay(&inner, far, server, from, to).await;
            drop(permit);
        });
        Ok(near)
    }

    /// The pod at an address that the API server knows.
    pub fn pod_reported_at(&self, address: Ipv4Addr) -> Option<PodKey> {
        self.0.pod_at(self.0.config.reported.inward(address)?)
    }

    /// The address of a pod.
    pub fn pod_ip(&self, pod: &PodKey) -> Option<Ipv4Addr> {
        self.0.pod_ip(pod)
    }

    /// Bytes and connections of every pod.
    pub fn traffic(&self) -> Vec<PodTraffic> {
        self.0.traffic.read()
    }

    /// Follows Services and EndpointSlices until `stop` is cancelled or the network closes.
    pub async fn follow(self, client: kube::Client, stop: CancellationToken) {
        watch::follow(self, client, stop).await;
    }

    /// Stops every listener and resets every connection.
    pub fn close(&self) {
        self.0.closing.cancel();
        self.0.listeners().running.clear();
    }
}

fn route((pod, target): &(PodKey, LinkTarget), port: u16) -> Route {
    Route {
        source: Some(pod.clone()),
        service: target.service.clone(),
        port,
        hostname: target.hostname.clone(),
    }
}

impl Inner {
    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> Arc<ServiceTable> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn pod_ip(&self, pod: &PodKey) -> Option<Ipv4Addr> {
        self.pods
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(pod)
            .map(|entry| entry.ip)
    }

    fn pod_at(&self, address: Ipv4Addr) -> Option<PodKey> {
        let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
        pods.iter()
            .find(|(_, entry)| entry.ip == address)
            .map(|(key, _)| key.clone())
    }

    /// The pod behind a backend: the one the slice names, or the one that owns the address.
    fn peer_of(&self, backend: &Backend) -> Peer {
        backend
            .pod
            .clone()
            .or_else(|| self.pod_at(backend.ip))
            .map_or(Peer::External, Peer::Pod)
    }
}
