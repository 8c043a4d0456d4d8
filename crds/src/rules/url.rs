//! Base URLs: paths are appended to them, so they have neither query nor fragment.

use std::sync::LazyLock;

use regex::Regex;

/// The pattern as CEL writes it, backslashes doubled.
macro_rules! pattern {
    () => {
        r"^https?://([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?(/[A-Za-z0-9._~!$&()*+,;=:@%/-]*)?$"
    };
}
pub(super) use pattern;

static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&pattern!().replace(r"\\", r"\")).ok());

/// Whether a text is a base URL of HTTP that names a host.
pub(super) fn is_base(text: &str) -> bool {
    PATTERN.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        for (text, base) in [
            ("http://a", true),
            ("https://eu.cdn.example.com:8443/live/", true),
            ("http://[::1]:8080", true),
            ("http://", false),
            ("http:///path", false),
            ("ftp://a", false),
            ("a.example.com", false),
            ("http://a b", false),
            ("http://a?b", false),
            ("http://a/\"", false),
            ("http://a\n", false),
            ("http://user@a", false),
        ] {
            assert_eq!(is_base(text), base, "{text}");
        }
    }
}
