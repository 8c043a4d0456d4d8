//! Images as programs: which executable stands for which container image.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where programs are looked for beside `PATH`: system daemons live there.
const EXTRA_PATH: [&str; 2] = ["/usr/sbin", "/sbin"];

/// What runs for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Program {
    /// The image's entrypoint.
    Entrypoint(Vec<String>),
    /// Does nothing, whatever its command: the pause image.
    Pause,
}

/// Image name (without tag) → entrypoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageTable {
    programs: BTreeMap<String, Program>,
}

/// An image that cannot run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The table has no such image and the container names no command.
    #[error("no program stands for image `{image}` and the container has no command; known images: {known}")]
    Unknown {
        /// The image as written.
        image: String,
        /// The table, for the reader.
        known: String,
    },
    /// The program is not on this machine.
    #[error("`{program}` (image `{image}`) is not an executable on this machine; known images: {known}")]
    Missing {
        /// The image as written.
        image: String,
        /// What was looked for.
        program: String,
        /// The table, for the reader.
        known: String,
    },
}

impl Default for ImageTable {
    /// Knows the pause images, which do nothing.
    fn default() -> Self {
        let pause = [
            "registry.k8s.io/pause",
            "k8s.gcr.io/pause",
            "gcr.io/google-containers/pause",
        ];
        Self {
            programs: pause.map(|name| (name.to_owned(), Program::Pause)).into(),
        }
    }
}

impl ImageTable {
    /// Adds an image.
    #[must_use]
    pub fn with<S: Into<String>>(mut self, image: &str, entrypoint: impl IntoIterator<Item = S>) -> Self {
        let entrypoint = entrypoint.into_iter().map(Into::into).collect();
        self.programs
            .insert(name_of(image).to_owned(), Program::Entrypoint(entrypoint));
        self
    }

    /// The argument vector for a container: its command, or the image's entrypoint, then its arguments. The first word is
    /// an absolute path.
    pub fn resolve(&self, image: &str, command: &[String], args: &[String]) -> Result<Vec<String>, ImageError> {
        let known = || self.to_string();
        let program = self.programs.get(name_of(image));
        if program == Some(&Program::Pause) {
            let sleep = find("sleep").ok_or_else(|| ImageError::Missing {
                image: image.to_owned(),
                program: "sleep".to_owned(),
                known: known(),
            })?;
            return Ok(vec![sleep.display().to_string(), "infinity".to_owned()]);
        }
        let entrypoint: &[String] = match program {
            Some(Program::Entrypoint(argv)) => argv,
            _ => &[],
        };
        let mut argv: Vec<String> = if command.is_empty() {
            entrypoint.to_vec()
        } else {
            command.to_vec()
        };
        let Some(first) = argv.first_mut() else {
            return Err(ImageError::Unknown {
                image: image.to_owned(),
                known: known(),
            });
        };
        // A command may name the image's own program without its path.
        if !first.contains('/')
            && let Some(own) = entrypoint.first()
            && Path::new(own).file_name().is_some_and(|file| file == first.as_str())
        {
            first.clone_from(own);
        }
        let found = find(first).ok_or_else(|| ImageError::Missing {
            image: image.to_owned(),
            program: first.clone(),
            known: known(),
        })?;
        *first = found.display().to_string();
        argv.extend_from_slice(args);
        Ok(argv)
    }
}

impl fmt::Display for ImageTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (image, program)) in self.programs.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            match program {
                Program::Entrypoint(argv) => write!(f, "{separator}{image} → {}", argv.join(" "))?,
                Program::Pause => write!(f, "{separator}{image} → (pause)")?,
            }
        }
        Ok(())
    }
}

/// An image reference without tag, digest and the default registry.
fn name_of(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    let name = image[last..].find(':').map_or(image, |colon| &image[..last + colon]);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// The executable for a word: a path as it is, a bare name from `PATH`.
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return executable(PathBuf::from(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(EXTRA_PATH.iter().map(PathBuf::from))
        .find_map(|directory| executable(directory.join(program)))
}

fn executable(path: PathBuf) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(&path).ok()?;
    (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn tags_digests_and_the_default_registry_do_not_matter() {
        for (given, expected) in [
            ("varnish", "varnish"),
            ("varnish:7.1", "varnish"),
            ("docker.io/library/varnish:7.1", "varnish"),
            ("ghcr.io/a/b:v1@sha256:00", "ghcr.io/a/b"),
            ("localhost:5000/a", "localhost:5000/a"),
            ("localhost:5000/a:1", "localhost:5000/a"),
        ] {
            assert_eq!(name_of(given), expected);
        }
    }

    #[test]
    fn entrypoint_and_command() {
        let table = ImageTable::default().with("ghcr.io/x/media", ["/bin/sh", "media"]);
        let resolve = |image: &str, command: &str, args: &str| table.resolve(image, &words(command), &words(args));
        assert_eq!(
            resolve("ghcr.io/x/media:1", "", "encoder -c x").unwrap(),
            words("/bin/sh media encoder -c x")
        );
        assert_eq!(
            resolve("ghcr.io/x/media:1", "sh -c", "true").unwrap(),
            words("/bin/sh -c true"),
            "its own program"
        );
        let sleep = resolve("anything", "sleep", "5").unwrap();
        assert!(sleep[0].starts_with('/') && sleep[0].ends_with("/sleep"), "{sleep:?}");
    }

    #[test]
    fn the_pause_image_ignores_its_command() {
        let argv = ImageTable::default()
            .resolve("registry.k8s.io/pause:3.9", &words("media"), &words("x"))
            .unwrap();
        assert_eq!(argv[1..], ["infinity"]);
    }

    #[test]
    fn failures_print_the_table() {
        let table = ImageTable::default().with("web", ["/no/such/program"]);
        let unknown = table.resolve("other:1", &[], &[]).unwrap_err().to_string();
        assert!(
            unknown.contains("other:1") && unknown.contains("web → /no/such/program"),
            "{unknown}"
        );
        let missing = table.resolve("web", &[], &[]).unwrap_err().to_string();
        assert!(
            missing.contains("/no/such/program") && missing.contains("pause"),
            "{missing}"
        );
    }
}
