//! How the answers of actions become cells, fields and forms of a page.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use url::form_urlencoded::byte_serialize;
use worker::cron::Expression;

use crate::Console;
use crate::auth::Signed;
use crate::tables::{Choices, Kind, Offer};
use crate::view::{Act, Cell, Field, Row, Shell};
use crate::words::of_duty;

pub(crate) fn plain(text: impl Into<String>) -> Cell {
    Cell {
        text: text.into(),
        ..Cell::default()
    }
}

/// A time by the controller's clocks.
pub(crate) fn time(console: &Console, at: Timestamp) -> Cell {
    let local = at.to_zoned(console.desk.loaded.config.controller.time_zone.clone());
    Cell {
        text: local.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        time: Some(at.to_string()),
        ..Cell::default()
    }
}

/// How old something is, as a person reads it; nothing where it is of no age.
pub(crate) fn age(seconds: i64) -> String {
    match seconds {
        ..1 => "–".to_owned(),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        172_800.. => format!("{} d", seconds / 86_400),
    }
}

pub(crate) fn link(path: &str, key: &str, id: &str) -> String {
    let id: String = byte_serialize(id.as_bytes()).collect();
    format!("{path}?{key}={id}")
}

pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A value of a row, found in the row or in what it holds.
fn found<'v>(row: &'v Value, key: &str) -> &'v Value {
    match (&row[key], &row["last"][key]) {
        (Value::Null, inner) => inner,
        (value @ Value::Object(_), _) if !value["utc"].is_null() => &value["utc"],
        (value, _) => value,
    }
}

pub(crate) fn cell(shell: &Shell, row: &Value, key: &str, kind: Kind) -> Cell {
    if matches!(kind, Kind::Submission) {
        return submission(row, key);
    }
    if matches!(kind, Kind::Why) {
        return plain(why(shell, row));
    }
    if matches!(kind, Kind::Run) {
        return run(shell, row);
    }
    let text = text_of(found(row, key));
    if text.is_empty() {
        return plain("–");
    }
    match kind {
        Kind::Text | Kind::Submission | Kind::Why | Kind::Run => plain(text),
        Kind::Word => plain(shell.say(&text)),
        Kind::Because => Cell {
            meaning: shell.find(&format!("because-{text}")),
            ..plain(text)
        },
        Kind::OfDuty => Cell {
            meaning: shell.find(&of_duty(&text)),
            ..plain(text)
        },
        Kind::Leaf => plain(leaf(shell, &text)),
        Kind::Time => match text.parse() {
            Ok(at) => time(&shell.console, at),
            Err(_) => plain(text),
        },
        Kind::Event => Cell {
            href: Some(link("/events/show", "event", &text)),
            ..plain(text)
        },
        Kind::Schedule => Cell {
            href: Some(link("/schedules/show", "name", &text)),
            ..plain(text)
        },
        // The words that the action answers are English.
        Kind::Cron => plain(match Expression::read(&text_of(&row["cron"]), &TimeZone::UTC) {
            Ok(expression) => expression.describe(shell.language),
            Err(_) => text,
        }),
        Kind::Retried => retried(shell, &text),
        Kind::Who => {
            let name = shell.console.door.name_of(&text).unwrap_or(&text);
            plain(name)
        }
    }
}

/// How a run went: a word of ours, and what the job said of it.
fn run(shell: &Shell, row: &Value) -> Cell {
    let state = text_of(found(row, "state"));
    if state.is_empty() {
        return plain("–");
    }
    Cell {
        meaning: Some(text_of(found(row, "outcome"))).filter(|outcome| !outcome.is_empty()),
        ..plain(shell.say(&format!("run-{state}")))
    }
}

/// What became of a message that was tried again; why it could not be tried stands as it came.
fn retried(shell: &Shell, outcome: &str) -> Cell {
    let (code, rest) = outcome.split_once(": ").unwrap_or((outcome, ""));
    match shell.find(&format!("retried-{}", code.replace(' ', "-"))) {
        Some(words) if rest.is_empty() => plain(words),
        Some(words) => Cell {
            meaning: shell.find(&format!("because-{rest}")),
            ..plain(format!("{words}: {rest}"))
        },
        None => plain(outcome),
    }
}

/// What happened: a phrase, or what became of a duty.
fn leaf(shell: &Shell, event: &str) -> String {
    let of_duty = || {
        let (kind, state) = event.rsplit_once('_')?;
        Some(format!("{}: {}", shell.find(kind)?, shell.find(state)?))
    };
    shell.find(event).or_else(of_duty).unwrap_or_else(|| event.to_owned())
}

/// Why a submission is kept, or was deleted, in the person's language.
pub(crate) fn why(shell: &Shell, submission: &Value) -> String {
    let because = &submission["because"];
    let duty = &because["duty"];
    let mut about = vec![
        ("duty", shell.say(&text_of(&duty[0]))),
        ("state", shell.say(&text_of(&duty[1]))),
    ];
    if let Some(until) = because["until"].as_str().and_then(|until| until.parse().ok()) {
        about.push(("until", time(&shell.console, until).text));
    }
    let mut words = match because["code"].as_str() {
        Some(code) if !code.is_empty() => shell.fill(&format!("why-{code}"), &about),
        _ => text_of(&submission["why"]),
    };
    let reason = duty[2].as_str().and_then(|reason| shell.find(&of_duty(reason)));
    let paused = (because["paused"] == true).then(|| shell.say("why-paused"));
    for more in [reason, paused].into_iter().flatten() {
        words = format!("{words} {more}");
    }
    words
}

/// A submission by what the citizen quotes, else by its id; the row is its own, or one that names it.
fn submission(row: &Value, key: &str) -> Cell {
    let (id, quoted) = if key == "submission" {
        (&row["submission"], &row["reference"])
    } else {
        (&row["id"], &row[key])
    };
    let (id, quoted) = (text_of(id), text_of(quoted));
    if id.is_empty() {
        return plain("–");
    }
    Cell {
        href: Some(link("/submissions/show", "id", &id)),
        ..plain(if quoted.is_empty() { id } else { quoted })
    }
}

/// The rows of a list, each with the columns of its table.
pub(crate) fn rows_of(shell: &Shell, rows: &Value, columns: &[(&'static str, Kind)]) -> Vec<Row> {
    let rows = rows.as_array().into_iter().flatten().map(|row| Row {
        id: row["id"].as_str().map(str::to_owned),
        cells: columns.iter().map(|(key, kind)| cell(shell, row, key, *kind)).collect(),
    });
    rows.collect()
}

/// What one thing is, each fact under its name.
pub(crate) fn facts_of(shell: &Shell, thing: &Value, facts: &[(&'static str, Kind)]) -> Vec<(String, Cell)> {
    let facts = facts.iter();
    facts
        .map(|(key, kind)| (shell.say(&format!("field-{key}")), cell(shell, thing, key, *kind)))
        .collect()
}

pub(crate) fn field(shell: &Shell, name: &'static str, choices: Choices, value: String, filter: bool) -> Field {
    let words = choices.words(&shell.console.desk).into_iter();
    Field {
        name,
        label: shell.say(&format!("field-{name}")),
        value,
        choices: words.map(|word| (word.clone(), shell.say(&word))).collect(),
        required: !filter && choices.must(),
        long: matches!(choices, Choices::Long),
    }
}

/// The forms of a page that this person may send, where some fields are given already.
pub(crate) fn acts(shell: &Shell, signed: &Signed, of: &[Offer], given: &[(&str, &str)]) -> Vec<Act> {
    let may = |name: &str| operate::find(name).is_some_and(|action| signed.actor().may(action));
    let forms = of.iter().filter(|(action, _)| may(action));
    forms
        .map(|&(action, fields)| {
            let value = |name: &str| given.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
            let open = fields.iter().filter(|(name, _)| value(name).is_none());
            Act {
                action,
                label: shell.say(action),
                fields: open
                    .map(|&(name, choices)| field(shell, name, choices, String::new(), false))
                    .collect(),
                hidden: given
                    .iter()
                    .filter(|(name, _)| fields.iter().any(|(field, _)| field == name))
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            }
        })
        .collect()
}

pub(crate) fn bulk(shell: &Shell, signed: &Signed, of: &[&'static str]) -> Vec<(&'static str, String)> {
    let may = |name: &&&str| operate::find(name).is_some_and(|action| signed.actor().may(action));
    of.iter()
        .filter(may)
        .map(|action| (*action, shell.say(action)))
        .collect()
}
