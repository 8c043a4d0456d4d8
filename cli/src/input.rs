//! Reading files.

use std::path::Path;

use showrunner_crds::{
    platform::StreamingPlatformSpec,
    scenario::Scenario,
    source::{Diagnostics, PlatformFile, read_platform_file, read_scenario},
};

use crate::failure::Failure;

/// Reads a file with a platform.
pub(crate) fn platform(path: &Path) -> Result<PlatformFile, Failure> {
    read_platform_file(&path.display().to_string(), bytes(path)?).map_err(|d| every(&d))
}

/// Reads a file with a scenario and holds it against a platform.
pub(crate) fn scenario(path: &Path, platform: &StreamingPlatformSpec) -> Result<Scenario, Failure> {
    read_scenario(&path.display().to_string(), bytes(path)?, Some(platform)).map_err(|d| every(&d))
}

fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::invalid(format!("{}: {error}", path.display())))
}

/// All the mistakes of a file, a line each.
fn every(diagnostics: &Diagnostics) -> Failure {
    Failure::invalid(diagnostics.lines().collect::<Vec<_>>().join("\n"))
}
