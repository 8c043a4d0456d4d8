//! Pages of lists.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Namespaced;
use super::object::Stored;

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) revision: u64,
    pub(crate) items: Vec<Arc<Stored>>,
    /// Where the next page starts: namespace and name of its first object.
    pub(crate) next: Option<(String, String)>,
    /// How many objects lie behind `next`.
    pub(crate) remaining: usize,
}

/// The order of two namespaces in the paths of what is in them.
fn by_path(a: &str, b: &str) -> Ordering {
    a.bytes().chain([b'/']).cmp(b.bytes().chain([b'/']))
}

/// Objects in order of their paths, from `start` on, until `limit` of them match.
pub(super) fn page(
    revision: u64,
    objects: Option<&Namespaced>,
    namespace: Option<&str>,
    start: Option<(&str, &str)>,
    limit: Option<usize>,
    matches: impl Fn(&Stored) -> bool,
) -> Page {
    let mut page = Page {
        revision,
        items: Vec::new(),
        next: None,
        remaining: 0,
    };
    let all = objects.into_iter().flatten();
    let mut all: Vec<_> = all
        .filter(|(ns, _)| namespace.is_none_or(|wanted| wanted == ns.as_str()))
        .collect();
    // By path, as upstream keeps them: `a-b/x` comes before `a/x`.
    all.sort_by(|(a, _), (b, _)| by_path(a, b));
    for (ns, objects) in all {
        let before_start = start.map(|(namespace, _)| by_path(ns, namespace));
        for (name, object) in objects {
            let before = match (before_start, start) {
                (Some(order), Some((_, first))) => order.then_with(|| name.as_str().cmp(first)).is_lt(),
                _ => false,
            };
            if before || !matches(object) {
                continue;
            }
            if limit.is_some_and(|limit| page.items.len() >= limit) {
                page.next.get_or_insert_with(|| (ns.clone(), name.clone()));
                page.remaining += 1;
            } else {
                page.items.push(object.clone());
            }
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_goes_on_comes_first() {
        let mut names = ["b", "a", "a-b", "a0"];
        names.sort_by(|a, b| by_path(a, b));
        assert_eq!(names, ["a-b", "a", "a0", "b"]);
    }
}
