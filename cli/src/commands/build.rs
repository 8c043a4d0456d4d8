//! `showrunner build`.

use std::fmt::Write;

use crate::{args::BuildArgs, failure::Failure, input, output::print};

pub(crate) fn run(args: &BuildArgs) -> Result<u8, Failure> {
    let file = input::platform(&args.file)?;
    let objects = showrunner_operator::render(&file.platform).map_err(|e| Failure::invalid(e.to_string()))?;
    let mut text = String::new();
    for object in objects {
        let yaml =
            serde_saphyr::to_string(&object).map_err(|e| Failure::infrastructure(format!("cannot write YAML: {e}")))?;
        let _ = write!(text, "---\n{yaml}");
    }
    print(&text)?;
    Ok(0)
}
