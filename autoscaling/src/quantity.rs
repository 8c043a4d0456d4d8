//! Kubernetes quantities as integers of thousandths, the unit the autoscaler calculates in.
//!
//! Parsing follows `resource.Quantity.MilliValue()`: the result is rounded up (away from zero) to a whole thousandth
//! and saturates at the limits of 64 bits. Formatting follows `NewMilliQuantity(…, DecimalSI)`: the largest decimal
//! suffix that leaves no fraction.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// A quantity that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Kubernetes quantity (examples: 250m, 1.5, 64Mi, 2e3)")]
pub struct QuantityError {
    /// The text as it was given.
    pub text: String,
}

/// The decimal digits, the power of ten and the power of two of a quantity: `digits × 10^ten × 2^two`.
struct Parts {
    negative: bool,
    digits: i128,
    ten: i32,
    two: u32,
}

/// Twenty-seven digits hold every quantity the API accepts with room for the multiplication by thousand.
const MAX_DIGITS: i128 = 1_000_000_000_000_000_000_000_000_000;

fn split(text: &str) -> Option<Parts> {
    let bytes = text.as_bytes();
    let (negative, mut at) = match bytes.first()? {
        b'-' => (true, 1),
        b'+' => (false, 1),
        _ => (false, 0),
    };
    let (mut digits, mut ten, mut fraction, mut seen) = (0_i128, 0_i32, false, false);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                if digits < MAX_DIGITS {
                    digits = digits * 10 + i128::from(byte - b'0');
                    ten -= i32::from(fraction);
                } else {
                    ten += i32::from(!fraction);
                }
            }
            b'.' if !fraction => fraction = true,
            _ => break,
        }
        at += 1;
    }
    if !seen {
        return None;
    }
    let suffix = text.get(at..)?;
    let (more, two) = match suffix {
        "" => (0, 0),
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => (suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?.clamp(-60, 60), 0),
    };
    Some(Parts {
        negative,
        digits,
        ten: ten + more,
        two,
    })
}

/// The value of `text` in thousandths, rounded up and saturated as Kubernetes does.
pub fn parse_milli(text: &str) -> Result<i64, QuantityError> {
    let parts = split(text).ok_or_else(|| QuantityError { text: text.to_owned() })?;
    let magnitude = scale(parts.digits, parts.ten + 3, parts.two);
    let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
    Ok(if parts.negative { -magnitude } else { magnitude })
}

/// `digits × 10^ten × 2^two`, rounded up to an integer, saturating.
fn scale(digits: i128, ten: i32, two: u32) -> i128 {
    let mut value = digits.checked_mul(1_i128 << two).unwrap_or(i128::MAX);
    if ten >= 0 {
        for _ in 0..ten {
            value = value.saturating_mul(10);
        }
        return value;
    }
    let mut remainder = false;
    for _ in 0..-ten {
        remainder |= value % 10 != 0;
        value /= 10;
    }
    value + i128::from(remainder)
}

/// The value of a quantity in thousandths; see [`parse_milli`].
pub fn milli(quantity: &Quantity) -> Result<i64, QuantityError> {
    parse_milli(&quantity.0)
}

/// The value of a quantity as a float, as `Quantity.AsApproximateFloat64()`: used for tolerances.
pub fn approximate(quantity: &Quantity) -> Result<f64, QuantityError> {
    let parts = split(&quantity.0).ok_or_else(|| QuantityError {
        text: quantity.0.clone(),
    })?;
    // Dividing by an exact power of ten keeps 0.1 the float 0.1; multiplying by the rounded 1e-1 need not.
    let base = parts.digits as f64 * 2_f64.powi(parts.two as i32);
    let value = if parts.ten < 0 {
        base / 10_f64.powi(-parts.ten)
    } else {
        base * 10_f64.powi(parts.ten)
    };
    Ok(if parts.negative { -value } else { value })
}

/// The canonical text of a number of thousandths: `1000` is `1`, `11750` is `11750m`, `2000000` is `2k`.
pub fn format_milli(value: i64) -> String {
    if value == 0 {
        return "0".to_owned();
    }
    let (mut value, mut index) = (value, 0);
    let suffixes = ["m", "", "k", "M", "G", "T", "P", "E"];
    while value % 1000 == 0 && index + 1 < suffixes.len() {
        value /= 1000;
        index += 1;
    }
    format!("{value}{}", suffixes[index])
}

/// The canonical quantity of a number of thousandths; see [`format_milli`].
pub fn from_milli(value: i64) -> Quantity {
    Quantity(format_milli(value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn reads_every_suffix_and_rounds_up() {
        for (text, expected) in [
            ("0", 0),
            ("1", 1000),
            ("250m", 250),
            ("1.5", 1500),
            (".5", 500),
            ("2.", 2000),
            ("156340n", 1),
            ("1000001u", 1001),
            ("64Mi", 64 * 1024 * 1024 * 1000),
            ("2e3", 2_000_000),
            ("1E2", 100_000),
            (
                "1E",
                1_000_000_000_000_000_000_000_i128.min(i128::from(i64::MAX)) as i64,
            ),
            ("-250m", -250),
            ("+3k", 3_000_000),
            ("0.0001", 1),
        ] {
            assert_eq!(parse_milli(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_quantity() {
        for text in ["", "m", "1 ", "1Kib", "one", ".", "--1", "1e", "1mm"] {
            assert!(parse_milli(text).is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn writes_the_canonical_form() {
        for (value, expected) in [
            (0, "0"),
            (1, "1m"),
            (1000, "1"),
            (11750, "11750m"),
            (2_000_000, "2k"),
            (-1500, "-1500m"),
            (1_500_000, "1500"),
        ] {
            assert_eq!(format_milli(value), expected);
            assert_eq!(parse_milli(expected), Ok(value));
        }
    }

    #[test]
    fn tolerances_are_the_float_that_was_written() {
        for (text, expected) in [
            ("0.1", 0.1),
            ("50m", 0.05),
            ("0.01", 0.01),
            ("0", 0.0),
            ("0.075", 0.075),
            ("1", 1.0),
        ] {
            assert!(
                (approximate(&Quantity(text.to_owned())).unwrap() - expected).abs() < f64::EPSILON,
                "{text}"
            );
        }
    }
}
