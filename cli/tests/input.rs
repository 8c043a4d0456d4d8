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

/// Every mistake of the plan, at its fault or field; also of a file that can be read but once.
#[test]
fn what_the_plan_shows_is_said_where_it_stands() {
    let desk = Desk::new();
    let head = "apiVersion: showrunner.dev/v1alpha1\nkind: Scenario\nmetadata: {name: night}\nspec:\n  title: t\n  \
        guardrails: {maxRegions: 1}\n  audience:\n    channel: main\n    regions: [{region: eu, share: 1}]\n    \
        phases: [{name: on, duration: 30s, viewers: 1000}]\n  gates:\n    \
        - {name: undone, check: {faultsUndone: {}}}\n  faults:\n";
    let fault = |name: &str, action: &str| {
        format!("    - {{name: {name}, start: {{phase: on}}, duration: 5s, action: {{{action}}}}}\n")
    };
    let scenario = |faults: &[(&str, &str)]| {
        let faults: String = faults.iter().map(|(name, action)| fault(name, action)).collect();
        format!("{head}{faults}")
    };
    let command = |file: &'static str| {
        [
            "drill",
            file,
            "--platform",
            "cinema.yaml",
            "--dry-run",
            "--max-requests-per-second",
            "5",
        ]
    };
    desk.write(
        "part.yaml",
        scenario(&[("a", "networkPartition: {role: edge}"), ("b", "podKill: {role: edge}")]),
    );
    let every = "a region with edges must be left: it takes every edge of every region";
    assert_lines(
        &desk.refused(&command("part.yaml"), b""),
        &[
            &format!("part.yaml:14:85: spec.faults[0].action.networkPartition.role: {every}"),
            &format!("part.yaml:15:76: spec.faults[1].action.podKill.role: {every}"),
        ],
        "every edge",
    );
    let wide = scenario(&[
        ("a", "cacheFlush: {role: edge}"),
        ("b", "cacheFlush: {role: edge, region: eu}"),
        ("c", "networkDelay: {role: edge, latencyMs: 5}"),
    ]);
    desk.write("wide.yaml", &wide);
    let three = "it touches 3 regions at a time (apac, eu, us), guardrails.maxRegions is 1";
    let expected = |file: &str| {
        [
            format!("{file}:10:5: spec.audience.phases: the audience would make "),
            format!("{file}:14:7: spec.faults[0]: fault `a`: {three}"),
            format!("{file}:15:7: spec.faults[1]: fault `b`: {three}"),
            format!("{file}:16:7: spec.faults[2]: fault `c`: {three}"),
        ]
    };
    for (file, named, stdin) in [("wide.yaml", "wide.yaml", ""), ("-", "standard input", wide.as_str())] {
        let expected = expected(named);
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        assert_lines(&desk.refused(&command(file), stdin.as_bytes()), &expected, named);
    }
}

/// What a cluster would refuse only once a sandbox runs is refused before.
#[test]
fn names_and_labels_that_no_cluster_takes() {
    let desk = Desk::new();
    desk.write(
        "night.yaml",
        fs::read_to_string(desk.path("smoke.yaml"))
            .unwrap()
            .replacen("name: smoke", "name: My Night!", 1),
    );
    for dry_run in [&[][..], &["--dry-run"]] {
        let command = [&["drill", "night.yaml", "--platform", "cinema.yaml"][..], dry_run].concat();
        let lines = desk.refused(&command, b"");
        assert!(
            lines.len() == 1
                && lines[0].starts_with("night.yaml:")
                && lines[0].contains(": metadata.name: `My Night!` is not a name: ")
                && lines[0].ends_with("write for example `my-night`"),
            "{lines:?}"
        );
    }
    let premiere = "\n---\napiVersion: showrunner.dev/v1alpha1\nkind: Premiere\nmetadata: {name: Opening Night!, labels: \
        {bad key!!: x}}\nspec: {platform: cinema, start: 2030-01-01T00:00:00Z, expectedViewers: 10}\n";
    let cinema = fs::read_to_string(desk.path("cinema.yaml")).unwrap();
    desk.write("opening.yaml", cinema + premiere);
    for command in with_platform("opening.yaml") {
        let lines = desk.refused(&command, b"");
        let said = [
            "metadata.name: `Opening Night!` is not a name: ",
            "metadata.labels.bad key!!: `bad key!!` is not the key of a label: ",
        ];
        assert!(
            lines.len() == 2 && lines.iter().zip(said).all(|(line, said)| line.contains(said)),
            "{lines:?}"
        );
    }
}

/// A fault that no drill could inject is not planned: pods of another cluster are out of reach.
#[test]
fn a_fault_in_another_cluster_is_refused_at_its_line() {
    let desk = Desk::new();
    let clusters = repository().join("examples/clusters.yaml").display().to_string();
    desk.write(
        "far.yaml",
        "apiVersion: showrunner.dev/v1alpha1\nkind: Scenario\nmetadata: {name: far}\nspec:\n  title: t\n  audience:\n    \
         channel: main\n    regions: [{region: us, share: 1}]\n    phases: [{name: on, duration: 30s, viewers: 10}]\n  \
         gates:\n    - {name: undone, check: {faultsUndone: {}}}\n  faults:\n    - {name: f, start: {phase: on}, \
         duration: 5s, action: {regionLoss: {region: us}}}\n",
    );
    let lines = desk.refused(&["drill", "far.yaml", "--platform", &clusters, "--dry-run"], b"");
    let said = "spec.faults[0].action.regionLoss.region: drills reach pods of the platform's own cluster only: `us` runs in \
                a cluster of its own";
    assert_eq!(lines, [format!("far.yaml:13:81: {said}")]);
}

/// What a scenario makes of the platform is held to all that a platform's file is held to.
#[test]
fn what_a_patch_makes_of_the_platform_is_held_to_its_schema() {
    let desk = Desk::new();
    let patched = |patch: &str| {
        let patch = format!("spec:\n  platformPatch:\n    {patch}");
        desk.change("smoke.yaml", "patched.yaml", &[("\nspec:", &format!("\n{patch}"))]);
        let text = fs::read_to_string(desk.path("patched.yaml")).unwrap();
        let first = text.lines().position(|line| line == "  platformPatch:").unwrap() + 1;
        let lines = desk.refused(&["drill", "patched.yaml", "--platform", "cinema.yaml"], b"");
        (first, lines)
    };
    let (at, lines) = patched("edge: {viewersPerReplica: 0, viewersPerReplic: 1}");
    let field = "patched.yaml:LINE:31: spec.platformPatch.edge.viewersPerReplica: 0 is below the minimum of 1";
    let unknown = "patched.yaml:LINE:34: spec.platformPatch.edge.viewersPerReplic: unknown field; did you mean `viewersPerReplica`?";
    let numbered = |line: &str, number: usize| line.replace("LINE", &number.to_string());
    assert_lines(
        &lines,
        &[&numbered(field, at + 1), &numbered(unknown, at + 1)],
        "two fields",
    );
    // Right by itself; two Deployments would have one name.
    let (at, lines) = patched(
        "services: [{name: west-edge, kind: licence}]\n    regions: [{name: eu-west}, {name: us}, {name: eu}, {name: apac}]",
    );
    let clash = "patched.yaml:LINE:3: spec.platformPatch: gives metadata.name: two objects would be called `cinema-eu-west-edge`";
    assert_lines(&lines, &[&numbered(clash, at)], "names");
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
