//! Ctrl-C is ours, not goose's.
//!
//! goose installs a handler for the whole process, whose second Ctrl-C exits at once, before any fault is undone. Handlers of
//! the `ctrlc` crate can be installed only once, so a program that calls [`claim`] before it runs an audience keeps its own.
//! Call it before anything uses `tokio::signal`, too: that one chains to what it finds, `ctrlc` overwrites it.

use std::sync::{Mutex, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;

static TOKENS: OnceLock<Mutex<Vec<CancellationToken>>> = OnceLock::new();

/// From now on Ctrl-C, however often, cancels `token`, and the tokens of earlier calls.
pub fn claim(token: CancellationToken) {
    let tokens = TOKENS.get_or_init(|| {
        let installed = ctrlc::set_handler(|| {
            for token in TOKENS.get().map(lock).into_iter().flat_map(|tokens| tokens.clone()) {
                token.cancel();
            }
        });
        if let Err(error) = installed {
            tracing::warn!(%error, "Ctrl-C belongs to another handler");
        }
        Mutex::new(Vec::new())
    });
    let mut tokens = lock(tokens);
    tokens.retain(|token| !token.is_cancelled());
    tokens.push(token);
}

fn lock(tokens: &Mutex<Vec<CancellationToken>>) -> std::sync::MutexGuard<'_, Vec<CancellationToken>> {
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}
