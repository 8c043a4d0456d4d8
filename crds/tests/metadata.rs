//! Names, labels and annotations that an API server would refuse.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;

use answers::{PLATFORM, SCENARIO, answer};

const PREMIERE: &str = "\
apiVersion: showrunner.dev/v1alpha1
kind: Premiere
metadata: {name: x}
spec: {platform: cinema, start: 2030-01-01T00:00:00Z, expectedViewers: 10}
";

const DRILL: &str = "\
apiVersion: showrunner.dev/v1alpha1
kind: Drill
metadata: {name: x}
spec: {scenario: night, platform: cinema}
";

/// What is answered to a document with this metadata in its third line.
fn lines(document: &str, metadata: &str) -> Vec<String> {
    let line = |(index, line)| if index == 2 { metadata } else { line };
    let lines: Vec<&str> = document.lines().enumerate().map(line).collect();
    answer(lines.join("\n").as_bytes())
}

#[test]
fn a_name_is_one_that_an_api_server_takes() {
    let ends = "`-_-` is not a name: lower-case letters and digits, and between them dashes and dots; write for example `name`";
    for kind in [SCENARIO, PREMIERE, DRILL] {
        for good in ["a", "0", "my-night", "my.night", "0a.b-c.d", &"a".repeat(253)] {
            assert_eq!(
                lines(kind, &format!("metadata: {{name: \"{good}\"}}")),
                Vec::<String>::new(),
                "{good}"
            );
        }
        for bad in [
            "My Night!",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a.",
            "a_b",
            "a/b",
            "é",
            "a.-b",
            "A",
            "a\\n",
        ] {
            let found = lines(kind, &format!("metadata: {{name: \"{bad}\"}}"));
            let start = "f.yaml:3:18: metadata.name: `";
            assert!(found.len() == 1 && found[0].starts_with(start), "{bad}: {found:?}");
        }
        assert_eq!(
            lines(kind, "metadata: {name: My Night!}"),
            [
                "f.yaml:3:18: metadata.name: `My Night!` is not a name: lower-case letters and digits, and between them \
              dashes and dots; write for example `my-night`"
            ]
        );
        assert_eq!(
            lines(kind, "metadata: {name: -_-}"),
            [format!("f.yaml:3:18: metadata.name: {ends}")]
        );
        assert_eq!(
            lines(kind, &format!("metadata: {{name: {}}}", "a".repeat(254))),
            ["f.yaml:3:18: metadata.name: 254 characters: at most 253 allowed"]
        );
    }
}

/// A platform's name begins the names of Services, which take no dots.
#[test]
fn a_platforms_name_is_held_to_its_stricter_rule_whatever_else_is_wrong() {
    let rule = "the name must be a DNS label that begins with a letter: it begins the names of Services";
    for bad in ["Cinema", "my.cinema", "0cinema", "my cinema"] {
        let found = lines(PLATFORM, &format!("metadata: {{name: {bad}}}"));
        assert_eq!(found, [format!("f.yaml:3:18: metadata.name: {rule}: found `{bad}`")]);
    }
    let worse = PLATFORM.replace("name: eu", "name: EU");
    let found = lines(&worse, "metadata: {name: Cinema}");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], format!("f.yaml:3:18: metadata.name: {rule}: found `Cinema`"));
}

#[test]
fn labels_are_what_an_api_server_takes() {
    let good = "metadata:\n  name: cinema\n  namespace: nights\n  labels:\n    app: ''\n    Team_1.x: A-b_c.9\n    \
                example.com/x: y\n  annotations:\n    Example.com/X: any text!\n    a.b: ''";
    for kind in [PLATFORM, SCENARIO, PREMIERE, DRILL] {
        assert_eq!(lines(kind, good), Vec::<String>::new());
        let long = "x".repeat(64);
        let bad = format!(
            "metadata:\n  name: cinema\n  labels:\n    bad key!!: x\n    Example.com/a: x\n    a/b/c: x\n    /a: x\n    \
             a/: x\n    {long}: x\n    good: not good\n    fine: {long}\n  annotations:\n    example.com/bad key: x\n    -a: x"
        );
        let part = "at most 63 letters, digits, and between them `-`, `_` and `.`";
        let key = format!("{part}, perhaps after a DNS name and a `/`; write for example");
        let shown = format!("{}…", "x".repeat(60));
        let fitting = "x".repeat(63);
        assert_eq!(
            lines(kind, &bad),
            [
                format!(
                    "f.yaml:6:5: metadata.labels.bad key!!: `bad key!!` is not the key of a label: {key} `bad-key`"
                ),
                format!(
                    "f.yaml:7:5: metadata.labels.Example.com/a: `Example.com/a` is not the key of a label: {key} `a`"
                ),
                format!("f.yaml:8:5: metadata.labels.a/b/c: `a/b/c` is not the key of a label: {key} `a/b-c`"),
                format!("f.yaml:9:5: metadata.labels./a: `/a` is not the key of a label: {key} `a`"),
                format!("f.yaml:10:5: metadata.labels.a/: `a/` is not the key of a label: {key} `a/name`"),
                format!("f.yaml:11:5: metadata.labels.{shown}: `{shown}` is not the key of a label: {key} `{fitting}`"),
                format!(
                    "f.yaml:12:11: metadata.labels.good: `not good` is not the value of a label: {part}; write for \
                     example `not-good`"
                ),
                format!(
                    "f.yaml:13:11: metadata.labels.fine: `{shown}` is not the value of a label: {part}; write for \
                     example `{fitting}`"
                ),
                format!(
                    "f.yaml:15:5: metadata.annotations.example.com/bad key: `example.com/bad key` is not the key of an \
                     annotation: {key} `example.com/bad-key`"
                ),
                format!("f.yaml:16:5: metadata.annotations.-a: `-a` is not the key of an annotation: {key} `a`"),
            ]
        );
    }
}

#[test]
fn annotations_have_room_but_not_for_everything() {
    let metadata = |bytes: usize| {
        format!(
            "metadata: {{name: cinema, annotations: {{note: \"{}\"}}}}",
            "x".repeat(bytes)
        )
    };
    assert_eq!(lines(SCENARIO, &metadata(256 * 1024 - 4)), Vec::<String>::new());
    assert_eq!(
        lines(SCENARIO, &metadata(256 * 1024 - 3)),
        ["f.yaml:3:26: metadata.annotations: 262145 bytes of keys and values: at most 262144 allowed"]
    );
}

#[test]
fn a_region_asks_for_node_labels_that_there_can_be() {
    let text = PLATFORM.replace("weight: 40", "placement: {nodeSelector: {disk: \"very fast\"}}");
    let found = lines(&text, "metadata: {name: cinema}");
    let start = "f.yaml:11:40: spec.regions[0].placement.nodeSelector.disk: `very fast` is not the value of a label: ";
    assert!(found.len() == 1 && found[0].starts_with(start), "{found:?}");
}
