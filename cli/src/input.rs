//! Reading files. Nothing of a command is done before every file it needs is found to be right.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use showrunner_crds::{
    platform::{StreamingPlatform, StreamingPlatformSpec},
    scenario::Scenario,
    source::{Diagnostics, MAX_BYTES, PlatformFile, locate, read_platform_file_with, read_scenario},
};

use crate::failure::Failure;

/// The name of standard input.
const STDIN: &str = "-";
/// What was read, by path: standard input and pipes give everything once, and a file may be looked at again.
static READ: Mutex<BTreeMap<PathBuf, Vec<u8>>> = Mutex::new(BTreeMap::new());

/// Reads a file with a platform; `-` is standard input.
pub(crate) fn platform(path: &Path) -> Result<PlatformFile, Failure> {
    read_platform_file_with(&name(path), bytes(path, MAX_BYTES)?, renderable).map_err(|d| every(&d))
}

/// Reads a file with a platform and one with a scenario, and holds the one against the other. What is wrong with both is
/// said at once.
pub(crate) fn platform_and_scenario(platform: &Path, scenario: &Path) -> Result<(PlatformFile, Scenario), Failure> {
    if platform == Path::new(STDIN) && scenario == platform {
        return Err(Failure::invalid("standard input can be one file, not two"));
    }
    match self::platform(platform) {
        Ok(file) => {
            let scenario = self::scenario(scenario, Some(&file.platform.spec))?;
            Ok((file, scenario))
        }
        Err(failure) => Err(match self::scenario(scenario, None) {
            Ok(_) => failure,
            Err(also) => failure.beside(&also),
        }),
    }
}

/// Reads a file with a scenario, and holds it against a platform if there is one.
pub(crate) fn scenario(path: &Path, platform: Option<&StreamingPlatformSpec>) -> Result<Scenario, Failure> {
    read_scenario(&name(path), bytes(path, MAX_BYTES)?, platform).map_err(|d| every(&d))
}

/// What the operator would not render of a platform that a scenario's patch has made, though the patch by itself is right:
/// names that are made of names.
pub(crate) fn patched_platform(scenario: &Path, platform: &StreamingPlatform) -> Result<(), Failure> {
    let refused = renderable(platform).into_iter();
    right(
        scenario,
        refused.map(|(path, message)| ("spec.platformPatch".to_owned(), format!("gives {path}: {message}"))),
    )
}

/// An error where a file that was read has mistakes all the same: paths such as `spec.faults[1]`, each with what is wrong
/// there.
pub(crate) fn right(path: &Path, mistakes: impl Iterator<Item = (String, String)>) -> Result<(), Failure> {
    let mut mistakes = mistakes.peekable();
    if mistakes.peek().is_none() {
        return Ok(());
    }
    Err(every(&locate(&name(path), bytes(path, MAX_BYTES)?, mistakes)))
}

/// What the operator would not render.
fn renderable(platform: &StreamingPlatform) -> Vec<(String, String)> {
    let refused = showrunner_operator::validate::validate(platform).err();
    let violations = refused.into_iter().flat_map(|error| error.violations);
    violations
        .map(|violation| (violation.path, violation.message))
        .collect()
}

fn name(path: &Path) -> String {
    if path == Path::new(STDIN) {
        "standard input".into()
    } else {
        path.display().to_string()
    }
}

/// A file's bytes, or those of standard input; of a file that is larger, one byte more than `most`. So a file of any size costs
/// no more than that.
pub(crate) fn bytes(path: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    let refuse = |why: String| Failure::invalid(format!("{}: {why}", name(path)));
    let mut known = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(read) = known.get(path) {
        return Ok(read.clone());
    }
    let standard = path == Path::new(STDIN);
    let source: Box<dyn Read> = if standard {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(path).map_err(|error| {
            refuse(match error.kind() {
                ErrorKind::NotFound => "there is no such file".into(),
                _ => format!("cannot be opened: {error}"),
            })
        })?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(refuse("is a directory: name a file in it".into()));
        }
        Box::new(file)
    };
    let mut bytes = vec![];
    source
        .take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(format!("cannot be read: {error}")))?;
    known.insert(path.to_owned(), bytes.clone());
    Ok(bytes)
}

/// All the mistakes of a file, a line each.
fn every(diagnostics: &Diagnostics) -> Failure {
    Failure::invalid(diagnostics.lines().collect::<Vec<_>>().join("\n"))
}
