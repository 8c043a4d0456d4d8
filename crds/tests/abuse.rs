//! Files that nobody should write: each is answered in one clear line, and at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use showrunner_crds::source::{MAX_BYTES, read_documents, read_platform_file, read_scenario};

/// What any answer may take, in a build without optimisation and on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

const PLATFORM: &str = "\
apiVersion: showrunner.dev/v1alpha1
kind: StreamingPlatform
metadata: {name: cinema}
spec:
  channels:
    - name: main
      ladder:
        - {name: hi, width: 640, height: 360, bitrateKbps: 600}
  regions:
    - name: eu
      weight: 40
    - name: us
      weight: 35
";

const SCENARIO: &str = "\
apiVersion: showrunner.dev/v1alpha1
kind: Scenario
metadata: {name: night}
spec:
  title: t
  audience:
    channel: main
    regions: [{region: eu, share: 1}]
    phases: [{name: on, duration: 30s, viewers: 1}]
  gates:
    - name: startup
      check: {startupTime: {percentile: 95, below: 2s}}
";

fn answer(text: &[u8]) -> Vec<String> {
    let begin = Instant::now();
    let answer = read_documents("f.yaml", text)
        .err()
        .map(|error| error.lines().collect());
    let took = begin.elapsed();
    println!("{took:?} {:?}", String::from_utf8_lossy(&text[..text.len().min(30)]));
    assert!(took < LONGEST, "{took:?} for {} bytes", text.len());
    answer.unwrap_or_default()
}

fn platform(from: &str, to: &str) -> Vec<u8> {
    assert!(PLATFORM.contains(from), "{from}");
    PLATFORM.replacen(from, to, 1).into_bytes()
}

fn scenario(from: &str, to: &str) -> Vec<u8> {
    assert!(SCENARIO.contains(from), "{from}");
    SCENARIO.replacen(from, to, 1).into_bytes()
}

/// Each line begins as expected.
fn check(cases: Vec<(&str, Vec<u8>, &[&str])>) {
    compare(cases, |found, start| found.starts_with(start));
}

/// Each line is the one expected, to its end.
fn check_whole(cases: Vec<(&str, Vec<u8>, &[&str])>) {
    compare(cases, |found, expected| found == expected);
}

fn compare(cases: Vec<(&str, Vec<u8>, &[&str])>, same_line: fn(&str, &str) -> bool) {
    let mut wrong = String::new();
    for (name, text, expected) in cases {
        let found = answer(&text);
        let mut lines = found.iter().zip(expected);
        let same = found.len() == expected.len() && lines.all(|(found, expected)| same_line(found, expected));
        if !same {
            let _ = writeln!(wrong, "{name}:\n  expected {expected:#?}\n  found {found:#?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_not_a_file_of_ours() {
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain("kind: x".bytes().flat_map(|byte| [byte, 0]))
        .collect();
    check(vec![
        ("nothing", b"".to_vec(), &["f.yaml:1:1: the file is empty"]),
        (
            "a comment",
            b"# only a comment\n".to_vec(),
            &["f.yaml:1:1: the file is empty"],
        ),
        (
            "empty documents",
            b"---\n---\n".to_vec(),
            &["f.yaml:1:1: the file is empty"],
        ),
        ("white space", b" \n\n  \n".to_vec(), &["f.yaml:1:1: the file is empty"]),
        (
            "text",
            b"just text".to_vec(),
            &["f.yaml:1:1: expected a document with apiVersion, kind, metadata and spec"],
        ),
        (
            "a list",
            b"[1, 2]".to_vec(),
            &["f.yaml:1:1: expected a document with apiVersion"],
        ),
        (
            "a number",
            b"\n7\n".to_vec(),
            &["f.yaml:2:1: expected a document with apiVersion"],
        ),
        (
            "not UTF-8",
            b"a: b\nc\xff".to_vec(),
            &["f.yaml:2:2: not UTF-8 from here on: save the file as UTF-8"],
        ),
        (
            "not UTF-8 after carriage returns",
            b"a: b\r\n\r\rc\xff".to_vec(),
            &["f.yaml:4:2: not UTF-8 from here on: save the file as UTF-8"],
        ),
        (
            "UTF-16",
            utf16,
            &["f.yaml:1:1: not UTF-8 from here on; the file looks like UTF-16"],
        ),
        ("binary", vec![0; 64], &["f.yaml:1:1: "]),
        ("HTML", b"<!doctype html>\n<p>Not found</p>\n".to_vec(), &["f.yaml:"]),
        ("an open bracket", b"a: [1, 2".to_vec(), &["f.yaml:"]),
        ("two colons", b"a: b: c".to_vec(), &["f.yaml:1:"]),
        ("a tab", b"x:\n\ty: 1\n".to_vec(), &["f.yaml:2:2: tabs"]),
    ]);
    let no_anchor = "no anchor before this alias has its name: set one with `&`, or write the value out";
    let tag = "the value is not what its tag (`!!`) says: correct it, or leave the tag out";
    check_whole(vec![
        (
            "an alias of nothing",
            b"a: *nowhere".to_vec(),
            &[&format!("f.yaml:1:4: {no_anchor}")],
        ),
        (
            "an alias before its anchor",
            b"a: *b\nb: &b 1\n".to_vec(),
            &[&format!("f.yaml:1:4: {no_anchor}")],
        ),
        ("a tag", b"a: !!int one".to_vec(), &[&format!("f.yaml:1:10: {tag}")]),
        (
            "a tag of truth",
            b"a: !!bool maybe".to_vec(),
            &[&format!("f.yaml:1:11: {tag}")],
        ),
    ]);
}

/// Nothing of ours refers to its own kind, so nothing can go round in a circle but YAML's own aliases.
#[test]
fn the_only_cycle_is_an_alias_of_itself() {
    let never = "the alias stands within what it repeats, which would never end: write out what is meant here";
    check_whole(vec![
        (
            "in a map",
            b"a: &a {b: *a}".to_vec(),
            &[&format!("f.yaml:1:11: {never}")],
        ),
        (
            "in a list",
            b"a:\n  - &a [*a]\n".to_vec(),
            &[&format!("f.yaml:2:9: {never}")],
        ),
        (
            "by way of another",
            b"a: &a\n  b: &b\n    c: *a\n".to_vec(),
            &[&format!("f.yaml:3:8: {never}")],
        ),
        (
            "merged into itself",
            b"a: &a\n  <<: *a\n".to_vec(),
            &[&format!("f.yaml:2:7: {never}")],
        ),
        (
            "in a platform",
            platform("- name: us", "- &us\n      name: us\n      placement: *us"),
            &[&format!("f.yaml:14:18: {never}")],
        ),
    ]);
}

#[test]
fn what_would_exhaust_a_machine() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        writeln!(bomb, "a{level}: &a{level} [{}]", before.trim_end_matches(", ")).unwrap();
    }
    // Few nodes, but each alias is worth half a megabyte.
    let heavy = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(500_000), ["*a"; 1000].join(", "));
    let nested = (0..500).fold(String::new(), |text, level| text + &" ".repeat(level) + "a:\n");
    let aliases = format!("a: &a 1\nb: [{}]\n", ["*a"; 1001].join(", "));
    let wide = format!("a: [{}]\n", "1, ".repeat(50_001));
    let anchors = (0..45).fold(String::from("a: "), |text, n| text + &format!("&a{n} ["));
    let anchors = format!("{anchors}{}{}\n", "1,".repeat(4000), "]".repeat(45));
    let flow = format!("{}{}", "[".repeat(49), "]".repeat(49));
    let large = "larger than 1048576 bytes, which is the most that is read: a cluster takes no larger object";
    let deep = "lists and fields stand more than 48 deep in one another: nest them less";
    check_whole(vec![
        (
            "a byte too many",
            vec![b'a'; MAX_BYTES + 1],
            &[&format!("f.yaml:1:1: {large}")],
        ),
        ("50 MB", vec![b'a'; 50 << 20], &[&format!("f.yaml:1:1: {large}")]),
        (
            "brackets",
            "[".repeat(10_000).into_bytes(),
            &[&format!("f.yaml:1:49: {deep}")],
        ),
        ("closed brackets", flow.into_bytes(), &[&format!("f.yaml:1:49: {deep}")]),
        (
            "braces",
            "{a: ".repeat(10_000).into_bytes(),
            &[&format!("f.yaml:1:193: {deep}")],
        ),
        (
            "dashes",
            "- ".repeat(10_000).into_bytes(),
            &[&format!("f.yaml:1:97: {deep}")],
        ),
        ("maps in maps", nested.into_bytes(), &[&format!("f.yaml:49:49: {deep}")]),
        (
            "anchors that explode",
            bomb.into_bytes(),
            &[
                "f.yaml:5:20: the aliases up to here repeat more than 50,000 values: write the values out, or repeat fewer",
            ],
        ),
        (
            "anchors that weigh",
            heavy.into_bytes(),
            &["f.yaml:2:33: the file up to here has more than 4 MiB of text, aliases written out: repeat less of it"],
        ),
        (
            "anchors in anchors",
            anchors.into_bytes(),
            &["f.yaml:1:4662: the file up to here has more than 100,000 values under anchors: set fewer anchors"],
        ),
        (
            "aliases",
            aliases.into_bytes(),
            &["f.yaml:2:4005: the file up to here has more than 1,000 aliases: write the values out"],
        ),
        (
            "values",
            wide.into_bytes(),
            &[
                "f.yaml:1:149996: the file up to here has more than 50,000 values, aliases written out: split it, or repeat fewer",
            ],
        ),
        (
            "comments",
            "#x\n".repeat(300_000).into_bytes(),
            &[
                "f.yaml:200000:1: the file up to here has more than 200,000 values and comments: split it, or write fewer",
            ],
        ),
        (
            "documents",
            "---\na: 1\n".repeat(100_000).into_bytes(),
            &["f.yaml:513:1: the file up to here has more than 256 documents: split it"],
        ),
    ]);
    let few = (0..200).fold(String::from("a: &a {x: 1}\n"), |text, n| text + &format!("b{n}: *a\n"));
    let found = answer(few.as_bytes());
    assert!(
        found.iter().all(|line| line.contains("required")),
        "many aliases of one anchor: {found:?}"
    );
}

/// As large as a file may be, and everything in it wrong.
#[test]
fn many_mistakes_are_answered_with_a_hundred_lines() {
    let fields = |count: usize| (0..count).fold(String::new(), |text, n| text + &format!("  x{n}: 1\n"));
    let same = "  weight: 1\n".repeat(20_000);
    let names = (0..20_000).fold(String::new(), |text, n| text + &format!("    - name: EU-{n}\n"));
    let phases = (0..4_000).fold(String::new(), |text, n| {
        text + &format!("      - {{name: p{n}, duration: 0s, viewers: 1}}\n")
    });
    let faults = (0..1_500).fold(String::new(), |text, n| {
        text + &format!(
            "    - {{name: f{n}, start: {{phase: q{n}}}, duration: 1s, action: {{podKill: {{role: edge}}}}}}\n"
        )
    });
    let labels = (0..20_000).fold(String::from("metadata:\n  name: cinema\n  labels:\n"), |text, n| {
        text + &format!("    l{n}: v\n")
    });
    let head = "apiVersion: showrunner.dev/v1alpha1\nkind: StreamingPlatform\nmetadata: {name: a}\nspec:\n";
    let many = [
        ("unknown fields", format!("{head}{}", fields(20_000))),
        ("one field again and again", format!("{head}{same}")),
        (
            "list items",
            PLATFORM.replace("    - name: eu\n", &format!("{names}    - name: eu\n")),
        ),
        ("labels", PLATFORM.replace("metadata: {name: cinema}\n", &labels)),
        (
            "references",
            SCENARIO
                .replace(
                    "phases: [{name: on, duration: 30s, viewers: 1}]\n",
                    &format!("phases:\n{phases}"),
                )
                .replace("  gates:\n", &format!("  faults:\n{faults}  gates:\n")),
        ),
        ("documents", format!("---\n{PLATFORM}").repeat(250)),
        ("a key", format!("{head}  ? {}\n  : 1\n", "k".repeat(900_000))),
        (
            "a value",
            PLATFORM.replace("name: us", &format!("name: {}", "U".repeat(900_000))),
        ),
    ];
    for (name, text) in many {
        assert!(text.len() <= MAX_BYTES, "{name}: {}", text.len());
        let found = answer(text.as_bytes());
        assert!(found.len() <= 101, "{name}: {} lines", found.len());
        assert!(name == "labels" || !found.is_empty(), "{name}");
        for line in &found {
            assert!(line.len() < 4096, "{name}: a line of {} bytes", line.len());
        }
    }
    let found = answer(format!("{head}{}", fields(20_000)).as_bytes());
    assert!(found[100].ends_with("more mistakes after this one"), "{}", found[100]);
}

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
