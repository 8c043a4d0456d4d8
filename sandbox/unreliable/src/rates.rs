//! How often what goes wrong.

use std::time::Duration;

/// Probabilities of faults, of each call that they can befall, from 0 to 1. Their sum should stay below 1: what is left is
/// the share of calls that nothing befalls.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// A change or deletion is refused with `409 Conflict`: somebody else wrote at the same time.
    pub conflict: f64,
    /// Refused with `429 Too Many Requests` and a `Retry-After`.
    pub too_many_requests: f64,
    /// Refused with `500 Internal Server Error`.
    pub internal: f64,
    /// Refused with `503 Service Unavailable`, by the server or by a proxy before it.
    pub unavailable: f64,
    /// Carried out all the same, but answered with 500 or `504 Gateway Timeout`.
    pub unsure: f64,
    /// The connection breaks, and a write is carried out only then, within [`Rates::latest`].
    pub late: f64,
    /// Longest time from the break until such a write is carried out.
    pub latest: Duration,
    /// The connection breaks before the call is carried out.
    pub lost_before: f64,
    /// The connection breaks after the call was carried out.
    pub lost_after: f64,
    /// Nothing comes back for [`Rates::patience`]; carried out or not with equal probability.
    pub hang: f64,
    /// Carried out late, or answered late.
    pub slow: f64,
    /// Longest delay of a slow call.
    pub slowest: Duration,
    /// Longest `Retry-After`; whole seconds.
    pub retry_after: Duration,
    /// How long a call that hangs does so before it fails: the read timeout of the client that is emulated.
    pub patience: Duration,
    /// What befalls watches that were opened.
    pub watch: WatchRates,
}

/// Probabilities of what befalls watches.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchRates {
    /// Of opening: refused with `410 Gone`.
    pub expired: f64,
    /// Of opening: the watch ends in some way within [`WatchRates::lifetime`], however quiet it is.
    pub short: f64,
    /// Longest life of a watch that is short.
    pub lifetime: Duration,
    /// Of each event: it comes late, and so does what follows.
    pub slow: f64,
    /// Longest delay of an event.
    pub slowest: Duration,
    /// Of each event: it comes twice.
    pub repeated: f64,
    /// Of each event: the watch ends before it.
    pub ended: f64,
    /// Of each event: it and what follows is withheld for at most [`WatchRates::silence`], then the watch ends.
    pub withheld: f64,
    /// Longest time that events are withheld.
    pub silence: Duration,
}

impl Rates {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self {
            conflict: 0.0,
            too_many_requests: 0.0,
            internal: 0.0,
            unavailable: 0.0,
            unsure: 0.0,
            late: 0.0,
            latest: Duration::from_millis(2500),
            lost_before: 0.0,
            lost_after: 0.0,
            hang: 0.0,
            slow: 0.0,
            slowest: Duration::from_secs(2),
            retry_after: Duration::from_secs(3),
            patience: Duration::from_secs(30),
            watch: WatchRates {
                expired: 0.0,
                short: 0.0,
                lifetime: Duration::from_mins(1),
                slow: 0.0,
                slowest: Duration::from_secs(5),
                repeated: 0.0,
                ended: 0.0,
                withheld: 0.0,
                silence: Duration::from_secs(20),
            },
        }
    }

    /// About one call in five and one event in seven goes wrong, in every way there is.
    pub fn rough() -> Self {
        let none = Self::none();
        Self {
            conflict: 0.04,
            too_many_requests: 0.03,
            internal: 0.03,
            unavailable: 0.03,
            unsure: 0.03,
            late: 0.03,
            lost_before: 0.02,
            lost_after: 0.03,
            hang: 0.01,
            slow: 0.05,
            watch: WatchRates {
                expired: 0.1,
                short: 0.5,
                slow: 0.04,
                repeated: 0.05,
                ended: 0.03,
                withheld: 0.03,
                ..none.watch
            },
            ..none
        }
    }

    /// The same with every probability multiplied; each at most 1.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        let scaled = |probability: f64| (probability * factor).clamp(0.0, 1.0);
        Self {
            conflict: scaled(self.conflict),
            too_many_requests: scaled(self.too_many_requests),
            internal: scaled(self.internal),
            unavailable: scaled(self.unavailable),
            unsure: scaled(self.unsure),
            late: scaled(self.late),
            lost_before: scaled(self.lost_before),
            lost_after: scaled(self.lost_after),
            hang: scaled(self.hang),
            slow: scaled(self.slow),
            watch: WatchRates {
                expired: scaled(self.watch.expired),
                short: scaled(self.watch.short),
                slow: scaled(self.watch.slow),
                repeated: scaled(self.watch.repeated),
                ended: scaled(self.watch.ended),
                withheld: scaled(self.watch.withheld),
                ..self.watch.clone()
            },
            ..self.clone()
        }
    }

    /// Every call fails: the API server cannot be reached.
    pub fn blackout() -> Self {
        Self {
            lost_before: 1.0,
            watch: WatchRates {
                short: 1.0,
                lifetime: Duration::from_secs(1),
                ..Self::none().watch
            },
            ..Self::none()
        }
    }
}
