//! Writing to standard output.

use std::io::{ErrorKind, Write};

use crate::failure::Failure;

/// Writes text. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::infrastructure(format!("cannot write: {error}")))
        }
        _ => Ok(()),
    }
}
