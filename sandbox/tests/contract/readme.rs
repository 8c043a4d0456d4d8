//! The part of `sandbox/README.md` that says what the API server does not emulate is made of the list of exclusions.

use std::path::Path;

use crate::exclusions;
use crate::registry::Test;

const BEGIN: &str = "<!-- begin: written by the contract suite from its exclusions -->\n";
const END: &str = "<!-- end -->\n";

/// What is wrong with the list or with the table; `CONTRACT_README=1` writes the table first.
pub(crate) fn check(tests: &[Test]) -> Vec<String> {
    let mut wrong = Vec::new();
    let names: Vec<String> = tests.iter().map(Test::full_name).collect();
    for name in exclusions::ALL.iter().flat_map(|exclusion| exclusion.tests) {
        if !names.iter().any(|known| known == name) {
            wrong.push(format!("the list of exclusions names {name}, which is no test"));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        wrong.push(format!("{} has no place for the table of exclusions", path.display()));
        return wrong;
    };
    let current = format!("{}{}{}", &text[..begin + BEGIN.len()], table(), &text[end..]);
    if current != text {
        if std::env::var_os("CONTRACT_README").is_some() {
            std::fs::write(&path, current).unwrap();
        } else {
            wrong.push(format!(
                "{} is not what the exclusions say: run with CONTRACT_README=1",
                path.display()
            ));
        }
    }
    wrong
}

fn table() -> String {
    let rows = exclusions::ALL.iter().map(|exclusion| {
        let tests: Vec<String> = exclusion.tests.iter().map(|test| format!("`{test}`")).collect();
        format!(
            "| {} | {} | {} |\n",
            exclusion.what,
            exclusion.instead,
            tests.join(", ")
        )
    });
    format!(
        "| not there | what happens instead | shown by |\n|---|---|---|\n{}",
        rows.collect::<String>()
    )
}
