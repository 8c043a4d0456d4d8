//! `showrunner lever`.

use kube::Client;
use showrunner_loadtest::guardrail::lever::{self, Lever, LeverError};

use crate::{
    args::{LeverAction, LeverArgs},
    failure::Failure,
    output::print,
};

pub(crate) async fn run(args: LeverArgs) -> Result<u8, Failure> {
    let (cluster, moved) = match &args.action {
        LeverAction::Engage(to) => (&to.cluster, Some((true, to.reason.as_str()))),
        LeverAction::Release(to) => (&to.cluster, Some((false, to.reason.as_str()))),
        LeverAction::Show(cluster) => (cluster, None),
    };
    let (client, _) = cluster.connect().await?;
    if let Some((engaged, why)) = moved {
        lever::set(&client, engaged, &who(), why)
            .await
            .map_err(|e| failed(&e))?;
    }
    show(&client).await
}

/// Says what the cluster says: also after a move, which somebody else may have undone.
async fn show(client: &Client) -> Result<u8, Failure> {
    let text = match lever::read(client).await.map_err(|e| failed(&e))? {
        Lever::Released => "released: drills may run\n".to_owned(),
        Lever::Engaged { why } => format!("engaged: no drill may run ({why})\n"),
    };
    print(&text)?;
    Ok(0)
}

fn failed(error: &LeverError) -> Failure {
    Failure::infrastructure(error.to_string())
}

/// Who moves it, as far as the machine knows.
fn who() -> String {
    let name = std::env::var("USER").ok().filter(|name| !name.is_empty());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}@{}", name.as_deref().unwrap_or("somebody"), host.trim())
}
