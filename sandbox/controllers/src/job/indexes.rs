//! Completion indexes of Indexed jobs, in their compact text form ("0,2-4").

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::collections::BTreeSet;

/// Annotation and label that carry a pod's index.
pub(crate) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

pub(crate) fn of_pod(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok()
}

/// Parses the text form; parts that do not parse are skipped.
pub(crate) fn parse(text: &str) -> BTreeSet<i32> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<i32>> {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse().ok()?..=to.parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// The text form.
pub(crate) fn format(indexes: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for &index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => runs.push((index, index)),
        }
    }
    let text = |&(first, last): &(i32, i32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_goes_both_ways() {
        for text in ["", "0", "0,1", "0,2-4,7", "1-3"] {
            assert_eq!(format(&parse(text)), text);
        }
        assert_eq!(parse("2-4").len(), 3);
    }
}
