//! A tower layer that makes any Kubernetes API unreliable, seeded.
//!
//! It stands between a client and an API server (the service that `kube::Client::new` takes) and does what networks,
//! proxies and busy servers do: it refuses, delays, hangs, loses answers to writes that were carried out, ends watches,
//! repeats and withholds their events. What it does to a call depends on the seed, the client's name, the call and how
//! often that client has made that call, and on nothing else: a run that is repeated meets the same faults.
//!
//! It stays within what a client must expect of a real API server:
//!
//! - A create is never answered with "conflict": that would say that the object exists.
//! - Events of a watch are never lost in silence. Withheld events end with the watch, so that a client that resumes from
//!   the last resource version it has seen, or lists again after `410 Gone`, misses nothing.
//! - An event is repeated at once, never after a later one of the same object: watches do not go back in time.
//! - A call that hangs fails in the end, after [`Rates::patience`], as clients with a read timeout see it.
//!
//! ```
//! use showrunner_unreliable::{Rates, Unreliable};
//! use tower::Layer as _;
//!
//! # fn client<S: Clone>(server: S) {
//! let unreliable = Unreliable::new(1234, Rates::rough());
//! let service = unreliable.link("operator").layer(server);
//! // … kube::Client::new(service, "default") …
//! unreliable.calm();
//! println!("{}", unreliable.journal());
//! # }
//! ```

mod answer;
mod body;
mod call;
mod chance;
mod fault;
mod journal;
mod link;
mod rates;
pub mod seeds;
mod service;
pub mod snapshot;
mod unreliable;
mod watch;

pub use body::{BoxError, UnreliableBody};
pub use call::{Call, Verb};
pub use fault::{Ending, Fault, Refusal, WatchFault};
pub use journal::{Entry, Journal};
pub use link::Link;
pub use rates::{Rates, WatchRates};
pub use service::{Broken, UnreliableService};
pub use unreliable::{Rule, Unreliable};
