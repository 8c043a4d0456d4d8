//! Runs conformance cases against the autoscaler: `cargo run -p showrunner-autoscaling --example conformance -- FILE…`
//!
//! Prints each failing case with expected and actual, then `N passed, N failed`; exits 1 if any failed.

mod build;
mod cases;

use std::process::ExitCode;

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: conformance FILE…  (files of the form of autoscaling/tests/fixtures/hpa_cases.json)");
        return ExitCode::from(2);
    }
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for file in &files {
        match std::fs::read_to_string(file)
            .map_err(|error| error.to_string())
            .and_then(|text| cases::run_text(&text))
        {
            Ok(outcomes) => {
                for outcome in outcomes {
                    match outcome.failure {
                        None => passed += 1,
                        Some(failure) => {
                            failed += 1;
                            println!("FAIL {file}: {}\n{failure}", outcome.id);
                        }
                    }
                }
            }
            Err(error) => {
                failed += 1;
                println!("FAIL {file}: {error}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
