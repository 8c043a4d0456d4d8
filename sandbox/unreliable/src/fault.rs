//! What goes wrong with a call or a watch, and when, pure.

use std::time::Duration;

use rand::{Rng, rngs::SmallRng};

use crate::{
    call::{Call, Verb},
    chance::pick,
    rates::{Rates, WatchRates},
};

/// An answer that is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `409 Conflict`.
    Conflict,
    /// `410 Gone`: the resource version, or the rest of a list, is no longer there.
    Expired,
    /// `429 Too Many Requests`, to be retried after so many seconds. In plain text where `text` is set, as priority and
    /// fairness answers.
    TooManyRequests {
        /// Seconds.
        retry_after: u64,
        /// Not a `metav1.Status`.
        text: bool,
    },
    /// `500 Internal Server Error`.
    Internal,
    /// `503 Service Unavailable`. As a proxy's page where `text` is set.
    Unavailable {
        /// Not a `metav1.Status`.
        text: bool,
    },
    /// `504 Gateway Timeout`.
    Timeout,
}

/// What befalls a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, and nothing was done.
    Refused(Refusal),
    /// It is carried out, but the answer is an error.
    Unsure(Refusal),
    /// The connection breaks.
    Lost {
        /// Whether the call was carried out.
        carried_out: bool,
    },
    /// Nothing comes back for long; then the connection breaks.
    Hung {
        /// Whether the call was carried out.
        carried_out: bool,
        /// How long it hangs.
        patience: Duration,
    },
    /// The connection breaks at once, and the call is carried out so long afterwards, whatever has become of the client: it was
    /// held up on its way.
    Late {
        /// From the break until it is carried out.
        after: Duration,
    },
    /// It takes long.
    Slow {
        /// Until it is carried out.
        before: Duration,
        /// From then until the answer.
        after: Duration,
    },
}

/// How a watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In order, as after its timeout.
    Closed,
    /// With an `ERROR` event: `410 Gone`.
    Expired,
    /// With an `ERROR` event: `500`.
    Failed,
    /// The connection breaks between two events.
    Broken,
    /// The connection breaks within an event.
    Torn,
}

/// What befalls an open watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFault {
    /// It ends.
    Ended(Ending),
    /// An event comes late.
    Slow(Duration),
    /// An event comes twice.
    Repeated,
    /// Events are withheld, until it ends.
    Withheld(Duration, Ending),
}

impl Fault {
    /// What it is called in summaries.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::Conflict) => "409",
            Self::Refused(Refusal::Expired) => "410",
            Self::Refused(Refusal::TooManyRequests { .. }) => "429",
            Self::Refused(Refusal::Internal) => "500",
            Self::Refused(Refusal::Unavailable { .. }) => "503",
            Self::Refused(Refusal::Timeout) => "504",
            Self::Unsure(_) => "error although carried out",
            Self::Lost { carried_out: false } => "lost before",
            Self::Lost { carried_out: true } => "lost after",
            Self::Hung { carried_out: false, .. } => "hung before",
            Self::Hung { carried_out: true, .. } => "hung after",
            Self::Late { .. } => "carried out late",
            Self::Slow { .. } => "slow",
        }
    }
}

impl WatchFault {
    /// What it is called in summaries.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ended(Ending::Closed) => "watch closed",
            Self::Ended(Ending::Expired) => "watch expired",
            Self::Ended(Ending::Failed) => "watch failed",
            Self::Ended(Ending::Broken) => "watch broken",
            Self::Ended(Ending::Torn) => "watch torn",
            Self::Slow(_) => "event slow",
            Self::Repeated => "event repeated",
            Self::Withheld(..) => "events withheld",
        }
    }
}

/// What befalls a call.
pub(crate) fn of_call(rng: &mut SmallRng, call: &Call, rates: &Rates) -> Option<Fault> {
    // All details are drawn before the fault is picked, so that they do not depend on which it is.
    let carried_out = rng.random();
    let text = rng.random();
    let late = rng.random::<bool>();
    let delay = within(rng, rates.slowest);
    let after = within(rng, rates.latest);
    let retry_after = rng.random_range(1..=rates.retry_after.as_secs().max(1));
    let busy = Refusal::TooManyRequests { retry_after, text };
    let unsure = if text { Refusal::Internal } else { Refusal::Timeout };
    let when = |allowed: bool, probability: f64| if allowed { probability } else { 0.0 };
    let changes = matches!(call.verb, Verb::Change | Verb::Delete);
    let expires = call.verb == Verb::Watch || call.continues();
    let options = [
        (when(changes, rates.conflict), Fault::Refused(Refusal::Conflict)),
        (when(expires, rates.watch.expired), Fault::Refused(Refusal::Expired)),
        (rates.too_many_requests, Fault::Refused(busy)),
        (rates.internal, Fault::Refused(Refusal::Internal)),
        (rates.unavailable, Fault::Refused(Refusal::Unavailable { text })),
        (when(call.writes(), rates.unsure), Fault::Unsure(unsure)),
        (when(call.writes(), rates.late), Fault::Late { after }),
        (rates.lost_before, Fault::Lost { carried_out: false }),
        (rates.lost_after, Fault::Lost { carried_out: true }),
        (
            rates.hang,
            Fault::Hung {
                carried_out,
                patience: rates.patience,
            },
        ),
        (
            rates.slow,
            if late {
                Fault::Slow {
                    before: Duration::ZERO,
                    after: delay,
                }
            } else {
                Fault::Slow {
                    before: delay,
                    after: Duration::ZERO,
                }
            },
        ),
    ];
    pick(rng, options)
}

/// When a watch that was opened ends although nothing happens, and how.
pub(crate) fn of_watch(rng: &mut SmallRng, rates: &WatchRates) -> Option<(Duration, Ending)> {
    let short = rng.random::<f64>() < rates.short;
    let life = within(rng, rates.lifetime);
    let ending = ending(rng);
    short.then_some((life, ending))
}

/// What befalls an event of a watch.
pub(crate) fn of_event(rng: &mut SmallRng, rates: &WatchRates) -> Option<WatchFault> {
    let delay = within(rng, rates.slowest);
    let silence = within(rng, rates.silence);
    let ending = ending(rng);
    let options = [
        (rates.slow, WatchFault::Slow(delay)),
        (rates.repeated, WatchFault::Repeated),
        (rates.ended, WatchFault::Ended(ending)),
        (rates.withheld, WatchFault::Withheld(silence, ending)),
    ];
    pick(rng, options)
}

fn ending(rng: &mut SmallRng) -> Ending {
    let endings = [
        Ending::Closed,
        Ending::Expired,
        Ending::Failed,
        Ending::Broken,
        Ending::Torn,
    ];
    endings[rng.random_range(0..endings.len())]
}

fn within(rng: &mut SmallRng, longest: Duration) -> Duration {
    longest.mul_f64(rng.random())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::chance::decide;

    fn call(verb: Verb) -> Call {
        Call {
            client: "c".into(),
            verb,
            method: Method::GET,
            path: "/".into(),
            query: String::new(),
        }
    }

    fn faults(verb: Verb) -> Vec<Option<Fault>> {
        let rates = Rates::rough();
        (0..2000)
            .map(|number| of_call(&mut decide(1, &["f"], number), &call(verb), &rates))
            .collect()
    }

    #[test]
    fn a_create_never_meets_a_conflict_and_a_read_is_never_unsure() {
        let conflict = Some(Fault::Refused(Refusal::Conflict));
        assert!(!faults(Verb::Create).contains(&conflict));
        assert!(faults(Verb::Change).contains(&conflict));
        let unsure = |verb| faults(verb).iter().any(|fault| matches!(fault, Some(Fault::Unsure(_))));
        assert!(!unsure(Verb::Read));
        assert!(unsure(Verb::Create));
        let late = |verb| {
            faults(verb)
                .iter()
                .any(|fault| matches!(fault, Some(Fault::Late { .. })))
        };
        assert!(!late(Verb::Read));
        assert!(late(Verb::Create));
        let expired = Some(Fault::Refused(Refusal::Expired));
        assert!(faults(Verb::Watch).contains(&expired) && !faults(Verb::Read).contains(&expired));
    }

    #[test]
    fn most_calls_get_through() {
        let fine = faults(Verb::Change).iter().filter(|fault| fault.is_none()).count();
        assert!((1300..1700).contains(&fine), "{fine} of 2000");
    }
}
