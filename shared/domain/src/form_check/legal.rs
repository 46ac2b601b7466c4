//! Whether a form's legal basis carries its fields (P5, P7).

use indexmap::IndexMap;

use super::Fault;
use crate::basis::{Basis, Need};
use crate::form::{Class, Field, FieldType, Form};

/// Every fault of a form's legal basis.
pub(super) fn check(form: &Form, faults: &mut Vec<Fault>) {
    if form.legal_basis.is_empty() {
        faults.push(Fault::refused(
            &["legal_basis"],
            "a form without a legal basis is refused",
        ));
        return;
    }
    let mut known = Vec::new();
    for (n, text) in form.legal_basis.iter().enumerate() {
        let path = ["legal_basis".to_owned(), n.to_string()];
        let Ok(basis) = text.parse::<Basis>() else {
            let fault = Fault::refused(&path, format!("there is no legal basis `{text}`"));
            faults.push(fault.unknown(text, Basis::all().map(|basis| basis.to_string())));
            continue;
        };
        if !basis.is_usual() {
            let message = format!("`{basis}` is seldom a municipality's basis: see that it is meant");
            faults.push(Fault::warning(&path, message));
        }
        known.push(basis);
    }
    if known.len() < form.legal_basis.len() {
        return; // a misspelt one may be the one that is missing
    }
    for (need, why) in needs(form) {
        if !known.iter().any(|basis| need.is_met_by(*basis)) {
            let message = format!("{why} needs the basis `{}`", need.id());
            faults.push(Fault::refused(&["legal_basis"], message));
        }
    }
}

/// Every kind of basis that the form's fields need, with the first reason for each.
fn needs(form: &Form) -> Vec<(Need, String)> {
    let mut needs: Vec<(Need, String)> = Vec::new();
    let mut add = |need: Need, why: String| {
        if !needs.iter().any(|(known, _)| *known == need) {
            needs.push((need, why));
        }
    };
    let leaves = leaves(&form.fields);
    for (name, field) in &leaves {
        let class = form.class_of(field);
        for need in Need::of(class) {
            add(*need, format!("field `{name}` ({})", class_name(class)));
        }
        if field.kind == FieldType::Cpr {
            add(Need::Section11, format!("field `{name}` (a CPR number)"));
        }
    }
    if leaves.is_empty() {
        for need in Need::of(form.default_class) {
            add(*need, format!("`default_class` {}", class_name(form.default_class)));
        }
    }
    needs
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Ordinary => "ordinary",
        Class::Confidential => "confidential",
        Class::Special => "special",
        Class::Criminal => "criminal",
    }
}

/// The fields that hold values, groups' own ones included; a group with no fields is one itself.
fn leaves(fields: &IndexMap<String, Field>) -> Vec<(&str, &Field)> {
    let mut found = Vec::new();
    for (name, field) in fields {
        if field.fields.is_empty() {
            found.push((name.as_str(), field));
        } else {
            found.extend(leaves(&field.fields));
        }
    }
    found
}
