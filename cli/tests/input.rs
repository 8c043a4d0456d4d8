//! Bad input: one clear message each with its place, all of a file at once, exit 2, nothing started.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/desk.rs"]
mod desk;

use std::fs;

use desk::{Desk, assert_lines, repository, text, with_platform};

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
