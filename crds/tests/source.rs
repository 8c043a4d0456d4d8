//! Mistakes in files, each with its line and column.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;

use answers::PLATFORM;
use proptest::prelude::*;
use showrunner_crds::source::{Diagnostics, Document, read_documents, read_platform_file, read_scenario};

const PREMIERE: &str = "\
apiVersion: showrunner.dev/v1alpha1
kind: Premiere
metadata: {name: opening}
spec: {platform: cinema, start: 2027-03-05T19:00:00Z, expectedViewers: 100}
";

fn lines(text: &str) -> Vec<String> {
    read_documents("f.yaml", text)
        .err()
        .map(|error| error.lines().collect())
        .unwrap_or_default()
}

#[test]
fn a_valid_file_has_no_mistakes() {
    assert_eq!(lines(PLATFORM), Vec::<String>::new());
    let both = read_platform_file("f.yaml", format!("{PLATFORM}---\n{PREMIERE}")).unwrap();
    assert_eq!((both.platform.spec.regions[1].weight, both.premieres.len()), (35, 1));
}

#[test]
fn each_mistake_is_said_once_and_where_it_is() {
    // What is replaced, by what, and the lines that are printed.
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "weight: 35",
            "weight: 1200",
            &["f.yaml:13:15: spec.regions[1].weight: 1200 is above the maximum of 1000"],
        ),
        (
            "weight: 35",
            "weight: -1",
            &["f.yaml:13:15: spec.regions[1].weight: -1 is below the minimum of 0"],
        ),
        (
            "weight: 35",
            "weight: much",
            &["f.yaml:13:15: spec.regions[1].weight: expected a whole number, found the text `much`"],
        ),
        (
            "weight: 35",
            "weight: 3.5",
            &["f.yaml:13:15: spec.regions[1].weight: expected a whole number, found the number 3.5"],
        ),
        (
            "weight: 35",
            "weight:",
            &["f.yaml:13:7: spec.regions[1].weight: no value is stated; leave the field out for its default"],
        ),
        (
            "weight: 35",
            "weigth: 35",
            &[
                "f.yaml:13:7: spec.regions[1].weigth: unknown field; did you mean `weight`? known: cluster, name, placement, publicUrl, roles, weight",
            ],
        ),
        (
            "weight: 35",
            "colour: red",
            &[
                "f.yaml:13:7: spec.regions[1].colour: unknown field; known: cluster, name, placement, publicUrl, roles, weight",
            ],
        ),
        (
            "weight: 35",
            "weight: 35\n      weight: 36",
            &["f.yaml:14:7: spec.regions[1].weight: stated twice; first on line 13"],
        ),
        (
            "weight: 35",
            "roles: [edge, sheild]",
            &[
                "f.yaml:13:21: spec.regions[1].roles[1]: `sheild` is not a value for this; did you mean `shield`? known: encoder, origin, shield, edge, steering, services",
            ],
        ),
        (
            "weight: 35",
            "roles: edge",
            &["f.yaml:13:14: spec.regions[1].roles: expected a list, found the text `edge`"],
        ),
        (
            "name: us",
            "name: US",
            &[
                "f.yaml:12:13: spec.regions[1].name: `US` is not a DNS label: lower-case letters, digits, and dashes between them",
            ],
        ),
        (
            "name: us",
            "name: eu",
            &["f.yaml:12:13: spec.regions[1].name: names of regions must be unique"],
        ),
        (
            "- name: us\n      weight: 35",
            "- weight: 35",
            &["f.yaml:12:7: spec.regions[1].name: required, and not stated"],
        ),
        (
            "width: 640",
            "width: 641",
            &["f.yaml:8:29: spec.channels[0].ladder[0].width: width must be even: chroma has half the resolution"],
        ),
        (
            "  regions:",
            "  edge: {autoscaling: {enabled: no}}\n  regions:",
            &["f.yaml:9:33: spec.edge.autoscaling.enabled: expected true or false, found the text `no`"],
        ),
        (
            "      ladder:",
            "      dvrWindow: 2 minutes\n      ladder:",
            &[
                "f.yaml:7:18: spec.channels[0].dvrWindow: `2 minutes` is not a duration; write for example `90s`, `1m30s` or `500ms`",
            ],
        ),
        (
            "      ladder:",
            "      dvrWindow: 4s\n      ladder:",
            &[
                "f.yaml:7:18: spec.channels[0].dvrWindow: dvrWindow must hold at least 4 segments: players start 3 behind the live edge",
            ],
        ),
        (
            "      ladder:",
            "      input: {url: a, testPattern: {}}\n      ladder:",
            &["f.yaml:7:14: spec.channels[0].input: state only one of: testPattern, url"],
        ),
        (
            "name: cinema",
            "name: Cinema",
            &[
                "f.yaml:3:18: metadata.name: the name must be a DNS label that begins with a letter: it begins the names of Services",
            ],
        ),
        (
            "{name: cinema",
            "{nam: cinema",
            &[
                "f.yaml:3:11: metadata.name: required, and not stated",
                "f.yaml:3:12: metadata.nam: unknown field; did you mean `name`?",
            ],
        ),
        (
            "v1alpha1",
            "v1",
            &["f.yaml:1:13: apiVersion: found the text `showrunner.dev/v1`; write showrunner.dev/v1alpha1"],
        ),
        (
            "kind: StreamingPlatform",
            "kind: StreamingPlatfrom",
            &[
                "f.yaml:2:7: kind: `StreamingPlatfrom` is not a kind of showrunner.dev; did you mean `StreamingPlatform`?",
            ],
        ),
        (
            "kind: StreamingPlatform",
            "kind: Pod",
            &[
                "f.yaml:2:7: kind: `Pod` is not a kind of showrunner.dev; known: StreamingPlatform, Premiere, Scenario, Drill",
            ],
        ),
        (
            "kind: StreamingPlatform\n",
            "",
            &["f.yaml:1:1: kind: required, and not stated"],
        ),
    ];
    for (from, to, expected) in cases {
        assert!(PLATFORM.contains(from), "{from}");
        let mut found = lines(&PLATFORM.replacen(from, to, 1));
        let mut expected: Vec<&str> = expected.to_vec();
        found.sort();
        expected.sort_unstable();
        assert_eq!(found.len(), expected.len(), "{to}: {found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                found.starts_with(expected),
                "{to}:\nexpected {expected}\n   found {found}"
            );
        }
    }
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let text = PLATFORM
        .replace("width: 640", "width: 641")
        .replace("weight: 40", "weigth: 40")
        .replace("name: us", "name: eu")
        .replace("weight: 35", "weight: 1001");
    let found = lines(&text);
    let starts = ["f.yaml:8:29: ", "f.yaml:11:7: ", "f.yaml:12:13: ", "f.yaml:13:15: "];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    assert!(
        found.iter().zip(starts).all(|(line, start)| line.starts_with(start)),
        "{found:#?}"
    );
}

#[test]
fn several_documents() {
    let file = |text: &str| read_platform_file("f.yaml", text).map_err(|error| error.to_string());
    for (text, expected) in [
        (PREMIERE.to_owned(), "f.yaml:1:1: the file has no StreamingPlatform"),
        (
            format!("{PLATFORM}---\n{PLATFORM}"),
            "f.yaml:15:1: the file has a platform already",
        ),
        (
            format!("{PLATFORM}---\n{}", PREMIERE.replace("cinema", "theatre")),
            "f.yaml:18:18: spec.platform: there is no platform `theatre` in this file",
        ),
        (
            format!("{PLATFORM}---\n{PREMIERE}---\n{PREMIERE}"),
            "f.yaml:22:18: metadata.name: the same kind and name as the document on line 15",
        ),
        (
            format!("{PLATFORM}---\n{}", PREMIERE.replace("19:00", "nine")),
            "f.yaml:18:33: spec.start: `2027-03-05Tnine:00Z` is not a point in time",
        ),
        (
            format!("{PLATFORM}---\n{}", PREMIERE.replace("expected", "ramp: 4h, expected")),
            "f.yaml:18:61: spec.ramp: ramp must not be longer than duration",
        ),
    ] {
        let error = file(&text).unwrap_err();
        assert!(
            error.lines().any(|line| line.starts_with(expected)),
            "expected {expected}\n   found {error}"
        );
    }
    let documents = read_documents("f.yaml", format!("---\n{PLATFORM}---\n---\n{PREMIERE}")).unwrap();
    assert!(matches!(documents[..], [Document::Platform(_), Document::Premiere(_)]));
}

#[test]
fn scenarios() {
    let error = read_scenario("s.yaml", PLATFORM, None).unwrap_err();
    assert_eq!(error.to_string(), "s.yaml:2:7: kind: expected a Scenario");
    let scenario = "\
apiVersion: showrunner.dev/v1alpha1
kind: Scenario
metadata: {name: s}
spec:
  title: t
  audience:
    channel: main
    regions: [{region: eu, share: 1}]
    phases: [{name: on, duration: 10s, viewers: 1}]
  faults:
    - name: lost
      start: {phase: off}
      duration: 5s
      action: {regionLos: {region: eu}}
  gates:
    - name: undone
      check: {}
";
    let found: Vec<String> = read_scenario("s.yaml", scenario, None).unwrap_err().lines().collect();
    let starts = [
        "s.yaml:14:15: spec.faults[0].action: state exactly one of: ",
        "s.yaml:14:16: spec.faults[0].action.regionLos: unknown field; did you mean `regionLoss`? known: ",
        "s.yaml:17:14: spec.gates[0].check: state exactly one of: ",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    assert!(
        found.iter().zip(starts).all(|(line, start)| line.starts_with(start)),
        "{found:#?}"
    );
}

#[test]
fn the_graphical_report_shows_the_line() {
    let error: Diagnostics = read_documents("f.yaml", PLATFORM.replace("weight: 35", "weight: 1200")).unwrap_err();
    let mut report = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
    handler.render_report(&mut report, &error).unwrap();
    assert!(
        report.contains("weight: 1200") && report.contains("above the maximum"),
        "{report}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever a file holds, it is read or refused.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_documents("f.yaml", bytes);
    }

    /// The same near a valid file, where more of the code is reached.
    #[test]
    fn a_damaged_file_never_panics(at in 0..PLATFORM.len(), remove in 0..40_usize, insert in "[ -~\\n]{0,12}") {
        let end = (at + remove).min(PLATFORM.len());
        let text = format!("{}{insert}{}", &PLATFORM[..at], &PLATFORM[end..]);
        if let Err(error) = read_documents("f.yaml", &text) {
            prop_assert!(!error.findings().is_empty());
            let count = text.lines().count() + 1;
            for finding in error.findings() {
                prop_assert!((1..=count).contains(&finding.line()), "{error}");
            }
        }
    }
}
