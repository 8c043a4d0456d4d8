//! `as=Table`: what `kubectl get` shows.

mod columns;

use std::sync::Arc;

use http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::jsonpath;
use crate::registry::ResourceDef;
use crate::registry::printer::Column;
use crate::store::object::Stored;

/// What form of the meta API the client wants instead of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `Table`, in this version of meta.k8s.io.
    Table { version: String, include: Include },
    /// `PartialObjectMetadata`, in this version of meta.k8s.io.
    Metadata { version: String },
}

/// What a row carries of its object (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    Metadata,
    Object,
    None,
}

/// Reads the Accept header, and `includeObject` of the query: the first alternative the server can serve wins.
pub(crate) fn wanted(headers: &HeaderMap, include: Option<&str>) -> Option<Kind> {
    let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
    for alternative in accept.split(',') {
        let mut parameters = alternative.split(';').map(str::trim);
        if parameters.next() != Some("application/json") {
            continue;
        }
        let (mut form, mut version) = (None, "v1".to_owned());
        for parameter in parameters {
            match parameter.split_once('=') {
                Some(("as", value)) => form = Some(value.to_owned()),
                Some(("v", value)) => value.clone_into(&mut version),
                _ => {}
            }
        }
        return match form.as_deref() {
            Some("Table") => {
                let include = match include {
                    Some("Object") => Include::Object,
                    Some("None") => Include::None,
                    _ => Include::Metadata,
                };
                Some(Kind::Table { version, include })
            }
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Some(Kind::Metadata { version }),
            _ => None,
        };
    }
    None
}

fn partial(object: &Value, version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": object["metadata"]})
}

/// Renders objects as a table or as bare metadata.
pub(crate) fn render(def: &ResourceDef, objects: &[Arc<Stored>], kind: &Kind, metadata: &Value) -> Value {
    match kind {
        Kind::Metadata { version } => {
            let items = objects
                .iter()
                .map(|object| partial(&object.value, version))
                .collect::<Vec<_>>();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata, "items": items})
        }
        Kind::Table { version, include } => {
            let columns = columns_of(def);
            let rows = objects
                .iter()
                .map(|object| row(def, &columns, object, version, *include))
                .collect::<Vec<_>>();
            json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
                "columnDefinitions": columns.iter().map(Definition::json).collect::<Vec<_>>(), "rows": rows})
        }
    }
}

/// Renders one object, as watches send it.
pub(crate) fn render_one(def: &ResourceDef, object: &Stored, kind: &Kind) -> Value {
    match kind {
        Kind::Metadata { version } => partial(&object.value, version),
        Kind::Table { version, include } => {
            let columns = columns_of(def);
            let row = row(def, &columns, object, version, *include);
            json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": {"resourceVersion": object.revision.to_string()},
                "columnDefinitions": columns.iter().map(Definition::json).collect::<Vec<_>>(), "rows": [row]})
        }
    }
}

/// Where a cell comes from.
enum Source {
    Built(fn(&Value) -> Value),
    Path(String, String),
}

/// A column with the way to its cells.
struct Definition {
    column: Column,
    source: Source,
}

impl Definition {
    fn built(name: &str, ty: &str, priority: i64, cell: fn(&Value) -> Value) -> Self {
        let column = Column {
            name: name.to_owned(),
            ty: ty.to_owned(),
            description: name.to_owned(),
            priority,
            json_path: String::new(),
        };
        Self {
            column,
            source: Source::Built(cell),
        }
    }

    fn json(&self) -> Value {
        let format = if self.column.name == "Name" { "name" } else { "" };
        json!({"name": self.column.name, "type": self.column.ty, "format": format,
            "description": self.column.description, "priority": self.column.priority})
    }

    fn cell(&self, object: &Value) -> Value {
        match &self.source {
            Source::Built(cell) => cell(object),
            Source::Path(path, ty) => match (jsonpath::find(object, path).as_slice(), ty.as_str()) {
                ([], _) => Value::Null,
                ([first, ..], "date") => first.as_str().map_or(Value::Null, |time| columns::age_of(time).into()),
                ([first, ..], "string") if !first.is_string() => first.to_string().into(),
                ([first, ..], _) => (*first).clone(),
            },
        }
    }
}

fn columns_of(def: &ResourceDef) -> Vec<Definition> {
    let Some(custom) = &def.custom else {
        return columns::built_in(def);
    };
    let mut out = vec![Definition::built("Name", "string", 0, columns::name)];
    if custom.columns.is_empty() {
        out.push(Definition::built("Age", "date", 0, columns::age));
    }
    out.extend(custom.columns.iter().map(|column| Definition {
        source: Source::Path(column.json_path.clone(), column.ty.clone()),
        column: column.clone(),
    }));
    out
}

fn row(def: &ResourceDef, columns: &[Definition], object: &Stored, version: &str, include: Include) -> Value {
    let converted = def.served(&object.value);
    let cells: Vec<Value> = columns.iter().map(|column| column.cell(&converted)).collect();
    let object = match include {
        Include::Metadata => partial(&object.value, version),
        Include::Object => converted,
        Include::None => Value::Null,
    };
    json!({"cells": cells, "object": object})
}
