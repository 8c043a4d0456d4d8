//! What clients rely on, over `kube::Client`. The suite asks [`common::connect`] for a client, in process by default.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

mod apply;
mod collection;
mod crud;
mod custom;
mod discovery;
mod kubectl;
mod nodes;
mod speed;
mod watch;
