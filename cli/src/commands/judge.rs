//! `showrunner judge`.

use std::io::IsTerminal;

use showrunner_loadtest::{drill::write_reports, evidence, judge, report};

use crate::{args::JudgeArgs, failure::Failure, output::print};

pub(crate) fn run(args: &JudgeArgs) -> Result<u8, Failure> {
    let evidence = evidence::read(&args.evidence).map_err(|e| Failure::invalid(e.to_string()))?;
    let verdict = judge::judge(&evidence);
    if args.json {
        let json = serde_json::to_string_pretty(&verdict).map_err(|e| Failure::infrastructure(e.to_string()))?;
        print(&(json + "\n"))?;
    } else {
        print(&report::table(&verdict, std::io::stdout().is_terminal()))?;
    }
    if let Some(dir) = &args.reports {
        std::fs::create_dir_all(dir).map_err(|e| Failure::infrastructure(format!("{}: {e}", dir.display())))?;
        write_reports(dir, &verdict, &evidence).map_err(|e| Failure::infrastructure(e.to_string()))?;
    }
    Ok(verdict.exit_code())
}
