//! The health of one pathway, with hysteresis. Pure.

use showrunner_crds::platform::Probe;

/// What a state machine knows after some probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    known: bool,
    down: bool,
    /// Consecutive results against the present state.
    against: u32,
}

impl Health {
    /// Whether players may be sent there. Until the first probe has an answer they may.
    pub fn is_up(self) -> bool {
        !self.down
    }

    /// The state after one more probe. The first result decides alone; later, `failures` in a row take the pathway down and
    /// `successes` in a row bring it back.
    #[must_use]
    pub fn after(self, success: bool, thresholds: &Probe) -> Self {
        if !self.known {
            return Self {
                known: true,
                down: !success,
                against: 0,
            };
        }
        if success != self.down {
            return Self { against: 0, ..self };
        }
        let needed = if self.down {
            thresholds.successes
        } else {
            thresholds.failures
        };
        let against = self.against + 1;
        if against >= needed {
            Self {
                known: true,
                down: !self.down,
                against: 0,
            }
        } else {
            Self { against, ..self }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(results: &[bool], thresholds: &Probe) -> Vec<bool> {
        let mut health = Health::default();
        let step = |&success: &bool| {
            health = health.after(success, thresholds);
            health.is_up()
        };
        results.iter().map(step).collect()
    }

    #[test]
    fn two_failures_take_it_down_three_successes_bring_it_back() {
        let up = run(
            &[true, false, true, false, false, true, true, false, true, true, true],
            &Probe::default(),
        );
        assert_eq!(
            up,
            [true, true, true, true, false, false, false, false, false, false, true]
        );
    }

    #[test]
    fn the_first_result_decides() {
        assert!(Health::default().is_up());
        assert_eq!(run(&[false], &Probe::default()), [false]);
    }

    proptest! {
        /// The state flips exactly where the last `threshold` results all speak against it.
        #[test]
        fn flips_only_after_a_full_streak(results in prop::collection::vec(any::<bool>(), 1..60), failures in 1u32..5, successes in 1u32..5) {
            let thresholds = Probe { failures, successes, ..Probe::default() };
            let states = run(&results, &thresholds);
            for at in 1..results.len() {
                let needed = if states[at - 1] { failures } else { successes } as usize;
                let streak = results[..=at].iter().rev().take_while(|&&result| result != states[at - 1]).count();
                prop_assert_eq!(states[at] != states[at - 1], streak >= needed, "at {}", at);
            }
        }
    }
}
