//! What holds for every refusal, whatever the file.

use showrunner_crds::source::Diagnostics;

/// Most lines that a file is answered with.
const MOST_LINES: usize = 101;
/// Longest line of an answer, in bytes.
const LONGEST_LINE: usize = 4096;

/// Holds a refusal against the file: places that exist, in order, each said once, in lines that a terminal can show.
pub(crate) fn check_refusal(data: &[u8], refusal: &Diagnostics) {
    let findings = refusal.findings();
    assert!(!findings.is_empty(), "a refusal says why");
    let text = String::from_utf8_lossy(data);
    let text = text.trim_start_matches('\u{feff}');
    let lines: Vec<&str> = text.split_inclusive(['\n', '\r']).collect();
    for finding in findings {
        let (line, column) = (finding.line(), finding.column());
        assert!(line <= lines.len() + 1, "line {line} of {}", lines.len());
        let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(
            column <= longest + 2,
            "column {column}, and no line has more than {longest}"
        );
        assert!(!finding.message.is_empty());
    }
    let said: Vec<String> = refusal.lines().collect();
    assert!(said.len() <= MOST_LINES, "{} lines", said.len());
    for line in &said {
        assert!(line.starts_with("f.yaml:"), "{line}");
        assert!(line.len() <= LONGEST_LINE, "a line of {} bytes", line.len());
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    let places: Vec<_> = findings
        .iter()
        .map(|finding| (finding.line(), finding.column()))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
}
