//! The nearest known name.

/// `; did you mean …? known: …`, as far as there is anything to say.
pub(crate) fn suggest(name: &str, known: &[&str]) -> String {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let wanted = plain(name);
    let nearest = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&wanted, &plain(known)), *known))
        .min()
        .filter(|(distance, _)| *distance <= (wanted.chars().count() / 3).max(1));
    let question = nearest
        .map(|(_, known)| format!("; did you mean `{known}`?"))
        .unwrap_or_default();
    match known {
        [] => question,
        known if question.is_empty() => format!("; known: {}", known.join(", ")),
        known => format!("{question} known: {}", known.join(", ")),
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
}
