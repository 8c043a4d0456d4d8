//! Reading evidence back.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use super::{Event, Header, Record, SCHEMA};

/// A run's evidence in memory.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The first line.
    pub header: Header,
    /// The rest, by time.
    pub records: Vec<Record>,
    /// Whether the last line says that the run completed.
    pub completed: bool,
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
}

/// Reads a file of evidence. A last line cut off by a crash is passed over; the run then counts as not completed.
pub fn read(path: &Path) -> Result<Evidence, ReadError> {
    let io = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    let file = BufReader::new(File::open(path).map_err(io)?);
    let mut header = None;
    let mut records: Vec<Record> = Vec::new();
    let mut cut: Option<(usize, serde_json::Error)> = None;
    for (index, line) in file.lines().enumerate() {
        let line = line.map_err(io)?;
        if let Some((line, source)) = cut.take() {
            return Err(ReadError::Malformed {
                path: path.to_owned(),
                line,
                source,
            });
        }
        match serde_json::from_str::<Record>(&line) {
            Ok(Record {
                event: Event::Run(found),
                ..
            }) if header.is_none() => header = Some(*found),
            Ok(_) if header.is_none() => return Err(ReadError::NoHeader { path: path.to_owned() }),
            Ok(record) => records.push(record),
            Err(source) if source.is_eof() && header.is_some() => cut = Some((index + 1, source)),
            Err(source) => {
                return Err(ReadError::Malformed {
                    path: path.to_owned(),
                    line: index + 1,
                    source,
                });
            }
        }
    }
    let header = header.ok_or_else(|| ReadError::NoHeader { path: path.to_owned() })?;
    if header.schema != SCHEMA {
        return Err(ReadError::Schema {
            path: path.to_owned(),
            found: header.schema,
        });
    }
    records.sort_by_key(|r| r.t);
    let completed = records
        .iter()
        .any(|r| matches!(&r.event, Event::End { outcome } if outcome == "completed"));
    Ok(Evidence {
        header,
        records,
        completed,
    })
}
