//! Files that a site expands beside the answers, where Remote Post puts their content.
//!
//! `billede: 1` is an answer; `_billede: {id, name, uri, mime, uuid, data}` (a list of those for several files), and
//! Webform 5's `billede__name`, `billede__mime`, `billede__data`, are what it refers to.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use domain::{FieldType, Form};
use serde_json::{Map, Value};

use crate::coerce;

/// What Webform 5 writes after `key__`.
const PROPERTIES: [&str; 6] = ["id", "name", "uri", "mime", "uuid", "data"];

/// One expanded file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Upload {
    /// The site's number of it.
    pub id: Option<String>,
    /// Its name as the submitter gave it.
    pub name: Option<String>,
    /// Its media type as the site says it.
    pub mime: Option<String>,
    /// Its content in base 64, not decoded yet; `None` where the site sent none.
    pub data: Option<String>,
}

impl Upload {
    /// Reads an expanded file; `None` where the object is something else.
    #[must_use]
    pub fn read(object: &Map<String, Value>) -> Option<Self> {
        if !["id", "name", "uri", "data"]
            .iter()
            .any(|key| object.contains_key(*key))
        {
            return None;
        }
        let text = |key| object.get(key).and_then(coerce::filled_text);
        Some(Self {
            id: text("id"),
            name: text("name"),
            mime: text("mime"),
            data: text("data"),
        })
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("data", &self.data.as_ref().map(String::len))
            .finish_non_exhaustive()
    }
}

/// The expanded files of a message, by the field they came for and by their id.
#[derive(Debug, Clone, Default)]
pub struct Files {
    uploads: Vec<(String, Upload)>,
    by_id: HashMap<String, usize>,
}

impl Files {
    /// The file with this id. Ids are the site's own, the same in every field, and a composite's files are expanded nowhere
    /// else.
    #[must_use]
    pub fn with_id(&self, id: &str) -> Option<&Upload> {
        self.by_id.get(id).map(|at| &self.uploads[*at].1)
    }

    /// The files that came for a field.
    pub fn of<'a>(&'a self, field: &str) -> impl Iterator<Item = &'a Upload> {
        self.uploads
            .iter()
            .filter(move |(key, _)| key == field)
            .map(|(_, upload)| upload)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Upload> {
        self.uploads.iter_mut().map(|(_, upload)| upload)
    }

    /// Adds a file; one that came already, in the other writing, only gets its content.
    fn add(&mut self, field: &str, upload: Upload) {
        if let Some(id) = upload.id.clone() {
            if let Some(at) = self.by_id.get(&id) {
                let known = &mut self.uploads[*at].1;
                known.data = known.data.take().or(upload.data);
                return;
            }
            self.by_id.insert(id, self.uploads.len());
        }
        self.uploads.push((field.to_owned(), upload));
    }
}

/// Parts a flat message's keys into answers and the expanded files of declared file fields.
pub(super) fn split(form: &Form, data: Map<String, Value>) -> (Map<String, Value>, Files) {
    let is_file = |key: &str| form.fields.get(key).is_some_and(|field| field.kind == FieldType::File);
    let mut answers = Map::new();
    let mut files = Files::default();
    let mut parted: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (key, value) in data {
        if let Some(field) = key.strip_prefix('_').filter(|field| is_file(field))
            && let Some(uploads) = expanded(&value)
        {
            for upload in uploads {
                files.add(field, upload);
            }
        } else if let Some((field, property)) = webform_5(&key).filter(|(field, _)| is_file(field))
            && !form.fields.contains_key(&key)
        {
            parted
                .entry(field.to_owned())
                .or_default()
                .insert(property.to_owned(), value);
        } else {
            answers.insert(key, value);
        }
    }
    for (field, properties) in parted {
        if let Some(mut upload) = Upload::read(&properties) {
            upload.id = upload.id.or_else(|| answers.get(&field).and_then(coerce::filled_text));
            files.add(&field, upload);
        }
    }
    (answers, files)
}

/// A key as Webform 5 writes it: the field, and which of the file's properties.
fn webform_5(key: &str) -> Option<(&str, &'static str)> {
    let (field, property) = key.rsplit_once("__")?;
    PROPERTIES
        .iter()
        .find(|known| **known == property)
        .map(|known| (field, *known))
}

/// The files of a `_key`: an object or a list of them. `None` for everything else, which is then an answer.
fn expanded(value: &Value) -> Option<Vec<Upload>> {
    match value {
        Value::Object(object) => Upload::read(object).map(|upload| vec![upload]),
        Value::Array(items) if !items.is_empty() => items.iter().map(|item| Upload::read(item.as_object()?)).collect(),
        _ => None,
    }
}
