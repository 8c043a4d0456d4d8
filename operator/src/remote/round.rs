//! What one look has to do with other clusters.
//!
//! Those that answered the last time are asked first, and their regions take part in the look. Those that failed wait, each by
//! itself; when one's time has come it is asked again *beside* what is applied elsewhere, and takes part from the next look on.
//! So a cluster that hangs delays a look once, by the deadline of one question.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::{join, join_all};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt};
use showrunner_crds::platform::{Role, StreamingPlatform};

use super::{
    departure::{Departure, Lingering},
    record::{self, RecordError},
    sight::{Seen, Sight, View, Viewpoint},
};
use crate::{
    apply::{Applier, ApplyError, Signing, make_key},
    memory::Memory,
    metering::{Answer, ask_audience},
    observed::Observed,
    outage::Outages,
    reconcile::Context,
    resources::{Applied, Prepared, Resources},
    told::briefly,
    validate::{RemoteCluster, ValidatedPlatform, names::RegionName},
};

/// Clusters of one platform in one look.
pub(crate) struct Round {
    /// When it began.
    pub now: Timestamp,
    /// Clusters that the spec names.
    pub wanted: BTreeSet<RemoteCluster>,
    /// Clusters that it no longer names, which may have objects.
    leaving: BTreeSet<RemoteCluster>,
    /// Of those that failed the last time: whose time has not come.
    waiting: BTreeSet<RemoteCluster>,
    /// What is seen of them.
    pub sight: Sight,
}

impl Round {
    /// The clusters of a platform.
    pub(crate) fn of(platform: &StreamingPlatform, validated: &ValidatedPlatform, context: &Context) -> Self {
        let now = context.options.clock.now();
        let wanted = validated.clusters();
        let (waiting, mut unseen, registered) = context.remember(platform, |memory| {
            memory.forget_clusters_but(&wanted);
            let waiting = memory.clusters.waiting(now).into_keys().collect();
            (waiting, memory.clusters.reasons(), memory.registered.clone())
        });
        let recorded = record::recorded(platform).into_iter().chain(registered);
        let leaving = left(platform, &wanted, recorded);
        unseen.retain(|cluster, _| wanted.contains(cluster) || leaving.contains(cluster));
        Self {
            now,
            wanted,
            leaving,
            waiting,
            sight: Sight {
                unseen,
                ..Sight::default()
            },
        }
    }

    fn all(&self) -> impl Iterator<Item = &RemoteCluster> {
        self.wanted.union(&self.leaving)
    }

    /// Clusters to ask before anything is decided.
    pub(crate) fn first(&self) -> Vec<RemoteCluster> {
        let unseen = &self.sight.unseen;
        self.all()
            .filter(|cluster| !unseen.contains_key(*cluster))
            .cloned()
            .collect()
    }

    /// Clusters that failed and are to be asked again.
    pub(crate) fn again(&self) -> Vec<RemoteCluster> {
        let failed = self.sight.unseen.keys();
        failed
            .filter(|cluster| !self.waiting.contains(*cluster))
            .cloned()
            .collect()
    }

    /// Asks clusters.
    pub(crate) async fn look(
        &self,
        context: &Context,
        platform: &StreamingPlatform,
        clusters: Vec<RemoteCluster>,
    ) -> Sight {
        let viewpoint = Viewpoint {
            home: &context.client,
            clients: &context.clients,
            namespace: &platform.namespace().unwrap_or_default(),
            platform: &platform.name_any(),
            deadline: context.options.cluster_deadline,
        };
        viewpoint.look(clusters).await
    }

    /// Takes in what the first ones answered. Who fails only now is not asked again in this look.
    pub(crate) fn take(&mut self, sight: Sight) {
        self.waiting.extend(sight.unseen.keys().cloned());
        self.sight.seen.extend(sight.seen);
        self.sight.unseen.extend(sight.unseen);
    }

    /// Takes in what those answered that were asked again, and tells with what is applied why they still do not. Tells whether
    /// one is back.
    pub(crate) fn take_again(
        &mut self,
        sight: Sight,
        platform: &ValidatedPlatform,
        applied: &mut Resources<Applied>,
    ) -> bool {
        self.sight.unseen.retain(|cluster, _| !sight.seen.contains_key(cluster));
        for (cluster, why) in &sight.unseen {
            for region in platform.regions_in(Some(cluster)) {
                applied.explain(&region.name, why);
            }
        }
        self.sight.unseen.extend(sight.unseen);
        !sight.seen.is_empty()
    }

    /// What is in the clusters that the spec names, or was a moment ago.
    pub(crate) fn views(&self, memory: &mut Memory) -> BTreeMap<RemoteCluster, Arc<View>> {
        if self.wanted.is_empty() {
            return BTreeMap::new();
        }
        let seen = self.sight.seen.iter();
        let wanted = seen.filter(|(cluster, _)| self.wanted.contains(*cluster));
        let views = wanted.map(|(cluster, seen)| (cluster.clone(), seen.view.clone()));
        memory.see(self.now, views.collect(), &self.sight.unseen)
    }

    /// The audience, as each cluster's steering servers tell it.
    pub(crate) async fn ask_audience(&self, home: &Client, pods: &[Pod], quiet: &BTreeSet<RegionName>) -> Vec<Answer> {
        let remote = self.sight.seen.values();
        let remote = remote.map(|seen| ask_audience(&seen.client, &seen.view.pods, quiet));
        let (mut answers, others) = join(ask_audience(home, pods, quiet), join_all(remote)).await;
        answers.extend(others.into_iter().flatten());
        answers
    }

    /// Writes down which clusters are going to have objects, before they do. What was seen of the platform may be older than
    /// what was written last, so that its word is taken only for what this operator has written.
    pub(crate) async fn register(
        &mut self,
        context: &Context,
        platform: &StreamingPlatform,
    ) -> Result<(), RecordError> {
        let written = context.remember(platform, |memory| self.wanted.is_subset(&memory.registered));
        let known = written && record::is_held(platform) && self.wanted.is_subset(&record::recorded(platform));
        if self.wanted.is_empty() || known {
            return Ok(());
        }
        let deadline = context.options.request_deadline;
        let registered = record::register(&context.client, platform, &self.wanted, deadline).await?;
        self.leaving
            .extend(left(platform, &self.wanted, registered.iter().cloned()));
        context.remember(platform, |memory| memory.registered.extend(registered));
        Ok(())
    }

    /// Failures that are a region's own, not its cluster's.
    pub(crate) fn by_themselves(
        &self,
        platform: &ValidatedPlatform,
        failures: &BTreeMap<RegionName, String>,
    ) -> BTreeMap<RegionName, String> {
        let lost = |name: &RegionName| {
            let cluster = platform.region(name).and_then(|region| region.cluster.as_ref());
            cluster.is_some_and(|cluster| !self.sight.seen.contains_key(cluster))
        };
        let own = failures.iter().filter(|(region, _)| !lost(region));
        own.map(|(region, why)| (region.clone(), why.clone())).collect()
    }

    /// Takes everything away from clusters that the spec no longer names, once all is well in those that it does, and what has
    /// moved serves at its new place, or has had time enough to: `awaited` has the regions that do not yet. Gives those that
    /// still have something, or cannot be asked.
    pub(crate) async fn leave(
        &self,
        context: &Context,
        platform: &StreamingPlatform,
        all_is_well: bool,
        awaited: &BTreeSet<RegionName>,
    ) -> BTreeMap<RemoteCluster, Lingering> {
        let waiting = context.remember(platform, |memory| memory.clearings.waiting(self.now));
        let departure = Departure {
            platform,
            named: &self.wanted,
            deadline: context.options.cluster_deadline,
        };
        let departures = self.leaving.iter().map(async |cluster| {
            let held = self.sight.unseen.get(cluster).or_else(|| waiting.get(cluster));
            let left = if let Some(why) = held {
                Lingering::Held(why.clone())
            } else if let Some(seen) = self.sight.seen.get(cluster).filter(|_| all_is_well) {
                let regions = departure.regions(cluster, &seen.view);
                let names: Vec<&str> = regions.intersection(awaited).map(RegionName::as_str).collect();
                if names.is_empty() {
                    match departure.clear(seen, cluster).await {
                        Ok(true) => return None,
                        Ok(false) => Lingering::Going,
                        Err(error) => Lingering::Held(format!("{cluster}: {}", briefly(&error))),
                    }
                } else {
                    Lingering::Needed(format!("{cluster} waits until {} serves elsewhere", names.join(", ")))
                }
            } else {
                Lingering::Going
            };
            Some((cluster.clone(), left))
        });
        join_all(departures).await.into_iter().flatten().collect()
    }

    /// Remembers what came of the clusters: which failed, which could not be cleared, and which have objects.
    pub(crate) fn remember(&self, memory: &mut Memory, now: Timestamp, leaving: &BTreeMap<RemoteCluster, Lingering>) {
        memory.clusters.take(self.now, now, &self.sight.unseen, fastrand::f64);
        let held = leaving
            .iter()
            .filter(|(cluster, _)| self.sight.seen.contains_key(*cluster));
        let held = held.filter_map(|(cluster, why)| Some((cluster.clone(), why.fault()?.to_owned())));
        memory.clearings.take(self.now, now, &held.collect(), fastrand::f64);
        memory.registered = self.wanted.iter().chain(leaving.keys()).cloned().collect();
    }
}

/// Those of the clusters that the spec no longer names, and that are not given up.
fn left(
    platform: &StreamingPlatform,
    wanted: &BTreeSet<RemoteCluster>,
    recorded: impl IntoIterator<Item = RemoteCluster>,
) -> BTreeSet<RemoteCluster> {
    let given_up = record::abandoned(platform);
    let recorded = recorded.into_iter();
    recorded
        .filter(|cluster| !wanted.contains(cluster) && !given_up.contains(cluster.secret.as_str()))
        .collect()
}

/// Applying to every cluster side by side.
#[derive(Clone, Copy)]
pub(crate) struct Applying<'a> {
    pub context: &'a Context,
    pub platform: &'a StreamingPlatform,
    pub validated: &'a ValidatedPlatform,
    pub observed: &'a Observed,
    pub round: &'a Round,
    pub outages: &'a Outages<RegionName>,
    /// Regions whose old places are still needed.
    pub awaited: &'a BTreeSet<RegionName>,
}

impl Applying<'_> {
    /// Applies everything, to each cluster by itself. An error is one of the platform's own cluster.
    pub(crate) async fn everywhere(
        &self,
        prepared: Resources<Prepared>,
        make_sure_of_key: bool,
    ) -> Result<Resources<Applied>, ApplyError> {
        let Self {
            context,
            validated,
            observed,
            round,
            outages,
            awaited,
            ..
        } = *self;
        let mut applier = Applier {
            client: &context.client,
            cluster: None,
            platform: validated,
            live: &observed.live,
            deadline: context.options.apply_deadline,
            signing: if make_sure_of_key {
                Signing::Make
            } else {
                Signing::Leave
            },
            waiting: &outages.waiting(observed.now),
            failed_before: &outages.failed(),
            awaited,
        };
        if round.wanted.is_empty() {
            return applier.apply(prepared).await;
        }
        let mut prepared = prepared.by_cluster();
        let mut of = |cluster: Option<&RemoteCluster>| {
            let of_cluster = prepared.remove(&cluster.cloned());
            of_cluster.unwrap_or_else(|| Resources::new(Vec::new(), &[]))
        };
        if make_sure_of_key {
            // It has to be there before it can be copied.
            make_key(&context.client, validated, context.options.apply_deadline).await?;
            applier.signing = Signing::Leave;
        }
        let at_home = applier.apply(of(None));
        let elsewhere: Vec<_> = round
            .wanted
            .iter()
            .map(|cluster| (cluster, of(Some(cluster))))
            .collect();
        let elsewhere = elsewhere
            .into_iter()
            .map(|(cluster, prepared)| self.elsewhere(cluster, prepared, applier));
        let (at_home, elsewhere) = join(at_home, join_all(elsewhere)).await;
        Ok(Resources::together(std::iter::once(at_home?).chain(elsewhere)))
    }

    async fn elsewhere(
        &self,
        cluster: &RemoteCluster,
        prepared: Resources<Prepared>,
        home: Applier<'_>,
    ) -> Resources<Applied> {
        let Self {
            context,
            platform,
            validated,
            round,
            ..
        } = *self;
        let Some(Seen { client, view }) = round.sight.seen.get(cluster) else {
            let why = round
                .sight
                .unseen
                .get(cluster)
                .cloned()
                .unwrap_or_else(|| cluster.to_string());
            let regions = validated.regions_in(Some(cluster));
            return prepared.applied(regions.map(|region| (region.name.clone(), why.clone())).collect());
        };
        let serves = validated
            .regions_in(Some(cluster))
            .any(|region| region.has(Role::Services));
        let needs_key = serves && validated.deployed_services().next().is_some();
        let copy = needs_key && context.remember(platform, |memory| memory.key_again(Some(cluster), round.now));
        let applier = Applier {
            client,
            cluster: Some(cluster),
            live: &view.live,
            signing: if copy {
                Signing::Copy(home.client)
            } else {
                Signing::Leave
            },
            ..home
        };
        let applied = applier.apply_or_lose(prepared).await;
        if copy && applied.failures().is_empty() {
            context.remember(platform, |memory| memory.key_is_there(Some(cluster), round.now));
        }
        applied
    }
}
