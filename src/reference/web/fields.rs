//! Reading a JSON object field by field: `user_id: expected a string`.
//! Fields that nobody asks for are ignored, so that a newer client can talk to an older service.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::Refusal;

/// The fields of a request body.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields of an object.
    ///
    /// # Errors
    /// 422 for anything but an object.
    pub fn of(value: &'a Value) -> Result<Self, Refusal> {
        match value {
            Value::Object(map) => Ok(Self { map }),
            _ => Err(Refusal::schema("body: expected an object")),
        }
    }

    fn present(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A string of 1 to `max` characters.
    ///
    /// # Errors
    /// 422.
    pub fn text(&self, name: &str, max: usize) -> Result<&'a str, Refusal> {
        self.optional_text(name, max)?
            .ok_or_else(|| expected(name, "a string"))
    }

    /// The same, or nothing.
    ///
    /// # Errors
    /// 422.
    pub fn optional_text(&self, name: &str, max: usize) -> Result<Option<&'a str>, Refusal> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::String(text)) if (1..=max).contains(&text.chars().count()) => {
                Ok(Some(text))
            }
            Some(Value::String(_)) => Err(expected(name, &format!("1 to {max} characters"))),
            Some(_) => Err(expected(name, "a string")),
        }
    }

    /// An object.
    ///
    /// # Errors
    /// 422.
    pub fn object(&self, name: &str) -> Result<&'a Value, Refusal> {
        self.optional_object(name)?
            .ok_or_else(|| expected(name, "an object"))
    }

    /// The same, or nothing.
    ///
    /// # Errors
    /// 422.
    pub fn optional_object(&self, name: &str) -> Result<Option<&'a Value>, Refusal> {
        match self.present(name) {
            None => Ok(None),
            Some(value @ Value::Object(_)) => Ok(Some(value)),
            Some(_) => Err(expected(name, "an object")),
        }
    }

    /// A whole number, or nothing.
    ///
    /// # Errors
    /// 422.
    pub fn optional_integer(&self, name: &str) -> Result<Option<i64>, Refusal> {
        match self.present(name) {
            None => Ok(None),
            Some(value) => value
                .as_i64()
                .map(Some)
                .ok_or_else(|| expected(name, "a whole number")),
        }
    }

    /// A number within bounds.
    ///
    /// # Errors
    /// 422.
    pub fn number(&self, name: &str, bounds: RangeInclusive<f64>) -> Result<f64, Refusal> {
        let number = self.present(name).and_then(Value::as_f64);
        let number = number.filter(|number| bounds.contains(number));
        let (least, most) = (bounds.start(), bounds.end());
        number.ok_or_else(|| expected(name, &format!("a number from {least} to {most}")))
    }

    /// A truth value, or nothing.
    ///
    /// # Errors
    /// 422.
    pub fn optional_bool(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(expected(name, "true or false")),
        }
    }
}

fn expected(name: &str, what: &str) -> Refusal {
    Refusal::schema(format!("{name}: expected {what}"))
}
