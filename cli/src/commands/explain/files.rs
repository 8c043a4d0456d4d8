//! An autoscaler and what it sees, from files.

use std::path::Path;

use showrunner_autoscaling::explain::{File, InputError, Inputs};

use super::{Subject, note};
use crate::{failure::Failure, input};

/// Largest file that is read, in bytes: thousands of pods with all their fields.
const MAX_BYTES: usize = 64 << 20;

/// Reads files; `-` is standard input.
pub(super) fn read(sources: &[String], name: Option<&str>) -> Result<Subject, Failure> {
    if sources.iter().filter(|source| *source == "-").count() > 1 {
        return Err(Failure::invalid(
            "- is named twice: standard input can be read only once",
        ));
    }
    let texts = sources
        .iter()
        .map(|source| text(source))
        .collect::<Result<Vec<_>, _>>()?;
    let files: Vec<File<'_>> = sources
        .iter()
        .zip(&texts)
        .map(|(name, text)| File { name, text })
        .collect();
    let inputs = Inputs::from_files(&files, name).map_err(|error| {
        Failure::invalid(match error {
            InputError::Syntax(_) | InputError::Shape(_) => error.to_string(),
            InputError::Several(_) => format!("{}: {error} with --name", sources.join(", ")),
            InputError::NoAutoscaler(_) => format!("{}: {error}", sources.join(", ")),
        })
    })?;
    if inputs.observation.pods.is_empty() {
        note("no pods of the target among the objects; `kubectl get pods -o yaml` prints them");
    } else if inputs.observation.samples.resource.as_ref().is_ok_and(Vec::is_empty) && follows_resources(&inputs) {
        note(
            "no samples of the target's pods among the objects; `kubectl get pods.metrics.k8s.io -o yaml` prints them",
        );
    }
    Ok(Subject {
        inputs,
        now: None,
        capacity: None,
    })
}

fn follows_resources(inputs: &Inputs) -> bool {
    let mut metrics = inputs.hpa.spec.metrics.iter().flatten();
    metrics.any(|metric| metric.resource.is_some() || metric.container_resource.is_some())
}

fn text(source: &str) -> Result<String, Failure> {
    let path = Path::new(source);
    let bytes = input::bytes(path, MAX_BYTES).map_err(|failure| absent(source, failure))?;
    if bytes.len() > MAX_BYTES {
        return Err(Failure::invalid(format!(
            "{source}: larger than {} MiB",
            MAX_BYTES >> 20
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        Failure::invalid(format!("{source}:{line}: not UTF-8"))
    })
}

/// Whoever names an autoscaler instead of a file is told how.
fn absent(source: &str, failure: Failure) -> Failure {
    if source.contains(['.', '/']) || Path::new(source).exists() {
        return failure;
    }
    failure.beside(&Failure::invalid(format!(
        "an autoscaler in a cluster is named with its namespace: showrunner explain hpa -n NAMESPACE {source}"
    )))
}
