//! The scripts. Each plays in a namespace of its own, all at the same time.

mod autoscaling;
mod disruption;
mod jobs;
mod node_loss;
mod rollout;
mod scaling;
mod spread;
mod stateful;

use std::collections::BTreeMap;

use crate::{facts::Facts, stage::Cluster};

/// Plays all.
pub(crate) async fn play(cluster: &Cluster) -> BTreeMap<String, Facts> {
    let stage = |namespace: &'static str| cluster.stage(namespace);
    let (rollout, scaling, stateful, spread, node_loss, disruption, autoscaling, jobs) = tokio::join!(
        async { rollout::play(&stage("rollout").await).await },
        async { scaling::play(&stage("scaling").await).await },
        async { stateful::play(&stage("stateful").await).await },
        async { spread::play(&stage("spread").await).await },
        async { node_loss::play(&stage("node-loss").await).await },
        async { disruption::play(&stage("disruption").await).await },
        async { autoscaling::play(&stage("autoscaling").await).await },
        async { jobs::play(&stage("jobs").await).await },
    );
    [
        ("a rolling update with a bad image", rollout),
        ("scale up and down, and a pod deleted", scaling),
        ("a StatefulSet", stateful),
        ("topology spread", spread),
        ("a node is lost and comes back", node_loss),
        ("a PodDisruptionBudget", disruption),
        ("an autoscaler under load and without", autoscaling),
        ("Jobs that complete and that fail", jobs),
    ]
    .map(|(name, facts)| (name.to_owned(), facts))
    .into()
}
