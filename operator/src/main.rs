//! The operator's binary: `showrunner-operator --help`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use showrunner_operator::{OperatorOptions, leader, rbac, run};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::error;
use tracing_subscriber::EnvFilter;

/// Turns StreamingPlatforms into what runs.
#[derive(Parser)]
#[command(name = "showrunner-operator", version)]
struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    /// Kubeconfig; without it $KUBECONFIG, ~/.kube/config, or the cluster the operator runs in.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Namespace to serve; all of them where absent.
    #[arg(long, env = "WATCH_NAMESPACE")]
    namespace: Option<String>,
    /// Stand by while another instance works. Off, there must be one instance only.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    leader_election: bool,
    /// Namespace of the Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// Name of this instance, which no other may have; one drawn by chance where absent.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// Milliseconds between looks at a platform that has an audience.
    #[arg(long, default_value_t = 2500)]
    busy_interval_ms: u64,
    /// Milliseconds between looks at a platform that has none.
    #[arg(long, default_value_t = 10_000)]
    idle_interval_ms: u64,
    /// Platforms looked at concurrently: so many may wait for a cluster that hangs before others wait for them.
    #[arg(long, default_value_t = OperatorOptions::default().concurrency, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
}

#[derive(Subcommand)]
enum Action {
    /// Runs the operator (the default).
    Run,
    /// Prints the permissions it needs, as YAML, each with its reason.
    Rbac {
        /// Those of the kubeconfig's user in a cluster that a region has of its own.
        #[arg(long)]
        remote: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Command::parse();
    if let Some(Action::Rbac { remote }) = command.action {
        print!("{}", if remote { rbac::remote_yaml() } else { rbac::yaml() });
        return ExitCode::SUCCESS;
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match operate(command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "operator failed");
            ExitCode::FAILURE
        }
    }
}

async fn operate(command: Command) -> Result<(), Box<dyn std::error::Error>> {
    let config = match &command.kubeconfig {
        Some(path) => {
            let options = KubeConfigOptions {
                context: command.context.clone(),
                ..KubeConfigOptions::default()
            };
            Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?
        }
        None => Config::infer().await?,
    };
    let client = Client::try_from(config)?;
    // Of two with one name each would take the Lease for its own.
    let by_chance = || format!("showrunner-operator-{:08x}", fastrand::u32(..));
    let identity = command.identity.unwrap_or_else(by_chance);
    let options = OperatorOptions {
        namespace: command.namespace,
        busy_interval: Duration::from_millis(command.busy_interval_ms.max(100)),
        idle_interval: Duration::from_millis(command.idle_interval_ms.max(100)),
        instance: Some(identity.clone()),
        concurrency: command.concurrency,
        ..OperatorOptions::default()
    };
    let stop = CancellationToken::new();
    cancel_on_signal(&stop)?;
    if command.leader_election {
        leader::run_elected(client, options, &command.lease_namespace, &identity, stop).await?;
    } else {
        run(client, options, stop).await?;
    }
    Ok(())
}

fn cancel_on_signal(stop: &CancellationToken) -> std::io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signals, stop) = (signal(kind)?, stop.clone());
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(())
}
