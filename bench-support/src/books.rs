//! Medians, targets, and the lines that are printed.

/// The median; not a number where there is no value.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The highest of the lowest `percent` of all values; not a number where there is none.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

/// Says how a figure compares with its target. Never fails: a busy machine is no bug.
pub fn target(name: &str, value: f64, unit: &str, at_least: Option<f64>, at_most: Option<f64>) {
    let (met, wanted) = match (at_least, at_most) {
        (Some(bound), _) => (value >= bound, format!("at least {bound} {unit}")),
        (None, Some(bound)) => (value <= bound, format!("at most {bound} {unit}")),
        (None, None) => (true, String::from("no target")),
    };
    let word = if met { "PASS" } else { "MISS" };
    println!("{word}  {name}: {value:.2} {unit} ({wanted})");
}

/// One line for machines.
pub fn machine(bench: &str, fields: &serde_json::Value) {
    println!("{}", serde_json::json!({ "bench": bench, "figures": fields }));
}
