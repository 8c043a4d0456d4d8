//! Where a channel's pictures come from.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Where a channel's pictures come from. Written `testPattern: {}` or `url: …`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub enum Input {
    /// ffmpeg's own test picture with a burnt-in clock and a tone: needs no source.
    #[default]
    TestPattern,
    /// Anything ffmpeg opens: a file (looped), `srt://`, `rtmp://`, `https://`.
    Url(String),
}

impl Input {
    /// Whether nothing has to be written for it.
    pub(super) const fn is_test_pattern(&self) -> bool {
        matches!(self, Self::TestPattern)
    }
}

/// What is written. A structural schema cannot say "this text or that object", so every form is an object.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test_pattern: Option<Empty>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

impl TryFrom<Wire> for Input {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        match (wire.test_pattern, wire.url) {
            (Some(Empty {}), Some(_)) => Err("state either `testPattern` or `url`"),
            (_, None) => Ok(Input::TestPattern),
            (None, Some(url)) => Ok(Input::Url(url)),
        }
    }
}

impl From<Input> for Wire {
    fn from(input: Input) -> Self {
        match input {
            Input::TestPattern => Wire {
                test_pattern: Some(Empty {}),
                url: None,
            },
            Input::Url(url) => Wire {
                test_pattern: None,
                url: Some(url),
            },
        }
    }
}

impl JsonSchema for Input {
    fn schema_name() -> Cow<'static, str> {
        "Input".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": 1,
            // One form replaces another, whoever stated it.
            "x-kubernetes-map-type": "atomic",
            "properties": {
                "testPattern": {
                    "type": "object",
                    "description": "ffmpeg's own test picture with a burnt-in clock and a tone: needs no source.",
                },
                "url": {
                    "type": "string",
                    "description": "Anything ffmpeg opens: a file (looped), `srt://`, `rtmp://`, `https://`.",
                    "minLength": 1,
                    "maxLength": 2048,
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn is_written_as_an_object() {
        for (input, wire) in [
            (Input::TestPattern, json!({"testPattern": {}})),
            (Input::Url("srt://a".into()), json!({"url": "srt://a"})),
        ] {
            assert_eq!(serde_json::to_value(&input).unwrap(), wire);
            assert_eq!(serde_json::from_value::<Input>(wire).unwrap(), input);
        }
        assert_eq!(serde_json::from_value::<Input>(json!({})).unwrap(), Input::TestPattern);
    }

    #[test]
    fn refuses_both() {
        assert!(serde_json::from_value::<Input>(json!({"testPattern": {}, "url": "a"})).is_err());
    }
}
