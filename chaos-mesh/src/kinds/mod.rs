//! The kinds, one module each.

pub mod dns;
pub mod http;
pub mod io;
pub mod network;
pub mod pod;
pub mod pod_network;
pub mod stress;
pub mod time;

use crate::{
    selector::{Mode, PodSelector},
    status::ChaosStatus,
};

/// What every experiment has in common.
pub trait Experiment {
    /// Which pods.
    fn selector(&self) -> &PodSelector;
    /// How many of them.
    fn mode(&self) -> Mode;
    /// The number that the mode needs.
    fn value(&self) -> Option<&str>;
    /// How long it lasts from `creationTimestamp` on, in Go's notation; until it is deleted where absent.
    fn duration(&self) -> Option<&str>;
    /// What the controller reports.
    fn status(&self) -> Option<&ChaosStatus>;
    /// The same, to be written.
    fn status_mut(&mut self) -> &mut Option<ChaosStatus>;
    /// Whether it is over once injected: nothing is there to recover.
    fn one_shot(&self) -> bool {
        false
    }
}

macro_rules! experiment {
    ($kind:ty $(, one_shot = $one_shot:expr)?) => {
        impl $crate::kinds::Experiment for $kind {
            fn selector(&self) -> &$crate::selector::PodSelector {
                &self.spec.selector
            }
            fn mode(&self) -> $crate::selector::Mode {
                self.spec.mode
            }
            fn value(&self) -> Option<&str> {
                self.spec.value.as_deref()
            }
            fn duration(&self) -> Option<&str> {
                self.spec.duration.as_deref()
            }
            fn status(&self) -> Option<&$crate::status::ChaosStatus> {
                self.status.as_ref()
            }
            fn status_mut(&mut self) -> &mut Option<$crate::status::ChaosStatus> {
                &mut self.status
            }
            $(fn one_shot(&self) -> bool {
                let one_shot: fn(&Self) -> bool = $one_shot;
                one_shot(self)
            })?
        }
    };
}
pub(crate) use experiment;
