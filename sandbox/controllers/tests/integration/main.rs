//! The controllers against the in-process API server, with a node agent that only pretends to run pods.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod agent;
mod cluster;
mod jobs;
mod networking;
mod nodes;
mod scaling;
mod workloads;
