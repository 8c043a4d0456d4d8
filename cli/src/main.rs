//! The `showrunner` command.
fn main() {}
