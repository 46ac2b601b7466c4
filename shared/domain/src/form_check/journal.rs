//! Whether a form says all that journalising needs (J1, D4, D6).

use super::{Declared, Fault, is_period, named, words};
use crate::form::{Form, JournalCondition, JournalRule, JournalWhen, JournalWord, Targets};

/// Every fault of `[journal]`.
pub(super) fn check(rule: &JournalRule, form: &Form, declared: &Declared, faults: &mut Vec<Fault>) {
    if let JournalWhen::Field(condition) = &rule.when {
        journal_when(condition, form, faults);
    }
    if rule.is_never() {
        return;
    }
    match &rule.period {
        None => faults.push(Fault::refused(
            &["journal", "period"],
            "`journal.period` must be stated: there is no silent default",
        )),
        Some(period) if !is_period(period) => {
            faults.push(Fault::refused(
                &["journal", "period"],
                "`journal.period` is not an ISO 8601 duration such as P5Y",
            ));
        }
        Some(_) => {}
    }
    if rule.archive.is_none() {
        let message = "`journal.archive` must be stated: \"discard\" or \"preserve\"";
        faults.push(Fault::refused(&["journal", "archive"], message));
    }
    match &rule.wait {
        Some(wait) if !is_period(wait) => {
            faults.push(Fault::refused(
                &["journal", "wait"],
                "`journal.wait` is not an ISO 8601 duration such as P14D",
            ));
        }
        None if rule.when == JournalWhen::Word(JournalWord::Marked) => {
            let message = "`journal.wait` must be stated where a person marks: how long the copy waits";
            faults.push(Fault::refused(&["journal", "wait"], message));
        }
        _ => {}
    }
    if let Some(party) = &rule.party {
        named(form, &["journal", "party"], party, faults);
    }
    match &rule.theme {
        Some(theme) => words(&["journal", "theme"], theme, faults),
        None => faults.push(Fault::warning(
            &["journal", "theme"],
            "`journal.theme` is not stated: the journal refuses an entry without a short description, so they are held",
        )),
    }
    targets(rule, declared, faults);
}

fn journal_when(condition: &JournalCondition, form: &Form, faults: &mut Vec<Fault>) {
    let path = ["journal", "when", "field"];
    let Some(field) = named(form, &path, &condition.field, faults) else {
        return;
    };
    if !field.options.is_empty() && !field.options.contains_key(&condition.equals) {
        let message = format!("`{}` is no option of field `{}`", condition.equals, condition.field);
        let fault = Fault::warning(&["journal", "when", "equals"], message);
        faults.push(fault.unknown(&condition.equals, field.options.keys().cloned()));
    }
}

fn targets(rule: &JournalRule, declared: &Declared, faults: &mut Vec<Fault>) {
    let named = match &rule.target {
        None => return,
        Some(Targets::One(name)) => vec![name],
        Some(Targets::Several(names)) => names.iter().collect(),
    };
    if named.is_empty() {
        faults.push(Fault::refused(&["journal", "target"], "`journal.target` is empty"));
    }
    for name in named {
        if name != "embedded" && !declared.journal_targets.contains(name) {
            let known = std::iter::once("embedded".to_owned()).chain(declared.journal_targets.iter().cloned());
            let fault = Fault::refused(&["journal", "target"], format!("there is no journal target `{name}`"));
            faults.push(fault.unknown(name, known));
        }
    }
}
