//! Premieres.

use serde_json::{Value, json};

use super::{Case, case};

fn premiere() -> Value {
    json!({
        "apiVersion": "showrunner.dev/v1alpha1",
        "kind": "Premiere",
        "metadata": {"name": "opening"},
        "spec": {"platform": "cinema", "start": "2027-01-01T20:00:00Z", "expectedViewers": 1, "ramp": "5m", "duration": "3h"},
    })
}

/// Every case.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(premiere(), |_| (), &[]),
        case(premiere(), |p| p["spec"]["ramp"] = json!("3h"), &[]),
        case(
            premiere(),
            |p| p["spec"]["ramp"] = json!("3h1s"),
            &[("spec.ramp", "ramp must not be longer than duration")],
        ),
        case(
            premiere(),
            |p| p["spec"]["duration"] = json!("299.5s"),
            &[("spec.ramp", "ramp must not be longer than duration")],
        ),
    ]
}
