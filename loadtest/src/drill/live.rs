//! What a person watching a drill sees: phase, viewers per region, replicas, rebuffering, faults.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    evidence::{EdgeSeen, Recorder},
    plan::clock,
    telemetry::{EventBody, TelemetryEvent, TelemetrySink},
};

/// Time between two lines where the output is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The state of a run at one moment.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What is going on.
    pub phase: String,
    /// Milliseconds into the run, and its length.
    pub clock: (u64, u64),
    /// Viewers by pathway: playing, stalled, starting.
    pub viewers: BTreeMap<String, (u32, u32, u32)>,
    /// Edges by region.
    pub edges: Vec<EdgeSeen>,
    /// Faults in force.
    pub faults: Vec<String>,
}

impl Status {
    /// One line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.phase.clone();
        if self.clock.1 > 0 {
            let _ = write!(line, "  {}/{}", clock(self.clock.0), clock(self.clock.1));
        }
        let stalled: u32 = self.viewers.values().map(|v| v.1).sum();
        let all: u32 = self.viewers.values().map(|v| v.0 + v.1 + v.2).sum();
        if all > 0 {
            let _ = write!(line, "  viewers {all}");
            let by: Vec<String> = self
                .viewers
                .iter()
                .map(|(p, v)| format!("{p} {}", v.0 + v.1 + v.2))
                .collect();
            let _ = write!(line, " ({})  rebuffering {stalled}", by.join(" "));
        }
        if !self.edges.is_empty() {
            let by: Vec<String> = self
                .edges
                .iter()
                .map(|e| format!("{} {}/{}", e.region, e.ready, e.desired))
                .collect();
            let _ = write!(line, "  edges {}", by.join(" "));
        }
        for fault in &self.faults {
            let _ = write!(line, "  ⚡{fault}");
        }
        line
    }
}

/// Shows the state of a run: one line that is rewritten on a terminal, a line now and then elsewhere.
pub struct Live {
    state: Mutex<State>,
    bar: Option<ProgressBar>,
}

struct State {
    status: Status,
    last_line: Option<std::time::Instant>,
}

impl Live {
    /// Progress on standard error; `terminal` tells whether that is one.
    #[must_use]
    pub fn new(terminal: bool) -> Arc<Self> {
        let bar = terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Arc::new(Self {
            state: Mutex::new(State {
                status: Status::default(),
                last_line: None,
            }),
            bar,
        })
    }

    /// Says something that stays.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => line_out(text),
        }
    }

    /// Changes the state and shows it.
    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        let mut state = self.lock();
        change(&mut state.status);
        let line = state.status.line();
        match &self.bar {
            Some(bar) => bar.set_message(line),
            None if state.last_line.is_none_or(|at| at.elapsed() >= LINE_EVERY) => {
                state.last_line = Some(std::time::Instant::now());
                line_out(&line);
            }
            None => {}
        }
    }

    /// Takes the line away.
    pub fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a line to standard error. A reader that has gone is no reason to stop a drill whose faults must be undone.
fn line_out(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// By region and pathway: the second of the last sample, and its playing, stalled and starting viewers.
pub(super) type Latest = BTreeMap<(String, String), (u64, u32, u32, u32)>;

/// Writes telemetry into the evidence and shows what concerns a person.
pub(super) struct Tee {
    pub(super) recorder: Recorder,
    pub(super) live: Arc<Live>,
    /// Viewers by (region, pathway): samples come one such pair at a time.
    pub(super) viewers: Mutex<Latest>,
}

impl TelemetrySink for Tee {
    fn event(&self, event: TelemetryEvent) {
        if let EventBody::Second(second) = &event.body {
            let at = event.at_ms / 1000;
            let mut viewers = self.viewers.lock().unwrap_or_else(PoisonError::into_inner);
            viewers.insert(
                (second.region.to_string(), second.pathway.to_string()),
                (at, second.playing, second.stalled, second.starting),
            );
            // A pair without viewers is no longer reported.
            viewers.retain(|_, seen| seen.0 + 2 >= at);
            let mut by_pathway: BTreeMap<String, (u32, u32, u32)> = BTreeMap::new();
            for ((region, pathway), (_, playing, stalled, starting)) in viewers.iter() {
                let name = if pathway.is_empty() { region } else { pathway };
                let sum = by_pathway.entry(name.clone()).or_default();
                *sum = (sum.0 + playing, sum.1 + stalled, sum.2 + starting);
            }
            drop(viewers);
            self.live.update(|status| status.viewers = by_pathway);
        }
        self.recorder.event(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_matters() {
        let status = Status {
            phase: "peak".into(),
            clock: (75_000, 240_000),
            viewers: [("eu".to_owned(), (40, 2, 1)), ("us".to_owned(), (10, 0, 0))].into(),
            edges: vec![EdgeSeen {
                region: "eu".into(),
                desired: 4,
                ready: 3,
                ..EdgeSeen::default()
            }],
            faults: vec!["lose-eu".into()],
        };
        insta::assert_snapshot!(status.line(), @"peak  1:15/4:00  viewers 53 (eu 43 us 10)  rebuffering 2  edges eu 3/4  ⚡lose-eu");
    }
}
