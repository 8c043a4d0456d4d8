//! Mutation check: makes one deliberate mistake at a time in a copy of the crate and expects a test to fail.
//!
//! `cargo run -p showrunner-autoscaling --example mutations [TEXT]` (only mistakes whose name contains the text) from the workspace's root. Prints a table in Markdown and
//! ends with `N killed, N survived`; exits 1 if a mutation survives, no longer applies or does not compile. The copy and
//! its build are kept in `target/mutations`. `docs/mutations.md` holds the last result.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

/// What goes wrong, file below `src`, the text there (which must occur exactly once), and what replaces it.
type Mutation = (&'static str, &'static str, &'static str, &'static str);

const MUTATIONS: &[Mutation] = &[
    (
        "tolerance: lower edge excluded",
        "hpa/settings.rs",
        "(1.0 - self.down) <= ratio",
        "(1.0 - self.down) < ratio",
    ),
    (
        "tolerance: upper edge excluded",
        "hpa/settings.rs",
        "ratio <= (1.0 + self.up)",
        "ratio < (1.0 + self.up)",
    ),
    (
        "tolerance: directions swapped",
        "hpa/settings.rs",
        "ratio <= (1.0 + self.up)",
        "ratio <= (1.0 + self.down)",
    ),
    (
        "size: floor for ceil",
        "hpa/ratio.rs",
        "value.ceil() as i32",
        "value.floor() as i32",
    ),
    (
        "utilisation: not truncated",
        "hpa/ratio.rs",
        "i128::from(usage * 100 / requests)",
        "i128::from((usage * 100 + requests / 2) / requests)",
    ),
    (
        "utilisation: clamp at the wrong rail",
        "hpa/ratio.rs",
        "if percent < 0 { i32::MIN } else { i32::MAX }",
        "if percent > 0 { i32::MIN } else { i32::MAX }",
    ),
    (
        "usage: mean rounded up",
        "hpa/ratio.rs",
        "let average_m = sum.checked_div(entries)?;",
        "let average_m = (sum + entries - 1).checked_div(entries)?;",
    ),
    (
        "initialisation: ends one instant late",
        "hpa/pods.rs",
        "after(start, settings.cpu_initialization_period) > now",
        "after(start, settings.cpu_initialization_period) >= now",
    ),
    (
        "initialisation: sample at the edge is stale",
        "hpa/pods.rs",
        "sample.timestamp < after(ready.last_transition, sample.window)",
        "sample.timestamp <= after(ready.last_transition, sample.window)",
    ),
    (
        "readiness delay: edge included",
        "hpa/pods.rs",
        "after(start, settings.initial_readiness_delay) > ready.last_transition",
        "after(start, settings.initial_readiness_delay) >= ready.last_transition",
    ),
    (
        "pods: deleting pods are looked at",
        "hpa/pods.rs",
        "if self.deleting {",
        "if false {",
    ),
    (
        "pods: pending counts as missing",
        "hpa/pods.rs",
        "Phase::Pending => return Group::Pending,",
        "Phase::Pending => return Group::Missing,",
    ),
    (
        "pods: initialisation for every resource",
        "hpa/pods.rs",
        "if !cpu {",
        "if false {",
    ),
    (
        "requests: a container without one counts as zero",
        "hpa/requests.rs",
        "total = total.wrapping_add(*request);",
        "total = total.wrapping_sub(*request);",
    ),
    (
        "requests: pod level preferred to a named container",
        "hpa/requests.rs",
        "(None, true, Some(whole))",
        "(_, true, Some(whole))",
    ),
    (
        "unready pods never count as idle",
        "hpa/replicas.rs",
        "let up_with_unready = joined.unready > 0 && measured.ratio > 1.0;\n    let mut ratios = Ratios {\n        measured: measured.ratio,\n        assumed: None,\n        counted: joined.ready + joined.superfluous,\n    };",
        "let up_with_unready = false;\n    let mut ratios = Ratios {\n        measured: measured.ratio,\n        assumed: None,\n        counted: joined.ready + joined.superfluous,\n    };",
    ),
    (
        "missing pods idle on the way down",
        "hpa/replicas.rs",
        "usage += if down { joined.missing_full } else { 0 };",
        "usage += if down { 0 } else { joined.missing_full };",
    ),
    (
        "missing pods full at 100 % whatever the target",
        "hpa/replicas.rs",
        "against.target_percent).max(100)",
        "against.target_percent).min(100)",
    ),
    (
        "assumptions may turn the direction",
        "hpa/replicas.rs",
        "(measured < 1.0 && assumed > 1.0)",
        "(measured < 1.0 && assumed > 100.0)",
    ),
    (
        "assumptions may move the size against the ratio",
        "hpa/replicas.rs",
        "(assumed < 1.0 && proposed > current)",
        "(assumed < 1.0 && proposed < current)",
    ),
    (
        "superfluous samples are not counted",
        "hpa/replicas.rs",
        "joined.superfluous = (valid - matched_valid).max(0);",
        "joined.superfluous = 0;",
    ),
    (
        "value target: unready pods count",
        "hpa/pods.rs",
        "self.phase == Phase::Running && self.ready",
        "self.phase == Phase::Running || self.ready",
    ),
    (
        "value target: tolerance applies from zero",
        "hpa/replicas.rs",
        "let replicas = if context.spec_replicas == 0 {",
        "let replicas = if context.spec_replicas == 0 && !context.tolerances.contain(ratio) {",
    ),
    (
        "average target: shared by spec.replicas + 1",
        "hpa/replicas.rs",
        "let shares = f64::from(context.status_replicas);",
        "let shares = f64::from(context.status_replicas + 1);",
    ),
    (
        "external sum wraps",
        "hpa/replicas.rs",
        "(*value > 0 && sum > i64::MAX - *value)",
        "(*value > 0 && sum > i64::MAX - 1)",
    ),
    (
        "several metrics: the smallest counts",
        "hpa/evaluate.rs",
        "proposal.replicas > replicas",
        "proposal.replicas < replicas",
    ),
    (
        "a failed metric does not forbid scaling down",
        "hpa/evaluate.rs",
        "failed >= specs.len() || replicas < context.spec_replicas",
        "failed >= specs.len()",
    ),
    (
        "a failed metric forbids keeping the size",
        "hpa/evaluate.rs",
        "replicas < context.spec_replicas",
        "replicas <= context.spec_replicas",
    ),
    (
        "zero is never disabled",
        "hpa/evaluate.rs",
        "current == 0 && bounds.min != 0",
        "current == 0 && bounds.min == i32::MAX",
    ),
    (
        "maximum excluded",
        "hpa/evaluate.rs",
        "if current > bounds.max {",
        "if current >= bounds.max {",
    ),
    (
        "minimum excluded",
        "hpa/evaluate.rs",
        "if current < bounds.min {",
        "if current <= bounds.min {",
    ),
    (
        "no first recommendation",
        "hpa/evaluate.rs",
        "history.begin(current, now);",
        "history.begin(0, now);",
    ),
    (
        "window without behavior: edge excluded",
        "hpa/history.rs",
        "if past.at < cutoff {",
        "if past.at <= cutoff {",
    ),
    (
        "window without behavior: the smallest counts",
        "hpa/history.rs",
        "replicas = replicas.max(past.replicas);",
        "replicas = replicas.min(past.replicas);",
    ),
    (
        "window up: edge included",
        "hpa/history.rs",
        "if past.at > up_cutoff {",
        "if past.at >= up_cutoff {",
    ),
    (
        "window down: edge included",
        "hpa/history.rs",
        "if past.at > down_cutoff {",
        "if past.at >= down_cutoff {",
    ),
    (
        "windows: clamped in the wrong order",
        "hpa/history.rs",
        "current.max(lowest).min(highest)",
        "current.min(lowest).max(highest)",
    ),
    (
        "windows: stale when outside either",
        "hpa/history.rs",
        "past.at < up_cutoff && past.at < down_cutoff",
        "past.at < up_cutoff || past.at < down_cutoff",
    ),
    (
        "period: edge included",
        "hpa/history.rs",
        "event.at > cutoff",
        "event.at >= cutoff",
    ),
    (
        "events: outdated at the edge",
        "hpa/history.rs",
        "event.at < cutoff",
        "event.at <= cutoff",
    ),
    (
        "policies: max and min swapped",
        "hpa/rules.rs",
        "result = if greatest {",
        "result = if !greatest {",
    ),
    (
        "policies: percent up truncated",
        "hpa/rules.rs",
        "(1.0 + fraction)).ceil() as i32",
        "(1.0 + fraction)) as i32",
    ),
    (
        "policies: percent down rounded up",
        "hpa/rules.rs",
        "(f64::from(start) * (1.0 - fraction)) as i32",
        "(f64::from(start) * (1.0 - fraction)).ceil() as i32",
    ),
    (
        "policies: removed pods are not added back",
        "hpa/rules.rs",
        ".wrapping_add(removed)",
        ".wrapping_sub(removed)",
    ),
    (
        "policies: disabled is ignored",
        "hpa/rules.rs",
        "Some(\"Disabled\") => Select::Disabled",
        "Some(\"Disabled\") => Select::Max",
    ),
    ("policies: default of 5 pods", "hpa/rules.rs", "value: 4,", "value: 5,"),
    (
        "rate: used up, the size shrinks",
        "hpa/limits.rs",
        "let rate = rate(up).max(current);",
        "let rate = rate(up);",
    ),
    (
        "rate without behavior: reaches five",
        "hpa/settings.rs",
        "scale_up_limit_minimum: 4.0",
        "scale_up_limit_minimum: 5.0",
    ),
    (
        "rate without behavior: triples",
        "hpa/settings.rs",
        "scale_up_limit_factor: 2.0",
        "scale_up_limit_factor: 3.0",
    ),
    (
        "events kept without behavior's direction",
        "hpa/decision.rs",
        "if *replicas > self.current_replicas { up } else { down }",
        "if *replicas < self.current_replicas { up } else { down }",
    ),
    (
        "conditions: time always moves",
        "hpa/decision.rs",
        "if condition.status != status {",
        "if true {",
    ),
    (
        "ladder: headroom forgotten",
        "audience.rs",
        "(100 + u128::from(headroom_percent))",
        "100 + 0 * u128::from(headroom_percent)",
    ),
    (
        "ladder: the lightest regions are lost",
        "audience.rs",
        "right.cmp(left)",
        "left.cmp(right)",
    ),
    (
        "pre-warm: margin forgotten",
        "prewarm.rs",
        "let warm = before(opens, self.margin);",
        "let warm = opens;",
    ),
    (
        "pre-warm: announced audience counted twice",
        "prewarm.rs",
        "measured.max(sum(open))",
        "measured.saturating_add(sum(open))",
    ),
    (
        "growth: one cycle more",
        "growth.rs",
        "while left >= 0 {",
        "while left >= -cycle {",
    ),
    (
        "quantity: truncated",
        "quantity.rs",
        "value + i128::from(remainder)",
        "value",
    ),
];

const TESTS: [&str; 10] = [
    "--lib",
    "--test",
    "conformance",
    "--test",
    "edges",
    "--test",
    "explain",
    "--test",
    "invariants",
    "--no-fail-fast",
];

fn main() -> ExitCode {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let home = root.join("target/mutations");
    match run(&root, &home) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// A workspace of this crate alone, so that other crates cannot break or slow the check.
fn copy(root: &Path, work: &Path) -> Result<(), String> {
    let text = |path: PathBuf| fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()));
    let write =
        |path: PathBuf, text: &str| fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()));
    tree(&root.join("autoscaling"), &work.join("autoscaling"))?;
    let manifest = text(root.join("Cargo.toml"))?;
    let members = |line: &str| {
        if line.starts_with("members") {
            "members = [\"autoscaling\"]".to_owned()
        } else {
            line.to_owned()
        }
    };
    let manifest: Vec<String> = manifest.lines().map(members).collect();
    write(work.join("Cargo.toml"), &manifest.join("\n"))?;
    write(work.join("Cargo.lock"), &text(root.join("Cargo.lock"))?)
}

fn tree(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target).map_err(failed)?;
        }
    }
    Ok(())
}

fn cargo(work: &Path, home: &Path, arguments: &[&str]) -> Result<Output, String> {
    Command::new("cargo")
        .args(["test", "-q", "-p", "showrunner-autoscaling"])
        .args(arguments)
        .current_dir(work)
        .env("CARGO_TARGET_DIR", home.join("build"))
        .env("RUST_BACKTRACE", "0")
        .env("INSTA_UPDATE", "no")
        .output()
        .map_err(|error| format!("cargo: {error}"))
}

/// The first test that failed, as `cargo test -q` names it.
fn first_failure(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("---- ")?.split_whitespace().next().map(str::to_owned));
    name.unwrap_or_else(|| "(a test)".to_owned())
}

/// How many mutations were not killed.
fn run(root: &Path, home: &Path) -> Result<usize, String> {
    let work = home.join("work");
    copy(root, &work)?;
    let clean = cargo(&work, home, &TESTS)?;
    if !clean.status.success() {
        return Err(format!(
            "the tests fail without any mutation:\n{}",
            String::from_utf8_lossy(&clean.stdout)
        ));
    }
    println!("| # | mistake | file | result |\n|---|---|---|---|");
    let (mut killed, mut survived) = (0, 0);
    let only = std::env::args().nth(1).unwrap_or_default();
    for (at, (name, file, from, to)) in MUTATIONS
        .iter()
        .enumerate()
        .filter(|(_, (name, ..))| name.contains(&only))
    {
        let path = work.join("autoscaling/src").join(file);
        let original = fs::read_to_string(&path).map_err(|error| format!("{file}: {error}"))?;
        let result = if original.matches(from).count() == 1 {
            fs::write(&path, original.replace(from, to)).map_err(|error| format!("{file}: {error}"))?;
            let built = cargo(&work, home, &[&TESTS[..9], &["--no-run"]].concat())?;
            let result = if built.status.success() {
                let tested = cargo(&work, home, &TESTS[..9])?;
                if tested.status.success() {
                    Err("survived")
                } else {
                    Ok(first_failure(&tested))
                }
            } else {
                Err("does not compile")
            };
            fs::write(&path, &original).map_err(|error| format!("{file}: {error}"))?;
            result
        } else {
            Err("does not apply: the text must occur exactly once")
        };
        let shown = match result {
            Ok(test) => {
                killed += 1;
                format!("killed by `{test}`")
            }
            Err(why) => {
                survived += 1;
                format!("**{why}**")
            }
        };
        println!("| {} | {name} | `{file}` | {shown} |", at + 1);
    }
    println!("\n{killed} killed, {survived} survived");
    Ok(survived)
}
