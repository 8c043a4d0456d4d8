//! Files that nobody should write: each is answered in one clear line, and at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;

use std::fmt::Write;

use answers::{PLATFORM, SCENARIO, answer, check, check_whole, platform};
use showrunner_crds::source::MAX_BYTES;

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
