//! Durations as Go writes them, which is how Chaos Mesh states them: `10s`, `1m30s`, `250ms`.

use std::time::Duration;

/// Writes a duration, exact to the nanosecond.
#[must_use]
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    let parts = [
        (nanos / 3_600_000_000_000, "h"),
        (nanos / 60_000_000_000 % 60, "m"),
        (nanos / 1_000_000_000 % 60, "s"),
        (nanos / 1_000_000 % 1000, "ms"),
        (nanos / 1000 % 1000, "us"),
        (nanos % 1000, "ns"),
    ];
    parts
        .iter()
        .filter(|(value, _)| *value > 0)
        .flat_map(|(value, unit)| [value.to_string(), (*unit).to_owned()])
        .collect()
}

/// Reads a non-negative duration; `None` where Go's `time.ParseDuration` would fail or the value is negative.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..split].parse().ok()?;
        rest = &rest[split..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(value * unit).ok()?)?;
        rest = &rest[end..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_go_does() {
        for (text, millis, canonical) in [
            ("10s", 10_000, "10s"),
            ("1m30s", 90_000, "1m30s"),
            ("1.5s", 1500, "1s500ms"),
            ("250ms", 250, "250ms"),
            ("2h45m", 9_900_000, "2h45m"),
            ("0", 0, "0s"),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(format(Duration::from_millis(millis)), canonical);
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in ["", "10", "-1s", "s", "1x", "1 s", "..s", "1e400h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
