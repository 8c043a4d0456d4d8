//! The timeline as text, for `--dry-run`.

use std::fmt::Write;

use showrunner_crds::scenario::{FaultAction, ScenarioSpec};

use super::Timeline;

/// Writes what a run would do, when, and to what.
#[must_use]
pub fn render(scenario: &ScenarioSpec, platform: &str, timeline: &Timeline) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}\nplatform {platform} · seed {} · {}",
        scenario.title,
        timeline.seed,
        clock(timeline.length_ms)
    );
    let _ = writeln!(out, "\naudience of channel {}", scenario.audience.channel);
    for phase in &timeline.phases {
        let _ = writeln!(
            out,
            "  {:>6} – {:>6}  {:<12} {} → {} viewers",
            clock(phase.start_ms),
            clock(phase.end_ms),
            phase.name,
            phase.from_viewers,
            phase.to_viewers
        );
    }
    if !timeline.faults.is_empty() {
        let _ = writeln!(
            out,
            "\nfaults (each undone at its end; the undo is on record before it begins)"
        );
    }
    for planned in &timeline.faults {
        let touched = planned
            .blast
            .labels
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<Vec<_>>()
            .join(",");
        let count = planned
            .blast
            .count
            .map_or("all pods".to_owned(), |n| format!("{n} pods"));
        let _ = writeln!(
            out,
            "  {:>6} – {:>6}  {:<12} {} — may touch {count} with {touched}",
            clock(planned.inject_ms),
            clock(planned.undo_ms),
            planned.fault.name,
            describe(&planned.fault.action)
        );
    }
    let _ = writeln!(out, "\ngates");
    for gate in &scenario.gates {
        let _ = writeln!(out, "  {:<24} {}", gate.name, crate::judge::describe(gate));
    }
    out
}

/// One action in words.
#[must_use]
pub(crate) fn describe(action: &FaultAction) -> String {
    let at = |region: &Option<String>| region.as_ref().map_or(String::new(), |r| format!(" in {r}"));
    match action {
        FaultAction::RegionLoss { region } => format!("region {region} is lost"),
        FaultAction::PodKill { role, region, count } => {
            format!(
                "{} {role} pods{} are killed",
                count.map_or("all".into(), |n| n.to_string()),
                at(region)
            )
        }
        FaultAction::NetworkDelay {
            role,
            region,
            latency_ms,
            jitter_ms,
        } => {
            format!(
                "traffic of {role} pods{} is delayed by {latency_ms} ± {jitter_ms} ms",
                at(region)
            )
        }
        FaultAction::NetworkPartition { role, region } => format!("{role} pods{} are cut off", at(region)),
        FaultAction::CacheFlush { role, region } => format!("{role} caches{} forget everything", at(region)),
        FaultAction::ServiceBrownOut {
            service,
            latency_ms,
            loss_percent,
        } => {
            format!("service {service} answers {latency_ms} ms late and loses {loss_percent} % of its traffic")
        }
    }
}

/// `m:ss` of a moment in milliseconds.
#[must_use]
pub(crate) fn clock(ms: u64) -> String {
    format!("{}:{:02}", ms / 60_000, ms / 1000 % 60)
}
