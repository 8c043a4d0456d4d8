//! `showrunner up` with the real programs that people point at it: ffprobe, ffmpeg, kubectl. One test, since one sandbox
//! runs on a machine at a time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use common::{
    repository, until,
    up::{Up, cinema},
};
use nix::sys::signal::Signal;

/// How long ffmpeg plays.
const PLAY_SECONDS: u64 = 60;
/// How long the platform may take to be up.
const UP: Duration = Duration::from_secs(150);
/// How long anything may take that is only a matter of time.
const SOON: Duration = Duration::from_secs(30);

/// Where it says that the channel is.
fn playback(up: &Up) -> String {
    let answered = up.answered.text();
    let url = answered.lines().find_map(|line| line.strip_prefix("playback"));
    url.expect("a playback URL").trim().to_owned()
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn real_players_and_the_real_kubectl_are_content() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    let mut up = Up::start(cinema(&kubeconfig));
    up.until_up(UP);
    let playback = playback(&up);
    probe(&playback);
    let player = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-xerror",
            "-http_persistent",
            "0",
            "-i",
            &playback,
        ])
        .args([
            "-t",
            &PLAY_SECONDS.to_string(),
            "-map",
            "0:v:0",
            "-map",
            "0:a:0",
            "-f",
            "null",
            "-",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if has_kubectl() {
        kubectl(&kubeconfig, dir.path());
    }
    let played = player.wait_with_output().unwrap();
    assert!(
        played.status.success() && played.stderr.is_empty(),
        "ffmpeg: {}",
        text(&played.stderr)
    );
    stop(&mut up);
    assert!(!kubeconfig.exists(), "the kubeconfig goes with the sandbox");
}

/// Whether kubectl is there. Where it must be (`CI_REQUIRE_KUBECTL` is set) its absence fails the test; elsewhere it is
/// said in a way that the test harness does not swallow.
fn has_kubectl() -> bool {
    let client = Command::new("kubectl").args(["version", "--client"]).output();
    if client.is_ok_and(|output| output.status.success()) {
        return true;
    }
    assert!(
        std::env::var_os("CI_REQUIRE_KUBECTL").is_none(),
        "CI_REQUIRE_KUBECTL is set, and kubectl is not installed"
    );
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: kubectl is not installed; its verbs were not tried"
    );
    false
}

fn probe(url: &str) {
    let probed = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-show_entries",
            "stream=codec_name,height",
            "-of",
            "csv=p=0",
            url,
        ],
    );
    let found = text(&probed.stdout);
    assert!(probed.status.success(), "ffprobe: {}", text(&probed.stderr));
    assert!(found.contains("h264,360") && found.contains("aac"), "ffprobe: {found}");
}

/// The verbs that people use, on a platform of their own.
fn kubectl(kubeconfig: &Path, dir: &Path) {
    let config = kubeconfig.display().to_string();
    let cache = dir.join("cache").display().to_string();
    let kubectl = |arguments: &[&str]| {
        let mut all = vec!["--kubeconfig", &config, "--cache-dir", &cache];
        all.extend(arguments);
        let output = run("kubectl", &all);
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    };
    // A probe that is late on a busy machine shows for a moment.
    until(SOON, "three of three regions", || {
        let got = kubectl(&["get", "platform", "-A"]);
        (got.contains("cinema") && got.contains("3/3 regions")).then_some(())
    });
    let described = kubectl(&["describe", "platform", "cinema", "-n", "cinema"]);
    assert!(
        described.contains("EvacuationSafe") && described.contains("Events:"),
        "{described}"
    );
    let logs = kubectl(&["logs", "-n", "cinema", "cinema-eu-origin-0"]);
    assert!(!logs.is_empty(), "an origin says something");
    // A platform without regions of this sandbox's nodes: it is accepted and waits, which is all that is asked here.
    let minimal = std::fs::read_to_string(repository().join("examples/minimal.yaml")).unwrap();
    let file = dir.join("minimal.yaml");
    std::fs::write(&file, &minimal).unwrap();
    let path = file.display().to_string();
    let namespace = minimal
        .lines()
        .find_map(|l| l.trim().strip_prefix("namespace: "))
        .unwrap_or("default")
        .to_owned();
    if namespace != "default" && namespace != "cinema" {
        kubectl(&["create", "namespace", &namespace]);
    }
    kubectl(&["apply", "-f", &path]);
    kubectl(&["apply", "--server-side", "-f", &path]);
    let name = minimal
        .lines()
        .find_map(|l| l.strip_prefix("  name: "))
        .unwrap()
        .to_owned();
    let resource = format!("platform/{name}");
    let namespace = ["-n", namespace.as_str()];
    kubectl(
        &[
            &["wait", "--for=condition=Progressing", "--timeout=30s", &resource][..],
            &namespace,
        ]
        .concat(),
    );
    kubectl(&[&["delete", &resource, "--timeout=60s"][..], &namespace].concat());
    kubectl(&[&["wait", "--for=delete", "--timeout=30s", &resource][..], &namespace].concat());
}

/// Ctrl-C ends it, and nothing stays.
fn stop(up: &mut Up) {
    let pid = up.running.0.id();
    common::stands(&up.tree);
    up.running.signal(Signal::SIGINT);
    assert_eq!(up.running.end(Duration::from_secs(60)).code(), Some(0));
    up.tree.gone(Duration::from_secs(2));
    assert!(
        !std::env::temp_dir().join(format!("showrunner-{pid}")).exists(),
        "files are left"
    );
}
