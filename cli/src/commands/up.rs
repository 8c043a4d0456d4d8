//! `showrunner up`.

use std::{io::IsTerminal, time::Duration};

use showrunner_loadtest::{drill::Live, observe};
use tokio_util::sync::CancellationToken;

use crate::{args::UpArgs, failure::Failure, input, output::print, signals::stop_token, stage::Stage};

/// How long the platform may take to come up before the user is told what is missing.
const READY: Duration = Duration::from_secs(120);

pub(crate) async fn run(args: UpArgs) -> Result<u8, Failure> {
    let file = input::platform(&args.file)?;
    let stop = stop_token()?;
    let live = Live::new(std::io::stderr().is_terminal());
    live.update(|s| s.phase = "starting the sandbox".into());
    let stage = Stage::raise(&file, Some(args.kubeconfig.clone()), 1, args.control_plane).await?;
    let result = serve(&stage, &args, &live, &stop).await;
    live.done();
    let struck = stage.strike().await;
    result?;
    struck?;
    Ok(0)
}

async fn serve(stage: &Stage, args: &UpArgs, live: &Live, stop: &CancellationToken) -> Result<(), Failure> {
    let subject = observe::Subject {
        namespace: stage.namespace.clone(),
        platform: stage.platform.clone(),
    };
    live.update(|s| s.phase = format!("bringing up {}/{}", stage.namespace, stage.platform));
    print(&format!("kubeconfig  {}\n", args.kubeconfig.display()))?;
    let client = stage.sandbox.client();
    let steady = tokio::select! {
        steady = observe::wait_steady(&client, &subject, READY, stop) => steady,
        why = stage.broken() => return Err(Failure::infrastructure(why)),
    };
    if stop.is_cancelled() {
        return Ok(());
    }
    if !steady.ok {
        return Err(Failure::infrastructure(steady.detail));
    }
    let status = steady.snapshot.platform.and_then(|p| p.status).unwrap_or_default();
    for channel in &status.endpoints.channels {
        print(&format!("playback    {}\n", channel.url))?;
    }
    for service in &status.endpoints.services {
        print(&format!("{:<11} {}\n", service.name, service.url))?;
    }
    print(&format!("steady      {}\n\nup; Ctrl-C takes it down\n", steady.detail))?;
    live.update(|s| s.phase = "up".into());
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        why = stage.broken() => Err(Failure::infrastructure(why)),
    }
}
