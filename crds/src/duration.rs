//! A duration written as in Go and in Kubernetes: `90s`, `1m30s`, `500ms`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::source::shown;

/// A non-negative duration in the notation of Go's `time.ParseDuration`, restricted to `h`, `m`, `s` and `ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(pub Duration);

/// The pattern the schema states for [`GoDuration`].
pub const PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";

/// Longest duration that is accepted: four weeks. Sums of a few such never overflow.
const LONGEST_SECONDS: f64 = 28.0 * 86_400.0;

/// What is said of a longer one, also by the API server.
const TOO_LONG: &str = "a duration is at most four weeks, 672h";

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not in the notation.
    #[error("`{}` is not a duration; write for example `90s`, `1m30s` or `500ms`", shown(.0))]
    Notation(String),
    /// Longer than four weeks.
    #[error("{TOO_LONG}: found `{}`", shown(.0))]
    TooLong(String),
}

impl GoDuration {
    /// A duration of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A duration of milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The same duration in seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || DurationError::Notation(text.to_owned());
        let mut rest = text;
        let mut total = 0.0_f64;
        if rest.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
            let value: f64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let unit_end = rest
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(rest.len());
            total += value
                * match &rest[..unit_end] {
                    "ms" => 0.001,
                    "s" => 1.0,
                    "m" => 60.0,
                    "h" => 3600.0,
                    _ => return Err(error()),
                };
            rest = &rest[unit_end..];
        }
        if total > LONGEST_SECONDS {
            return Err(DurationError::TooLong(text.to_owned()));
        }
        // Whole milliseconds: what the notation can state, and what survives a round trip.
        Duration::try_from_secs_f64((total * 1000.0).round() / 1000.0)
            .map(GoDuration)
            .map_err(|_| error())
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
        let (seconds, rest) = (millis / 1000 % 60, millis % 1000);
        for (value, unit) in [(hours, "h"), (minutes, "m"), (seconds, "s"), (rest, "ms")] {
            if value > 0 {
                write!(f, "{value}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": PATTERN,
            "maxLength": 32,
            // Whoever reads the object back refuses a longer one: it must not come to be stored.
            "x-kubernetes-validations": [{ "rule": "duration(self) <= duration('672h')", "message": TOO_LONG }],
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1h", 3_600_000),
            ("1.5s", 1500),
        ] {
            assert_eq!(
                text.parse::<GoDuration>().unwrap(),
                GoDuration::from_millis(millis),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "1x",
            "1 s",
            "1..2s",
            "673h",
            "999999999999999999999h",
        ] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn survives_a_round_trip(millis in 0_u64..1_000_000_000) {
            let duration = GoDuration::from_millis(millis);
            proptest::prop_assert_eq!(duration.to_string().parse::<GoDuration>().unwrap(), duration);
        }
    }
}
