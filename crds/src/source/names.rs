//! Names in messages: the nearest known one, and no more of a foreign text than a terminal should see.

/// Characters of a foreign text that are shown.
const SHOWN: usize = 60;
/// Known names that are listed.
const LISTED: usize = 24;
/// A longer name is nobody's typing mistake, and comparing takes time in proportion to its length.
const COMPARED: usize = 64;

/// A text from a file as messages show it: its beginning, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::new();
    let mut characters = text.chars();
    for character in characters.by_ref().take(SHOWN) {
        push_printable(&mut shown, character);
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// The whole text, fit for one line of a terminal: neither escape sequences nor characters that reorder what is shown.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|character| push_printable(&mut out, character));
    out
}

fn push_printable(out: &mut String, character: char) {
    let reorders = matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if character.is_control() || reorders {
        out.extend(character.escape_default());
    } else {
        out.push(character);
    }
}

/// `; did you mean …? known: …`, as far as there is anything to say.
pub(crate) fn suggest(name: &str, known: &[&str]) -> String {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let wanted = plain(name);
    let length = wanted.chars().count();
    let comparable = known.iter().filter(|_| length <= COMPARED);
    let nearest = comparable
        .map(|known| (strsim::damerau_levenshtein(&wanted, &plain(known)), *known))
        .min()
        .filter(|(distance, _)| *distance <= (length / 3).max(1));
    let question = nearest
        .map(|(_, known)| format!("; did you mean `{}`?", shown(known)))
        .unwrap_or_default();
    let mut listed = known
        .iter()
        .take(LISTED)
        .map(|name| shown(name))
        .collect::<Vec<_>>()
        .join(", ");
    if known.len() > LISTED {
        listed = format!("{listed} and {} more", known.len() - LISTED);
    }
    match known {
        [] => question,
        _ if question.is_empty() => format!("; known: {listed}"),
        _ => format!("{question} known: {listed}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near_and_only_that() {
        let known = ["minReplicas", "maxReplicas", "enabled"];
        for (name, nearest) in [
            ("minReplica", Some("minReplicas")),
            ("min_replicas", Some("minReplicas")),
            ("MAXREPLICAS", Some("maxReplicas")),
            ("enabeld", Some("enabled")),
            ("colour", None),
            ("", None),
        ] {
            let text = suggest(name, &known);
            match nearest {
                Some(nearest) => assert!(
                    text.starts_with(&format!("; did you mean `{nearest}`? known: ")),
                    "{name}: {text}"
                ),
                None => assert_eq!(text, "; known: minReplicas, maxReplicas, enabled", "{name}"),
            }
        }
    }

    #[test]
    fn what_a_file_says_cannot_command_a_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\r\n\u{202e}c"), "a\\u{1b}[2Jb\\r\\n\\u{202e}c");
        assert_eq!(shown(&"é".repeat(60)), "é".repeat(60));
        assert_eq!(shown(&"é".repeat(61)), format!("{}…", "é".repeat(60)));
        assert_eq!(printable("tab\tbed"), "tab\\tbed");
    }

    #[test]
    fn long_lists_and_long_names_stay_short() {
        let many: Vec<String> = (0..1000).map(|number| format!("name-{number}")).collect();
        let known: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(
            suggest("x", &known).ends_with("name-23 and 976 more"),
            "{}",
            suggest("x", &known)
        );
        assert!(suggest(&"x".repeat(1_000_000), &known).len() < 1000);
    }
}
