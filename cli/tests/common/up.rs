//! `showrunner up`, watched and listened to from its start.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::{Running, Said, follow, showrunner, tree::Tree, until};

/// A sandbox that stays.
pub(crate) struct Up {
    pub(crate) running: Running,
    pub(crate) tree: Tree,
    /// What it says of itself, on standard error.
    pub(crate) said: Said,
    /// What it answers, on standard output.
    pub(crate) answered: Said,
}

/// The command for the cinema.
pub(crate) fn cinema(kubeconfig: &Path) -> Command {
    let mut command = showrunner();
    command
        .args(["up", "-f", "examples/cinema.yaml", "--kubeconfig"])
        .arg(kubeconfig);
    command
}

impl Up {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut running = Running(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        Self {
            tree: Tree::watch(running.0.id()),
            said: follow(running.0.stderr.take().unwrap()),
            answered: follow(running.0.stdout.take().unwrap()),
            running,
        }
    }

    /// Waits until the platform is up; fails at once if it ends before.
    pub(crate) fn until_up(&mut self, limit: Duration) {
        until(limit, "the platform", || {
            assert_eq!(self.running.0.try_wait().unwrap(), None, "{}", self.said.text());
            self.answered.contains("Ctrl-C takes it down").then_some(())
        });
    }
}
