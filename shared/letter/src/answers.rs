//! The answers as a caseworker reads them: by section in the form's order, option texts for keys, groups as tables, and
//! files under the names that they are attached by.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Field, File, Form, Language, Submission, Value};
use serde::Serialize;

use crate::labels::label;
use crate::mime::Attachment;
use crate::names::{self, Names};
use crate::words;

/// The delivered answers as the site sent them, attached to every department mail.
pub(crate) const JSON_NAME: &str = "indsendelse.json";

/// Everything of a submission that its letter shows.
#[derive(Default)]
pub(crate) struct Reading<'a> {
    /// The answered fields.
    pub(crate) sections: Vec<Section>,
    /// The labels of those that were not answered.
    pub(crate) unanswered: Vec<String>,
    /// What the form does not declare (P3).
    pub(crate) undeclared: Vec<Entry>,
    /// The files with content, in the order they are mentioned.
    pub(crate) files: Vec<Attachment<'a>>,
    /// The names of those that came without.
    pub(crate) missing: Vec<String>,
}

/// Fields under one heading.
#[derive(Serialize)]
pub(crate) struct Section {
    heading: Option<String>,
    entries: Vec<Entry>,
}

/// One answered field. One of `lines`, `pairs` and `table` has something in it.
#[derive(Serialize)]
pub(crate) struct Entry {
    label: String,
    /// It differs from the version before.
    changed: bool,
    lines: Vec<String>,
    /// A group: its answered fields.
    pairs: Vec<Pair>,
    /// Several groups: a row for each.
    table: Option<Table>,
}

/// A field of a group.
#[derive(Serialize)]
pub(crate) struct Pair {
    label: String,
    lines: Vec<String>,
}

/// Groups of one field, every declared column shown.
#[derive(Serialize)]
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Row>,
}

/// One group of a table; the cells stand in the columns' order.
#[derive(Serialize)]
pub(crate) struct Row {
    /// Counted from 1 as in the message, so that a remark can point to it.
    number: usize,
    cells: Vec<Pair>,
}

/// Reads a submission in the order of its form.
pub(crate) fn read<'a>(submission: &'a Submission, form: &Form, language: Language) -> Reading<'a> {
    let mut reader = Reader {
        language,
        names: Names::reserving(&[JSON_NAME]),
        reading: Reading::default(),
        heading: None,
        prefix: String::new(),
    };
    for (key, value) in &submission.answers.declared {
        reader.declared(key, value, form.fields.get(key), submission.changed.contains(key));
    }
    for (key, value) in &submission.answers.undeclared {
        let lines = reader.json(key, value);
        reader
            .reading
            .undeclared
            .push(Entry::of_lines(label(key, None, language), lines, false));
    }
    reader.reading
}

/// Reads values, and collects the files in them.
pub(crate) struct Reader<'a> {
    language: Language,
    names: Names,
    reading: Reading<'a>,
    /// Of the section that the next entry belongs to.
    heading: Option<String>,
    /// What the names of files begin with, where files of several submissions stand together.
    pub(crate) prefix: String,
}

impl<'a> Reader<'a> {
    /// A reader of many submissions' values.
    pub(crate) fn of_list(language: Language) -> Self {
        Self {
            language,
            names: Names::reserving(&[]),
            reading: Reading::default(),
            heading: None,
            prefix: String::new(),
        }
    }

    /// The files that it met.
    pub(crate) fn into_files(self) -> Vec<Attachment<'a>> {
        self.reading.files
    }

    fn declared(&mut self, key: &str, value: &'a Value, field: Option<&Field>, changed: bool) {
        let name = label(key, field, self.language);
        if value.is_empty() {
            self.reading.unanswered.push(name);
            return;
        }
        let entry = self.entry(key, name, value, field, changed);
        let heading = field
            .and_then(|field| field.section.as_ref())
            .map(|words| words::one_line(words.get(self.language)));
        let continues = !self.reading.sections.is_empty() && heading == self.heading;
        if !continues {
            self.reading.sections.push(Section {
                heading: heading.clone(),
                entries: Vec::new(),
            });
            self.heading = heading;
        }
        if let Some(section) = self.reading.sections.last_mut() {
            section.entries.push(entry);
        }
    }

    fn entry(&mut self, key: &str, name: String, value: &'a Value, field: Option<&Field>, changed: bool) -> Entry {
        match value {
            Value::Group(members) => {
                let pairs = self.pairs(&name, members, field);
                Entry {
                    label: name,
                    changed,
                    lines: Vec::new(),
                    pairs,
                    table: None,
                }
            }
            Value::List(rows)
                if rows.iter().any(is_group) && rows.iter().all(|row| is_group(row) || row.is_empty()) =>
            {
                let table = Some(self.table(rows, field));
                Entry {
                    label: name,
                    changed,
                    lines: Vec::new(),
                    pairs: Vec::new(),
                    table,
                }
            }
            _ => {
                let lines = self.lines(key, value, field);
                Entry::of_lines(name, lines, changed)
            }
        }
    }

    /// The answered fields of a group; the others join those that were not answered.
    fn pairs(&mut self, group: &str, members: &'a [(String, Value)], field: Option<&Field>) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (key, value) in members {
            let member = member(field, key);
            let name = label(key, member, self.language);
            if value.is_empty() {
                self.reading.unanswered.push(format!("{group} – {name}"));
            } else {
                pairs.push(Pair {
                    label: name,
                    lines: self.lines(key, value, member),
                });
            }
        }
        pairs
    }

    fn table(&mut self, rows: &'a [Value], field: Option<&Field>) -> Table {
        let mut keys: Vec<&str> = field
            .map(|field| field.fields.keys().map(String::as_str).collect())
            .unwrap_or_default();
        for (key, _) in rows.iter().flat_map(members) {
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
        let columns: Vec<String> = keys
            .iter()
            .map(|key| label(key, member(field, key), self.language))
            .collect();
        let mut shown = Vec::new();
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| !row.is_empty()) {
            let mut cells = Vec::new();
            for (key, column) in keys.iter().zip(&columns) {
                let value = members(row)
                    .iter()
                    .find(|(name, _)| name == key)
                    .map(|(_, value)| value);
                let lines = value
                    .map(|value| self.lines(key, value, member(field, key)))
                    .unwrap_or_default();
                cells.push(Pair {
                    label: column.clone(),
                    lines,
                });
            }
            shown.push(Row {
                number: index + 1,
                cells,
            });
        }
        Table { columns, rows: shown }
    }

    /// A value in lines of text, its files attached on the way.
    pub(crate) fn lines(&mut self, key: &str, value: &'a Value, field: Option<&Field>) -> Vec<String> {
        match value {
            Value::Empty => Vec::new(),
            Value::Text(text) => self.option(text, field).unwrap_or_else(|| self.text(key, text)),
            Value::Number(digits) => self.option(digits, field).unwrap_or_else(|| vec![digits.clone()]),
            Value::Boolean(yes) => self
                .option(if *yes { "1" } else { "0" }, field)
                .unwrap_or_else(|| vec![words::yes_or_no(*yes, self.language).to_owned()]),
            Value::File(file) => vec![self.file(file)],
            Value::Group(members) => {
                let pairs = members.iter().filter(|(_, value)| !value.is_empty());
                let mut lines = Vec::new();
                for (key, value) in pairs {
                    let member = member(field, key);
                    let text = self.lines(key, value, member).join(" / ");
                    lines.push(format!("{}: {text}", label(key, member, self.language)));
                }
                lines
            }
            Value::List(values) => {
                let mut lines = Vec::new();
                for value in values {
                    lines.extend(self.lines(key, value, field));
                }
                lines
            }
            Value::Other(json) => self.json(key, json),
        }
    }

    fn option(&self, key: &str, field: Option<&Field>) -> Option<Vec<String>> {
        let text = words::one_line(field?.options.get(key)?.get(self.language));
        (!text.is_empty()).then(|| vec![text])
    }

    /// A text, or the name of the file that it is: signatures come as data URIs (RFC 2397).
    fn text(&mut self, key: &str, text: &str) -> Vec<String> {
        match data_uri(text) {
            Some((mime, content)) => {
                let wanted = format!("{}.{}", names::clean(key), ending(mime));
                vec![self.attach(&wanted, mime, Cow::Owned(content))]
            }
            None => words::lines(text),
        }
    }

    fn file(&mut self, file: &'a File) -> String {
        let name = file.name.as_deref().unwrap_or_default();
        if let Some(content) = &file.content {
            return self.attach(name, file.mime.as_deref().unwrap_or_default(), Cow::Borrowed(content));
        }
        let shown = match (names::clean(name), &file.id) {
            (name, Some(id)) if name.is_empty() => words::numbered_file(&words::one_line(id), self.language),
            (name, None) if name.is_empty() => words::nameless_file(self.language).to_owned(),
            (name, _) => name,
        };
        self.reading.missing.push(shown.clone());
        words::not_included(&shown, self.language)
    }

    fn attach(&mut self, wanted: &str, mime: &str, content: Cow<'a, [u8]>) -> String {
        let nameless = words::nameless_file(self.language);
        let name = if self.prefix.is_empty() {
            self.names.give(wanted, nameless)
        } else {
            let own = names::clean(wanted);
            let own = if own.is_empty() { nameless } else { &own };
            self.names.give(&format!("{} {own}", self.prefix), nameless)
        };
        let line = words::attached(&name, self.language);
        self.reading.files.push(Attachment {
            name,
            mime: mime.to_owned(),
            content,
        });
        line
    }

    /// A structure that was not declared, as it came: a line for each value.
    pub(crate) fn json(&mut self, key: &str, value: &serde_json::Value) -> Vec<String> {
        match value {
            serde_json::Value::Null => Vec::new(),
            serde_json::Value::Bool(yes) => vec![words::yes_or_no(*yes, self.language).to_owned()],
            serde_json::Value::Number(number) => vec![number.to_string()],
            serde_json::Value::String(text) => self.text(key, text),
            serde_json::Value::Array(values) => values.iter().flat_map(|value| self.json(key, value)).collect(),
            serde_json::Value::Object(members) => members
                .iter()
                .map(|(key, value)| format!("{}: {}", words::one_line(key), self.json(key, value).join(" / ")))
                .collect(),
        }
    }
}

impl Entry {
    fn of_lines(label: String, lines: Vec<String>, changed: bool) -> Self {
        Self {
            label,
            changed,
            lines,
            pairs: Vec::new(),
            table: None,
        }
    }
}

fn is_group(value: &Value) -> bool {
    matches!(value, Value::Group(_))
}

fn members(value: &Value) -> &[(String, Value)] {
    match value {
        Value::Group(members) => members,
        _ => &[],
    }
}

fn member<'f>(group: Option<&'f Field>, key: &str) -> Option<&'f Field> {
    group.and_then(|group| group.fields.get(key))
}

/// The media type and the bytes of a `data:` URI in base64.
fn data_uri(text: &str) -> Option<(&str, Vec<u8>)> {
    let (head, data) = text.trim().strip_prefix("data:")?.split_once(',')?;
    let mime = head.strip_suffix(";base64")?;
    let content = STANDARD.decode(data).ok()?;
    (!content.is_empty()).then_some((mime.split(';').next().unwrap_or_default(), content))
}

/// The ending that a data URI's file gets.
fn ending(mime: &str) -> &'static str {
    match mime {
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "image/svg+xml" => "svg",
        "application/pdf" => "pdf",
        "text/plain" => "txt",
        _ => "bin",
    }
}
