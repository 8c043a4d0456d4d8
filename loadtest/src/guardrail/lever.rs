//! The safety lever: a `ConfigMap` in the cluster. Engaged, no drill starts, and those that run end.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use showrunner_crds::annotations::{LEVER, LEVER_BY, LEVER_ENGAGED, LEVER_NAMESPACE, LEVER_REASON};
use tokio::time::{Instant, timeout};

use super::{Guardrail, Place, Tripped};

/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a lever that cannot be read is taken to be as it was. After that it counts as engaged.
pub const BLIND: Duration = Duration::from_secs(15);
/// Owner of the fields that are written.
const MANAGER: &str = "showrunner-lever";

/// The lever's position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lever {
    /// Drills may run.
    Released,
    /// No drill may run.
    Engaged {
        /// Why, and by whom, as far as that is said.
        why: String,
    },
}

/// Why the lever could not be read or moved.
#[derive(Debug, thiserror::Error)]
pub enum LeverError {
    /// The API server refused or failed.
    #[error("{LEVER_NAMESPACE}/{LEVER}: {0}")]
    Api(#[from] kube::Error),
    /// It did not answer in time.
    #[error("{LEVER_NAMESPACE}/{LEVER}: no answer within {} s", ANSWER.as_secs())]
    Silent,
}

impl Lever {
    /// The position that a `ConfigMap` says. None at all is a lever that was never engaged; a value that is neither `true` nor
    /// `false` is a mistake, and a mistake does not release it.
    #[must_use]
    pub fn of(found: Option<&ConfigMap>) -> Self {
        let data = found.and_then(|map| map.data.as_ref());
        let value = |key: &str| data.and_then(|data| data.get(key)).map(|value| value.trim());
        match value(LEVER_ENGAGED) {
            None | Some("" | "false") => Self::Released,
            Some(engaged) => {
                let mut why = match value(LEVER_BY) {
                    Some(by) if !by.is_empty() => format!("engaged by {by}"),
                    _ => "engaged".to_owned(),
                };
                if let Some(reason) = value(LEVER_REASON).filter(|reason| !reason.is_empty()) {
                    why = format!("{why}: {reason}");
                }
                if engaged != "true" {
                    why = format!("{why} (`{LEVER_ENGAGED}` is `{engaged}`, neither true nor false)");
                }
                Self::Engaged { why }
            }
        }
    }
}

/// What is known of the lever over time.
#[derive(Clone, Debug)]
pub struct Sight {
    place: Place,
    seen: Instant,
}

impl Sight {
    /// Taken to be released at `now`.
    #[must_use]
    pub fn new(place: Place, now: Instant) -> Self {
        Self { place, seen: now }
    }

    /// Takes in a look at the lever; an error if drills must end. A cluster whose lever cannot be read for [`BLIND`] is
    /// one where nobody could stop a drill: it counts as engaged. A sandbox ends with the drill anyway.
    pub fn look(&mut self, looked: Result<Lever, String>, now: Instant) -> Result<(), Tripped> {
        match looked {
            Ok(Lever::Released) => {
                self.seen = now;
                Ok(())
            }
            Ok(Lever::Engaged { why }) => Err(Tripped::new(Guardrail::SafetyLever, why)),
            Err(error) => {
                let blind = now.saturating_duration_since(self.seen);
                if self.place == Place::Sandbox || blind < BLIND {
                    return Ok(());
                }
                let why = format!(
                    "it cannot be read since {} s, which counts as engaged: {error}",
                    blind.as_secs()
                );
                Err(Tripped::new(Guardrail::SafetyLever, why))
            }
        }
    }
}

/// Reads the lever.
pub async fn read(client: &Client) -> Result<Lever, LeverError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), LEVER_NAMESPACE);
    let found = ask(maps.get_opt(LEVER)).await?;
    Ok(Lever::of(found.as_ref()))
}

/// Engages or releases the lever, and says `why` and `by` whom. Its namespace is made where it is missing.
pub async fn set(client: &Client, engaged: bool, by: &str, why: &str) -> Result<(), LeverError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if ask(namespaces.get_opt(LEVER_NAMESPACE)).await?.is_none() {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(LEVER_NAMESPACE.to_owned());
        match ask(namespaces.create(&PostParams::default(), &namespace)).await {
            Ok(_) => {}
            // Someone was faster.
            Err(LeverError::Api(kube::Error::Api(status))) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
    }
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), LEVER_NAMESPACE);
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": LEVER },
        "data": { LEVER_ENGAGED: engaged.to_string(), LEVER_BY: by, LEVER_REASON: why },
    });
    // Whoever wrote it before: the hand on the lever decides.
    let params = PatchParams::apply(MANAGER).force();
    ask(maps.patch(LEVER, &params, &Patch::Apply(map))).await?;
    Ok(())
}

async fn ask<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, LeverError> {
    Ok(timeout(ANSWER, call).await.map_err(|_| LeverError::Silent)??)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn map(data: &[(&str, &str)]) -> ConfigMap {
        ConfigMap {
            data: Some(data.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
            ..ConfigMap::default()
        }
    }

    #[test]
    fn only_a_clear_word_releases_it() {
        assert_eq!(Lever::of(None), Lever::Released);
        for (value, released) in [
            ("false", true),
            ("", true),
            ("true", false),
            ("True", false),
            ("yes", false),
            ("flase", false),
        ] {
            let lever = Lever::of(Some(&map(&[("engaged", value)])));
            assert_eq!(lever == Lever::Released, released, "{value}");
        }
        assert_eq!(Lever::of(Some(&map(&[("other", "true")]))), Lever::Released);
    }

    #[test]
    fn it_says_who_and_why() {
        let lever = Lever::of(Some(&map(&[("engaged", "true"), ("by", "ana"), ("reason", "finals")])));
        assert_eq!(
            lever,
            Lever::Engaged {
                why: "engaged by ana: finals".into()
            }
        );
    }

    #[test]
    fn a_lever_that_nobody_can_read_counts_as_engaged_after_a_while_but_not_in_a_sandbox() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut sight = Sight::new(Place::Cluster, start);
        let fails = || Err("no route".to_owned());
        assert!(sight.look(fails(), after(14)).is_ok());
        assert!(sight.look(Ok(Lever::Released), after(14)).is_ok());
        assert!(sight.look(fails(), after(28)).is_ok(), "it was read at 14 s");
        let tripped = sight.look(fails(), after(29)).unwrap_err();
        assert!(tripped.why.contains("no route"), "{tripped}");
        let mut sandbox = Sight::new(Place::Sandbox, start);
        assert!(sandbox.look(fails(), after(1000)).is_ok());
        let engaged = Lever::Engaged { why: "now".into() };
        assert!(sandbox.look(Ok(engaged), after(1000)).is_err());
    }
}
