//! Kubernetes quantities (`500m`, `64Mi`, `10M`, `1e3`) as numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// A quantity that does not follow the grammar of the Kubernetes API conventions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Kubernetes quantity (examples: 500m, 64Mi, 10M, 1e3)")]
pub struct QuantityError(pub String);

/// The value of a quantity, in its base unit (cores, bytes, bits).
pub fn parse(text: &str) -> Result<f64, QuantityError> {
    let bad = || QuantityError(text.to_owned());
    let trimmed = text.trim();
    let split = trimmed
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(trimmed.len());
    let (number, suffix) = trimmed.split_at(split);
    let value: f64 = number.parse().map_err(|_| bad())?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        other => {
            let exponent = other.strip_prefix(['e', 'E']).ok_or_else(bad)?;
            10f64.powi(exponent.parse().map_err(|_| bad())?)
        }
    };
    Ok(value * factor)
}

/// [`parse`] for the API type.
pub fn value(quantity: &Quantity) -> Result<f64, QuantityError> {
    parse(&quantity.0)
}

/// `quantity / divisor`, rounded up: how the downward API renders a resource field.
pub fn divided(quantity: &Quantity, divisor: Option<&Quantity>) -> Result<i64, QuantityError> {
    let divisor = match divisor {
        // The API server defaults an unset divisor to "0", which means one.
        Some(given) if value(given)? > 0.0 => value(given)?,
        _ => 1.0,
    };
    // The guard keeps 0.1 / 0.1 and the like from rounding up on a float's last bit.
    Ok((value(quantity)? / divisor - 1e-9).ceil() as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]
    use super::*;

    #[test]
    fn every_suffix_family_parses() {
        assert_eq!(parse("500m").unwrap(), 0.5);
        assert_eq!(parse("64Mi").unwrap(), 67_108_864.0);
        assert_eq!(parse("10M").unwrap(), 10_000_000.0);
        assert_eq!(parse("1e3").unwrap(), 1000.0);
        assert_eq!(parse("2").unwrap(), 2.0);
        assert_eq!(parse("1E").unwrap(), 1e18);
        assert_eq!(parse("-1.5k").unwrap(), -1500.0);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "M", "1Q", "1e", "ten", "1 Mi"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn division_rounds_up() {
        let quantity = |text: &str| Quantity(text.to_owned());
        assert_eq!(divided(&quantity("250m"), None).unwrap(), 1);
        assert_eq!(divided(&quantity("250m"), Some(&quantity("1m"))).unwrap(), 250);
        assert_eq!(divided(&quantity("64Mi"), Some(&quantity("1Mi"))).unwrap(), 64);
        assert_eq!(divided(&quantity("64Mi"), Some(&quantity("0"))).unwrap(), 67_108_864);
    }
}
