//! The command line of every role, for the small binary and for a larger one that embeds it.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    encoder::{Agent, EncoderError},
    origin::{self, Origin, OriginError},
    server::{self, Limits},
    services::{self, Services, ServicesError},
    steering::{self, settings::SettingsError},
};

/// Exit code for a configuration or an argument that is wrong.
const EXIT_INVALID: u8 = 2;
/// Exit code for everything else.
const EXIT_FAILED: u8 = 1;

/// Arguments of the data plane.
#[derive(Clone, Debug, Args)]
pub struct MediaArgs {
    /// What to be.
    #[command(subcommand)]
    pub role: Role,
}

/// The roles.
#[derive(Clone, Debug, Subcommand)]
pub enum Role {
    /// Supervises ffmpeg and pushes its segments to every origin.
    Encoder {
        /// Common arguments.
        #[command(flatten)]
        common: Common,
        /// ffmpeg, by path or by name.
        #[arg(long, default_value = "ffmpeg", value_name = "PATH")]
        ffmpeg: PathBuf,
    },
    /// Takes segments from encoders and serves them.
    Origin {
        /// Common arguments.
        #[command(flatten)]
        common: Common,
    },
    /// Tells players which region to play, and counts them.
    Steering {
        /// Common arguments.
        #[command(flatten)]
        common: Common,
    },
    /// Entitlement, licence or session: a reference implementation.
    Services {
        /// Common arguments.
        #[command(flatten)]
        common: Common,
    },
}

/// Arguments that every role has.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Configuration file (JSON).
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Address to listen on. Default: port 8080 of the address in `POD_IP`, or of 127.0.0.1.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
}

/// Why a role ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration file is not what it should be.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// `POD_IP` is not an address.
    #[error("POD_IP: `{0}` is not an IP address")]
    PodIp(String),
    /// The listening address is taken or not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The encoder cannot run.
    #[error("encoder: {0}")]
    Encoder(#[from] EncoderError),
    /// The origin cannot run.
    #[error("origin: {0}")]
    Origin(#[from] OriginError),
    /// The steering server cannot run.
    #[error("steering: {0}")]
    Steering(#[from] SettingsError),
    /// The service cannot run.
    #[error("services: {0}")]
    Services(#[from] ServicesError),
    /// The process cannot be set up: no runtime, no signal handler.
    #[error("{0}")]
    Process(io::Error),
}

impl Error {
    /// Exit code: 2 when arguments or configuration are wrong, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Encoder(EncoderError::Missing(_) | EncoderError::Hopeless { .. } | EncoderError::Sink(_))
            | Self::Listen { .. }
            | Self::Process(_) => EXIT_FAILED,
            _ => EXIT_INVALID,
        }
    }
}

/// A whole process: runtime, SIGTERM and SIGINT, exit code. Logging is the caller's.
pub fn main(args: MediaArgs) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::Process)
        .and_then(|runtime| {
            runtime.block_on(async {
                let shutdown = CancellationToken::new();
                stop_on_signal(shutdown.clone()).map_err(Error::Process)?;
                run(args, shutdown).await
            })
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "stopped");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs a role until `shutdown`; returns once everything that it started has ended, within a bounded time.
pub async fn run(args: MediaArgs, shutdown: CancellationToken) -> Result<(), Error> {
    let limits = Limits::default();
    match args.role {
        Role::Encoder { common, ffmpeg } => {
            let agent = Arc::new(Agent::new(read(&common.config)?, ffmpeg)?);
            let listener = listen(&common, "encoder").await?;
            agent
                .run(
                    listener,
                    Limits {
                        connections: 256,
                        ..limits
                    },
                    shutdown,
                )
                .await?;
        }
        Role::Origin { common } => {
            let origin = Arc::new(Origin::new(read(&common.config)?, limits)?);
            let listener = listen(&common, "origin").await?;
            server::serve(listener, origin::router(origin), limits, shutdown).await;
        }
        Role::Steering { common } => {
            let listener = listen(&common, "steering").await?;
            steering::run(common.config, listener, limits, shutdown).await?;
        }
        Role::Services { common } => {
            let services = Arc::new(Services::new(read(&common.config)?)?);
            let listener = listen(&common, "services").await?;
            server::serve(listener, services::router(services), limits, shutdown).await;
        }
    }
    info!("stopped");
    Ok(())
}

/// Cancels `shutdown` on the first SIGTERM or SIGINT. Must be called within a runtime.
pub fn stop_on_signal(shutdown: CancellationToken) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = std::fs::read(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|source| Error::Malformed {
        path: path.to_owned(),
        source,
    })
}

async fn listen(common: &Common, role: &'static str) -> Result<TcpListener, Error> {
    let address = match common.listen {
        Some(address) => address,
        None => default_address(std::env::var("POD_IP").ok())?,
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen { address, source })?;
    let address = listener.local_addr().unwrap_or(address);
    info!(role, %address, config = %common.config.display(), "listening");
    Ok(listener)
}

fn default_address(pod_ip: Option<String>) -> Result<SocketAddr, Error> {
    let text = pod_ip.unwrap_or_else(|| "127.0.0.1".into());
    match text.parse() {
        Ok(ip) => Ok(SocketAddr::new(ip, 8080)),
        Err(_) => Err(Error::PodIp(text)),
    }
}
