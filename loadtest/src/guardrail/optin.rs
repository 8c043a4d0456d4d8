//! Whether namespace and platform agree to a drill, and are what the caller takes them for.

use std::collections::BTreeMap;

use showrunner_crds::annotations::{DRILLS, DRILLS_ALLOWED, ENVIRONMENT};

use super::{Guardrail, Tripped};

/// Annotations of an object.
pub type Annotations = BTreeMap<String, String>;

/// Nothing if a drill may run: both annotations say so, and the platform's environment is the one that was stated.
pub fn agreed(namespace: &Annotations, platform: &Annotations, stated: Option<&str>) -> Result<(), Tripped> {
    for (what, annotations) in [("namespace", namespace), ("StreamingPlatform", platform)] {
        let found = annotations.get(DRILLS).map(String::as_str);
        if found != Some(DRILLS_ALLOWED) {
            let found = found.map_or_else(String::new, |found| format!(", found `{found}`"));
            let why = format!(
                "the {what} does not agree to drills: it needs the annotation {DRILLS}: {DRILLS_ALLOWED}{found}"
            );
            return Err(Tripped::new(Guardrail::OptIn, why));
        }
    }
    let trip = |why: String| Err(Tripped::new(Guardrail::Environment, why));
    match (platform.get(ENVIRONMENT).map(String::as_str), stated) {
        (Some(found), Some(stated)) if found == stated => Ok(()),
        (Some(found), Some(stated)) => trip(format!("--environment is `{stated}`, the platform is `{found}`")),
        (Some(found), None) => trip(format!(
            "the platform is `{found}`: if that is where the drill is to run, say --environment {found}"
        )),
        (None, Some(stated)) => trip(format!(
            "--environment is `{stated}`, the platform has no annotation {ENVIRONMENT}"
        )),
        (None, None) => trip(format!(
            "nobody says which environment this is: the platform needs the annotation {ENVIRONMENT}, the command --environment"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn annotations(drills: Option<&str>, environment: Option<&str>) -> Annotations {
        [(DRILLS, drills), (ENVIRONMENT, environment)]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
            .collect()
    }

    #[test]
    fn both_must_agree() {
        let yes = annotations(Some("allowed"), Some("staging"));
        assert_eq!(agreed(&yes, &yes, Some("staging")), Ok(()));
        for no in [None, Some("forbidden"), Some(""), Some("Allowed"), Some("true")] {
            let no = annotations(no, Some("staging"));
            for (namespace, platform) in [(&no, &yes), (&yes, &no)] {
                let refused = agreed(namespace, platform, Some("staging")).unwrap_err();
                assert_eq!(refused.guardrail, Guardrail::OptIn, "{refused}");
            }
        }
    }

    #[test]
    fn the_environment_must_be_stated_twice_and_be_the_same() {
        let on = |environment| annotations(Some("allowed"), environment);
        for (found, stated, agrees) in [
            (Some("staging"), Some("staging"), true),
            (Some("staging"), Some("production"), false),
            (Some("staging"), None, false),
            (None, Some("staging"), false),
            (None, None, false),
        ] {
            let outcome = agreed(&on(None), &on(found), stated);
            assert_eq!(outcome.is_ok(), agrees, "{found:?} {stated:?}");
            assert!(outcome.is_ok() || outcome.unwrap_err().guardrail == Guardrail::Environment);
        }
    }
}
