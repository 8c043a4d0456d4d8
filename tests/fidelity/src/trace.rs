//! A bandwidth trace: what an access line carries, over time.

use std::time::Duration;

/// A line is never slower than this: a token bucket needs some rate, and TCP would not survive less for long.
const SLOWEST_KBPS: u64 = 16;

/// A piecewise constant bandwidth. The last step lasts for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    steps: Vec<(Duration, u64)>,
}

/// Why a trace cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TraceError {
    /// A line that is not `seconds,kbps`.
    #[error("line {0}: expected `seconds,kbps`, seconds rising from 0, at least {SLOWEST_KBPS} kbps")]
    Line(usize),
    /// Nothing in it.
    #[error("the trace is empty")]
    Empty,
}

impl Trace {
    /// Reads lines of `seconds,kbps`. Empty lines and lines that begin with `#` are skipped.
    pub(crate) fn parse(text: &str) -> Result<Self, TraceError> {
        let mut steps: Vec<(Duration, u64)> = Vec::new();
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let step = step(line).ok_or(TraceError::Line(number))?;
            let in_order = match steps.last() {
                None => step.0.is_zero(),
                Some((before, _)) => step.0 > *before,
            };
            if !in_order {
                return Err(TraceError::Line(number));
            }
            steps.push(step);
        }
        if steps.is_empty() {
            return Err(TraceError::Empty);
        }
        Ok(Self { steps })
    }

    /// The steps: since when, and how much in bytes per second.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.steps.iter().map(|(at, kbps)| (*at, kbps * 1000 / 8))
    }

    /// The slowest and the fastest step in kbit/s.
    #[must_use]
    pub(crate) fn range(&self) -> (u64, u64) {
        let rates = || self.steps.iter().map(|(_, kbps)| *kbps);
        (rates().min().unwrap_or(0), rates().max().unwrap_or(0))
    }
}

fn step(line: &str) -> Option<(Duration, u64)> {
    let (seconds, kbps) = line.split_once(',')?;
    let at = Duration::try_from_secs_f64(seconds.trim().parse().ok()?).ok()?;
    let kbps = kbps.trim().parse().ok().filter(|kbps| *kbps >= SLOWEST_KBPS)?;
    Some((at, kbps))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_steps() {
        let trace = Trace::parse("# a tunnel\n0,800\n\n1.5,16\n").unwrap();
        let steps: Vec<_> = trace.steps().collect();
        assert_eq!(steps, [(Duration::ZERO, 100_000), (Duration::from_millis(1500), 2000)]);
        assert_eq!(trace.range(), (16, 800));
    }

    #[test]
    fn names_the_line_that_is_wrong() {
        assert_eq!(Trace::parse("# nothing"), Err(TraceError::Empty));
        for (text, line) in [
            ("1,800", 1),
            ("0,800\n0,900", 2),
            ("0,800\n1;5", 2),
            ("0,1", 1),
            ("0,-800", 1),
        ] {
            assert_eq!(Trace::parse(text), Err(TraceError::Line(line)), "{text}");
        }
    }
}
