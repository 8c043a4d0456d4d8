//! Bad input: one clear message each with its place, all of a file at once, exit 2, nothing started.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// What an answer may take on a busy machine. Started, a sandbox would take longer, and leave its folder.
const LONGEST: Duration = Duration::from_secs(15);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The binary in a folder of its own, where everything it leaves behind is seen.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
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

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// A copy of one of the two good files, changed.
    fn change(&self, from: &str, to: &str, changes: &[(&str, &str)]) {
        let mut text = fs::read_to_string(self.path(from)).unwrap();
        for (old, new) in changes {
            assert!(text.contains(old), "{old}");
            text = text.replacen(old, new, 1);
        }
        self.write(to, text);
    }

    fn listing(&self) -> Vec<PathBuf> {
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

    fn run(&self, arguments: &[&str], stdin: &[u8]) -> Output {
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
    fn refused(&self, arguments: &[&str], stdin: &[u8]) -> Vec<String> {
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The commands that read a platform, given a file.
fn with_platform(file: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["build", "-f", file],
        vec!["up", "-f", file],
        vec!["drill", "smoke.yaml", "--platform", file],
        vec!["drill", "smoke.yaml", "--platform", file, "--dry-run"],
    ]
}

fn assert_lines(found: &[String], expected: &[&str], what: &str) {
    let same = found.len() == expected.len() && found.iter().zip(expected).all(|(line, start)| line.starts_with(start));
    assert!(same, "{what}:\n  expected {expected:#?}\n  found {found:#?}");
}

#[test]
fn a_bad_platform_is_refused_by_every_command_that_reads_one() {
    let desk = Desk::new();
    desk.change(
        "cinema.yaml",
        "bad.yaml",
        &[
            ("weight: 35", "weigth: 35"),
            ("- name: us", "- name: US"),
            ("width: 640", "width: 641"),
        ],
    );
    let expected = [
        "spec.channels[0].ladder[0].width: width must be even",
        "spec.regions[1].name: `US` is not a DNS label",
        "spec.regions[1].weigth: unknown field; did you mean `weight`?",
    ];
    for command in with_platform("bad.yaml") {
        let found = desk.refused(&command, b"");
        let after_place: Vec<String> = found
            .iter()
            .map(|line| {
                let mut parts = line.splitn(4, ':');
                assert_eq!(parts.next(), Some("bad.yaml"), "{line}");
                assert!(parts.next().unwrap().parse::<u32>().unwrap() > 1, "{line}");
                assert!(parts.next().unwrap().parse::<u32>().unwrap() > 1, "{line}");
                parts.next().unwrap().trim_start().to_owned()
            })
            .collect();
        assert_lines(&after_place, &expected, &command.join(" "));
    }
}

#[test]
fn files_that_are_none() {
    let desk = Desk::new();
    fs::create_dir(desk.path("folder")).unwrap();
    desk.write("empty.yaml", "");
    desk.write("latin1.yaml", b"# Z\xfcrich\nkind: x\n");
    desk.write("image.yaml", [0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0, 0]);
    desk.write("deep.yaml", "[".repeat(100_000));
    desk.write("cut.yaml", "apiVersion: showrunner.dev/v1alpha1\nspec: {a: [\n");
    fs::File::create(desk.path("large.yaml"))
        .unwrap()
        .set_len(50 << 20)
        .unwrap();
    let cinema = fs::read_to_string(desk.path("cinema.yaml")).unwrap();
    desk.write(
        "two.yaml",
        format!("{cinema}\n---\n{}", cinema.replacen("name: cinema", "name: theatre", 1)),
    );
    let smoke = fs::read_to_string(desk.path("smoke.yaml")).unwrap();
    desk.write("both.yaml", format!("{cinema}\n---\n{smoke}"));
    for (file, expected) in [
        ("absent.yaml", "absent.yaml: there is no such file"),
        ("cinema.yaml/x", "cinema.yaml/x: cannot be opened: Not a directory"),
        ("folder", "folder: is a directory: name a file in it"),
        // A file that opens and cannot be read.
        ("/proc/self/mem", "/proc/self/mem: cannot be read: "),
        // A file without an end.
        ("/dev/zero", "/dev/zero:1:1: larger than 1048576 bytes"),
        ("large.yaml", "large.yaml:1:1: larger than 1048576 bytes"),
        ("empty.yaml", "empty.yaml:1:1: the file is empty"),
        (
            "latin1.yaml",
            "latin1.yaml:1:4: not UTF-8 from here on: save the file as UTF-8",
        ),
        ("image.yaml", "image.yaml:1:1: not UTF-8 from here on"),
        ("deep.yaml", "deep.yaml:1:"),
        ("cut.yaml", "cut.yaml:"),
        ("smoke.yaml", "smoke.yaml:3:7: kind: expected a StreamingPlatform"),
    ] {
        let file = file.to_owned();
        let lines = desk.refused(&["build", "-f", &file], b"");
        assert_lines(&lines, &[expected], &file);
    }
    let line = |name: &str, wanted: &str| {
        let content = fs::read_to_string(desk.path(name)).unwrap();
        content
            .lines()
            .position(|line| line == wanted)
            .map_or(0, |index| index + 1)
    };
    assert!(line("smoke.yaml", "kind: Scenario") > 0);
    for (file, message) in [
        ("two.yaml", "the file has a platform already: one file, one platform"),
        (
            "both.yaml",
            "kind: expected a StreamingPlatform, and Premieres at most beside it",
        ),
    ] {
        let lines = desk.refused(&["up", "-f", file], b"");
        assert!(lines.len() == 1 && lines[0].ends_with(message), "{lines:?}");
    }
}

#[test]
fn standard_input() {
    let desk = Desk::new();
    let cinema = fs::read(desk.path("cinema.yaml")).unwrap();
    let output = desk.run(&["build", "-f", "-"], &cinema);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let from_file = desk.run(&["build", "-f", "cinema.yaml"], b"");
    assert_eq!(output.stdout, from_file.stdout);
    let lines = desk.refused(&["build", "-f", "-"], b"kind: [");
    assert!(lines.len() == 1 && lines[0].starts_with("standard input:"), "{lines:?}");
    let lines = desk.refused(&["build", "-f", "-"], b"");
    assert_lines(&lines, &["standard input:1:1: the file is empty"], "nothing");
    let lines = desk.refused(&["build", "-f", "-"], &vec![b'a'; 4 << 20]);
    assert_lines(&lines, &["standard input:1:1: larger than 1048576 bytes"], "too much");
    let lines = desk.refused(&["drill", "-", "--platform", "-"], &cinema);
    assert_lines(&lines, &["standard input can be one file, not two"], "twice");
}

#[test]
fn a_scenario_is_held_against_the_platform() {
    let desk = Desk::new();
    desk.change(
        "smoke.yaml",
        "mars.yaml",
        &[
            ("regionLoss: {region: eu}", "regionLoss: {region: mars}"),
            ("channel: main", "channel: mian"),
        ],
    );
    for dry_run in [&[][..], &["--dry-run"]] {
        let command = [&["drill", "mars.yaml", "--platform", "cinema.yaml"][..], dry_run].concat();
        let lines = desk.refused(&command, b"");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].contains("there is no channel `mian`; did you mean `main`? known: main"),
            "{lines:?}"
        );
        assert!(
            lines[1].contains("there is no region `mars`; known: eu, us, apac"),
            "{lines:?}"
        );
        assert!(lines.iter().all(|line| line.starts_with("mars.yaml:")), "{lines:?}");
    }
}

#[test]
fn what_is_wrong_with_two_files_is_said_at_once() {
    let desk = Desk::new();
    desk.change("cinema.yaml", "bad.yaml", &[("weight: 35", "weight: much")]);
    desk.change("smoke.yaml", "worse.yaml", &[("regionLoss:", "regionLos:")]);
    let lines = desk.refused(&["drill", "worse.yaml", "--platform", "bad.yaml"], b"");
    assert!(
        lines[0].starts_with("bad.yaml:") && lines[0].contains("found the text `much`"),
        "{lines:?}"
    );
    assert!(
        lines[1..].iter().all(|line| line.starts_with("worse.yaml:")) && lines.len() > 1,
        "{lines:?}"
    );
    assert!(
        lines.iter().any(|line| line.contains("did you mean `regionLoss`?")),
        "{lines:?}"
    );
}

/// What a scenario makes of the platform is held to all that a platform's file is held to.
#[test]
fn what_a_patch_makes_of_the_platform_is_held_to_its_schema() {
    let desk = Desk::new();
    for (patch, said) in [
        ("edge: {viewersPerReplica: 0}", "spec.edge.viewersPerReplica"),
        ("edge: {viewersPerReplic: 1}", "viewersPerReplic"),
    ] {
        let patch = format!("spec:\n  platformPatch:\n    {patch}");
        desk.change("smoke.yaml", "patched.yaml", &[("spec:", &patch)]);
        let lines = desk.refused(&["drill", "patched.yaml", "--platform", "cinema.yaml"], b"");
        assert!(
            lines.iter().all(|line| line.starts_with("patched.yaml:")) && lines.iter().any(|line| line.contains(said)),
            "{lines:?}"
        );
    }
    for control in ["control-autoscaling-frozen", "control-steering-off", "encoder-loss"] {
        let from = repository().join(format!("scenarios/{control}.yaml"));
        fs::copy(from, desk.path("control.yaml")).unwrap();
        let output = desk.run(
            &["drill", "control.yaml", "--platform", "cinema.yaml", "--dry-run"],
            b"",
        );
        assert_eq!(output.status.code(), Some(0), "{control}: {}", text(&output.stderr));
    }
}

/// A journal that cannot be used is named with its line, before any cluster is asked; a last line cut off by a crash is fine.
#[test]
fn a_journal_that_is_none_is_refused() {
    let desk = Desk::new();
    // Nobody listens there: whoever asks it, waits or fails.
    let kubeconfig = "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n\
        contexts: [{name: c, context: {cluster: c, user: u}}]\ncurrent-context: c\nusers: [{name: u, user: {}}]\n";
    desk.write("kubeconfig", kubeconfig);
    let undo = |run: &'static str| ["undo", run, "--kubeconfig", "kubeconfig"];
    let entry = "{\"id\":0,\"fault\":\"f\",\"stage\":\"intent\",\"undo\":{\"how\":\"selfHealing\"},\"at\":\"2026-01-01T00:00:00Z\"}\n";
    desk.write("foreign.jsonl", entry);
    desk.write("broken.jsonl", format!("{entry}nonsense\n{entry}"));
    desk.write("torn.jsonl", "{\"journal\":\"showrunn");
    let lines = desk.refused(&undo("foreign.jsonl"), b"");
    assert!(lines[0].contains("foreign.jsonl, line 1"), "{lines:?}");
    let lines = desk.refused(&undo("broken.jsonl"), b"");
    assert!(lines[0].contains("broken.jsonl, line 2"), "{lines:?}");
    let lines = desk.refused(&undo("absent/run"), b"");
    assert!(lines[0].contains("no such file"), "{lines:?}");
    let torn = desk.run(&undo("torn.jsonl"), b"");
    assert_eq!(torn.status.code(), Some(0), "nothing was sent: {}", text(&torn.stderr));
    let nowhere = desk.run(&undo("night-1"), b"");
    assert_eq!(nowhere.status.code(), Some(6), "{}", text(&nowhere.stderr));
}

/// Whatever the operator would refuse to render is refused before a sandbox is started for it.
#[test]
fn what_cannot_be_rendered_is_a_mistake_of_the_file() {
    let desk = Desk::new();
    // Two Deployments would be called `cinema-eu-west-edge`: the edges of one region, and a service in the other.
    desk.change(
        "cinema.yaml",
        "clash.yaml",
        &[
            ("name: us", "name: eu-west"),
            ("{name: licence, kind: licence}", "{name: west-edge, kind: licence}"),
        ],
    );
    for command in with_platform("clash.yaml") {
        let lines = desk.refused(&command, b"");
        assert!(lines.iter().all(|line| line.starts_with("clash.yaml:")), "{lines:?}");
        let said = "metadata.name: two objects would be called `cinema-eu-west-edge`";
        assert!(lines.iter().any(|line| line.contains(said)), "{lines:?}");
    }
}

#[test]
fn evidence_that_is_none_is_refused_with_its_line() {
    let desk = Desk::new();
    fs::create_dir(desk.path("folder")).unwrap();
    desk.write("nonsense.jsonl", "nonsense\n");
    desk.write("empty.jsonl", "");
    desk.write("binary.jsonl", [0xff, 0xfe, 0, 10]);
    for (file, word) in [
        ("nonsense.jsonl", "line 1"),
        ("empty.jsonl", "first line"),
        ("binary.jsonl", "evidence binary.jsonl"),
        ("absent.jsonl", "absent.jsonl"),
        ("folder", "folder"),
    ] {
        let lines = desk.refused(&["judge", file], b"");
        assert!(lines.len() == 1 && lines[0].contains(word), "{file}: {lines:?}");
    }
}

#[test]
fn arguments_that_are_none() {
    let desk = Desk::new();
    for arguments in [
        &["drill"][..],
        &["drill", "smoke.yaml"],
        &["drill", "smoke.yaml", "--platform", "cinema.yaml", "--seed", "-1"],
        &["build"],
        &["bulid"],
        &["judge"],
    ] {
        let lines = desk.refused(arguments, b"");
        assert!(lines[0].starts_with("error: "), "{arguments:?}: {lines:?}");
    }
}

#[test]
fn a_dry_run_prints_the_timeline_and_does_nothing() {
    let desk = Desk::new();
    let scenario = repository().join("scenarios/premiere-night.yaml").display().to_string();
    let before = desk.listing();
    let output = desk.run(&["drill", &scenario, "--platform", "cinema.yaml", "--dry-run"], b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let timeline = text(&output.stdout);
    assert!(
        timeline.contains("eu-lost") && timeline.contains("showrunner.dev/region=eu"),
        "{timeline}"
    );
    assert_eq!(desk.listing(), before);
}

#[test]
fn every_example_builds() {
    let desk = Desk::new();
    for example in ["cinema", "minimal", "production", "clusters"] {
        let file = repository()
            .join(format!("examples/{example}.yaml"))
            .display()
            .to_string();
        let output = desk.run(&["build", "-f", &file], b"");
        assert_eq!(output.status.code(), Some(0), "{example}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains("kind: StatefulSet"), "{example}");
    }
}

#[test]
fn definitions_are_printed() {
    let output = Desk::new().run(&["crd"], b"");
    assert_eq!(output.status.code(), Some(0));
    let yaml = text(&output.stdout);
    for name in ["streamingplatforms", "premieres", "scenarios", "drills"] {
        assert!(yaml.contains(&format!("name: {name}.showrunner.dev")), "{name}");
    }
}
