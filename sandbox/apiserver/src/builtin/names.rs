//! Rules for names and labels.

/// Whether a text is a DNS label (RFC 1123).
pub(crate) fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a text is a DNS subdomain (RFC 1123): labels with dots between, 253 characters at most.
pub(crate) fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// Whether a text is a DNS label that starts with a letter (RFC 1035).
pub(crate) fn is_service_name(text: &str) -> bool {
    is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Whether a text is a label value.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || (text.len() <= 63 && is_qualified_part(text))
}

fn is_qualified_part(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Whether a text is a key of a ConfigMap or a Secret.
pub(crate) fn is_config_key(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && text != "."
        && !text.starts_with("..")
}

/// Whether a text is a label key: `[prefix/]name`.
pub(crate) fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = text
        .split_once('/')
        .map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_subdomain) && name.len() <= 63 && is_qualified_part(name)
}

/// What is wrong with the name of a port (an IANA service name, RFC 6335), in Kubernetes' words.
pub(crate) fn port_name_faults(name: &str) -> Vec<&'static str> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let rules = [
        (name.len() > 15, "must be no more than 15 characters"),
        (
            name.is_empty() || !name.bytes().all(legal),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (
            !name.contains(|c: char| c.is_ascii_lowercase()),
            "must contain at least one letter (a-z)",
        ),
        (name.contains("--"), "must not contain consecutive hyphens"),
        (
            name.starts_with('-') || name.ends_with('-'),
            "must not begin or end with a hyphen",
        ),
    ];
    broken(&rules)
}

/// The words of the rules that are broken.
fn broken(rules: &[(bool, &'static str)]) -> Vec<&'static str> {
    let broken = rules.iter().filter(|(broken, _)| *broken);
    broken.map(|(_, words)| *words).collect()
}

/// Kubernetes' sentence for a bad subdomain.
pub(crate) const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Kubernetes' sentence for a bad key of a ConfigMap or a Secret.
pub(crate) const CONFIG_KEY_RULE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// Kubernetes' sentence for a bad label.
pub(crate) const LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

/// Kubernetes' sentence for a bad service name.
pub(crate) const SERVICE_RULE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// What is wrong with a key of a label or an annotation, or with a finalizer. The words are Kubernetes' where the name part
/// is empty or has a wrong character; a bad prefix and a name that is too long, for which it has others, get the same.
pub(crate) fn qualified_name_faults(text: &str) -> Vec<&'static str> {
    let empty = text.is_empty() || text.ends_with('/');
    let rules = [
        (empty, "name part must be non-empty"),
        (!is_qualified_name(text), QUALIFIED_NAME_RULE),
    ];
    broken(&rules)
}

/// Kubernetes' sentence for a bad key of a label or an annotation.
const QUALIFIED_NAME_RULE: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// Kubernetes' sentence for a bad value of a label.
pub(crate) const LABEL_VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rfcs() {
        assert!(is_label("web-1") && !is_label("Web") && !is_label("-a") && !is_label("a.b"));
        assert!(is_subdomain("a.b-c.d") && !is_subdomain("a..b") && !is_subdomain("a_b"));
        assert!(is_service_name("web") && !is_service_name("1web"));
        assert!(
            is_qualified_name("app.kubernetes.io/name") && !is_qualified_name("/name") && !is_qualified_name("a b")
        );
        assert!(qualified_name_faults("a.b/c").is_empty());
        assert_eq!(
            (qualified_name_faults("a.b/").len(), qualified_name_faults("a b").len()),
            (2, 1)
        );
        assert!(port_name_faults("http-1").is_empty());
        assert_eq!(port_name_faults("8080"), ["must contain at least one letter (a-z)"]);
        assert_eq!(port_name_faults("-").len(), 2);
        assert!(is_label_value("") && is_label_value("A_b.c") && !is_label_value("-a"));
    }
}
