//! The operator's processes: started, killed between two calls, started anew.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use kube::Client;
use showrunner_operator::{OperatorOptions, leader, run};
use tokio_util::sync::CancellationToken;

use crate::{
    plan::Death,
    world::{NAMESPACE, World},
};

/// What is started: with a client, options, and, where it is one of several, its identity.
pub(crate) type Start = fn(Client, OperatorOptions, Option<String>) -> BoxFuture<'static, Result<(), String>>;

/// The operator as its binary runs it.
pub(crate) fn the_operator(
    client: Client,
    options: OperatorOptions,
    identity: Option<String>,
) -> BoxFuture<'static, Result<(), String>> {
    Box::pin(async move {
        let stop = CancellationToken::new();
        let outcome = match identity {
            Some(identity) => leader::run_elected(client, options, NAMESPACE, &identity, stop).await,
            None => run(client, options, stop).await,
        };
        outcome.map_err(|error| error.to_string())
    })
}

/// Runs one operator, which dies as planned and lives on after that. Returns only with an error.
pub(crate) async fn live(world: Arc<World>, number: usize, elected: bool, deaths: Vec<Death>, start: Start) -> String {
    let identity = elected.then(|| format!("operator-{number}"));
    let mut deaths = deaths.into_iter();
    for life in 0_u64.. {
        let death = deaths.next();
        let link = world.network.link(format!("operator-{number}.{life}"));
        let cut = death.map(|death| link.cut_at(death.call, death.carried_out));
        // A task of its own: it shares nothing with the next one, and a panic shows.
        let process = tokio::spawn(start(world.abused(&link), world.options(&link), identity.clone()));
        let abort = process.abort_handle();
        let killed = async {
            match cut {
                Some(cut) => cut.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = killed => {}
            ended = process => return format!("operator {number} ended by itself: {ended:?}"),
        }
        link.cut();
        abort.abort();
        tokio::time::sleep(death.map_or(Duration::ZERO, |death| death.pause)).await;
    }
    unreachable!("lives are not counted that far")
}
