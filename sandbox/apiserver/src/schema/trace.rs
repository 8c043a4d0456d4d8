//! Reads the schema of a built-in type off its `Deserialize` implementation: the tracer answers every request for
//! a value with a neutral one and notes what was asked for. So the server knows exactly the fields that the typed
//! clients know, without a second copy of the API in the repository.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, Visitor,
};

use super::{Schema, Ty, annotate};

/// The tracer's error: a type asked for something it does not understand.
#[derive(Debug, thiserror::Error)]
#[error("cannot trace: {0}")]
pub(crate) struct TraceError(String);

impl de::Error for TraceError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Known = HashMap<(&'static str, &'static [&'static str]), Option<Arc<Schema>>>;

/// Types already traced; `None` while a type is being traced, so that recursive ones end.
#[derive(Default)]
pub(crate) struct Tracer {
    known: RefCell<Known>,
}

impl Tracer {
    /// The schema of `T`.
    pub(crate) fn trace<T: DeserializeOwned>(&self) -> Result<Arc<Schema>, TraceError> {
        let mut out = Arc::default();
        T::deserialize(Probe {
            tracer: self,
            out: &mut out,
        })?;
        Ok(out)
    }
}

struct Probe<'a> {
    tracer: &'a Tracer,
    out: &'a mut Arc<Schema>,
}

impl Probe<'_> {
    fn set(&mut self, ty: Ty, format: Option<&str>) {
        *self.out = Arc::new(Schema {
            ty,
            format: format.map(str::to_owned),
            ..Schema::default()
        });
    }
}

macro_rules! scalar {
    ($($method:ident $visit:ident $zero:expr, $ty:expr, $format:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, TraceError> {
            self.set($ty, $format);
            visitor.$visit($zero)
        }
    )*};
}

/// What a visitor says it expects, the only name an untagged type has.
fn expectation(expected: &dyn Expected) -> String {
    expected.to_string()
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = TraceError;

    scalar! {
        deserialize_bool visit_bool false, Ty::Boolean, None;
        deserialize_i8 visit_i8 0, Ty::Integer, None;
        deserialize_i16 visit_i16 0, Ty::Integer, None;
        deserialize_i32 visit_i32 0, Ty::Integer, Some("int32");
        deserialize_i64 visit_i64 0, Ty::Integer, Some("int64");
        deserialize_u8 visit_u8 0, Ty::Integer, None;
        deserialize_u16 visit_u16 0, Ty::Integer, None;
        deserialize_u32 visit_u32 0, Ty::Integer, None;
        deserialize_u64 visit_u64 0, Ty::Integer, None;
        deserialize_f32 visit_f32 0.0, Ty::Number, Some("float");
        deserialize_f64 visit_f64 0.0, Ty::Number, Some("double");
        deserialize_char visit_char ' ', Ty::String, None;
        deserialize_str visit_str "", Ty::String, None;
        deserialize_string visit_str "", Ty::String, None;
        deserialize_bytes visit_bytes b"", Ty::String, Some("byte");
        deserialize_byte_buf visit_bytes b"", Ty::String, Some("byte");
    }

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, TraceError> {
        let expectation = expectation(&visitor);
        if expectation == "IntOrString" {
            self.set(Ty::IntOrString, None);
            return visitor.visit_i64(0);
        }
        self.set(Ty::Any, None);
        match expectation.as_str() {
            "JSONSchemaPropsOrBool" => visitor.visit_bool(true),
            "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrStringArray" => visitor.visit_seq(OneItem(None)),
            _ => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, TraceError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        match name {
            "Time" | "MicroTime" => {
                self.set(Ty::String, Some("date-time"));
                visitor.visit_newtype_struct(StrDeserializer::new("1970-01-01T00:00:00Z"))
            }
            "Quantity" => {
                self.set(Ty::Quantity, None);
                visitor.visit_str("0")
            }
            "RawExtension" | "FieldsV1" | "JSON" => {
                self.set(Ty::Any, None);
                let nothing: MapDeserializer<'_, std::iter::Empty<(&str, &str)>, TraceError> =
                    MapDeserializer::new(std::iter::empty());
                visitor.visit_newtype_struct(de::value::MapAccessDeserializer::new(nothing))
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        let mut items = Arc::default();
        let value = visitor.visit_seq(OneItem(Some(Probe {
            tracer: self.tracer,
            out: &mut items,
        })))?;
        *self.out = Arc::new(Schema {
            ty: Ty::Array,
            items: Some(items),
            ..Schema::default()
        });
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, TraceError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        let mut fields = vec![("", Arc::default())];
        let value = visitor.visit_map(MapFeed {
            tracer: self.tracer,
            entries: fields.iter_mut(),
            current: None,
        })?;
        let additional = fields.pop().map(|(_, schema)| schema);
        *self.out = Arc::new(Schema {
            ty: Ty::Object,
            additional,
            ..Schema::default()
        });
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        let key = (name, fields);
        let known = self.tracer.known.borrow().get(&key).cloned();
        if let Some(None) = known {
            // A type inside itself (JSONSchemaProps) is open from the second level on.
            *self.out = Schema::any().clone();
            return visitor.visit_map(MapFeed {
                tracer: self.tracer,
                entries: [].iter_mut(),
                current: None,
            });
        }
        self.tracer.known.borrow_mut().insert(key, None);
        let mut traced: Vec<(&'static str, Arc<Schema>)> = fields.iter().map(|f| (*f, Arc::default())).collect();
        let value = {
            // `apiVersion` and `kind` accept one value only in some types, and are strings in all.
            let (constant, open): (Vec<_>, Vec<_>) = traced
                .iter_mut()
                .partition(|(f, _)| matches!(*f, "apiVersion" | "kind"));
            for field in constant {
                field.1 = Schema::scalar(Ty::String);
            }
            let mut open = open;
            visitor.visit_map(OpenFields {
                tracer: self.tracer,
                fields: open.iter_mut(),
                current: None,
            })?
        };
        let mut schema = Schema {
            ty: Ty::Object,
            type_name: Some(name),
            ..Schema::default()
        };
        schema.properties = traced
            .into_iter()
            .map(|(field, schema)| (field.to_owned(), schema))
            .collect();
        annotate::annotate(&mut schema);
        // A value was needed either way; the schema is shared with the first trace of the type.
        let schema = known.flatten().unwrap_or_else(|| Arc::new(schema));
        self.tracer.known.borrow_mut().insert(key, Some(schema.clone()));
        *self.out = schema;
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, TraceError> {
        Err(TraceError(format!("enum {name}")))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        visitor.visit_str("")
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        visitor.visit_unit()
    }
}

struct OneItem<'a>(Option<Probe<'a>>);

impl<'de> de::SeqAccess<'de> for OneItem<'_> {
    type Error = TraceError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, TraceError> {
        self.0.take().map(|probe| seed.deserialize(probe)).transpose()
    }
}

/// Feeds one map entry, or none.
struct MapFeed<'a> {
    tracer: &'a Tracer,
    entries: std::slice::IterMut<'a, (&'static str, Arc<Schema>)>,
    current: Option<&'a mut Arc<Schema>>,
}

impl<'de> MapAccess<'de> for MapFeed<'_> {
    type Error = TraceError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, TraceError> {
        let Some((name, schema)) = self.entries.next() else {
            return Ok(None);
        };
        self.current = Some(schema);
        let key: StrDeserializer<'_, TraceError> = (*name).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, TraceError> {
        let out = self
            .current
            .take()
            .ok_or_else(|| TraceError("value before key".to_owned()))?;
        seed.deserialize(Probe {
            tracer: self.tracer,
            out,
        })
    }
}

/// Feeds the fields of a struct.
struct OpenFields<'a, 'b> {
    tracer: &'a Tracer,
    fields: std::slice::IterMut<'b, &'a mut (&'static str, Arc<Schema>)>,
    current: Option<&'b mut Arc<Schema>>,
}

impl<'de> MapAccess<'de> for OpenFields<'_, '_> {
    type Error = TraceError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, TraceError> {
        let Some(field) = self.fields.next() else {
            return Ok(None);
        };
        let (name, schema) = &mut **field;
        self.current = Some(schema);
        let key: StrDeserializer<'_, TraceError> = (*name).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, TraceError> {
        let out = self
            .current
            .take()
            .ok_or_else(|| TraceError("value before key".to_owned()))?;
        seed.deserialize(Probe {
            tracer: self.tracer,
            out,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use k8s_openapi::api::apps::v1::Deployment;

    #[test]
    fn a_deployment_is_known_down_to_its_container_ports() {
        let deployment = Tracer::default().trace::<Deployment>().unwrap();
        let container = deployment
            .field("spec")
            .field("template")
            .field("spec")
            .field("containers")
            .item();
        assert_eq!(container.type_name, Some("Container"));
        let port = container.field("ports").item().field("containerPort");
        assert_eq!((port.ty, port.format.as_deref()), (Ty::Integer, Some("int32")));
        assert_eq!(
            container.field("resources").field("limits").field("cpu").ty,
            Ty::Quantity
        );
        let surge = deployment
            .field("spec")
            .field("strategy")
            .field("rollingUpdate")
            .field("maxSurge");
        assert_eq!(surge.ty, Ty::IntOrString);
        assert_eq!(
            deployment
                .field("metadata")
                .field("creationTimestamp")
                .format
                .as_deref(),
            Some("date-time")
        );
        assert!(deployment.field("spec").known_field("nonsense").is_none());
    }

    #[test]
    fn recursive_types_end() {
        use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
        let crd = Tracer::default().trace::<CustomResourceDefinition>().unwrap();
        assert!(
            crd.field("spec")
                .field("versions")
                .item()
                .known_field("storage")
                .is_some()
        );
    }
}
