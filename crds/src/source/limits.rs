//! How much a file may ask of whoever reads it, and what is said of one that is no YAML, or asks more.
//!
//! Far above what a platform needs, far below what hurts: an alias bomb or a tower of brackets ends here.

use serde_saphyr::{
    DefaultMessageFormatter, Error, ExternalMessageSource, MessageFormatter, budget::BudgetBreach,
    granit_parser::ErrorKind,
};

/// Lists and fields in one another.
pub(super) const DEPTH: usize = 48;
/// Values of a file, counted as often as aliases repeat them.
pub(super) const NODES: usize = 50_000;
/// The same and comments.
pub(super) const EVENTS: usize = 200_000;
/// Aliases of a file.
pub(super) const ALIASES: usize = 1000;
/// What aliases repeat: values, and beginnings and ends of lists and fields.
pub(super) const REPEATED: usize = 50_000;
/// What anchors hold, counted for each anchor.
pub(super) const ANCHORED: usize = 100_000;
/// Documents of a file.
pub(super) const DOCUMENTS: usize = 256;
/// Text of a file, counted as often as aliases repeat it, in MiB.
pub(super) const TEXT_MIB: usize = 4;

/// What is wrong with a text that could not be read, without the place, and what would do.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => words(error),
        Error::Budget { breach, .. } => exceeded(breach),
        Error::ExternalMessage { source, msg, .. } => match source.as_ref() {
            ExternalMessageSource::Parser(error) if *error.kind() == ErrorKind::RecursionLimitExceeded => too_deep(),
            _ => msg.clone(),
        },
        Error::AliasReplayStackDepthExceeded { .. } => too_deep(),
        Error::AliasReplayLimitExceeded { .. } => {
            let most = grouped(REPEATED);
            format!("the aliases up to here repeat more than {most} values: write the values out, or repeat fewer")
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => "the alias stands within what it repeats, which would \
             never end: write out what is meant here"
            .into(),
        Error::UnknownAnchor { .. } => {
            "no anchor before this alias has its name: set one with `&`, or write the value out".into()
        }
        // Keys alone are read as text: a value may be anything.
        Error::NullIntoString { .. } => "a field without a name: write one before the colon".into(),
        Error::Unexpected {
            expected: "string scalar",
            ..
        } => "a field's name is text: found a list or fields".into(),
        Error::InvalidScalar { .. }
        | Error::InvalidBooleanStrict { .. }
        | Error::InvalidBinaryBase64 { .. }
        | Error::BinaryNotUtf8 { .. } => {
            "the value is not what its tag (`!!`) says: correct it, or leave the tag out".into()
        }
        // The place is stated once, in front.
        other => DefaultMessageFormatter.format_message(other).into_owned(),
    }
}

fn exceeded(breach: &BudgetBreach) -> String {
    let (what, most, do_this) = match breach {
        BudgetBreach::Depth { .. } => return too_deep(),
        BudgetBreach::Nodes { .. } => ("values, aliases written out", NODES, "split it, or repeat fewer"),
        BudgetBreach::Events { .. } => ("values and comments", EVENTS, "split it, or write fewer"),
        BudgetBreach::Aliases { .. } => ("aliases", ALIASES, "write the values out"),
        BudgetBreach::Documents { .. } => ("documents", DOCUMENTS, "split it"),
        BudgetBreach::RecordedAnchorEvents { .. } => ("values under anchors", ANCHORED, "set fewer anchors"),
        BudgetBreach::ScalarBytes { .. } | BudgetBreach::RecordedAnchorBytes { .. } => {
            return format!(
                "the file up to here has more than {TEXT_MIB} MiB of text, aliases written out: repeat less of it"
            );
        }
        _ => return "the file asks for more than is read: split it, or write less".into(),
    };
    format!("the file up to here has more than {} {what}: {do_this}", grouped(most))
}

fn too_deep() -> String {
    format!("lists and fields stand more than {DEPTH} deep in one another: nest them less")
}

/// `50000` as `50,000`.
fn grouped(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}
