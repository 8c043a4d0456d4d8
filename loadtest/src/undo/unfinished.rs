//! Drills that were not finished: what a new one finds in its way.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, ResourceExt};
use showrunner_crds::{
    drill::{Drill, lease_name},
    liveness::Liveness,
};
use tokio::time::{Instant, sleep};

use super::{Say, Settings, Source, UndoError, undo};
use crate::{
    observe::Subject,
    record::{ask, created, unfinished},
};

/// Time between looks.
const LOOK: Duration = Duration::from_secs(1);

/// What keeps a new drill from starting.
#[derive(Debug)]
pub(crate) enum InTheWay {
    /// Another drill runs.
    Running(String),
    /// Another drill runs, and began in the same second.
    Tied(String),
    /// An earlier one could not be undone.
    NotUndone(String),
}

/// Names of a namespace's Drills that are not known to be over.
pub async fn unfinished_drills(client: &Client, namespace: &str) -> Result<Vec<String>, UndoError> {
    let open = unfinished(client, namespace, None).await?;
    Ok(open.iter().map(ResourceExt::name_any).collect())
}

/// Undoes what earlier drills of the platform have left, once their runners are known to be gone. Refuses while one of them
/// lives. `own` is the Drill of the caller, which is on record already: of two that begin at once the older one has the
/// platform. Within one second nobody is older, and whoever sees the other gives way: the first to look may have seen nobody.
pub(crate) async fn clear_the_way(
    client: &Client,
    subject: &Subject,
    own: &Drill,
    settings: &Settings,
    say: Say<'_>,
) -> Result<Result<(), InTheWay>, UndoError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &subject.namespace);
    let start = Instant::now();
    // By Drill: the version its Lease had first, and what was seen of it since.
    let mut seen: BTreeMap<String, (Option<String>, Liveness)> = BTreeMap::new();
    loop {
        let platform = Some(subject.platform.as_str());
        let mut open = unfinished(client, &subject.namespace, platform).await?;
        open.retain(|drill| drill.uid() != own.uid() && created(drill) <= created(own));
        if open.is_empty() {
            return Ok(Ok(()));
        }
        for drill in open {
            let name = drill.name_any();
            let lease = ask(&name, leases.get_opt(&lease_name(&name))).await?;
            let version = lease.as_ref().and_then(ResourceExt::resource_version);
            if !seen.contains_key(&name) {
                say(&format!(
                    "drill {name} was not finished: waiting to see whether its runner lives"
                ));
            }
            let (first, liveness) = seen
                .entry(name.clone())
                .or_insert_with(|| (version.clone(), Liveness::default()));
            let left = liveness.look(lease.as_ref(), start.elapsed());
            if left.is_zero() {
                say(&format!("drill {name} was left by its runner: undoing it first"));
                let source = Source::Drill {
                    namespace: subject.namespace.clone(),
                    name: name.clone(),
                };
                let report = Box::pin(undo(client, &source, settings, say)).await?;
                if !report.proved {
                    return Ok(Err(InTheWay::NotUndone(format!("drill {name}: {}", report.summary()))));
                }
            } else if *first != version {
                let tied = created(&drill) == created(own);
                return Ok(Err(if tied {
                    InTheWay::Tied(name)
                } else {
                    InTheWay::Running(name)
                }));
            }
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use showrunner_unreliable::seeds::paused;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        drill::Halt,
        record::Record,
        testing::{drill_spec, server_with_drills},
    };

    async fn cluster() -> Client {
        server_with_drills().await.client("cinema")
    }

    async fn begin(client: &Client, name: &str) -> (Record, Drill) {
        let record = Record::create(client, "cinema", name, drill_spec(), name)
            .await
            .unwrap();
        let drill = record.drill().await.unwrap();
        (record, drill)
    }

    /// Two that began in one second, the later one in this order to the other; nobody was there when the first one looked.
    async fn tied(client: &Client, order: impl Fn(&Drill, &Drill) -> bool) -> [(Record, Drill); 2] {
        for round in 0..1000 {
            let (first, own) = begin(client, &format!("first-{round}")).await;
            assert!(clear(client, &own).await.is_ok(), "nobody is there yet");
            let (second, other) = begin(client, &format!("second-{round}")).await;
            if created(&own) == created(&other) && order(&own, &other) {
                return [(first, own), (second, other)];
            }
            for over in [first, second] {
                over.finish(true, true, "pass", "").await.unwrap();
            }
        }
        panic!("no two drills began in one second");
    }

    async fn clear(client: &Client, own: &Drill) -> Result<(), InTheWay> {
        let subject = Subject {
            namespace: "cinema".into(),
            platform: "cinema".into(),
        };
        let settings = Settings::default();
        clear_the_way(client, &subject, own, &settings, &|_| {}).await.unwrap()
    }

    fn is_tied(cleared: &Result<(), InTheWay>, with: &Drill) -> bool {
        matches!(cleared, Err(InTheWay::Tied(name)) if *name == with.name_any())
    }

    #[test]
    fn of_two_that_begin_in_one_second_whoever_sees_the_other_gives_way() {
        paused(0, async {
            let client = cluster().await;
            // By whatever order there is within a second, the later one may come first.
            let [(first, own), (_second, other)] = tied(&client, |own, other| other.uid() < own.uid()).await;
            let halt = Halt::new(CancellationToken::new());
            let cleared = tokio::select! {
                cleared = clear(&client, &other) => cleared,
                () = first.keep(&halt) => panic!("the first was stopped"),
            };
            assert!(is_tied(&cleared, &own), "{cleared:?}");
        });
    }

    #[test]
    fn two_that_see_each_other_in_one_second_both_give_way() {
        paused(0, async {
            let client = cluster().await;
            let [(one, first), (other, second)] = tied(&client, |_, _| true).await;
            let halt = Halt::new(CancellationToken::new());
            let cleared = tokio::select! {
                cleared = async { tokio::join!(clear(&client, &first), clear(&client, &second)) } => cleared,
                () = async { tokio::join!(one.keep(&halt), other.keep(&halt)); } => panic!("they were stopped"),
            };
            assert!(
                is_tied(&cleared.0, &second) && is_tied(&cleared.1, &first),
                "{cleared:?}"
            );
        });
    }

    #[test]
    fn a_younger_one_is_nobodys_concern() {
        paused(0, async {
            let client = cluster().await;
            let (_one, mut own) = begin(&client, "one").await;
            let _other = begin(&client, "other").await;
            let time = own.metadata.creation_timestamp.as_mut().unwrap();
            time.0 -= jiff::SignedDuration::from_secs(1);
            assert!(clear(&client, &own).await.is_ok());
        });
    }
}
