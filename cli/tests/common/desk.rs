//! The binary in a folder of its own, and what it answers to bad input.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// What an answer may take on a busy machine. Started, a sandbox would take longer, and leave its folder.
const LONGEST: Duration = Duration::from_secs(15);

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The binary in a folder of its own, where everything it leaves behind is seen.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(desk.path("tmp")).unwrap();
        for (from, to) in [
            ("examples/cinema.yaml", "cinema.yaml"),
            ("scenarios/smoke.yaml", "smoke.yaml"),
        ] {
            fs::copy(repository().join(from), desk.path(to)).unwrap();
        }
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// A copy of one of the two good files, changed.
    pub(crate) fn change(&self, from: &str, to: &str, changes: &[(&str, &str)]) {
        let mut text = fs::read_to_string(self.path(from)).unwrap();
        for (old, new) in changes {
            assert!(text.contains(old), "{old}");
            text = text.replacen(old, new, 1);
        }
        self.write(to, text);
    }

    pub(crate) fn listing(&self) -> Vec<PathBuf> {
        let mut found = vec![];
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                found.push(path);
            }
        }
        found.sort();
        found
    }

    pub(crate) fn run(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_showrunner"))
            .args(arguments)
            .current_dir(self.dir.path())
            .env("TMPDIR", self.path("tmp"))
            .env("XDG_RUNTIME_DIR", self.path("tmp"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads no input closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must be refused, and gives its lines.
    pub(crate) fn refused(&self, arguments: &[&str], stdin: &[u8]) -> Vec<String> {
        let before = self.listing();
        let begin = Instant::now();
        let output = self.run(arguments, stdin);
        let took = begin.elapsed();
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", text(&output.stdout));
        assert_eq!(self.listing(), before, "{arguments:?} left something behind");
        assert!(took < LONGEST, "{arguments:?}: {took:?}");
        errors.lines().map(str::to_owned).collect()
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn assert_lines(found: &[String], expected: &[&str], what: &str) {
    let same = found.len() == expected.len() && found.iter().zip(expected).all(|(line, start)| line.starts_with(start));
    assert!(same, "{what}:\n  expected {expected:#?}\n  found {found:#?}");
}

/// The commands that read a platform, given a file.
pub(crate) fn with_platform(file: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["build", "-f", file],
        vec!["up", "-f", file],
        vec!["drill", "smoke.yaml", "--platform", file],
        vec!["drill", "smoke.yaml", "--platform", file, "--dry-run"],
    ]
}
