//! From a scenario's audience and a platform's status to what viewers are told.

use std::{sync::Arc, time::Duration};

use showrunner_crds::{
    platform::{ServiceDependency, ServiceKind, StreamingPlatformSpec, StreamingPlatformStatus},
    scenario::Audience,
};
use url::Url;

use super::DrillError;
use crate::{
    audience::{Arrivals, AudiencePlan, Network, PhaseTarget, RegionSlice},
    http::HostList,
    player::{PlayerSettings, ServiceEndpoint, Services},
};

/// Time between heartbeats: short, so that a drill of minutes sees the session service at all.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);

/// The plan of an audience, or what the platform's status lacks for it.
pub(super) fn audience_plan(
    audience: &Audience,
    platform: &StreamingPlatformSpec,
    status: &StreamingPlatformStatus,
    seed: u64,
    hosts: Arc<HostList>,
) -> Result<AudiencePlan, DrillError> {
    let playback = status
        .endpoints
        .channels
        .iter()
        .find(|c| c.name == audience.channel)
        .ok_or_else(|| DrillError::NotSteady(format!("channel `{}` has no playback URL", audience.channel)))?;
    let mut services = Services {
        heartbeat_interval: Some(HEARTBEAT),
        ..Services::default()
    };
    for service in &platform.services {
        let slot = match service.kind {
            ServiceKind::Entitlement => (&mut services.entitlement, "entitlement"),
            ServiceKind::Licence => (&mut services.licence, "licence"),
            ServiceKind::Session => (&mut services.heartbeat, "heartbeat"),
            ServiceKind::Other => continue,
        };
        let found = status.endpoints.services.iter().find(|s| s.name == service.name);
        let base = found.ok_or_else(|| DrillError::NotSteady(format!("service `{}` has no URL", service.name)))?;
        *slot.0 = Some(endpoint(service, &base.url, slot.1)?);
    }
    Ok(AudiencePlan {
        playback_url: url(&playback.url)?,
        channel: audience.channel.as_str().into(),
        phases: audience
            .phases
            .iter()
            .map(|p| PhaseTarget {
                duration: p.duration.0,
                viewers: p.viewers,
            })
            .collect(),
        regions: audience
            .regions
            .iter()
            .map(|r| RegionSlice {
                region: r.region.as_str().into(),
                share: r.share,
            })
            .collect(),
        networks: audience
            .networks
            .iter()
            .map(|n| Network {
                name: n.name.as_str().into(),
                share: n.share,
                down_kbps: Some(n.down_kbps),
                rtt: Duration::from_millis(u64::from(n.rtt_ms)),
            })
            .collect(),
        arrivals: Arrivals::Even,
        seed,
        player: PlayerSettings {
            services,
            hosts: Some(hosts),
            ..PlayerSettings::default()
        },
    })
}

fn endpoint(service: &ServiceDependency, base: &str, path: &str) -> Result<ServiceEndpoint, DrillError> {
    Ok(ServiceEndpoint {
        url: url(&format!("{}/{path}", base.trim_end_matches('/')))?,
        deadline: Duration::from_millis(u64::from(service.deadline_ms)),
        critical: service.critical,
        breaker_failures: service.breaker.failures,
        breaker_open: Duration::from_millis(u64::from(service.breaker.open_ms)),
    })
}

fn url(text: &str) -> Result<Url, DrillError> {
    text.parse()
        .map_err(|error| DrillError::NotSteady(format!("the status states the URL `{text}`: {error}")))
}
