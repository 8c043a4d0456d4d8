//! One client's way to the server.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio_util::sync::CancellationToken;
use tower::Layer;

use crate::{service::UnreliableService, unreliable::Unreliable};

/// A client's way to the server: a [`Layer`]. Clones are the same way.
#[derive(Clone, Debug)]
pub struct Link(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    network: Unreliable,
    client: String,
    calls: AtomicU64,
    cut: CancellationToken,
    /// The call before which, or right after which, the client is cut off.
    planned: Mutex<Option<Cut>>,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    call: u64,
    carried_out: bool,
}

/// What a cut means for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    Free,
    /// The last call: it is carried out, but its answer comes to nobody.
    Last,
    None,
}

impl Link {
    pub(crate) fn new(network: Unreliable, client: String) -> Self {
        Self(Arc::new(Inner {
            network,
            client,
            calls: AtomicU64::new(0),
            cut: CancellationToken::new(),
            planned: Mutex::new(None),
        }))
    }

    /// Cuts the client off before the call of this number (the first has 0), or, where `carried_out`, right after that call
    /// was carried out and before it is answered: what a client leaves behind that is killed there. The calls of a client
    /// that was cut off are never answered. The token is cancelled at that moment.
    pub fn cut_at(&self, call: u64, carried_out: bool) -> CancellationToken {
        *self.0.planned.lock().unwrap_or_else(PoisonError::into_inner) = Some(Cut { call, carried_out });
        self.0.cut.clone()
    }

    /// Cuts the client off now.
    pub fn cut(&self) {
        self.0.cut.cancel();
    }

    pub(crate) fn network(&self) -> &Unreliable {
        &self.0.network
    }

    pub(crate) fn client(&self) -> &str {
        &self.0.client
    }

    pub(crate) fn severed(&self) -> &CancellationToken {
        &self.0.cut
    }

    /// Counts a call, and tells what becomes of it.
    pub(crate) fn passage(&self) -> (u64, Passage) {
        let number = self.0.calls.fetch_add(1, Ordering::Relaxed);
        let planned = *self.0.planned.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.cut.is_cancelled() {
            return (number, Passage::None);
        }
        let passage = match planned {
            Some(cut) if number == cut.call && cut.carried_out => Passage::Last,
            Some(cut) if number >= cut.call => {
                self.0.cut.cancel();
                Passage::None
            }
            _ => Passage::Free,
        };
        (number, passage)
    }
}

impl<S> Layer<S> for Link {
    type Service = UnreliableService<S>;

    fn layer(&self, inner: S) -> UnreliableService<S> {
        UnreliableService::new(self.clone(), inner)
    }
}
