//! How many are watching, from how often they ask. Every player polls once a TTL, so polls per TTL are viewers, and the sums
//! of several steering servers add up however the polls are spread over them. Pure: time is an argument.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use showrunner_crds::wire::AudienceReport;

/// Shortest window in seconds.
const LEAST_WINDOW: u64 = 10;
/// Longest window in seconds: bounds the memory, a bucket a second and pathway.
const MOST_WINDOW: u64 = 600;

/// Counts by whole seconds since the start.
#[derive(Debug, Default)]
pub struct Audience {
    pathways: BTreeMap<String, VecDeque<(u64, u64)>>,
}

impl Audience {
    /// A viewer of `pathway` showed itself at `uptime`. Callers pass configured pathways only.
    pub fn saw(&mut self, pathway: &str, uptime: Duration) {
        let second = uptime.as_secs();
        let buckets = self.pathways.entry(pathway.to_owned()).or_default();
        match buckets.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => buckets.push_back((second, 1)),
        }
        while buckets.front().is_some_and(|(first, _)| first + MOST_WINDOW < second) {
            buckets.pop_front();
        }
    }

    /// Forgets pathways that `keep` no longer knows.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.pathways.retain(|id, _| keep(id));
    }

    /// Viewers by pathway at `uptime`: sightings in the last two TTLs, whole seconds, over the number of times that a viewer
    /// shows in them. A server younger than that counts over its age, at least one TTL.
    pub fn report(&self, uptime: Duration, ttl_seconds: u32) -> AudienceReport {
        let ttl = u64::from(ttl_seconds.max(1));
        let now = uptime.as_secs();
        let full = (2 * ttl).clamp(LEAST_WINDOW, MOST_WINDOW);
        let window = now.clamp(ttl.min(full), full);
        let recent = |buckets: &VecDeque<(u64, u64)>| -> u64 {
            buckets
                .iter()
                .filter(|(second, _)| *second < now && second + window >= now)
                .map(|(_, count)| count)
                .sum()
        };
        let viewers = |buckets| recent(buckets) as f64 * ttl as f64 / window as f64;
        let pathways = self
            .pathways
            .iter()
            .map(|(id, buckets)| (id.clone(), viewers(buckets)))
            .collect();
        AudienceReport {
            window_seconds: window as f64,
            pathways,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn steady_polls_are_viewers() {
        let mut audience = Audience::default();
        for round in 0..10 {
            for viewer in 0..100 {
                audience.saw("north", at(f64::from(round * 5) + f64::from(viewer) * 0.05));
            }
        }
        for now in [12.0, 25.3, 49.9] {
            let viewers = audience.report(at(now), 5).pathways["north"];
            assert!((viewers - 100.0).abs() < 1e-9, "{viewers} at {now}");
        }
        assert!(
            audience.report(at(61.0), 5).pathways["north"].abs() < 1e-9,
            "who stops asking is gone"
        );
    }

    #[test]
    fn memory_is_bounded() {
        let mut audience = Audience::default();
        for second in 0..5000 {
            audience.saw("north", Duration::from_secs(second));
        }
        assert!(audience.pathways["north"].len() as u64 <= MOST_WINDOW + 1);
        audience.retain(|_| false);
        assert!(audience.report(at(5000.0), 5).pathways.is_empty());
    }
}
