//! From the fields that a row names to the schemas of OpenAPI 3.1, which are JSON Schema.

use serde_json::json;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};

use crate::reference::config::Limits;
use crate::reference::web::{Field, Longest, Most, Shape};

/// Which way a body goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the client. An optional field may be null: null is missing.
    In,
    /// To the client.
    Out,
}

/// An object with these fields, and perhaps others.
pub(super) fn object(fields: &[Field], way: Way, limits: &Limits) -> ObjectBuilder {
    let mut object = ObjectBuilder::new();
    for field in fields {
        object = object.property(field.name, value(field, way, limits));
        if !field.optional {
            object = object.required(field.name);
        }
    }
    object
}

/// The value of one field.
pub(super) fn value(field: &Field, way: Way, limits: &Limits) -> Schema {
    let nullable = field.nullable || (way == Way::In && field.optional);
    let of = |kind: Type| match nullable {
        true => SchemaType::from_iter([kind, Type::Null]),
        false => SchemaType::new(kind),
    };
    let one = |kind| ObjectBuilder::new().schema_type(of(kind));
    match field.shape {
        Shape::Text(longest) => {
            let least = (way == Way::In).then_some(1);
            let text = one(Type::String).min_length(least);
            text.max_length(characters(longest, limits)).into()
        }
        Shape::Word(words) => {
            let words = words.iter().map(|word| json!(word));
            let null = nullable.then_some(json!(null));
            let words: Vec<_> = words.chain(null).collect();
            one(Type::String).enum_values(Some(words)).into()
        }
        Shape::Integer(least, most) => {
            let least = (least != i64::MIN).then_some(least as f64);
            let most = number(most, limits).map(|most| most as f64);
            one(Type::Integer).minimum(least).maximum(most).into()
        }
        Shape::Number => one(Type::Number).into(),
        Shape::Flag => one(Type::Boolean).into(),
        Shape::Free => one(Type::Object).into(),
        Shape::Object(fields) => object(fields, way, limits)
            .schema_type(of(Type::Object))
            .into(),
        Shape::List(fields) => {
            let items = object(fields, way, limits);
            let array = ArrayBuilder::new().schema_type(of(Type::Array));
            array.items(items).into()
        }
        Shape::Texts => {
            let items = ObjectBuilder::new().schema_type(Type::String);
            let array = ArrayBuilder::new().schema_type(of(Type::Array));
            array.items(items).into()
        }
        Shape::Any => ObjectBuilder::new().schema_type(SchemaType::any()).into(),
    }
}

fn characters(longest: Longest, limits: &Limits) -> Option<usize> {
    match longest {
        Longest::Open => None,
        Longest::Id => Some(limits.id_chars),
        Longest::Input => Some(limits.input_chars),
        Longest::Body => Some(limits.body_bytes),
        Longest::Chars(most) => Some(most),
    }
}

fn number(most: Most, limits: &Limits) -> Option<i64> {
    match most {
        Most::Open => None,
        Most::Page => i64::try_from(limits.page_size).ok(),
        Most::Number(most) => Some(most),
    }
}
