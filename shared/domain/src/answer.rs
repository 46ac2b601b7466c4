//! The answers of a submission after they were checked against their form, and what there was to remark.
//!
//! What is personal here shows nothing in `Debug`, so that no log line can hold an answer.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One answer, coerced to its field's declared type where that was possible.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// `null`, `""`, `[]`, or absent, recursively.
    Empty,
    /// Text, and everything that is written like it: addresses, telephone numbers, dates, options' keys.
    Text(String),
    /// A number in canonical decimal digits (`25.5`, never `25.50`).
    Number(String),
    /// Yes or no.
    Boolean(bool),
    /// An uploaded file, with or without its content.
    File(File),
    /// A declared group: its fields in the form's order. Fields that the form does not declare stand last.
    Group(Vec<(String, Value)>),
    /// Several values of one field.
    List(Vec<Value>),
    /// A structure where the field was declared as something simpler; shown as it came.
    Other(serde_json::Value),
}

impl Value {
    /// Whether nothing was answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Group(fields) => fields.iter().all(|(_, value)| value.is_empty()),
            Self::List(values) => values.iter().all(Self::is_empty),
            _ => false,
        }
    }

    /// Every file in this value, in order.
    #[must_use]
    pub fn files(&self) -> Vec<&File> {
        match self {
            Self::File(file) => vec![file],
            Self::Group(fields) => fields.iter().flat_map(|(_, value)| value.files()).collect(),
            Self::List(values) => values.iter().flat_map(Self::files).collect(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Text(_) => "Text(…)",
            Self::Number(_) => "Number(…)",
            Self::Boolean(_) => "Boolean(…)",
            Self::File(_) => "File(…)",
            Self::Group(_) => "Group(…)",
            Self::List(_) => "List(…)",
            Self::Other(_) => "Other(…)",
        })
    }
}

/// A file that the submitter uploaded.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct File {
    /// The site's number of the file, where it said one.
    pub id: Option<String>,
    /// The name as the submitter gave it. Not to be trusted as a path or a header.
    pub name: Option<String>,
    /// The media type as the site says it.
    pub mime: Option<String>,
    /// The bytes; `None` where the site sent the id alone. Copies of the answers share them: a file may have megabytes.
    #[serde(with = "base64_bytes", default)]
    pub content: Option<Bytes>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("bytes", &self.content.as_ref().map(Bytes::len))
            .finish_non_exhaustive()
    }
}

/// All answers of one submission.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answers {
    /// One entry for every field of the form, in the form's order, empty ones included.
    pub declared: Vec<(String, Value)>,
    /// What the form does not declare and is delivered all the same, in the message's order.
    pub undeclared: Vec<(String, serde_json::Value)>,
    /// The delivered answers as the site sent them, the envelope's token masked: what `indsendelse.json` holds. A file
    /// stands in it as an object `{id, name, mime, included}`.
    pub raw: serde_json::Map<String, serde_json::Value>,
}

impl Answers {
    /// The answer to a declared field.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.declared
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// Every file, in the form's order.
    #[must_use]
    pub fn files(&self) -> Vec<&File> {
        self.declared.iter().flat_map(|(_, value)| value.files()).collect()
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers")
            .field("declared", &self.declared.len())
            .field("undeclared", &self.undeclared.len())
            .finish_non_exhaustive()
    }
}

/// Something that the department is told about an answer. `field` is the path of keys, joined by `.`
/// (`deltagere.2.alder`); several values of a field are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remark {
    /// A CPR number stands in a field that is not declared as one (P4).
    CprInText {
        /// Where.
        field: String,
    },
    /// A value is not of its field's declared type; it is delivered as it came.
    WrongType {
        /// Where.
        field: String,
    },
    /// A required field is empty.
    Missing {
        /// Which.
        field: String,
    },
    /// A file was named without its content.
    FileMissing {
        /// Where.
        field: String,
    },
    /// The submission's access token stood in the answer, and was masked.
    TokenMasked {
        /// Where.
        field: String,
    },
    /// The form does not declare this field (P3).
    Undeclared {
        /// Which.
        field: String,
    },
}

/// Bytes in JSON as base64 (RFC 4648), which takes a third of what a list of numbers does.
mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
    pub(super) fn serialize<S: Serializer>(bytes: &Option<Bytes>, to: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => to.serialize_some(&STANDARD.encode(bytes)),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bytes>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let decoded = text.map(|text| STANDARD.decode(text)).transpose();
        Ok(decoded.map_err(|_| D::Error::custom("not base64"))?.map(Bytes::from))
    }
}
