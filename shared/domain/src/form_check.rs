//! What a form must say before it may be used (P3–P7), beyond the types of its keys.
//!
//! A fault names the key that it is about; the caller knows the file and the line.

mod journal;
mod legal;
#[cfg(test)]
mod tests;

use indexmap::IndexMap;
use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::form::{Class, Field, FieldType, Form, parse_duration};
use crate::submission::Kind;
use crate::{DepartmentId, SiteId, Words};

/// Whether a fault refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Worth a look.
    Warning,
    /// It is not taken.
    Refused,
}

/// Something wrong with a configuration, at a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The keys from the file's root, and places in lists.
    pub path: Vec<String>,
    /// Whether it refuses.
    pub weight: Weight,
    /// What is wrong, in words.
    pub message: String,
    /// A word that is not known, where that is the fault.
    pub wrong: Option<String>,
    /// The words that are known in its place.
    pub known: Vec<String>,
}

impl Fault {
    /// A fault that refuses.
    pub fn refused<S: AsRef<str>>(path: &[S], message: impl Into<String>) -> Self {
        Self {
            path: path.iter().map(|key| key.as_ref().to_owned()).collect(),
            weight: Weight::Refused,
            message: message.into(),
            wrong: None,
            known: Vec::new(),
        }
    }

    /// A fault that is only told.
    pub fn warning<S: AsRef<str>>(path: &[S], message: impl Into<String>) -> Self {
        Self {
            weight: Weight::Warning,
            ..Self::refused(path, message)
        }
    }

    /// Says which word is wrong, and which ones are known.
    #[must_use]
    pub fn unknown(mut self, wrong: &str, known: impl IntoIterator<Item = String>) -> Self {
        self.wrong = Some(wrong.to_owned());
        self.known = known.into_iter().collect();
        self
    }
}

/// What a form may name that is declared elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    /// The sites.
    pub sites: Vec<SiteId>,
    /// The departments.
    pub departments: Vec<DepartmentId>,
    /// The journals outside Kvit; `embedded` is always there.
    pub journal_targets: Vec<String>,
}

/// Every fault of a form.
#[must_use]
pub fn check(form: &Form, declared: &Declared) -> Vec<Fault> {
    let mut faults = Vec::new();
    names(form, declared, &mut faults);
    words(&["title"], &form.title, &mut faults);
    words(&["purpose"], &form.purpose, &mut faults);
    legal::check(form, &mut faults);
    fields(&["fields".to_owned()], &form.fields, form, &mut faults);
    receipt(form, &mut faults);
    if let Some(rule) = &form.journal {
        journal::check(rule, form, declared, &mut faults);
    }
    event(form, &mut faults);
    if let Some(after) = &form.alarm_after
        && !(after.starts_with('P') && parse_duration(after).is_some())
    {
        faults.push(Fault::refused(
            &["alarm_after"],
            "`alarm_after` is not an ISO 8601 duration such as PT24H",
        ));
    }
    faults
}

fn names(form: &Form, declared: &Declared, faults: &mut Vec<Fault>) {
    if form.sites().next().is_none() {
        faults.push(Fault::refused(&["site"], "`site` or `sites` must be stated"));
    }
    let sites = form
        .sites
        .iter()
        .enumerate()
        .map(|(n, site)| (vec!["sites".to_owned(), n.to_string()], site));
    for (path, site) in form
        .site
        .iter()
        .map(|site| (vec!["site".to_owned()], site))
        .chain(sites)
    {
        if !declared.sites.contains(site) {
            let known = declared.sites.iter().map(ToString::to_string);
            faults.push(Fault::refused(&path, format!("there is no site `{site}`")).unknown(site.as_str(), known));
        }
    }
    let department = &form.department;
    if !declared.departments.contains(department) {
        let known = declared.departments.iter().map(ToString::to_string);
        let fault = Fault::refused(&["department"], format!("there is no department `{department}`"));
        faults.push(fault.unknown(department.as_str(), known));
    }
}

fn words<S: AsRef<str>>(path: &[S], text: &Words, faults: &mut Vec<Fault>) {
    if text.is_empty() {
        let name = path.last().map_or("text", AsRef::as_ref);
        faults.push(Fault::refused(path, format!("`{name}` is empty")));
    }
}

fn fields(path: &[String], fields: &IndexMap<String, Field>, form: &Form, faults: &mut Vec<Fault>) {
    for (name, field) in fields {
        let at = |key: &str| [path, &[name.clone(), key.to_owned()]].concat();
        words(&at("label"), &field.label, faults);
        if let Some(section) = &field.section {
            words(&at("section"), section, faults);
        }
        for (option, text) in &field.options {
            words(&[at("options"), vec![option.clone()]].concat(), text, faults);
        }
        let group = field.kind == FieldType::Group;
        if group && field.fields.is_empty() {
            let here = [path, std::slice::from_ref(name)].concat();
            faults.push(Fault::refused(&here, format!("group `{name}` has no fields")));
        }
        if !group && !field.fields.is_empty() {
            let message = format!("field `{name}` has fields of its own and is no group: say type = \"group\"");
            faults.push(Fault::refused(&at("fields"), message));
        }
        if field.kind == FieldType::Cpr && form.class_of(field) == Class::Ordinary {
            let here = [path, std::slice::from_ref(name)].concat();
            let message = format!("field `{name}` holds a CPR number, which is confidential, not ordinary");
            faults.push(Fault::warning(&here, message));
        }
        self::fields(&at("fields"), &field.fields, form, faults);
    }
}

/// The field of this name, or a fault that says so. Only the form's own fields can be meant, not those of a group.
fn named<'f>(form: &'f Form, path: &[&str], name: &str, faults: &mut Vec<Fault>) -> Option<&'f Field> {
    let found = form.fields.get(name);
    if found.is_none() {
        let fault = Fault::refused(
            path,
            format!("`{}` names no field of the form: `{name}`", path.join(".")),
        );
        faults.push(fault.unknown(name, form.fields.keys().cloned()));
    }
    found
}

fn receipt(form: &Form, faults: &mut Vec<Fault>) {
    let Some(rule) = &form.receipt else {
        return;
    };
    if let Some(field) = named(form, &["receipt", "to"], &rule.to, faults)
        && !matches!(field.kind, FieldType::Email | FieldType::Text)
    {
        let message = format!("`receipt.to` names field `{}`, which holds no mail address", rule.to);
        faults.push(Fault::refused(&["receipt", "to"], message));
    }
    if let Some(key) = &rule.key {
        named(form, &["receipt", "key"], key, faults);
    }
}

/// E1
fn event(form: &Form, faults: &mut Vec<Fault>) {
    let Some(event) = &form.event else {
        return;
    };
    if form.kind != Kind::Registration {
        faults.push(Fault::refused(&["event"], "`[event]` is for kind = \"registration\""));
    }
    for (key, time) in [("deadline", &event.deadline), ("held", &event.held)] {
        if time.as_ref().is_some_and(|time| !is_time(time)) {
            let message = format!("`event.{key}` is not a time such as 2026-12-01T23:59:00");
            faults.push(Fault::refused(&["event", key], message));
        }
    }
    if let (Some(deadline), Some(held)) = (&event.deadline, &event.held)
        && let (Ok(deadline), Ok(held)) = (deadline.parse::<DateTime>(), held.parse::<DateTime>())
        && held < deadline
    {
        faults.push(Fault::warning(
            &["event", "held"],
            "the event is held before its deadline",
        ));
    }
}

/// Local time, or with an offset.
fn is_time(text: &str) -> bool {
    text.contains(['T', ' ', 't']) && (text.parse::<Timestamp>().is_ok() || text.parse::<DateTime>().is_ok())
}

/// An ISO 8601 period of more than nothing.
fn is_period(text: &str) -> bool {
    crate::form::parse_period(text).is_some()
}
