//! Registrations as lists: a row for each, columns in the form's order with labels; groups in lists of their own. Written
//! as a spreadsheet, as CSV and as JSON, so that nothing in a cell is ever run as a formula.

use std::borrow::Cow;

use domain::{EmailAddress, Field, FieldType, Form, Language, Reference, Submission, Value};
use jiff::tz::TimeZone;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, XlsxError};
use serde_json::json;

use crate::LetterError;
use crate::answers::Reader;
use crate::labels::label;
use crate::mime::Attachment;
use crate::names;

/// A cell of a spreadsheet holds 32,767 characters.
const LONGEST: usize = 32_000;
/// What begins a formula, or hides one.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// One list.
pub(crate) struct Sheet {
    name: String,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// What stands in a cell.
#[derive(Clone, PartialEq, Eq)]
enum Cell {
    Text(String),
    /// Canonical digits.
    Number(String),
}

impl Sheet {
    /// Whether a cell has more than a spreadsheet's can hold.
    pub(crate) fn exceeds_a_spreadsheet(&self) -> bool {
        let long = |cell: &Cell| matches!(cell, Cell::Text(text) if text.chars().count() > LONGEST);
        self.rows.iter().flatten().any(long)
    }
}

/// The lists of an event, and the files that its registrants uploaded.
pub(crate) struct Lists<'a> {
    pub(crate) sheets: Vec<Sheet>,
    pub(crate) files: Vec<Attachment<'a>>,
}

struct Words {
    registrations: &'static str,
    addresses: &'static str,
    reference: &'static str,
    received: &'static str,
    version: &'static str,
    number: &'static str,
    address: &'static str,
    undeclared: &'static str,
}

fn words(language: Language) -> Words {
    match language {
        Language::Da => Words {
            registrations: "Tilmeldinger",
            addresses: "Slettede tilmeldinger",
            reference: "Reference",
            received: "Modtaget",
            version: "Udgave",
            number: "Nr.",
            address: "E-mail",
            undeclared: "ikke registreret felt",
        },
        Language::En => Words {
            registrations: "Registrations",
            addresses: "Deleted registrations",
            reference: "Reference",
            received: "Received",
            version: "Version",
            number: "No.",
            address: "E-mail",
            undeclared: "undeclared field",
        },
    }
}

/// Reads registrations in the order of their form.
pub(crate) fn read<'a>(submissions: &'a [Submission], form: &Form, language: Language, zone: &TimeZone) -> Lists<'a> {
    let words = words(language);
    let mut reader = Reader::of_list(language);
    let plain: Vec<(&String, &Field)> = form.fields.iter().filter(|(_, field)| !is_group(field)).collect();
    let mut undeclared: Vec<&String> = Vec::new();
    for (key, _) in submissions.iter().flat_map(|submission| &submission.answers.undeclared) {
        if !undeclared.contains(&key) {
            undeclared.push(key);
        }
    }
    let mut columns = vec![
        words.reference.to_owned(),
        words.received.to_owned(),
        words.version.to_owned(),
    ];
    columns.extend(plain.iter().map(|(key, field)| label(key, Some(field), language)));
    columns.extend(
        undeclared
            .iter()
            .map(|key| format!("{} ({})", label(key, None, language), words.undeclared)),
    );
    let mut rows = Vec::with_capacity(submissions.len());
    for submission in submissions {
        reader.prefix = submission.reference.to_string();
        let received = submission.received_at.to_zoned(zone.clone());
        let mut row = vec![
            Cell::Text(submission.reference.to_string()),
            Cell::Text(received.strftime("%Y-%m-%d %H:%M").to_string()),
            Cell::Number(submission.version.to_string()),
        ];
        for (key, field) in &plain {
            row.push(cell(&mut reader, key, submission.answers.get(key), Some(field)));
        }
        for key in &undeclared {
            let found = submission.answers.undeclared.iter().find(|(name, _)| name == *key);
            let lines = found.map(|(_, value)| reader.json(key, value)).unwrap_or_default();
            row.push(Cell::Text(lines.join("\n")));
        }
        rows.push(row);
    }
    let mut sheets = vec![Sheet {
        name: words.registrations.to_owned(),
        columns,
        rows,
    }];
    for (key, field) in form.fields.iter().filter(|(_, field)| is_group(field)) {
        sheets.push(group(&mut reader, submissions, key, field, language));
    }
    Lists {
        sheets,
        files: reader.into_files(),
    }
}

fn is_group(field: &Field) -> bool {
    field.kind == FieldType::Group
}

fn cell<'a>(reader: &mut Reader<'a>, key: &str, value: Option<&'a Value>, field: Option<&Field>) -> Cell {
    match value {
        Some(Value::Number(digits)) if field.is_none_or(|field| field.options.is_empty()) => {
            Cell::Number(digits.clone())
        }
        Some(value) => Cell::Text(reader.lines(key, value, field).join("\n")),
        None => Cell::Text(String::new()),
    }
}

/// A group's list: a row for each group, led by its registration's reference and its number.
fn group<'a>(
    reader: &mut Reader<'a>,
    submissions: &'a [Submission],
    key: &str,
    field: &Field,
    language: Language,
) -> Sheet {
    let words = words(language);
    let mut groups: Vec<(&Submission, usize, &'a Value)> = Vec::new();
    for submission in submissions {
        match submission.answers.get(key) {
            Some(Value::List(values)) => {
                let numbered = values.iter().enumerate().filter(|(_, value)| !value.is_empty());
                groups.extend(numbered.map(|(index, value)| (submission, index + 1, value)));
            }
            Some(value) if !value.is_empty() => groups.push((submission, 1, value)),
            _ => {}
        }
    }
    let mut keys: Vec<&str> = field.fields.keys().map(String::as_str).collect();
    for (_, _, value) in &groups {
        for (member, _) in members(value) {
            if !keys.contains(&member.as_str()) {
                keys.push(member);
            }
        }
    }
    // What came in another shape than a group stands in a column of the group's own name.
    let other = groups.iter().any(|(_, _, value)| !matches!(value, Value::Group(_)));
    let name = label(key, Some(field), language);
    let mut columns = vec![words.reference.to_owned(), words.number.to_owned()];
    columns.extend(keys.iter().map(|key| label(key, field.fields.get(*key), language)));
    columns.extend(other.then(|| name.clone()));
    let mut rows = Vec::with_capacity(groups.len());
    for (submission, number, value) in groups {
        reader.prefix = submission.reference.to_string();
        let mut row = vec![
            Cell::Text(submission.reference.to_string()),
            Cell::Number(number.to_string()),
        ];
        for key in &keys {
            let found = members(value).iter().find(|(name, _)| name == key);
            row.push(cell(reader, key, found.map(|(_, value)| value), field.fields.get(*key)));
        }
        if other {
            let stray = (!matches!(value, Value::Group(_))).then_some(value);
            row.push(cell(reader, key, stray, None));
        }
        rows.push(row);
    }
    Sheet { name, columns, rows }
}

fn members(value: &Value) -> &[(String, Value)] {
    match value {
        Value::Group(members) => members,
        _ => &[],
    }
}

/// What is kept of deleted registrations; none where there is nothing.
pub(crate) fn addresses(kept: &[(Reference, EmailAddress)], language: Language) -> Option<Sheet> {
    let words = words(language);
    let row = |(reference, address): &(Reference, EmailAddress)| {
        vec![
            Cell::Text(reference.to_string()),
            Cell::Text(address.expose().to_owned()),
        ]
    };
    (!kept.is_empty()).then(|| Sheet {
        name: words.addresses.to_owned(),
        columns: vec![words.reference.to_owned(), words.address.to_owned()],
        rows: kept.iter().map(row).collect(),
    })
}

fn looks_like_a_formula(text: &str) -> bool {
    text.starts_with(FORMULA)
}

/// All lists in one workbook. Every text is a string cell; one that looks like a formula is marked as text as well, so
/// that it stays one when somebody edits it.
pub(crate) fn xlsx(sheets: &[Sheet], language: Language) -> Result<Attachment<'static>, LetterError> {
    let written = workbook(sheets).map_err(|_| LetterError::List)?;
    Ok(Attachment {
        name: format!("{}.xlsx", file_name(words(language).registrations)),
        mime: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet".to_owned(),
        content: Cow::Owned(written),
    })
}

fn workbook(sheets: &[Sheet]) -> Result<Vec<u8>, XlsxError> {
    let (bold, quoted, wrapped) = (
        Format::new().set_bold(),
        Format::new().set_quote_prefix().set_text_wrap(),
        Format::new().set_text_wrap(),
    );
    let mut workbook = Workbook::new();
    // The same registrations make the same bytes.
    let made = DocProperties::new().set_creation_datetime(&ExcelDateTime::from_ymd(2000, 1, 1)?);
    workbook.set_properties(&made);
    let mut taken: Vec<String> = Vec::new();
    for sheet in sheets {
        let name = sheet_name(&sheet.name, &taken);
        taken.push(name.to_lowercase());
        let page = workbook.add_worksheet();
        page.set_name(name)?;
        page.set_freeze_panes(1, 0)?;
        for (column, title) in (0_u16..).zip(&sheet.columns) {
            page.write_string_with_format(0, column, fitting(title), &bold)?;
            page.set_column_width(column, 20)?;
        }
        for (row, cells) in (1_u32..).zip(&sheet.rows) {
            for (column, cell) in (0_u16..).zip(cells) {
                match cell {
                    Cell::Text(text) if text.is_empty() => {}
                    Cell::Text(text) => {
                        let format = if looks_like_a_formula(text) { &quoted } else { &wrapped };
                        page.write_string_with_format(row, column, fitting(text), format)?;
                    }
                    // More digits than a spreadsheet keeps are text.
                    Cell::Number(digits) => match digits.parse::<f64>() {
                        Ok(number) if digits.len() <= 15 => page.write_number(row, column, number).map(drop)?,
                        _ => page.write_string(row, column, digits).map(drop)?,
                    },
                }
            }
        }
    }
    workbook.save_to_buffer()
}

fn fitting(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let kept: String = text.chars().take(LONGEST).collect();
    format!("{kept} …")
}

/// A name as Excel takes it: 31 characters, none of `[]:*?/\`, each only once.
fn sheet_name(wanted: &str, taken: &[String]) -> String {
    let plain: String = wanted
        .chars()
        .map(|c| {
            if "[]:*?/\\'".contains(c) || c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect();
    let plain = plain.trim();
    let plain = if plain.is_empty() { "Liste" } else { plain };
    let mut number = 1;
    loop {
        let ending = if number == 1 {
            String::new()
        } else {
            format!(" ({number})")
        };
        // Characters beyond the basic plane count twice there.
        let room = 31 - ending.len();
        let mut length = 0;
        let kept: String = plain
            .chars()
            .take_while(|c| {
                length += c.len_utf16();
                length <= room
            })
            .collect();
        let name = format!("{}{ending}", kept.trim_end());
        if !taken.contains(&name.to_lowercase()) {
            return name;
        }
        number += 1;
    }
}

/// A file for each list: RFC 4180 in UTF-8 with a byte order mark, by which Excel knows it. A text that looks like a
/// formula begins with an apostrophe.
pub(crate) fn csv(sheets: &[Sheet], language: Language) -> Result<Vec<Attachment<'static>>, LetterError> {
    let first = file_name(words(language).registrations);
    let mut names = names::Names::reserving(&[]);
    let mut files = Vec::new();
    for (index, sheet) in sheets.iter().enumerate() {
        let wanted = if index == 0 {
            format!("{first}.csv")
        } else {
            format!("{first}-{}.csv", file_name(&names::clean(&sheet.name)))
        };
        files.push(Attachment {
            name: names.give(&wanted, "liste.csv"),
            mime: "application/csv".to_owned(),
            content: Cow::Owned(csv_bytes(sheet).map_err(|_| LetterError::List)?),
        });
    }
    Ok(files)
}

fn csv_bytes(sheet: &Sheet) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer("\u{feff}".as_bytes().to_vec());
    writer.write_record(sheet.columns.iter().map(|title| inert(title)))?;
    for row in &sheet.rows {
        writer.write_record(row.iter().map(|cell| match cell {
            Cell::Text(text) => inert(text),
            Cell::Number(digits) => digits.clone(),
        }))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

fn inert(text: &str) -> String {
    let mark = if looks_like_a_formula(text) { "'" } else { "" };
    format!("{mark}{text}")
}

fn file_name(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

/// The registrations as the site sent them.
pub(crate) fn json(submissions: &[Submission], language: Language) -> Attachment<'static> {
    let all: Vec<_> = submissions
        .iter()
        .map(|submission| {
            json!({
                "reference": submission.reference,
                "received_at": submission.received_at,
                "version": submission.version,
                "answers": submission.answers.raw,
            })
        })
        .collect();
    Attachment {
        name: format!("{}.json", file_name(words(language).registrations)),
        mime: "application/json".to_owned(),
        content: Cow::Owned(serde_json::to_vec_pretty(&all).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
