//! What a file means that is YAML: its values, numbers and units, several documents, and all of its mistakes at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;

use answers::{PLATFORM, SCENARIO, check, platform, scenario};
use showrunner_crds::source::{read_platform_file, read_scenario};

#[test]
fn what_yaml_allows_and_what_it_means_here() {
    let bom = format!("\u{feff}{PLATFORM}").into_bytes();
    check(vec![
        ("valid", PLATFORM.into(), &[]),
        ("valid", SCENARIO.into(), &[]),
        ("a byte order mark", bom.clone(), &[]),
        ("Windows line ends", PLATFORM.replace('\n', "\r\n").into_bytes(), &[]),
        (
            "Windows line ends, a mistake",
            PLATFORM.replace("35", "1200").replace('\n', "\r\n").into_bytes(),
            &["f.yaml:13:15: spec.regions[1].weight: 1200 is above the maximum of 1000"],
        ),
        (
            "a byte order mark, a mistake in the first line",
            String::from_utf8(bom).unwrap().replace("v1alpha1", "v2").into_bytes(),
            &["f.yaml:1:13: apiVersion: found the text `showrunner.dev/v2`; write showrunner.dev/v1alpha1"],
        ),
        (
            "characters of several bytes before a mistake",
            platform("weight: 35", "\"wéigth\": 35"),
            &["f.yaml:13:7: spec.regions[1].wéigth: unknown field; did you mean `weight`?"],
        ),
        ("an anchor and its alias", platform("weight: 40", "weight: &w 40\n    - {name: apac, weight: *w}"), &[]),
        (
            "a mistake by alias is where it is used",
            platform("weight: 40", "weight: &w 1200\n    - {name: apac, weight: *w}"),
            &[
                "f.yaml:11:18: spec.regions[0].weight: 1200 is above the maximum of 1000",
                "f.yaml:12:28: spec.regions[1].weight: 1200 is above the maximum of 1000",
            ],
        ),
        (
            "a merge key",
            platform("- name: us", "- &us {name: us}\n    - <<: *us\n      name: apac"),
            &[],
        ),
        ("a document's end", format!("{PLATFORM}...\n").into_bytes(), &[]),
        ("JSON", br#"{"apiVersion": "showrunner.dev/v1alpha1", "kind": "Drill", "metadata": {"name": "d"}, "spec": {"scenario": "s", "platform": "p"}}"#.to_vec(), &[]),
        (
            "a key twice",
            platform("weight: 35", "weight: 35\n      weight: 36"),
            &["f.yaml:14:7: spec.regions[1].weight: stated twice; first on line 13"],
        ),
        (
            "a key that is a number",
            platform("weight: 35", "1: 35"),
            &["f.yaml:13:7: spec.regions[1].1: unknown field; known: "],
        ),
        ("a key that is a list", platform("weight: 35", "[a]: 35"), &["f.yaml:13:7: a field's name is text: found a list"]),
        ("a key that is nothing", platform("weight: 35", "~: 35"), &["f.yaml:13:7: a field without a name: write one"]),
        (
            "a terminal's commands",
            platform("name: us", "name: \"\\e[2Jus\""),
            &["f.yaml:12:13: spec.regions[1].name: `\\u{1b}[2Jus` is not a DNS label"],
        ),
    ]);
}

#[test]
fn numbers_and_units() {
    let percentile = |to: &str| scenario("percentile: 95", &format!("percentile: {to}"));
    let weight = |to: &str| platform("weight: 35", &format!("weight: {to}"));
    let seed = |to: &str| scenario("title: t", &format!("title: t\n  seed: {to}"));
    check(vec![
        ("hexadecimal", weight("0x1f"), &[]),
        (
            "with a unit",
            weight("35%"),
            &["f.yaml:13:15: spec.regions[1].weight: expected a whole number, found the text `35%`"],
        ),
        (
            "not a number",
            percentile(".nan"),
            &["f.yaml:12:41: spec.gates[0].check.startupTime.percentile: expected a number, found `.nan`"],
        ),
        (
            "infinite",
            percentile(".inf"),
            &["f.yaml:12:41: spec.gates[0].check.startupTime.percentile: expected a number, found an infinite number"],
        ),
        (
            "out of range",
            percentile("100.5"),
            &["f.yaml:12:41: spec.gates[0].check.startupTime.percentile: a percentile is above 0 and at most 100"],
        ),
        (
            "in another notation",
            weight("1e2"),
            &["f.yaml:13:15: spec.regions[1].weight: expected a whole number, found the number 100.0"],
        ),
        (
            "huge",
            weight("99999999999999999999999999"),
            &["f.yaml:13:15: spec.regions[1].weight: 100000000000000000000000000 is above the maximum of 1000"],
        ),
        (
            "above what fits",
            platform("  regions:", "  resilience: {peakViewers: 4294967296}\n  regions:"),
            &["f.yaml:9:29: spec.resilience.peakViewers: 4294967296 is above the maximum of 4294967295"],
        ),
        ("as large as fits", seed("18446744073709551615"), &[]),
        (
            "above what fits in 64 bits",
            seed("18446744073709551616"),
            &["f.yaml:6:9: spec.seed: 18446744073709552000 is above the maximum of 18446744073709551615"],
        ),
        (
            "negative",
            seed("-1"),
            &["f.yaml:6:9: spec.seed: -1 is below the minimum of 0"],
        ),
        (
            "no unit",
            scenario("duration: 30s", "duration: 30"),
            &["f.yaml:9:35: spec.audience.phases[0].duration: expected text, found the number 30"],
        ),
        (
            "a wrong unit",
            scenario("duration: 30s", "duration: 30 sec"),
            &["f.yaml:9:35: spec.audience.phases[0].duration: `30 sec` is not a duration; write for example `90s`"],
        ),
        (
            "too long",
            scenario("duration: 30s", "duration: 673h"),
            &["f.yaml:9:35: spec.audience.phases[0].duration: a duration is at most four weeks, 672h: found `673h`"],
        ),
        (
            "not a number, where no schema looks",
            scenario("title: t", "title: t\n  platformPatch: {edge: {cacheMib: .nan}}"),
            &["f.yaml:6:36: spec.platformPatch.edge.cacheMib: expected a number, found `.nan`"],
        ),
    ]);
}

/// One mistake does not hide another, also where it leaves nothing that could be read.
#[test]
fn all_mistakes_come_at_once() {
    let text = SCENARIO
        .replace("share: 1", "share: half")
        .replace("duration: 30s", "duration: 30 sec")
        .replace(
            "    - name: startup\n",
            "    - name: startup\n      within: {phase: off}\n    - name: startup\n",
        )
        .replace("percentile: 95", "percentile: 101")
        .replace(
            "  gates:",
            "  faults:\n    - {name: f, start: {phase: on}, action: {cacheFlush: {role: origin}}}\n  gates:",
        );
    check(vec![
        (
            "a scenario",
            text.into_bytes(),
            &[
                "f.yaml:8:35: spec.audience.regions[0].share: expected a whole number, found the text `half`",
                "f.yaml:9:35: spec.audience.phases[0].duration: `30 sec` is not a duration",
                "f.yaml:11:65: spec.faults[0].action.cacheFlush.role: only edge and shield have caches",
                "f.yaml:13:7: spec.gates[0].check: required, and not stated",
                "f.yaml:15:13: spec.gates[1].name: names of gates must be unique: `startup` is there already",
                "f.yaml:16:41: spec.gates[1].check.startupTime.percentile: a percentile is above 0",
            ],
        ),
        (
            "two documents",
            [
                platform("weight: 35", "weight: much"),
                b"---\n".to_vec(),
                scenario("percentile: 95", "percentile: 0"),
            ]
            .concat(),
            &[
                "f.yaml:13:15: spec.regions[1].weight: expected a whole number, found the text `much`",
                "f.yaml:26:41: spec.gates[0].check.startupTime.percentile: a percentile is above 0",
            ],
        ),
        (
            "nothing is concluded from what could not be read",
            PLATFORM
                .replace("weight: 40", "weight: none")
                .replace("weight: 35", "weight: 0")
                .replace(
                    "  regions:\n",
                    "  edge: {autoscaling: {minReplicas: 50, maxReplicas: many}}\n  regions:\n",
                )
                .into_bytes(),
            &[
                "f.yaml:9:54: spec.edge.autoscaling.maxReplicas: expected a whole number, found the text `many`",
                "f.yaml:12:15: spec.regions[0].weight: expected a whole number, found the text `none`",
            ],
        ),
    ]);
}

#[test]
fn several_documents_and_what_a_user_expects_of_them() {
    let one = |text: String| {
        read_platform_file("f.yaml", text)
            .map(|file| file.premieres.len())
            .map_err(|error| error.to_string())
    };
    assert_eq!(one(format!("---\n{PLATFORM}")), Ok(0));
    assert_eq!(
        one(format!("{PLATFORM}---\n{}", PLATFORM.replace("cinema", "theatre"))),
        Err("f.yaml:15:1: the file has a platform already: one file, one platform".into())
    );
    assert_eq!(
        one(format!("{PLATFORM}---\n{SCENARIO}")),
        Err("f.yaml:16:7: kind: expected a StreamingPlatform, and Premieres at most beside it".into())
    );
    let scenario = |text: String| {
        read_scenario("f.yaml", text, None)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        scenario(format!("{PLATFORM}---\n{SCENARIO}")),
        Err("f.yaml:2:7: kind: expected a Scenario".into())
    );
    assert_eq!(
        scenario(format!("{SCENARIO}---\n{}", SCENARIO.replace("night", "day"))),
        Err("f.yaml:14:1: the file has a scenario already: one file, one scenario".into())
    );
}
