//! What differs between any two clusters, and between any two moments, made alike.

use std::sync::LazyLock;

use regex::Regex;

/// What is replaced, in this order, and by what.
static MASKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let masks = [
        // What client-go logs now and then when a watch that is not needed any more ends in the middle of an answer.
        (
            r#"^E\d{4} \S+ +\d+ request\.go:\d+\] "Unexpected error when reading response body" err="context canceled"$"#,
            "",
        ),
        // Names that are drawn. Before ages: parts of one may look like these.
        (r"\b(web|other)-[0-9a-z]{8,10}-[0-9a-z]{5}\b", "$1-<hash>-<pod>"),
        (r"\b(web|other)-[0-9a-z]{8,10}\b", "$1-<hash>"),
        (r"(pod-template-hash=)[0-9a-z]+", "$1<hash>"),
        (r"\b(client|solo|web-0|web)\.[0-9a-f]{16}\b", "$1.<event>"),
        (
            r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
            "<uid>",
        ),
        // Times, and the ages made of them.
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
        (r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}", "<time>"),
        (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}", "<time>"),
        (r"\b(\d+[dhms]){1,2}( ago)?\b", "<age>"),
        (r"<age> \(x\d+ over <age>\)", "<age>"),
        (r"\(x\d+ over <age>\)", ""),
        (r"<(unknown|invalid)>", "<age>"),
        // What is said often is said once, for so many.
        (r"\(combined from similar events\): ", ""),
        // Files of kubectl's own.
        (r"/tmp/(LIVE|MERGED)-\d+", "/tmp/$1"),
        (r"/tmp/kubectl-edit-\d+", "/tmp/edit"),
        // Versions and addresses.
        (r#"(resourceVersion"?: )"\d+""#, "$1<version>"),
        (r"(Resource Version:\s+)\d+", "$1<version>"),
        // The controllers' names.
        ("sandbox-controllers", "kube-controller-manager"),
        (r"\b(10|127)(\.\d{1,3}){3}(:\d+)?\b", "<address>"),
        (r"\[::1\]:\d+|::1\b", "<address>"),
        (r"containerd?://\S+|process://\S+", "<container>"),
        // Columns are as wide as what is in them.
        (r"[ \t]{2,}|\t", "  "),
        (r"[ \t]+$", ""),
    ];
    masks
        .into_iter()
        .map(|(pattern, with)| (Regex::new(pattern).unwrap(), with))
        .collect()
});

/// The lines of an answer, masked.
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines().map(line).filter(|line| !line.is_empty()).collect()
}

fn line(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let (indent, line) = line.split_at(indent);
    let masked = MASKS.iter().fold(line.to_owned(), |line, (pattern, with)| {
        pattern.replace_all(&line, *with).into_owned()
    });
    format!("{indent}{masked}")
}

#[test]
fn what_differs_between_any_two_clusters_is_masked_and_nothing_else() {
    let masked = |text: &str| lines(text).join("|");
    assert_eq!(
        masked("web-7d4b9c8f6-x2x4z   1/1     Running   2 (3s ago)   4m10s   10.1.2.3   a"),
        "web-<hash>-<pod>  1/1  Running  2 (<age>)  <age>  <address>  a"
    );
    assert_eq!(masked("web-7d4b9c8f6-52h7d deleted"), "web-<hash>-<pod> deleted");
    assert_eq!(masked("  resourceVersion: \"17\""), "  resourceVersion: <version>");
    assert_eq!(masked("uid: 0b2f2f36-537d-4ad1-9d6e-3d0f5ad7c9aa"), "uid: <uid>");
    assert_eq!(
        masked("StartTime: Sun, 22 Nov 2026 21:09:32 +0000"),
        "StartTime: <time>"
    );
    let cancelled =
        "E1123 06:57:33.698766   14252 request.go:1198] \"Unexpected error when reading response body\" err=";
    assert_eq!(masked(&format!("{cancelled}\"context canceled\"")), "");
    assert_ne!(masked(&format!("{cancelled}\"unexpected EOF\"")), "");
    for kept in [
        "replicas: 3",
        "web  3/3  3  3",
        "port: 8080",
        "deployment.apps/web scaled",
    ] {
        assert_eq!(masked(kept), kept);
    }
}
