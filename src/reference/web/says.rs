//! What a row of the route table says of its handler: the fields it reads and the answers it gives,
//! as data beside it. The document at `/openapi.json` is made of this, and a test sends each row
//! what its own words forbid.

/// How long a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Longest {
    /// Nothing is said of it.
    Open,
    /// `limits.id_chars`.
    Id,
    /// `limits.input_chars`.
    Input,
    /// `limits.body_bytes`.
    Body,
    /// This many characters.
    Chars(usize),
}

/// The largest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Most {
    /// Nothing is said of it.
    Open,
    /// `limits.page_size`.
    Page,
    /// This one.
    Number(i64),
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A text that is not empty.
    Text(Longest),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number within bounds.
    Integer(i64, Most),
    /// A number.
    Number,
    /// True or false.
    Flag,
    /// An object whose inside is somebody else's.
    Free,
    /// An object with these fields.
    Object(&'static [Field]),
    /// An array of objects with these fields.
    List(&'static [Field]),
    /// An array of texts.
    Texts,
    /// Anything.
    Any,
}

/// A field of a body, or a parameter of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub shape: Shape,
    /// Whether it may be missing. In a request null is missing.
    pub optional: bool,
    /// Whether it may be null.
    pub nullable: bool,
}

impl Field {
    /// A field that is always there.
    pub const fn new(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            shape,
            optional: false,
            nullable: false,
        }
    }

    /// A text of any length.
    pub const fn text(name: &'static str) -> Self {
        Self::new(name, Shape::Text(Longest::Open))
    }

    /// A text of 1 to `limits.id_chars` characters.
    pub const fn id(name: &'static str) -> Self {
        Self::new(name, Shape::Text(Longest::Id))
    }

    /// One of these words.
    pub const fn word(name: &'static str, words: &'static [&'static str]) -> Self {
        Self::new(name, Shape::Word(words))
    }

    /// A whole number from 0.
    pub const fn count(name: &'static str) -> Self {
        Self::new(name, Shape::Integer(0, Most::Open))
    }

    /// A number.
    pub const fn number(name: &'static str) -> Self {
        Self::new(name, Shape::Number)
    }

    /// True or false.
    pub const fn flag(name: &'static str) -> Self {
        Self::new(name, Shape::Flag)
    }

    /// An object whose inside is somebody else's.
    pub const fn free(name: &'static str) -> Self {
        Self::new(name, Shape::Free)
    }

    /// An object with these fields.
    pub const fn object(name: &'static str, fields: &'static [Self]) -> Self {
        Self::new(name, Shape::Object(fields))
    }

    /// An array of objects with these fields.
    pub const fn list(name: &'static str, fields: &'static [Self]) -> Self {
        Self::new(name, Shape::List(fields))
    }

    /// The same field, which may be missing.
    #[must_use]
    pub const fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    /// The same field, which may be null.
    #[must_use]
    pub const fn or_null(self) -> Self {
        Self {
            nullable: true,
            ..self
        }
    }
}

/// An answer that is no refusal.
#[derive(Clone, Debug)]
pub struct Gives {
    /// Its status.
    pub status: u16,
    /// Its fields, without `ok` and `correlation_id`.
    pub fields: Vec<Field>,
}

/// Everything a row says.
#[derive(Clone, Debug, Default)]
pub struct Says {
    /// One sentence.
    pub about: &'static str,
    /// The body's fields.
    pub takes: Vec<Field>,
    /// The query's parameters.
    pub asks: Vec<Field>,
    /// Its answers.
    pub gives: Vec<Gives>,
    /// Statuses of refusals beyond those that its method and its role bring with them.
    pub refuses: Vec<u16>,
}
