//! What a field is called where people read it.

use domain::{Field, Form, Language};

use crate::words::one_line;

/// A field's label, or its key where the form does not declare it or gives it no label.
pub(crate) fn label(key: &str, field: Option<&Field>, language: Language) -> String {
    let label = field
        .map(|field| one_line(field.label.get(language)))
        .unwrap_or_default();
    if label.is_empty() { one_line(key) } else { label }
}

/// The labels along a path of keys and numbers: `deltagere.2.alder` is `Deltagere 2 – Alder`.
pub(crate) fn along(path: &str, form: &Form, language: Language) -> String {
    let mut fields = Some(&form.fields);
    let mut labels: Vec<String> = Vec::new();
    for step in path.split('.') {
        let is_number = !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit());
        match labels.last_mut() {
            Some(last) if is_number => *last = format!("{last} {step}"),
            _ => {
                let field = fields.and_then(|fields| fields.get(step));
                labels.push(label(step, field, language));
                fields = field.map(|field| &field.fields);
            }
        }
    }
    labels.join(" – ")
}
