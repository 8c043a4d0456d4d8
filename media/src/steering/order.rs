//! Which pathway a session plays, and where it goes next. Pure and deterministic: every steering server gives a session the
//! same order, with nothing shared between them.

use sha2::{Digest, Sha256};
use showrunner_crds::config::Pathway;

/// What is known of a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer<'a> {
    /// Region that the viewer asked for.
    pub region: Option<&'a str>,
    /// Session id.
    pub session: &'a str,
}

/// All pathways that have an address, best first: the viewer's region, then the others by weighted rendezvous hashing, so
/// that the audience of a lost region spreads over the rest in proportion to their weights.
///
/// Unhealthy ones stand last instead of being left out: a player only moves to a pathway that is listed, and when every
/// probe fails it may be the prober that is cut off.
pub fn order<'a>(pathways: &'a [Pathway], viewer: Viewer<'_>, healthy: impl Fn(&str) -> bool) -> Vec<&'a Pathway> {
    let mut ordered = by_preference(pathways, viewer);
    ordered.sort_by_key(|pathway| !healthy(&pathway.id));
    ordered
}

/// The pathway that the viewer plays when all are well.
pub fn home<'a>(pathways: &'a [Pathway], viewer: Viewer<'_>) -> Option<&'a Pathway> {
    by_preference(pathways, viewer).into_iter().next()
}

fn by_preference<'a>(pathways: &'a [Pathway], viewer: Viewer<'_>) -> Vec<&'a Pathway> {
    let rank = |pathway: &Pathway| {
        if viewer.region == Some(pathway.id.as_str()) {
            f64::INFINITY
        } else {
            score(viewer.session, pathway)
        }
    };
    let mut scored: Vec<_> = pathways
        .iter()
        .filter(|pathway| !pathway.public_url.is_empty())
        .map(|pathway| (rank(pathway), pathway))
        .collect();
    scored.sort_by(|(a, left), (b, right)| b.total_cmp(a).then_with(|| left.id.cmp(&right.id)));
    scored.into_iter().map(|(_, pathway)| pathway).collect()
}

/// Weighted rendezvous hashing: the pathway with the largest `-weight / ln(draw)` wins with a probability proportional to its
/// weight, and taking one away moves nobody but its own sessions.
fn score(session: &str, pathway: &Pathway) -> f64 {
    let digest = Sha256::new()
        .chain_update(session)
        .chain_update([0])
        .chain_update(&pathway.id)
        .finalize();
    let bits = digest
        .iter()
        .take(7)
        .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte))
        >> 3;
    let draw = (bits as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(pathway.weight) / draw.ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pathways(weights: &[(&str, u32)]) -> Vec<Pathway> {
        let pathway = |(id, weight): &(&str, u32)| Pathway {
            id: (*id).into(),
            public_url: format!("http://{id}.test"),
            probe_url: format!("http://{id}.test/healthz"),
            weight: *weight,
        };
        weights.iter().map(pathway).collect()
    }

    fn ids(ordered: &[&Pathway]) -> Vec<String> {
        ordered.iter().map(|pathway| pathway.id.clone()).collect()
    }

    #[test]
    fn the_asked_region_comes_first_until_it_is_unhealthy() {
        let all = pathways(&[("a", 1), ("b", 100), ("c", 100)]);
        let viewer = Viewer {
            region: Some("a"),
            session: "s",
        };
        assert_eq!(order(&all, viewer, |_| true)[0].id, "a");
        assert_eq!(order(&all, viewer, |id| id != "a")[2].id, "a");
        assert_eq!(order(&all, viewer, |_| false)[0].id, "a");
    }

    #[test]
    fn addressless_pathways_do_not_exist() {
        let mut all = pathways(&[("a", 1), ("b", 1)]);
        all[0].public_url.clear();
        let viewer = Viewer {
            region: Some("a"),
            session: "s",
        };
        assert_eq!(ids(&order(&all, viewer, |_| true)), ["b"]);
    }

    #[test]
    fn sessions_spread_by_weight() {
        let all = pathways(&[("a", 3), ("b", 1), ("c", 0)]);
        let homes = (0..4000).filter_map(|n| {
            home(
                &all,
                Viewer {
                    region: None,
                    session: &n.to_string(),
                },
            )
            .map(|home| home.id.clone())
        });
        let mut counts = std::collections::BTreeMap::new();
        homes.for_each(|id| *counts.entry(id).or_insert(0) += 1);
        assert!((2850..3150).contains(&counts["a"]), "{counts:?}");
        assert!(!counts.contains_key("c"), "{counts:?}");
    }

    proptest! {
        #[test]
        fn a_lost_region_moves_only_its_own(session in "[a-z0-9]{1,16}") {
            let all = pathways(&[("a", 3), ("b", 2), ("c", 1)]);
            let viewer = Viewer { region: None, session: &session };
            let before = order(&all, viewer, |_| true);
            let after = order(&all, viewer, |id| id != "b");
            prop_assert_eq!(after.len(), 3);
            prop_assert_eq!(&after[2].id, "b");
            let rest: Vec<_> = ids(&before).into_iter().filter(|id| id != "b").collect();
            prop_assert_eq!(rest, ids(&after[..2]));
        }
    }
}
