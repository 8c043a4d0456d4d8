//! Reading evidence back.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use showrunner_crds::rules::{validate, validate_scenario};

use super::{Event, Header, Record, RunEnd, SCHEMA, lines::next_line};

/// A run's evidence in memory.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The first line.
    pub header: Header,
    /// The rest, by time.
    pub records: Vec<Record>,
    /// How the run ended, and why.
    pub end: (RunEnd, String),
}

/// Why evidence cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("evidence {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is no record.
    #[error("evidence {}, line {line}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// One-based line.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// The first line is not a run's header.
    #[error("evidence {}: the first line must be the header of a run (\"kind\":\"run\")", path.display())]
    NoHeader {
        /// The file.
        path: PathBuf,
    },
    /// The schema is of another version.
    #[error("evidence {}: schema {found}, this program reads schema {SCHEMA}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: u32,
    },
    /// The header states a platform or a scenario that no run can have had.
    #[error("evidence {}: the header's {what}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Looks at the schema alone: a header of another one may not be readable at all.
#[derive(serde::Deserialize)]
struct SchemaOnly {
    data: Schema,
}

#[derive(serde::Deserialize)]
struct Schema {
    schema: u32,
}

/// Whatever a gate computes with must be a value that a run can have had.
fn check(header: &Header, path: &Path) -> Result<(), ReadError> {
    // The definition's minimum, which the rules leave to it.
    let no_capacity = (header.platform.edge.viewers_per_replica == 0)
        .then(|| "platform: spec.edge.viewersPerReplica: must be at least 1".to_owned());
    let platform = validate(&header.platform)
        .into_iter()
        .map(|v| format!("platform: {}: {}", v.path, v.message));
    // The platform is as it was run: what the scenario patches is in it already.
    let scenario = validate_scenario(&header.scenario, None).into_iter();
    let scenario = scenario.map(|v| format!("scenario: {}: {}", v.path, v.message));
    let wrong: Vec<String> = no_capacity.into_iter().chain(platform).chain(scenario).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(ReadError::Header {
        path: path.to_owned(),
        what: wrong.join("; "),
    })
}

/// Reads a file of evidence. A last line cut off by a crash is passed over; the run then counts as not completed.
pub fn read(path: &Path) -> Result<Evidence, ReadError> {
    let io = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let mut header = None;
    let mut records: Vec<Record> = Vec::new();
    let mut cut: Option<(usize, serde_json::Error)> = None;
    let mut number = 0;
    while let Some(line) = next_line(&mut file).map_err(io)? {
        number += 1;
        if let Some((line, source)) = cut.take() {
            return Err(ReadError::Malformed {
                path: path.to_owned(),
                line,
                source,
            });
        }
        if number == 1
            && let Ok(SchemaOnly {
                data: Schema { schema },
            }) = line.json()
            && schema != SCHEMA
        {
            return Err(ReadError::Schema {
                path: path.to_owned(),
                found: schema,
            });
        }
        match line.json::<Record>() {
            Ok(Record {
                event: Event::Run(found),
                ..
            }) if header.is_none() => header = Some(*found),
            Ok(_) if header.is_none() => return Err(ReadError::NoHeader { path: path.to_owned() }),
            Ok(record) => records.push(record),
            Err(source) if source.is_eof() && header.is_some() => cut = Some((number, source)),
            Err(source) => {
                return Err(ReadError::Malformed {
                    path: path.to_owned(),
                    line: number,
                    source,
                });
            }
        }
    }
    let header = header.ok_or_else(|| ReadError::NoHeader { path: path.to_owned() })?;
    check(&header, path)?;
    records.sort_by_key(|r| r.t);
    let end = records.iter().rev().find_map(|r| match &r.event {
        Event::End { outcome, detail } => Some((*outcome, detail.clone())),
        _ => None,
    });
    Ok(Evidence {
        header,
        records,
        end: end.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::evidence;

    fn written(change: impl Fn(&mut Header)) -> Result<Evidence, ReadError> {
        let mut evidence = evidence();
        change(&mut evidence.header);
        let header = Record {
            t: -1000,
            event: Event::Run(Box::new(evidence.header)),
        };
        let lines = std::iter::once(&header).chain(&evidence.records);
        let text: Vec<String> = lines.map(|r| serde_json::to_string(r).unwrap()).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("evidence.jsonl");
        std::fs::write(&path, text.join("\n")).unwrap();
        read(&path)
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(written(|_| {}).unwrap().end.0, RunEnd::Completed);
    }

    #[test]
    fn a_line_that_is_too_long_is_named_and_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("evidence.jsonl");
        let record = Record {
            t: -1000,
            event: Event::Run(Box::new(evidence().header)),
        };
        let mut text = serde_json::to_vec(&record).unwrap();
        text.push(b'\n');
        text.resize(text.len() + (17 << 20), b' ');
        std::fs::write(&path, text).unwrap();
        let said = read(&path).unwrap_err().to_string();
        assert!(said.contains("evidence.jsonl, line 2: longer than 16 MiB"), "{said}");
    }

    #[test]
    fn a_platform_that_cannot_have_run_is_named() {
        let error = written(|h| h.platform.edge.viewers_per_replica = 0).unwrap_err();
        assert!(error.to_string().contains("viewersPerReplica"), "{error}");
    }

    #[test]
    fn another_schema_is_refused_before_anything_else_is_read() {
        assert!(matches!(
            written(|h| h.schema = 1),
            Err(ReadError::Schema { found: 1, .. })
        ));
    }
}
