//! "int or percent" values with Kubernetes' rounding.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// `value` of `total`: a number as it is, a percentage rounded up or down. `None` when it is neither.
pub(crate) fn scaled(value: &IntOrString, total: i32, round_up: bool) -> Option<i32> {
    match value {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let product = percent * i64::from(total);
            let quotient = if round_up {
                (product + 99).div_euclid(100)
            } else {
                product.div_euclid(100)
            };
            i32::try_from(quotient).ok()
        }
    }
}

/// The surge (rounded up) and unavailability (rounded down) a rolling update of `desired` pods may use. When both
/// would be 0 nothing could move, so one pod may be unavailable.
pub(crate) fn fenceposts(surge: Option<&IntOrString>, unavailable: Option<&IntOrString>, desired: i32) -> (i32, i32) {
    let quarter = IntOrString::String("25%".into());
    let surge = scaled(surge.unwrap_or(&quarter), desired, true).unwrap_or(0).max(0);
    let unavailable = scaled(unavailable.unwrap_or(&quarter), desired, false)
        .unwrap_or(0)
        .max(0);
    if surge == 0 && unavailable == 0 {
        (0, 1)
    } else {
        (surge, unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str) -> IntOrString {
        IntOrString::String(text.into())
    }

    #[test]
    fn rounding_follows_kubernetes() {
        for (value, total, up, down) in [
            (percent("25%"), 10, Some(3), Some(2)),
            (percent("25%"), 4, Some(1), Some(1)),
            (percent("1%"), 1, Some(1), Some(0)),
            (percent("100%"), 7, Some(7), Some(7)),
            (percent("0%"), 7, Some(0), Some(0)),
            (IntOrString::Int(3), 100, Some(3), Some(3)),
            (percent("three"), 10, None, None),
        ] {
            assert_eq!(scaled(&value, total, true), up, "{value:?} of {total}, up");
            assert_eq!(scaled(&value, total, false), down, "{value:?} of {total}, down");
        }
    }

    #[test]
    fn a_rolling_update_can_always_move() {
        assert_eq!(fenceposts(Some(&percent("0%")), Some(&percent("10%")), 5), (0, 1));
        assert_eq!(fenceposts(None, None, 10), (3, 2));
        assert_eq!(fenceposts(None, None, 1), (1, 0));
        assert_eq!(
            fenceposts(Some(&IntOrString::Int(0)), Some(&IntOrString::Int(0)), 3),
            (0, 1)
        );
    }
}
