//! `$(VAR)` in commands, arguments and values, by the rules of the Kubernetes API: unknown names stay, `$$` is a dollar.

/// Replaces references to what `lookup` knows.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            result.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            if let Some(value) = lookup(name) {
                result.push_str(&value);
            } else {
                result.push_str("$(");
                result.push_str(name);
                result.push(')');
            }
            rest = tail;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known(text: &str) -> String {
        expand(text, |name| match name {
            "A" => Some("1".to_owned()),
            "LOOP" => Some("$(A)".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn references_and_escapes() {
        for (given, expected) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(LOOP)", "$(A)"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("$", "$"),
            ("$$", "$"),
            ("", ""),
        ] {
            assert_eq!(known(given), expected, "{given}");
        }
    }

    proptest! {
        #[test]
        fn text_without_dollars_is_untouched(text in "[^$]{0,100}") {
            prop_assert_eq!(known(&text), text);
        }

        #[test]
        fn never_panics(text in ".{0,100}") {
            known(&text);
        }
    }
}
