//! A session as a file: one command a line, of kubectl or of helm, and how its answer is compared.

use std::fmt;

const HELM: &str = "helm ";

/// How an answer is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    /// `$`: line by line.
    Lines,
    /// `~`: as a set of lines: what comes in no certain order, or once or more often.
    Set,
    /// `.`: the exit code and the last line: what tells of progress.
    Last,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The session it is of.
    pub(crate) session: &'static str,
    pub(crate) line: usize,
    pub(crate) compare: Compare,
    /// The arguments, as written; those of helm with its name before them.
    pub(crate) command: String,
    /// Whether it must fail (`!` after the first sign).
    pub(crate) fails: bool,
}

impl Step {
    /// Whose command it is.
    pub(crate) fn program(&self) -> &'static str {
        if self.command.starts_with(HELM) {
            "helm"
        } else {
            "kubectl"
        }
    }

    /// The arguments: separated by blanks, single quotes around what has some in it.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut all = Vec::new();
        let command = self.command.strip_prefix(HELM).unwrap_or(&self.command);
        for (at, part) in command.split('\'').enumerate() {
            if at % 2 == 1 {
                all.push(part.to_owned());
            } else {
                all.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        all
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = self.command.strip_prefix(HELM).unwrap_or(&self.command);
        write!(f, "{}:{}: {} {command}", self.session, self.line, self.program())
    }
}

/// Reads a session; `#` starts a comment.
pub(crate) fn parse(session: &'static str, text: &str) -> Result<Vec<Step>, String> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let commands = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    commands.map(|(line, text)| step(session, line, text)).collect()
}

fn step(session: &'static str, line: usize, text: &str) -> Result<Step, String> {
    let mut rest = text.chars();
    let compare = match rest.next() {
        Some('$') => Compare::Lines,
        Some('~') => Compare::Set,
        Some('.') => Compare::Last,
        _ => return Err(format!("line {line}: {text:?} starts with none of $ ~ . #")),
    };
    let rest = rest.as_str();
    let (fails, command) = rest.strip_prefix('!').map_or((false, rest), |rest| (true, rest));
    if command.matches('\'').count() % 2 == 1 {
        return Err(format!("line {line}: a quote is not closed"));
    }
    Ok(Step {
        session,
        line,
        compare,
        command: command.trim().to_owned(),
        fails,
    })
}

#[test]
fn a_session_is_read() {
    let steps = parse("s", "# one\n\n$ get pods\n.! wait --for 'a b'\n").unwrap();
    assert_eq!(
        (steps[0].line, steps[0].compare, steps[0].fails),
        (3, Compare::Lines, false)
    );
    assert_eq!((steps[1].compare, steps[1].fails), (Compare::Last, true));
    assert_eq!(steps[1].arguments(), ["wait", "--for", "a b"]);
    assert!(parse("s", "get pods").is_err() && parse("s", "$ get 'pods").is_err());
}
