//! The parsers of `showrunner-loadtest`, from its own sources.
#![allow(dead_code, reason = "the player uses what the targets do not")]

pub mod http;
pub mod player;
