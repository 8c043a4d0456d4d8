//! HorizontalPodAutoscalers: reads what upstream's controller reads, lets `showrunner-autoscaling` decide, writes what
//! it says.
//!
//! Custom and external metrics are not read: a metric of those types gets upstream's "no metrics returned".
//! An autoscaler whose spec changes is evaluated at once; otherwise once per sync period.

mod metrics;
pub(crate) mod run;
mod target;
