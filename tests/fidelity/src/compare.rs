//! How far two players were apart: pure.

use serde::{Deserialize, Serialize};

use crate::timeline::Timeline;

/// What agreement is asked for, as a share.
pub(crate) const AGREED: f64 = 0.10;
/// Distance between the moments at which buffers are compared, in seconds.
const GRID: f64 = 0.1;
/// Stalls are compared in relation to the reference's, or to this many seconds if it stalled less.
pub(crate) const LEAST_STALLED: f64 = 1.0;

/// One thing that is compared: what it was for the reference, what for the other, and the difference as a share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// The reference's figure.
    pub(crate) reference: f64,
    /// The other's.
    pub(crate) other: f64,
    /// How far apart, as a share: 0.1 is 10 %. Infinite where nothing could be compared.
    pub(crate) share: f64,
}

impl Difference {
    fn relative(reference: f64, other: f64, least: f64) -> Self {
        Self {
            reference,
            other,
            share: (reference - other).abs() / reference.max(least),
        }
    }

    const fn none() -> Self {
        Self {
            reference: f64::NAN,
            other: f64::NAN,
            share: f64::INFINITY,
        }
    }

    /// Whether it is within what is asked for.
    #[must_use]
    pub(crate) fn agrees(&self) -> bool {
        self.share <= AGREED
    }
}

/// All that is compared of two sessions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// Seconds to moving pictures, relative to the reference's.
    pub(crate) startup: Difference,
    /// Mean rung (0 is the lowest); the share is that of segments that came in another rung.
    pub(crate) rung: Difference,
    /// Mean seconds of media ahead of the playhead; the share is the mean distance at the same moment, relative to the
    /// reference's mean.
    pub(crate) buffer: Difference,
    /// Seconds stalled, relative to the reference's, or to 1 s if it stalled less.
    pub(crate) stalls: Difference,
}

impl Comparison {
    /// The four, with their names.
    #[must_use]
    pub(crate) fn rows(&self) -> [(&'static str, Difference); 4] {
        [
            ("startup", self.startup),
            ("rung over time", self.rung),
            ("buffer level", self.buffer),
            ("stalled", self.stalls),
        ]
    }
}

/// Holds `other` against `reference`. `ladder` are the rungs' names, lowest first.
#[must_use]
pub(crate) fn compare(reference: &Timeline, other: &Timeline, ladder: &[String]) -> Comparison {
    // Of two of which one gave up, or was not watched for as long, what they had in common says nothing.
    let length = |of: &Timeline| of.length().as_secs_f64();
    let as_long = (length(reference) - length(other)).abs() <= AGREED * length(reference);
    if reference.fatal.is_some() != other.fatal.is_some() || !as_long {
        let none = Difference::none();
        return Comparison {
            startup: none,
            rung: none,
            buffer: none,
            stalls: none,
        };
    }
    let startup = match (reference.startup, other.startup) {
        (Some(reference), Some(other)) => Difference::relative(reference, other, 0.001),
        _ => Difference::none(),
    };
    Comparison {
        startup,
        rung: rungs(reference, other, ladder),
        buffer: buffers(reference, other),
        stalls: Difference::relative(reference.stalled(), other.stalled(), LEAST_STALLED),
    }
}

fn rungs(reference: &Timeline, other: &Timeline, ladder: &[String]) -> Difference {
    let index = |rung: &String| ladder.iter().position(|name| name == rung);
    let both: Vec<(usize, usize)> = reference
        .rungs
        .iter()
        .filter_map(|(number, rung)| Some((index(rung)?, index(other.rungs.get(number)?)?)))
        .collect();
    if both.is_empty() {
        return Difference::none();
    }
    let count = both.len() as f64;
    let differ = both.iter().filter(|(reference, other)| reference != other).count();
    let left_out = left_out(reference, other) + left_out(other, reference);
    Difference {
        reference: both.iter().map(|(reference, _)| *reference as f64).sum::<f64>() / count,
        other: both.iter().map(|(_, other)| *other as f64).sum::<f64>() / count,
        share: (differ + left_out) as f64 / (both.len() + left_out) as f64,
    }
}

/// Segments that one has and the other left out, between the first and the last that it has.
fn left_out(one: &Timeline, other: &Timeline) -> usize {
    let (Some(first), Some(last)) = (other.rungs.keys().next(), other.rungs.keys().next_back()) else {
        return 0;
    };
    let within = one.rungs.range(*first..=*last);
    within.filter(|(number, _)| !other.rungs.contains_key(number)).count()
}

fn buffers(reference: &Timeline, other: &Timeline) -> Difference {
    let (Some(a), Some(b)) = (reference.startup, other.startup) else {
        return Difference::none();
    };
    let (begin, end) = (a.max(b), reference.length().min(other.length()).as_secs_f64());
    let moments = (0u32..)
        .map(|index| begin + f64::from(index) * GRID)
        .take_while(|at| *at <= end);
    let both: Vec<(f64, f64)> = moments
        .filter_map(|at| Some((reference.buffered(at)?, other.buffered(at)?)))
        .collect();
    if both.is_empty() {
        return Difference::none();
    }
    let count = both.len() as f64;
    let mean = both.iter().map(|(reference, _)| reference).sum::<f64>() / count;
    Difference {
        reference: mean,
        other: both.iter().map(|(_, other)| other).sum::<f64>() / count,
        share: both.iter().map(|(a, b)| (a - b).abs()).sum::<f64>() / count / mean.max(0.1),
    }
}

/// The median of several comparisons, each figure by itself.
#[must_use]
pub(crate) fn median(all: &[Comparison]) -> Option<Comparison> {
    let of = |pick: fn(&Comparison) -> Difference| {
        let mut differences: Vec<Difference> = all.iter().map(pick).collect();
        differences.sort_by(|a, b| a.share.total_cmp(&b.share));
        differences.get(differences.len().saturating_sub(1) / 2).copied()
    };
    Some(Comparison {
        startup: of(|c| c.startup)?,
        rung: of(|c| c.rung)?,
        buffer: of(|c| c.buffer)?,
        stalls: of(|c| c.stalls)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::timeline::example;

    fn ladder() -> Vec<String> {
        ["lo", "hi"].map(String::from).into()
    }

    fn disagreeing(change: impl FnOnce(&mut Timeline)) -> Vec<&'static str> {
        let mut other = example();
        change(&mut other);
        let comparison = compare(&example(), &other, &ladder());
        comparison
            .rows()
            .iter()
            .filter(|(_, difference)| !difference.agrees())
            .map(|(name, _)| *name)
            .collect()
    }

    #[test]
    fn the_same_session_agrees() {
        assert_eq!(disagreeing(|_| {}), Vec::<&str>::new());
        assert_eq!(disagreeing(|other| other.startup = Some(1.09)), Vec::<&str>::new());
    }

    #[test]
    fn each_difference_is_found() {
        assert_eq!(disagreeing(|other| other.startup = Some(1.2)), ["startup"]);
        assert_eq!(disagreeing(|other| other.stalls.clear()), ["stalled"]);
        assert_eq!(
            disagreeing(|other| other.samples.iter_mut().for_each(|s| s.buffered += 0.5)),
            ["buffer level"]
        );
        let other_rungs = |other: &mut Timeline| {
            for number in 0..4 {
                other.rungs.insert(number, "lo".into());
            }
        };
        assert_eq!(disagreeing(other_rungs), ["rung over time"]);
        let skipping = |other: &mut Timeline| other.rungs.retain(|number, _| !(10..14).contains(number));
        assert_eq!(disagreeing(skipping), ["rung over time"]);
        let all = ["startup", "rung over time", "buffer level", "stalled"];
        assert_eq!(disagreeing(|other| other.fatal = Some("gave up".into())), all);
        assert_eq!(disagreeing(|other| other.samples.truncate(300)), all);
    }

    #[test]
    fn a_difference_that_evens_out_is_one() {
        let swing = |other: &mut Timeline| {
            for (index, sample) in other.samples.iter_mut().enumerate() {
                sample.buffered += if index % 2 == 0 { 2.0 } else { -2.0 };
            }
        };
        assert_eq!(disagreeing(swing), ["buffer level"]);
    }

    #[test]
    fn nothing_to_compare_never_agrees() {
        let nothing = Timeline::default();
        let comparison = compare(&nothing, &nothing, &ladder());
        for (name, difference) in &comparison.rows()[..3] {
            assert!(!difference.agrees(), "{name}");
        }
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_median_is_by_figure() {
        let (same, mut late) = (example(), example());
        late.startup = Some(2.0);
        let [same, late] = [same, late].map(|other| compare(&example(), &other, &ladder()));
        assert!(median(&[same, late, same]).unwrap().startup.agrees());
        assert!(!median(&[late, late, same]).unwrap().startup.agrees());
    }
}
