//! What others say, pure: one line of bounded length, of characters that show. An error of another cluster is text of whoever
//! runs it, and goes into the status.

use std::fmt::Display;

/// Characters of a text at most.
const MOST: usize = 400;

/// What was said, briefly.
pub(crate) fn briefly(said: &impl Display) -> String {
    let said = said.to_string();
    let shown: String = said
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| !is_format(*c))
        .collect();
    let mut brief = String::new();
    let mut length = 0;
    for word in shown.split_whitespace() {
        if length > 0 {
            brief.push(' ');
            length += 1;
        }
        for c in word.chars() {
            if length >= MOST {
                brief.push('…');
                return brief;
            }
            brief.push(c);
            length += 1;
        }
    }
    brief
}

/// Marks that change how the text around them is shown, and show nothing themselves.
const fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_line_that_shows_and_ends() {
        for (said, told) in [
            ("no route to host", "no route to host"),
            ("", ""),
            ("  a\r\n\tb\u{2028}c\u{85}d ", "a b c d"),
            ("\u{1b}[31mred\u{0}", "[31mred"),
            ("ab\u{202e}cd\u{200b}\u{feff}", "abcd"),
            ("größer", "größer"),
        ] {
            assert_eq!(briefly(&said), told, "{said:?}");
        }
        let exactly = "é".repeat(MOST);
        assert_eq!(briefly(&exactly), exactly);
        let longer = briefly(&"é".repeat(100_000));
        assert_eq!((longer.chars().count(), longer.chars().last()), (MOST + 1, Some('…')));
        assert_eq!(briefly(&"a ".repeat(100_000)).chars().count(), MOST + 1);
    }
}
