//! `showrunner build`.

use crate::{args::BuildArgs, failure::Failure, input};

pub(crate) fn run(args: &BuildArgs) -> Result<u8, Failure> {
    let file = input::platform(&args.file)?;
    let objects = showrunner_operator::render(&file.platform).map_err(|e| Failure::invalid(e.to_string()))?;
    for object in objects {
        let yaml = serde_saphyr::to_string(&object).map_err(|e| Failure::infrastructure(format!("cannot write YAML: {e}")))?;
        print!("---\n{yaml}");
    }
    Ok(0)
}
