//! What changed between two statuses, pure: what events tell.

use showrunner_crds::platform::{RegionState, StreamingPlatformStatus};

use super::find;

/// A change worth an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whether it is bad news.
    pub warning: bool,
    /// CamelCase reason.
    pub reason: String,
    /// What happened, in a sentence.
    pub note: String,
}

/// Changes from one status to the next.
#[must_use]
pub fn transitions(before: Option<&StreamingPlatformStatus>, after: &StreamingPlatformStatus) -> Vec<Transition> {
    let empty = StreamingPlatformStatus::default();
    let before = before.unwrap_or(&empty);
    let mut changes = Vec::new();
    for condition in &after.conditions {
        let earlier = find(&before.conditions, &condition.type_).map(|earlier| earlier.status.as_str());
        if earlier == Some(condition.status.as_str()) {
            continue;
        }
        let good = matches!(condition.type_.as_str(), "Ready" | "EvacuationSafe") == (condition.status == "True");
        // Progress is neither good nor bad; and what is not ready at the very beginning is no news.
        let neutral = condition.type_ == "Progressing" || earlier.is_none();
        changes.push(Transition {
            warning: !good && !neutral,
            reason: format!(
                "{}{}",
                if condition.status == "True" { "" } else { "Not" },
                condition.type_
            ),
            note: format!("{}: {}", condition.reason, condition.message),
        });
    }
    for region in &after.regions {
        let earlier = before.regions.iter().find(|earlier| earlier.name == region.name);
        let state = earlier.map_or(RegionState::Unknown, |earlier| earlier.state);
        if state != region.state && region.state != RegionState::Unknown {
            let why = region
                .message
                .as_deref()
                .map(|message| format!(": {message}"))
                .unwrap_or_default();
            changes.push(Transition {
                warning: region.state == RegionState::Unavailable && state != RegionState::Unknown,
                reason: format!("Region{:?}", region.state),
                note: format!("region {} is {:?}{why}", region.name, region.state),
            });
        }
        let floors = (earlier.and_then(|earlier| earlier.edge.as_ref()), region.edge.as_ref());
        if let (Some(was), Some(is)) = floors
            && was.floor != is.floor
        {
            changes.push(Transition {
                warning: false,
                reason: if is.floor > was.floor {
                    "EdgeFloorRaised"
                } else {
                    "EdgeFloorLowered"
                }
                .to_owned(),
                note: format!(
                    "edges in {}: at least {} instead of {} ({})",
                    region.name, is.floor, was.floor, is.floor_reason
                ),
            });
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn status(ready: &str, region: &str, floor: u32) -> StreamingPlatformStatus {
        let condition = |type_: &str, status: &str| -> Value {
            json!({"type": type_, "status": status, "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        serde_json::from_value(json!({
            "conditions": [condition("Ready", ready), condition("Progressing", "False")],
            "regions": [{"name": "north", "state": region, "edge": {"floor": floor, "floorReason": "audience", "viewers": 0}}],
            "endpoints": {},
        }))
        .unwrap()
    }

    #[test]
    fn only_changes_are_told() {
        let calm = status("True", "Ready", 2);
        assert_eq!(transitions(Some(&calm), &calm), []);
        let lost = transitions(Some(&calm), &status("False", "Unavailable", 4));
        let told: Vec<(&str, bool)> = lost
            .iter()
            .map(|change| (change.reason.as_str(), change.warning))
            .collect();
        assert_eq!(
            told,
            [
                ("NotReady", true),
                ("RegionUnavailable", true),
                ("EdgeFloorRaised", false)
            ]
        );
    }

    #[test]
    fn a_beginning_is_no_alarm() {
        assert!(
            transitions(None, &status("False", "Unavailable", 1))
                .iter()
                .all(|change| !change.warning)
        );
    }
}
