//! What is asked before anything is done.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use showrunner_crds::{
    platform::{StreamingPlatform, StreamingPlatformSpec, StreamingPlatformStatus},
    scenario::{Guardrails, ScenarioSpec},
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Guardrail, Limits, Place, Terms, Tripped, blast,
    lever::{self, Sight},
    optin::{self, Annotations},
    rate,
};
use crate::{
    drill::{DrillError, HEARTBEAT},
    http::{Access, Deadlines, HostList, Request, fetch},
    observe::{Snapshot, Subject},
    plan::{Mistake, PlanError, Problem, Timeline},
    player::Multivariant,
};

/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Time between two looks at a lever that cannot be read.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the multivariant playlist may take.
const PLAYLIST: Duration = Duration::from_secs(5);
/// Longest multivariant playlist that is read, in bytes.
const LONGEST: usize = 256 * 1024;

/// Whether the plan keeps to the limits, as far as a plan shows: pure.
pub fn fits(
    timeline: &Timeline,
    scenario: &ScenarioSpec,
    platform: &StreamingPlatformSpec,
    terms: &Terms,
) -> Result<(), PlanError> {
    PlanError::unless_none(misfits(timeline, scenario, platform, terms))
}

/// Every limit that the plan does not keep to, and what of the scenario does not.
#[must_use]
pub fn misfits(
    timeline: &Timeline,
    scenario: &ScenarioSpec,
    platform: &StreamingPlatformSpec,
    terms: &Terms,
) -> Vec<Mistake> {
    let mut found = Vec::new();
    let mut limit = |path: String, why: String| {
        let problem = Problem::Limit(why);
        found.push(Mistake { path, problem });
    };
    let longest = scenario.guardrails.max_duration;
    let length = Duration::from_millis(timeline.length_ms) + Guardrails::UNDO.0;
    if length > longest.0 {
        let seconds = length.as_secs();
        limit(
            "spec.guardrails.maxDuration".into(),
            format!(
                "the phases, and the time for taking faults back, take {seconds} s; guardrails.maxDuration is {longest}"
            ),
        );
    }
    let limits = Limits::of(&scenario.guardrails, terms.place);
    for (fault, tripped) in blast::planned(timeline, platform, limits) {
        let index = scenario.faults.iter().position(|known| known.name == fault);
        let path = index.map_or_else(|| "spec.faults".to_owned(), |index| format!("spec.faults[{index}]"));
        limit(path, format!("fault `{fault}`: {}", tripped.why));
    }
    if let Some(most) = terms.requests_per_second {
        let planned = rate::planned(timeline, platform, &scenario.audience.channel, HEARTBEAT);
        if planned > f64::from(most) {
            limit(
                "spec.audience.phases".into(),
                format!(
                    "the audience would make {planned:.0} requests a second at its peak, --max-requests-per-second is \
                     {most}: have fewer viewers, or let them make more"
                ),
            );
        }
    }
    found
}

/// Whether a drill may start: the lever is released, namespace and platform agree to it, and load would go to hosts that
/// are allowed.
pub async fn may_start(
    client: &Client,
    subject: &Subject,
    terms: &Terms,
    stop: &CancellationToken,
) -> Result<(), DrillError> {
    released(client, terms.place, stop).await?;
    let platforms: Api<StreamingPlatform> = Api::namespaced(client.clone(), &subject.namespace);
    let platform = match object(&platforms, &subject.platform, "StreamingPlatform").await {
        Ok(platform) => Some(platform),
        // Whether a sandbox's platform comes up is for the steady state to say.
        Err(_) if terms.place == Place::Sandbox => None,
        Err(error) => return Err(error),
    };
    if terms.place == Place::Cluster {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace = object(&namespaces, &subject.namespace, "Namespace").await?;
        let platform = platform.as_ref().map(ResourceExt::annotations);
        let none = Annotations::new();
        optin::agreed(
            namespace.annotations(),
            platform.unwrap_or(&none),
            terms.environment.as_deref(),
        )?;
    }
    // What has no status yet is looked at again when it is steady.
    if let Some(status) = platform.and_then(|platform| platform.status) {
        endpoints(&status, &terms.hosts)?;
    }
    Ok(())
}

/// Whether load may begin: the same once more, now that the platform is steady, and for the hosts that its playlists name.
pub async fn may_load(
    client: &Client,
    seen: &Snapshot,
    channel: &str,
    terms: &Terms,
    stop: &CancellationToken,
) -> Result<(), DrillError> {
    released(client, terms.place, stop).await?;
    let Some(status) = seen.platform.as_ref().and_then(|platform| platform.status.as_ref()) else {
        return Ok(());
    };
    endpoints(status, &terms.hosts)?;
    let playback = status.endpoints.channels.iter().find(|known| known.name == channel);
    let named = match playback.and_then(|playback| playback.url.parse().ok()) {
        Some(url) => playlist(url, &terms.hosts).await,
        None => BTreeSet::new(),
    };
    if let Some(host) = terms.hosts.refused() {
        return Err(not_allowed(&host, "a redirect of the playback URL names it").into());
    }
    for url in named {
        if !terms.hosts.allows(&url) {
            return Err(not_allowed(url.host_str().unwrap_or_default(), "the multivariant playlist names it").into());
        }
    }
    Ok(())
}

/// Waits until the lever can be read, as long as a lever may be unreadable.
async fn released(client: &Client, place: Place, stop: &CancellationToken) -> Result<(), DrillError> {
    let mut sight = Sight::new(place, Instant::now());
    loop {
        let looked = lever::read(client).await.map_err(|error| error.to_string());
        let done = looked.is_ok() || place == Place::Sandbox;
        sight.look(looked, Instant::now())?;
        if done || stop.is_cancelled() {
            return Ok(());
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Reads an object. What the API server refuses to show does not agree to anything.
async fn object<K>(api: &Api<K>, name: &str, kind: &str) -> Result<K, DrillError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match timeout(ANSWER, api.get(name)).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(kube::Error::Api(status))) => {
            let why = format!(
                "{kind} {name} cannot be read, so it does not agree to drills: {}",
                status.message
            );
            Err(Tripped::new(Guardrail::OptIn, why).into())
        }
        Ok(Err(error)) => Err(DrillError::Cluster(format!("{kind} {name}: {error}"))),
        Err(_) => Err(DrillError::Cluster(format!(
            "{kind} {name}: no answer within {} s",
            ANSWER.as_secs()
        ))),
    }
}

/// Every URL of the status that load would go to: pure.
fn endpoints(status: &StreamingPlatformStatus, hosts: &HostList) -> Result<(), Tripped> {
    let channels = status.endpoints.channels.iter();
    let channels = channels.map(|channel| (format!("channel `{}`", channel.name), channel.url.as_str()));
    let services = status.endpoints.services.iter();
    let services = services.map(|service| (format!("service `{}`", service.name), service.url.as_str()));
    let regions = status.regions.iter();
    let regions = regions.filter_map(|region| Some((format!("region `{}`", region.name), region.url.as_deref()?)));
    for (what, text) in channels.chain(services).chain(regions) {
        let url: Url = text
            .parse()
            .map_err(|error| Tripped::new(Guardrail::AllowHost, format!("{what} is at `{text}`: {error}")))?;
        if !hosts.allows(&url) {
            return Err(not_allowed(url.host_str().unwrap_or(text), &format!("{what} is there")));
        }
    }
    Ok(())
}

pub(super) fn not_allowed(host: &str, why: &str) -> Tripped {
    let why = format!("load may not go to `{host}`, and {why}; if it may: --allow-host {host}");
    Tripped::new(Guardrail::AllowHost, why)
}

/// The URLs that a multivariant playlist names. One that cannot be had or read names none: viewers would find that too, and
/// their connections are held to the same list.
async fn playlist(url: Url, hosts: &Arc<HostList>) -> BTreeSet<Url> {
    let mut request = Request {
        capture: LONGEST,
        deadlines: Deadlines::all(PLAYLIST),
        ..Request::get(url, Instant::now())
    };
    let access = Access::unlimited().allowing(Arc::clone(hosts));
    let Ok(answer) = fetch(&mut None, &mut request, &access).await else {
        return BTreeSet::new();
    };
    let body = answer.body.unwrap_or_default();
    Multivariant::parse(&body, &answer.url).map_or_else(|_| BTreeSet::new(), |found| named(&found))
}

/// Every URL that a multivariant playlist names: pure.
fn named(found: &Multivariant) -> BTreeSet<Url> {
    let rungs = found.pathways.iter().flat_map(|pathway| &pathway.rungs);
    let media = rungs.flat_map(|rung| [Some(&rung.video), rung.audio.as_ref()]);
    let steering = found.steering.as_ref().map(|steering| &steering.server);
    media.chain([steering]).flatten().map(|url| Url::clone(url)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::{
        plan::plan,
        testing::{platform, scenario},
    };

    fn fits_with(change: impl Fn(&mut ScenarioSpec), terms: &Terms) -> Result<(), PlanError> {
        let (mut scenario, platform) = (scenario(), platform());
        change(&mut scenario);
        let timeline = plan(&scenario, &platform, None).unwrap();
        fits(&timeline, &scenario, &platform, terms)
    }

    #[test]
    fn a_plan_above_the_limits_is_refused_and_one_below_is_not() {
        let terms = |most| Terms {
            requests_per_second: Some(most),
            ..Terms::cluster(Some("staging".into()))
        };
        assert_eq!(fits_with(|_| (), &terms(5000)), Ok(()));
        let refused = fits_with(|_| (), &terms(10)).unwrap_err().to_string();
        assert!(refused.contains("--max-requests-per-second is 10"), "{refused}");
        let unlimited = Terms {
            requests_per_second: None,
            ..terms(1)
        };
        assert_eq!(fits_with(|_| (), &unlimited), Ok(()));
        let limit =
            |seconds: u64| move |s: &mut ScenarioSpec| s.guardrails.max_duration.0 = Duration::from_secs(seconds);
        assert_eq!(
            fits_with(limit(180), &Terms::sandbox()),
            Ok(()),
            "a minute, and two to undo"
        );
        assert!(fits_with(limit(179), &Terms::sandbox()).is_err());
        let everywhere = |s: &mut ScenarioSpec| {
            s.faults[0].action = serde_json::from_value(json!({"cacheFlush": {"role": "edge"}})).unwrap();
        };
        assert_eq!(fits_with(everywhere, &Terms::sandbox()), Ok(()), "a sandbox may");
        let refused = fits_with(everywhere, &terms(5000)).unwrap_err().to_string();
        assert!(
            refused.contains("fault `lose-eu`") && refused.contains("maxRegions is 1"),
            "{refused}"
        );
    }

    #[test]
    fn every_limit_is_named_with_what_does_not_keep_to_it() {
        let (mut scenario, platform) = (scenario(), platform());
        scenario.guardrails.max_duration.0 = Duration::from_secs(1);
        let flush =
            |name: &str| json!({"name": name, "start": {"phase": "peak"}, "action": {"cacheFlush": {"role": "edge"}}});
        let fine = json!({"name": "b", "start": {"phase": "peak"}, "action": {"cacheFlush": {"role": "edge", "region": "eu"}}});
        scenario.faults = serde_json::from_value(json!([flush("a"), fine, flush("c")])).unwrap();
        let terms = Terms {
            requests_per_second: Some(10),
            ..Terms::cluster(Some("staging".into()))
        };
        let timeline = plan(&scenario, &platform, None).unwrap();
        let found = misfits(&timeline, &scenario, &platform, &terms);
        let paths: Vec<&str> = found.iter().map(|mistake| mistake.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "spec.guardrails.maxDuration",
                "spec.faults[0]",
                "spec.faults[2]",
                "spec.audience.phases"
            ]
        );
        assert_eq!(
            fits(&timeline, &scenario, &platform, &terms).unwrap_err().mistakes,
            found
        );
    }

    #[test]
    fn every_url_of_the_status_is_looked_at() {
        let status = |channel: &str, service: &str, region: &str| -> StreamingPlatformStatus {
            serde_json::from_value(json!({
                "endpoints": {
                    "channels": [{"name": "main", "url": format!("http://{channel}/m.m3u8")}],
                    "services": [{"name": "licence", "kind": "licence", "url": format!("http://{service}")}],
                },
                "regions": [
                    {"name": "eu", "state": "Ready", "url": format!("http://{region}")},
                    {"name": "us", "state": "Ready"},
                ],
            }))
            .unwrap()
        };
        let (here, there) = ("127.0.0.1:8080", "edge.test");
        let check = |status: &StreamingPlatformStatus, allowed: &[&str]| {
            let allowed = allowed.iter().map(|host| host.parse().unwrap()).collect();
            endpoints(status, &HostList::new(allowed))
        };
        assert_eq!(check(&status(here, here, here), &[]), Ok(()));
        for far in [
            status(there, here, here),
            status(here, there, here),
            status(here, here, there),
        ] {
            let refused = check(&far, &[]).unwrap_err();
            assert!(
                refused.guardrail == Guardrail::AllowHost && refused.why.contains("--allow-host edge.test"),
                "{refused}"
            );
            assert_eq!(check(&far, &["*.test"]), Ok(()));
        }
    }

    #[test]
    fn a_playlist_names_renditions_and_the_steering_server() {
        let text = "#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"http://steer.test/s\"\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"en\",URI=\"http://audio.test/a.m3u8\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1000,AUDIO=\"a\"\nhttp://video.test/v.m3u8\n";
        let found = Multivariant::parse(text.as_bytes(), &"http://here.test/m.m3u8".parse().unwrap()).unwrap();
        let hosts: Vec<String> = named(&found)
            .iter()
            .filter_map(|url| Some(url.host_str()?.to_owned()))
            .collect();
        assert_eq!(hosts, ["audio.test", "steer.test", "video.test"]);
    }
}
