//! ReplicaSet: keeps the wanted number of pods.

mod order;
pub(crate) mod plan;
pub(crate) mod run;
