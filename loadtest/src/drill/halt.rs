//! Ending a run early for a reason.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::DrillError;

/// Ends a run, once, and remembers why. Clones end the same run.
#[derive(Clone, Debug)]
pub struct Halt {
    stop: CancellationToken,
    why: Arc<Mutex<Option<Why>>>,
}

#[derive(Debug)]
enum Why {
    Guardrail(String),
    Broken(String),
}

impl Halt {
    /// For the run that `stop` ends.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            why: Arc::default(),
        }
    }

    /// A guardrail ends the run: faults are undone, and the evidence says which one it was. The first reason counts.
    pub fn guardrail(&self, why: impl Into<String>) {
        self.because(Why::Guardrail(why.into()));
    }

    /// What the run stands on is broken.
    pub fn broken(&self, why: impl Into<String>) {
        self.because(Why::Broken(why.into()));
    }

    fn because(&self, why: Why) {
        let mut reason = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        reason.get_or_insert(why);
        self.stop.cancel();
    }

    /// Fires when the run is to end, for whichever reason.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.stop
    }

    /// What ended the run, as an error.
    pub(super) fn check(&self) -> Result<(), DrillError> {
        let reason = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        match &*reason {
            Some(Why::Guardrail(why)) => Err(DrillError::Guardrail(format!("guardrail: {why}"))),
            Some(Why::Broken(why)) => Err(DrillError::Broken(why.clone())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts() {
        let halt = Halt::new(CancellationToken::new());
        assert!(halt.check().is_ok());
        halt.clone().guardrail("the lever is engaged");
        halt.guardrail("too slow");
        assert!(halt.token().is_cancelled());
        let said = halt.check().map_err(|error| error.to_string());
        assert_eq!(said, Err("stopped by a guardrail: the lever is engaged".to_owned()));
    }
}
