//! The check that nothing is left must itself notice what is left.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, Stdio},
    time::Duration,
};

use common::{Running, tree::Tree};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const SOON: Duration = Duration::from_secs(20);

/// A process in a session of its own, whose parents are gone, and a socket nobody but it holds.
#[test]
fn an_orphan_in_a_session_of_its_own_is_noticed() {
    let script = "setsid sh -c 'sleep 314159 & wait' & sleep 3; exit 0";
    let mut shell = Running(
        Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let tree = Tree::watch(shell.0.id());
    tree.until(SOON, "sleep 314159");
    assert!(shell.end(SOON).success());
    let noticed = catch_unwind(AssertUnwindSafe(|| tree.gone(Duration::from_millis(200))));
    let told = *noticed.unwrap_err().downcast::<String>().unwrap();
    assert!(told.contains("sleep 314159"), "{told}");
    for line in tree.living() {
        let pid = line.split(' ').next().unwrap().parse().unwrap();
        // It may have gone with its parent.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    tree.gone(SOON);
}

/// A listening socket on 127.0.0.1 counts like any other.
#[test]
fn an_open_port_is_noticed() {
    // Whoever is this test's parent holds nothing: the socket is this process's, which is watched as if it were a command.
    let tree = Tree::watch(std::process::id());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    common::until(SOON, "the port", || tree.listened().contains(&address).then_some(()));
    assert!(tree.listening().contains(&address));
    drop(listener);
    assert!(!tree.listening().contains(&address));
}
