//! Columns of tables.

use serde_json::Value;

/// A column of `kubectl get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) ty: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
    pub(crate) json_path: String,
}

impl Column {
    /// Reads `additionalPrinterColumns`.
    pub(crate) fn parse_all(columns: &Value) -> Vec<Self> {
        let text = |column: &Value, name: &str| column[name].as_str().unwrap_or_default().to_owned();
        let columns = columns.as_array().into_iter().flatten();
        columns
            .map(|column| Self {
                name: text(column, "name"),
                ty: text(column, "type"),
                description: text(column, "description"),
                priority: column["priority"].as_i64().unwrap_or_default(),
                json_path: text(column, "jsonPath"),
            })
            .collect()
    }
}
