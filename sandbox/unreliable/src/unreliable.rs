//! The switchboard: what is set for all links, and what they have met.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::rngs::SmallRng;
use tokio::{sync::watch, time::Instant};

use crate::{
    call::{Call, Verb},
    chance::decide,
    fault::{Ending, Fault, WatchFault, of_call, of_event, of_watch},
    journal::{Entry, Journal},
    link::Link,
    rates::Rates,
};

/// A fault for certain calls, whatever the rates say. It holds in calm too.
pub type Rule = Box<dyn Fn(&Call) -> Option<Fault> + Send + Sync>;

/// An unreliable network, to which clients are linked. Clones are the same network.
#[derive(Clone)]
pub struct Unreliable(Arc<Shared>);

struct Shared {
    seed: u64,
    start: Instant,
    /// `None` in calm.
    rates: watch::Sender<Option<Arc<Rates>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    journal: Journal,
    /// How often a client has made a call.
    made: HashMap<(String, Verb, String), u64>,
    rule: Option<Rule>,
}

impl std::fmt::Debug for Unreliable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unreliable")
            .field("seed", &self.0.seed)
            .field("rates", &*self.0.rates.borrow())
            .finish_non_exhaustive()
    }
}

impl Unreliable {
    /// A network with these rates. Its clock is that of the tokio runtime it is made in.
    pub fn new(seed: u64, rates: Rates) -> Self {
        Self(Arc::new(Shared {
            seed,
            start: Instant::now(),
            rates: watch::Sender::new(Some(Arc::new(rates))),
            state: Mutex::default(),
        }))
    }

    /// A client's way to the server. The name tells clients apart in the journal and in what befalls them.
    pub fn link(&self, client: impl Into<String>) -> Link {
        Link::new(self.clone(), client.into())
    }

    /// From now on nothing goes wrong, and what was withheld comes to its end. Calls that hang go on hanging.
    pub fn calm(&self) {
        self.0.rates.send_replace(None);
    }

    /// From now on these rates hold.
    pub fn set(&self, rates: Rates) {
        self.0.rates.send_replace(Some(Arc::new(rates)));
    }

    /// Sets or removes a rule.
    pub fn rule(&self, rule: Option<Rule>) {
        self.state().rule = rule;
    }

    /// Time since the network was made.
    pub fn elapsed(&self) -> Duration {
        self.0.start.elapsed()
    }

    /// Writes a remark into the journal.
    pub fn note(&self, note: impl Into<String>) {
        let at = self.elapsed();
        self.state().journal.add(0, at, Entry::Note(note.into()));
    }

    /// A copy of the journal.
    pub fn journal(&self) -> Journal {
        self.state().journal.clone()
    }

    /// How many writes have reached the server.
    pub fn writes(&self) -> usize {
        self.state().journal.writes.len()
    }

    /// How many writes that meet a condition have reached the server.
    pub fn writes_that(&self, condition: impl Fn(&Call) -> bool) -> usize {
        let state = self.state();
        state.journal.writes.iter().filter(|(_, call)| condition(call)).count()
    }

    /// The last write that has reached the server and meets a condition, with the time since the start.
    pub fn last_write(&self, condition: impl Fn(&Call) -> bool) -> Option<(Duration, Call)> {
        let state = self.state();
        state.journal.writes.iter().rfind(|(_, call)| condition(call)).cloned()
    }

    /// How often a call was made, by any client and whatever befell it.
    pub fn made(&self, verb: Verb, path: &str) -> u64 {
        let state = self.state();
        let made = state.made.iter();
        made.filter(|((_, made, of), _)| *made == verb && of == path)
            .map(|(_, times)| times)
            .sum()
    }

    /// What befalls a call, and the generator for what befalls the watch it opens.
    pub(crate) fn judge(&self, call: &Call, number: u64) -> (Option<Fault>, u64) {
        let rates = self.0.rates.borrow().clone();
        let at = self.elapsed();
        let mut state = self.state();
        let made = state
            .made
            .entry((call.client.clone(), call.verb, call.place().to_owned()))
            .or_default();
        let time = *made;
        *made += 1;
        let ruled = state.rule.as_ref().and_then(|rule| rule(call));
        let fault = ruled.or_else(|| of_call(&mut self.dice(call, "call", time), call, rates.as_deref()?));
        if let Some(fault) = fault {
            state.journal.add(number, at, Entry::Call(call.clone(), fault));
        }
        (fault, time)
    }

    pub(crate) fn ending(&self, call: &Call, time: u64) -> Option<(Duration, Ending)> {
        let rates = self.0.rates.borrow().clone()?;
        of_watch(&mut self.dice(call, "watch", time), &rates.watch)
    }

    /// What befalls an event of the `time`-th watch.
    pub(crate) fn event(&self, call: &Call, time: u64, event: u64) -> Option<WatchFault> {
        let rates = self.0.rates.borrow().clone()?;
        let time = time.wrapping_mul(1 << 32).wrapping_add(event);
        of_event(&mut self.dice(call, "event", time), &rates.watch)
    }

    pub(crate) fn rates(&self) -> watch::Receiver<Option<Arc<Rates>>> {
        self.0.rates.subscribe()
    }

    pub(crate) fn befell(&self, number: u64, entry: Entry) {
        let at = self.elapsed();
        self.state().journal.add(number, at, entry);
    }

    pub(crate) fn carried_out(&self, call: &Call) {
        if call.writes() {
            let at = self.elapsed();
            self.state().journal.writes.push((at, call.clone()));
        }
    }

    fn dice(&self, call: &Call, what: &str, time: u64) -> SmallRng {
        let verb = format!("{:?}", call.verb);
        decide(self.0.seed, &[what, &call.client, &verb, call.place()], time)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
