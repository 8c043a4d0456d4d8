//! `showrunner crd`.

use crate::{failure::Failure, output::print};

pub(crate) fn run() -> Result<u8, Failure> {
    print(&showrunner_crds::crd::all_yaml())?;
    Ok(0)
}
