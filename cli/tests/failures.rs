//! What a machine can lack: each ends the command with exit code 6, a message that says what to do, and nothing left. One
//! test, since one sandbox runs on a machine at a time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    io::Write,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use common::{repository, showrunner, up::Up};

/// How long a platform that cannot come up may take to say so.
const SAID: Duration = Duration::from_secs(100);

/// A platform of one region, with `images` as given.
fn platform(dir: &Path, name: &str, images: &str) -> PathBuf {
    let minimal = std::fs::read_to_string(repository().join("examples/minimal.yaml")).unwrap();
    let path = dir.join(format!("{name}.yaml"));
    std::fs::write(&path, format!("{minimal}  images: {{{images}}}\n")).unwrap();
    path
}

/// Runs `up`, which must fail for infrastructure's sake with all of `expected`, and leave nothing. A `|` stands between what
/// may be said instead of each other.
fn fails(command: Command, name: &str, expected: &[&str]) {
    let Up {
        running: mut up,
        tree,
        said,
        answered: _,
    } = Up::start(command);
    let status = up.end(SAID);
    // The pipe may hold the last words still.
    common::until(
        Duration::from_secs(5),
        &format!("{name}: {expected:?} in {}", said.text()),
        || {
            let heard = |part: &&str| part.split('|').any(|one| said.contains(one));
            expected.iter().all(heard).then_some(())
        },
    );
    assert_eq!(status.code(), Some(6), "{name}: {}", said.text());
    tree.gone(Duration::from_secs(2));
    let folder = std::env::temp_dir().join(format!("showrunner-{}", up.0.id()));
    assert!(!folder.exists(), "{name}: files are left");
}

fn up(file: &Path, kubeconfig: &Path) -> Command {
    let mut command = showrunner();
    command.args(["up", "-f"]).arg(file).arg("--kubeconfig").arg(kubeconfig);
    command
}

#[test]
fn what_a_machine_lacks_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    let good = platform(dir.path(), "good", "");

    // A server on all addresses has the port of every pod.
    let taken = TcpListener::bind("0.0.0.0:8081").expect("port 8081 is free for this test");
    fails(
        up(&good, &kubeconfig),
        "port",
        &["port 8081 cannot be used", "0.0.0.0:8081"],
    );
    drop(taken);

    let absent = platform(dir.path(), "absent", "cacheCommand: no-such-varnishd");
    fails(
        up(&absent, &kubeconfig),
        "no varnish",
        &["no-such-varnishd", "ErrImagePull"],
    );

    let crashes = platform(dir.path(), "crashes", "cacheCommand: \"false\"");
    fails(
        up(&crashes, &kubeconfig),
        "crash loop",
        &["it crashed 3 times", "exit code 1", "it said nothing"],
    );

    // The first address that a Service of type LoadBalancer is given.
    let taken = TcpListener::bind("127.30.0.1:8080").expect("no sandbox runs");
    fails(
        up(&good, &kubeconfig),
        "address",
        &["cannot listen on 127.30.0.1:8080 for Service default/minimal-"],
    );
    drop(taken);

    let mut without = up(&good, &kubeconfig);
    without.env("PATH", programs(&dir.path().join("without"), None));
    fails(
        without,
        "no ffmpeg",
        &["default/minimal-", "it crashed 3 times", "install ffmpeg"],
    );

    let mut broken = up(&good, &kubeconfig);
    broken.env(
        "PATH",
        programs(
            &dir.path().join("broken"),
            Some("#!/bin/sh\necho out of luck >&2\nexit 7\n"),
        ),
    );
    fails(broken, "ffmpeg ends", &["was not ready within 60 s", "out of luck"]);

    match small_disk(dir.path(), &good, &kubeconfig) {
        // Whichever container comes first: Varnish's compiler does not say what the kernel told it.
        Some(command) => fails(
            command,
            "disk full",
            &[
                "default/minimal-home-",
                "No space left on device|Could not write C-source",
            ],
        ),
        None => {
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: no file system can be mounted here, not even in a namespace; a full disk was not tried"
            );
        }
    }
    assert!(!kubeconfig.exists());
}

/// A folder of this machine's programs but ffmpeg, which is `script` instead, or missing.
fn programs(dir: &Path, script: Option<&str>) -> PathBuf {
    std::fs::create_dir(dir).unwrap();
    for folder in ["/usr/bin", "/bin"] {
        for program in std::fs::read_dir(folder).unwrap().flatten() {
            if program.file_name() != "ffmpeg" {
                // /bin may be /usr/bin.
                let _ = symlink(program.path(), dir.join(program.file_name()));
            }
        }
    }
    if let Some(script) = script {
        std::fs::write(dir.join("ffmpeg"), script).unwrap();
        std::fs::set_permissions(dir.join("ffmpeg"), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    dir.to_owned()
}

/// The command with a temporary folder that holds next to nothing, if this machine lets us make one.
fn small_disk(dir: &Path, file: &Path, kubeconfig: &Path) -> Option<Command> {
    let disk = dir.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = format!("mount -t tmpfs -o size=128k none {}", disk.display());
    let mut tried = [vec!["--mount"], vec!["--mount", "--map-root-user"]].into_iter();
    let namespaces = tried.find(|namespaces| {
        let done = Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", &mount])
            .output();
        done.is_ok_and(|output| output.status.success())
    })?;
    let mut command = Command::new("unshare");
    command
        .args(namespaces)
        .args(["sh", "-c", &format!("{mount} && exec \"$@\"")])
        .args(["sh", env!("CARGO_BIN_EXE_showrunner"), "up", "-f"])
        .arg(file)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .env("TMPDIR", &disk)
        .current_dir(repository());
    Some(command)
}
