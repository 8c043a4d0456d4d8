//! Is the fault in place? Is it gone?
//!
//! The conditions of an experiment do not answer this: `AllRecovered` is `True` before the first injection as well as
//! after the last recovery, and `AllInjected` says nothing about an empty selection. The records do.

use crate::{
    kinds::Experiment,
    status::{ChaosStatus, DesiredPhase, INJECTED, NOT_INJECTED},
};

/// Whether the fault is in place on every target: the controller wants it to run, there is a target, and each one is
/// injected and was so at least once.
pub fn injected(status: &ChaosStatus) -> bool {
    let experiment = &status.experiment;
    experiment.desired_phase == Some(DesiredPhase::Run)
        && !experiment.container_records.is_empty()
        && experiment
            .container_records
            .iter()
            .all(|record| record.phase == INJECTED && record.injected_count >= 1)
}

/// Whether the fault is gone: the object is (`None`), or the controller wants it stopped and each target is recovered
/// as often as it was injected.
///
/// An object that the controller has not seen yet is *not* recovered: it may still be injected.
pub fn recovered<E: Experiment>(object: Option<&E>) -> bool {
    object.is_none_or(|object| object.status().is_some_and(stopped_and_clean))
}

fn stopped_and_clean(status: &ChaosStatus) -> bool {
    let experiment = &status.experiment;
    experiment.desired_phase == Some(DesiredPhase::Stop)
        && experiment
            .container_records
            .iter()
            .all(|record| record.phase == NOT_INJECTED && record.recovered_count >= record.injected_count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        fault,
        kinds::network::NetworkChaos,
        selector::PodSelector,
        status::{ALL_INJECTED, ALL_RECOVERED, ChaosCondition, ExperimentStatus, Record},
    };

    const RUN: Option<DesiredPhase> = Some(DesiredPhase::Run);
    const STOP: Option<DesiredPhase> = Some(DesiredPhase::Stop);

    fn status(desired_phase: Option<DesiredPhase>, records: &[(&str, i64, i64)], conditions: &[&str]) -> ChaosStatus {
        let container_records = records
            .iter()
            .enumerate()
            .map(|(index, &(phase, injected_count, recovered_count))| Record {
                id: format!("shop/pod-{index}"),
                selector_key: ".".into(),
                phase: phase.into(),
                injected_count,
                recovered_count,
                events: vec![],
            })
            .collect();
        ChaosStatus {
            conditions: conditions
                .iter()
                .map(|&kind| ChaosCondition {
                    kind: kind.into(),
                    status: "True".into(),
                    reason: String::new(),
                })
                .collect(),
            experiment: ExperimentStatus {
                desired_phase,
                container_records,
            },
            instances: std::collections::BTreeMap::new(),
        }
    }

    fn object(status: Option<ChaosStatus>) -> NetworkChaos {
        NetworkChaos {
            status,
            ..fault::partition("lost", "shop", PodSelector::default())
        }
    }

    #[test]
    fn injected_means_every_record_and_at_least_one() {
        for (case, status, expected) in [
            (
                "all injected",
                status(RUN, &[(INJECTED, 1, 0), (INJECTED, 2, 1)], &[ALL_INJECTED]),
                true,
            ),
            (
                "one is not",
                status(RUN, &[(INJECTED, 1, 0), (NOT_INJECTED, 0, 0)], &[]),
                false,
            ),
            ("one waits", status(RUN, &[("Not Injected/Wait", 0, 0)], &[]), false),
            (
                "one waits for its recovery",
                status(RUN, &[("Injected/Wait", 1, 0)], &[]),
                false,
            ),
            ("never counted", status(RUN, &[(INJECTED, 0, 0)], &[]), false),
            (
                "nothing selected, condition or not",
                status(RUN, &[], &[ALL_INJECTED]),
                false,
            ),
            (
                "being stopped",
                status(STOP, &[(INJECTED, 1, 0)], &[ALL_INJECTED]),
                false,
            ),
            ("not seen yet", ChaosStatus::default(), false),
        ] {
            assert_eq!(injected(&status), expected, "{case}");
        }
    }

    #[test]
    fn recovered_means_gone_or_stopped_and_clean() {
        assert!(recovered(None::<&NetworkChaos>), "the object is gone");
        for (case, status, expected) in [
            (
                "recovered",
                Some(status(
                    STOP,
                    &[(NOT_INJECTED, 1, 1), (NOT_INJECTED, 2, 2)],
                    &[ALL_RECOVERED],
                )),
                true,
            ),
            (
                "recovered without ever having been injected",
                Some(status(STOP, &[(NOT_INJECTED, 0, 0)], &[])),
                true,
            ),
            (
                "AllRecovered before the injection",
                Some(status(RUN, &[(NOT_INJECTED, 0, 0)], &[ALL_RECOVERED])),
                false,
            ),
            (
                "AllRecovered and nothing selected yet",
                Some(status(RUN, &[], &[ALL_RECOVERED])),
                false,
            ),
            (
                "one is still injected",
                Some(status(STOP, &[(NOT_INJECTED, 1, 1), (INJECTED, 1, 0)], &[])),
                false,
            ),
            (
                "one recovery is missing",
                Some(status(STOP, &[(NOT_INJECTED, 2, 1)], &[ALL_RECOVERED])),
                false,
            ),
            (
                "one waits for its recovery",
                Some(status(STOP, &[("Injected/Wait", 1, 0)], &[])),
                false,
            ),
            ("not seen yet", Some(ChaosStatus::default()), false),
            ("no status at all", None, false),
        ] {
            assert_eq!(recovered(Some(&object(status))), expected, "{case}");
        }
    }

    proptest::proptest! {
        /// No state of the controller reads as both.
        #[test]
        fn never_both(run in proptest::bool::ANY, phase in 0_usize..3, injections in 0_i64..3, recoveries in 0_i64..3) {
            let phase = [INJECTED, NOT_INJECTED, "Injected/Wait"][phase];
            let status = status(if run { RUN } else { STOP }, &[(phase, injections, recoveries)], &[]);
            proptest::prop_assert!(!(injected(&status) && recovered(Some(&object(Some(status.clone()))))));
        }
    }
}
