//! Files that are nearly right, and what is answered to one that is not.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use showrunner_crds::source::read_documents;

/// What any answer may take, in a build without optimisation and on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

pub(crate) const PLATFORM: &str = "\
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

pub(crate) const SCENARIO: &str = "\
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

pub(crate) fn answer(text: &[u8]) -> Vec<String> {
    let begin = Instant::now();
    let answer = read_documents("f.yaml", text)
        .err()
        .map(|error| error.lines().collect());
    let took = begin.elapsed();
    println!("{took:?} {:?}", String::from_utf8_lossy(&text[..text.len().min(30)]));
    assert!(took < LONGEST, "{took:?} for {} bytes", text.len());
    answer.unwrap_or_default()
}

pub(crate) fn platform(from: &str, to: &str) -> Vec<u8> {
    assert!(PLATFORM.contains(from), "{from}");
    PLATFORM.replacen(from, to, 1).into_bytes()
}

pub(crate) fn scenario(from: &str, to: &str) -> Vec<u8> {
    assert!(SCENARIO.contains(from), "{from}");
    SCENARIO.replacen(from, to, 1).into_bytes()
}

/// Each line begins as expected.
pub(crate) fn check(cases: Vec<(&str, Vec<u8>, &[&str])>) {
    compare(cases, |found, start| found.starts_with(start));
}

/// Each line is the one expected, to its end.
pub(crate) fn check_whole(cases: Vec<(&str, Vec<u8>, &[&str])>) {
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
