//! The walk through the answers, field by declared field.

use std::collections::{BTreeMap, HashSet};

use domain::cpr::{self, Cpr};
use domain::form::UnknownFields;
use domain::{Answers, EmailAddress, Field, FieldType, Form, Remark, Value};
use serde_json::{Map, Value as Json};

use super::{Checked, MissingFile};
use crate::coerce;
use crate::shapes::Files;

/// An answer twice: coerced, and as the site sent it.
pub(super) struct Answer {
    pub(super) value: Value,
    pub(super) raw: Json,
}

/// Collects what there is to remark, and where it stands.
pub(super) struct Walk<'a> {
    pub(super) files: &'a Files,
    /// The ids of files that an answer named.
    pub(super) named: HashSet<String>,
    pub(super) missing: Vec<MissingFile>,
    unknown: UnknownFields,
    path: Vec<String>,
    remarks: Vec<Remark>,
    drift: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(files: &'a Files, unknown: UnknownFields) -> Self {
        Self {
            files,
            named: HashSet::new(),
            missing: Vec::new(),
            unknown,
            path: Vec::new(),
            remarks: Vec::new(),
            drift: false,
        }
    }

    pub(super) fn into_checked(self, answers: Answers) -> Checked {
        Checked {
            answers,
            remarks: self.remarks,
            drift: self.drift,
            missing_content: self.missing,
        }
    }

    /// Every declared field in the form's order, then what the form does not declare.
    pub(super) fn answers(&mut self, form: &Form, message: &Map<String, Json>) -> Answers {
        let mut answers = Answers::default();
        let mut raws = BTreeMap::new();
        for (key, field) in &form.fields {
            let answer = self.field(key, field, message.get(key));
            raws.insert(key.as_str(), answer.raw);
            answers.declared.push((key.clone(), answer.value));
        }
        for (key, json) in message {
            if let Some(raw) = raws.remove(key.as_str()) {
                answers.raw.insert(key.clone(), raw);
            } else if coerce::is_empty(json) || self.undeclared(key, json) {
                answers.raw.insert(key.clone(), json.clone());
                if !coerce::is_empty(json) {
                    answers.undeclared.push((key.clone(), json.clone()));
                }
            }
        }
        // A file may come without its id among the answers.
        let unsent = form
            .fields
            .keys()
            .filter_map(|key| Some((key.clone(), raws.remove(key.as_str())?)));
        answers.raw.extend(unsent.filter(|(_, raw)| !raw.is_null()));
        answers
    }

    fn field(&mut self, key: &str, field: &Field, json: Option<&Json>) -> Answer {
        self.path.push(key.to_owned());
        let json = json.unwrap_or(&Json::Null);
        let answer = match field.kind {
            FieldType::File => self.files(field, json),
            _ => self.values(field, json),
        };
        if field.required && answer.value.is_empty() {
            let field = self.here();
            self.remarks.push(Remark::Missing { field });
        }
        self.path.pop();
        answer
    }

    /// One value or several. Empty ones among several are left out: an untouched row of a table says nothing.
    fn values(&mut self, field: &Field, json: &Json) -> Answer {
        let Some(items) = items(field, json) else {
            let Answer { value, raw } = self.value(field, json);
            let several = field.multiple && !value.is_empty();
            let value = if several { Value::List(vec![value]) } else { value };
            return Answer { value, raw };
        };
        let mut values = Vec::new();
        let mut raws = Vec::new();
        for item in items {
            if coerce::is_empty(item) {
                raws.push(item.clone());
                continue;
            }
            let answer = self.nth(values.len() + 1, |walk| walk.value(field, item));
            values.push(answer.value);
            raws.push(answer.raw);
        }
        Answer {
            value: self.one_or_list(field, values),
            raw: Json::Array(raws),
        }
    }

    /// Several values as the field was declared: of a single field, more than one are remarked upon.
    pub(super) fn one_or_list(&mut self, field: &Field, mut values: Vec<Value>) -> Value {
        match values.len() {
            0 => Value::Empty,
            1 if !field.multiple => values.remove(0),
            _ => {
                if !field.multiple {
                    self.wrong_type();
                }
                Value::List(values)
            }
        }
    }

    /// Goes into the `nth` of several values.
    pub(super) fn nth<T>(&mut self, nth: usize, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(nth.to_string());
        let done = inside(self);
        self.path.pop();
        done
    }

    fn value(&mut self, field: &Field, json: &Json) -> Answer {
        if field.kind == FieldType::Group {
            return self.group(field, json);
        }
        let value = match (field.kind, json) {
            (FieldType::Boolean, Json::String(text)) if text.is_empty() => Value::Boolean(false),
            _ if coerce::is_empty(json) => Value::Empty,
            _ => self.scalar(field, json),
        };
        Answer {
            value,
            raw: json.clone(),
        }
    }

    fn scalar(&mut self, field: &Field, json: &Json) -> Value {
        let cpr = || coerce::text(json).and_then(|text| Cpr::parse(&text));
        let coerced = match field.kind {
            FieldType::Cpr => cpr().map(|cpr| Value::Text(cpr.expose().to_owned())),
            FieldType::Number => coerce::number(json).map(Value::Number),
            FieldType::Boolean => coerce::boolean(json).map(Value::Boolean),
            _ => coerce::text(json).filter(|text| fits(field, text)).map(Value::Text),
        };
        if field.kind != FieldType::Cpr && holds_cpr(json) {
            self.cpr_in_text();
        }
        coerced.unwrap_or_else(|| {
            self.wrong_type();
            as_came(json)
        })
    }

    /// A group's fields in the form's order; undeclared ones follow, as the rule for them says.
    fn group(&mut self, field: &Field, json: &Json) -> Answer {
        if coerce::is_empty(json) {
            return Answer {
                value: Value::Empty,
                raw: json.clone(),
            };
        }
        let Some(object) = as_object(json) else {
            return Answer {
                value: self.scalar(field, json),
                raw: json.clone(),
            };
        };
        let mut values = Vec::new();
        let mut raws = BTreeMap::new();
        for (key, inner) in &field.fields {
            let answer = self.field(key, inner, object.get(key).copied());
            raws.insert(key.as_str(), answer.raw);
            values.push((key.clone(), answer.value));
        }
        let mut raw = Map::new();
        for (key, json) in &object {
            if let Some(declared) = raws.remove(key.as_str()) {
                raw.insert(key.clone(), declared);
            } else if coerce::is_empty(json) || self.undeclared(key, json) {
                raw.insert(key.clone(), (*json).clone());
                if !coerce::is_empty(json) {
                    values.push((key.clone(), as_came(json)));
                }
            }
        }
        Answer {
            value: Value::Group(values),
            raw: Json::Object(raw),
        }
    }

    /// Notes a field that the form does not declare, and says whether it is delivered.
    fn undeclared(&mut self, key: &str, json: &Json) -> bool {
        self.drift = true;
        if self.unknown == UnknownFields::Drop {
            return false;
        }
        self.path.push(key.to_owned());
        let field = self.here();
        self.remarks.push(Remark::Undeclared { field });
        if holds_cpr(json) || text_holds_cpr(key) {
            self.cpr_in_text();
        }
        self.path.pop();
        true
    }

    pub(super) fn here(&self) -> String {
        self.path.join(".")
    }

    /// The key, where the walk stands at a field of the form itself.
    pub(super) fn top_level_key(&self) -> Option<&str> {
        match self.path.as_slice() {
            [key] => Some(key),
            _ => None,
        }
    }

    pub(super) fn wrong_type(&mut self) {
        let field = self.here();
        self.remarks.push(Remark::WrongType { field });
    }

    pub(super) fn cpr_in_text(&mut self) {
        let field = self.here();
        self.remarks.push(Remark::CprInText { field });
    }

    pub(super) fn file_missing(&mut self, id: Option<String>) {
        let field = self.here();
        self.remarks.push(Remark::FileMissing { field: field.clone() });
        self.missing.push(MissingFile { field, id });
    }
}

/// Whether a text is what its field was declared to hold.
fn fits(field: &Field, text: &str) -> bool {
    let is_address = |text: &str| EmailAddress::parse(text).is_ok();
    match field.kind {
        FieldType::Text => true,
        // Webform's field for several addresses is one text, with commas.
        FieldType::Email if field.multiple => text.split(',').all(is_address),
        FieldType::Email => is_address(text),
        FieldType::Phone => coerce::is_phone(text),
        FieldType::Cvr => coerce::is_cvr(text),
        FieldType::Date => coerce::is_date(text),
        _ => false,
    }
}

/// Several values: a list, or the object that PHP writes for a list with gaps (`{"0":…,"2":…}`). `None` for one value; a
/// group may have fields called `0` and `1`, and is then one, even where PHP wrote a list.
pub(super) fn items<'j>(field: &Field, json: &'j Json) -> Option<Vec<&'j Json>> {
    let is_number = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit());
    match json {
        Json::Array(items) => {
            let is_group = field.fields.contains_key("0") && items.iter().all(|item| !item.is_object());
            (!is_group).then(|| items.iter().collect())
        }
        Json::Object(object) if !object.is_empty() && object.keys().all(|key| is_number(key)) => {
            let is_group = object.keys().any(|key| field.fields.contains_key(key));
            let mut numbered: Vec<_> = object.iter().collect();
            numbered.sort_by_key(|(key, _)| (key.len(), *key));
            (!is_group).then(|| numbered.into_iter().map(|(_, value)| value).collect())
        }
        _ => None,
    }
}

/// A group's fields by key; a list has its positions for keys.
fn as_object(json: &Json) -> Option<indexmap::IndexMap<String, &Json>> {
    match json {
        Json::Object(object) => Some(object.iter().map(|(key, value)| (key.clone(), value)).collect()),
        Json::Array(items) => Some(
            items
                .iter()
                .enumerate()
                .map(|(at, item)| (at.to_string(), item))
                .collect(),
        ),
        _ => None,
    }
}

/// A value that is not of its field's type, or whose field has none.
pub(super) fn as_came(json: &Json) -> Value {
    match json {
        Json::Null => Value::Empty,
        Json::Bool(yes) => Value::Boolean(*yes),
        Json::Number(_) | Json::String(_) => coerce::filled_text(json).map_or(Value::Empty, Value::Text),
        Json::Array(_) | Json::Object(_) => Value::Other(json.clone()),
    }
}

/// Whether a CPR number stands anywhere in a value (P4).
fn holds_cpr(json: &Json) -> bool {
    match json {
        Json::String(text) => text_holds_cpr(text),
        Json::Number(number) => text_holds_cpr(&number.to_string()),
        Json::Array(items) => items.iter().any(holds_cpr),
        Json::Object(fields) => fields
            .iter()
            .any(|(key, value)| text_holds_cpr(key) || holds_cpr(value)),
        Json::Null | Json::Bool(_) => false,
    }
}

/// As [`cpr::find`], run by run of what a CPR number is written with, so that a long text costs no memory. The base 64 of
/// a data URI is no text.
pub(super) fn text_holds_cpr(text: &str) -> bool {
    let may_be_part = |c: char| c.is_ascii_digit() || " -\u{2013}\u{a0}".contains(c);
    coerce::data_uri(text).is_none()
        && text
            .split(|c| !may_be_part(c))
            .any(|run| run.len() >= 10 && !cpr::find(run).is_empty())
}
