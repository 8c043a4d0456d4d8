//! Seeded decisions, pure.

use rand::{Rng, SeedableRng, rngs::SmallRng};

/// A generator for one decision: the same parts give the same numbers, and other parts unrelated ones.
pub(crate) fn decide(seed: u64, parts: &[&str], number: u64) -> SmallRng {
    // FNV-1a: small, and the same on every platform and in every release, which std's hasher does not promise.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |byte: u8| {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0100_0000_01b3);
    };
    for part in parts {
        part.bytes().for_each(&mut take);
        take(0xff); // no byte of UTF-8: ends the part
    }
    number.to_le_bytes().into_iter().for_each(&mut take);
    seed.to_le_bytes().into_iter().for_each(&mut take);
    SmallRng::seed_from_u64(hash)
}

/// Picks at most one of the options by their probabilities; what is left of 1 is the probability of none.
pub(crate) fn pick<T>(rng: &mut impl Rng, options: impl IntoIterator<Item = (f64, T)>) -> Option<T> {
    let mut at: f64 = rng.random();
    for (probability, option) in options {
        if at < probability {
            return Some(option);
        }
        at -= probability;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_depends_on_each_of_its_parts_alone() {
        let draw = |seed, parts: &[&str], number| decide(seed, parts, number).random::<u64>();
        let first = draw(1, &["a", "b"], 0);
        assert_eq!(first, draw(1, &["a", "b"], 0));
        for other in [
            draw(2, &["a", "b"], 0),
            draw(1, &["ab"], 0),
            draw(1, &["a", "c"], 0),
            draw(1, &["a", "b"], 1),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn options_come_as_often_as_they_should() {
        let mut counts = [0_u32; 3];
        for number in 0..10_000 {
            let picked = pick(&mut decide(7, &["x"], number), [(0.1, 0), (0.3, 1)]);
            counts[picked.unwrap_or(2)] += 1;
        }
        for (count, expected) in counts.into_iter().zip([1000_u32, 3000, 6000]) {
            assert!(count.abs_diff(expected) < 250, "{counts:?}");
        }
    }
}
