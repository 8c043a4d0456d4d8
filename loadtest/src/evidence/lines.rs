//! Reading a file of JSON Lines that anybody may have written.

use std::io::{BufRead, Read as _};

use serde::de::{DeserializeOwned, Error as _};

/// Longest line that is read, in bytes: the definition of a platform is the longest that a run writes, and an API server takes
/// none of a fifth of this.
const LONGEST: usize = 16 << 20;

/// A line, or the beginning of one that is too long.
pub(crate) struct Line(Vec<u8>);

impl Line {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        if self.0.len() > LONGEST {
            let most = LONGEST >> 20;
            return Err(serde_json::Error::custom(format!(
                "longer than {most} MiB; no run writes such a line"
            )));
        }
        serde_json::from_slice(&self.0)
    }
}

/// The next line; `None` after the last one.
pub(crate) fn next_line(file: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    let mut line = Vec::new();
    // One byte more than it may have, its end included, tells a line that is too long.
    let read = file.by_ref().take(LONGEST as u64 + 1).read_until(b'\n', &mut line)?;
    Ok((read > 0).then_some(Line(line)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{BufReader, repeat};

    use super::*;

    #[test]
    fn lines_are_read_one_after_another_whether_the_last_one_has_an_end_or_not() {
        let mut file = b"1\r\n2\n3".as_slice();
        let mut next = || next_line(&mut file).unwrap().map(|line| line.json::<u32>().unwrap());
        assert_eq!([next(), next(), next(), next()], [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn a_line_without_an_end_is_not_read_for_ever() {
        let mut endless = BufReader::new(repeat(b' '));
        let line = next_line(&mut endless).unwrap().unwrap();
        let said = line.json::<u32>().unwrap_err();
        assert!(
            said.to_string().contains("longer than 16 MiB") && !said.is_eof(),
            "{said}"
        );
    }
}
