//! One shape for every type the server knows: built-ins (traced from their Rust types) and custom resources
//! (parsed from their OpenAPI schema). Merging, field ownership, pruning, defaulting and validation all read it.

pub(crate) mod annotate;
pub(crate) mod parse;
pub(crate) mod trace;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::crd::rules::Rules;

/// Type of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ty {
    /// Anything goes; nothing is known.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
    /// A resource quantity: a string, or a number read as one.
    Quantity,
}

impl Ty {
    /// The OpenAPI name.
    pub(crate) fn openapi(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String | Self::Quantity => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::IntOrString => "int-or-string",
        }
    }
}

/// How server-side apply treats a list (`x-kubernetes-list-type`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// Owned and replaced as a whole.
    #[default]
    Atomic,
    /// Each scalar is an item of its own.
    Set,
    /// Items are objects, told apart by these keys.
    Map(Vec<String>),
}

/// How strategic merge treats a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum PatchMerge {
    /// Replaced as a whole.
    #[default]
    Replace,
    /// Scalars are united.
    Primitive,
    /// Objects are merged by this key.
    Key(String),
}

/// A node of a type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    pub(crate) ty: Ty,
    /// Name of the Rust type, for built-ins.
    pub(crate) type_name: Option<&'static str>,
    pub(crate) description: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) properties: BTreeMap<String, Arc<Schema>>,
    /// Schema of the values of a map.
    pub(crate) additional: Option<Arc<Schema>>,
    pub(crate) items: Option<Arc<Schema>>,
    pub(crate) list: ListKind,
    pub(crate) merge: PatchMerge,
    /// A map or struct that is owned and replaced as a whole by server-side apply.
    pub(crate) atomic: bool,
    pub(crate) preserve_unknown: bool,
    pub(crate) embedded: bool,
    pub(crate) nullable: bool,
    pub(crate) default: Option<Value>,
    pub(crate) rules: Option<Box<Rules>>,
}

static ANY: LazyLock<Arc<Schema>> = LazyLock::new(Arc::default);

impl Schema {
    /// A schema that knows nothing.
    pub(crate) fn any() -> &'static Arc<Schema> {
        &ANY
    }

    /// A scalar.
    pub(crate) fn scalar(ty: Ty) -> Arc<Self> {
        Arc::new(Self { ty, ..Self::default() })
    }

    /// Schema of a field, if the type knows it.
    pub(crate) fn known_field(&self, name: &str) -> Option<&Arc<Schema>> {
        self.properties.get(name).or(self.additional.as_ref())
    }

    /// Schema of a field; unknown ones can be anything.
    pub(crate) fn field(&self, name: &str) -> &Arc<Schema> {
        self.known_field(name).unwrap_or_else(|| Self::any())
    }

    /// Schema of list items.
    pub(crate) fn item(&self) -> &Arc<Schema> {
        self.items.as_ref().unwrap_or_else(|| Self::any())
    }

    /// Whether unknown fields are legal here.
    pub(crate) fn open(&self) -> bool {
        self.preserve_unknown || self.ty == Ty::Any
    }
}
