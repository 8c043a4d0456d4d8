//! What was done to whom: what a failing test prints.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    call::Call,
    fault::{Fault, WatchFault},
};

/// Entries kept at most; later ones are counted only.
const KEPT: usize = 20_000;

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// With a call.
    Call(Call, Fault),
    /// With a watch.
    Watch(Call, WatchFault),
    /// The client was cut off: it can do nothing from here on.
    Cut(Call),
    /// A remark of the test's.
    Note(String),
}

/// What went wrong in a run, in order.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// Entries with the number of the call of their client (0 for notes) and the time since the start.
    pub entries: Vec<(u64, Duration, Entry)>,
    /// Entries that were not kept.
    pub dropped: usize,
    /// Writes that reached the server, with the time since the start.
    pub writes: Vec<(Duration, Call)>,
}

impl Journal {
    pub(crate) fn add(&mut self, number: u64, at: Duration, entry: Entry) {
        if self.entries.len() < KEPT {
            self.entries.push((number, at, entry));
        } else {
            self.dropped += 1;
        }
    }

    /// Faults by name, counted.
    #[must_use]
    pub fn summary(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for (_, _, entry) in &self.entries {
            let name = match entry {
                Entry::Call(_, fault) => fault.name(),
                Entry::Watch(_, fault) => fault.name(),
                Entry::Cut(_) => "client cut off",
                Entry::Note(_) => continue,
            };
            *counts.entry(name).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, at, entry) in &self.entries {
            let at = at.as_secs_f64();
            match entry {
                Entry::Call(call, fault) => writeln!(f, "{at:9.3} s  #{number} {call}: {fault:?}")?,
                Entry::Watch(call, fault) => writeln!(f, "{at:9.3} s  #{number} {call}: {fault:?}")?,
                Entry::Cut(call) => writeln!(f, "{at:9.3} s  #{number} {call}: the client is cut off here")?,
                Entry::Note(note) => writeln!(f, "{at:9.3} s  -- {note}")?,
            }
        }
        if self.dropped > 0 {
            writeln!(f, "… and {} more", self.dropped)?;
        }
        Ok(())
    }
}
