//! Bad scenarios, by themselves and for the platform that they name: each mistake at its place, exit 2, nothing started.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/desk.rs"]
mod desk;

use std::fs;

use desk::{Desk, assert_lines, repository, text, with_platform};

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
    // A pipe gives everything once, whatever it is called.
    for (file, named, stdin) in [
        ("wide.yaml", "wide.yaml", ""),
        ("-", "standard input", wide.as_str()),
        ("/dev/stdin", "/dev/stdin", wide.as_str()),
    ] {
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
