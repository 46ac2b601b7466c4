//! Holds a message's answers against its form: coerces what is declared, and remarks on what does not fit.
//!
//! The site has validated the form already, and Kvit does not stand between a citizen and the department: what does not
//! fit is delivered with a remark. Only a form that says `strict`, or `refuse`, turns a message away here.

mod file;
mod walk;

use domain::form::UnknownFields;
use domain::quarantine::QuarantineReason;
use domain::{Answers, EmailAddress, Form, Remark, Value};

use self::walk::Walk;
use crate::shapes::{Incoming, Refusal};

/// A message held against its form.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The answers.
    pub answers: Answers,
    /// What the department is told about them. The paths of undeclared fields hold the site's own keys: mail them, but
    /// never log them. Several values of a field are counted from 1.
    pub remarks: Vec<Remark>,
    /// Whether there are fields that the form does not declare, delivered or dropped: alarm `form_drift`.
    pub drift: bool,
    /// The files that were named without their content: the duty `files` waits for them.
    pub missing_content: Vec<MissingFile>,
}

/// A file that was named without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFile {
    /// The path of its field.
    pub field: String,
    /// The site's number of it, where it said one.
    pub id: Option<String>,
}

/// Checks a message against its form. `unknown` is the form's rule for undeclared fields, else its site's.
///
/// # Errors
///
/// `unknown_field` where the rule is refuse; `invalid_field` and `missing_field` where the form is strict.
pub fn check(incoming: &Incoming, form: &Form, unknown: UnknownFields) -> Result<Checked, Refusal> {
    let mut walk = Walk::new(&incoming.files, unknown);
    let answers = walk.answers(form, &incoming.answers);
    let mut checked = walk.into_checked(answers);
    let delivered = incoming
        .masked
        .iter()
        .filter(|key| checked.answers.raw.contains_key(*key));
    checked
        .remarks
        .extend(delivered.map(|field| Remark::TokenMasked { field: field.clone() }));
    match fault(&checked, form, unknown) {
        Some(reason) => Err(Refusal {
            reason,
            form: Some(form.id.clone()),
        }),
        None => Ok(checked),
    }
}

fn fault(checked: &Checked, form: &Form, unknown: UnknownFields) -> Option<QuarantineReason> {
    let has = |wanted: fn(&Remark) -> bool| form.strict && checked.remarks.iter().any(wanted);
    if checked.drift && unknown == UnknownFields::Refuse {
        return Some(QuarantineReason::UnknownField);
    }
    if has(|remark| matches!(remark, Remark::WrongType { .. })) {
        return Some(QuarantineReason::InvalidField);
    }
    has(|remark| matches!(remark, Remark::Missing { .. })).then_some(QuarantineReason::MissingField)
}

/// The submitter's address, where the form has a field for it and mail can be sent to what stands there.
#[must_use]
pub fn receipt_address(checked: &Checked, form: &Form) -> Option<EmailAddress> {
    let rule = form.receipt.as_ref()?;
    let text = first_text(checked.answers.get(&rule.to)?)?;
    EmailAddress::parse(text).ok()
}

fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        Value::List(values) => values.iter().find_map(first_text),
        _ => None,
    }
}
