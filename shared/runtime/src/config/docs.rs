//! The documentation of the configuration and its JSON Schemas, made from the types.
//!
//! `docs/configuration.md`, `docs/kvit.schema.json` and `docs/form.schema.json` are these texts; a test fails where they
//! differ, and `KVIT_BLESS=1 cargo test -p kvit-runtime` writes them anew.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::schema::{self, Kind, Schema};

const HEAD: &str = "\
# Configuration

<!-- Made from the types in shared/runtime and shared/domain: KVIT_BLESS=1 cargo test -p kvit-runtime -->

Every program reads one file: `--config PATH`, else `$KVIT_CONFIG`, else `/etc/kvit/kvit.toml`. The forms stand beside
it, one file a form. `--check-config`, or `kvit check`, lists every fault with its file and line; a configuration with a
fault is refused as a whole (exit status 78). An unknown key is a fault.

* **Precedence**: flags over the environment over the file over the defaults below.
* **Environment**: `KVIT_` and the path of a key joined by `__`, in capitals: `KVIT_BROKER__URL`, `KVIT_INTAKE__LISTEN`,
  `KVIT_SITES__EKSEMPEL__REQUIRE_SEALED`. A hyphen of an id may be written `_`. A list is written `a,b` or `[\"a\", \"b\"]`.
* **Flags**: `--set broker.prefetch=16`; `--no-declare` is `--set broker.declare=false`. Other users of the machine can
  see a command line: secrets belong in files or in the environment.
* **Secrets**: each may be given as `x` or in a file named by `x_file`, not both. Each program reads only its own.
* **Paths** are relative to the folder of the configuration file.
* **Durations** are ISO 8601: `PT30S`, `PT1H`, `P5D`. A day has 24 hours.
* **Ids** have 1 to 64 characters of `a-z`, `0-9`, `_` and `-`.
* **TODO** in any text, secrets aside, is a fault: somebody must decide it first.
* **Words**, `{ da = \"…\", en = \"…\" }`, need at least one language; the other letters then use that one.

Logs go to standard error, as JSON where that is no terminal. `KVIT_LOG` filters them: `info` (the default), `debug`,
`kvit_mailer=debug,info`. Libraries are held at errors whatever it says, because they may log what they carry.

| status | meaning |
| --- | --- |
| 0 | done |
| 64 | the command line is wrong |
| 65 | the data was refused |
| 69 | a service is unavailable |
| 74 | reading or writing failed |
| 78 | the configuration is wrong |

# `kvit.toml`

An editor that knows JSON Schema can use [kvit.schema.json](kvit.schema.json): `#:schema kvit.schema.json` in the first
line. Keys outside a section stand above the first one.
";

const FORMS: &str = "
# Forms: `forms/*.toml`

One form a file; the files' names are free. A message for a form that is not here is quarantined. The schema is
[form.schema.json](form.schema.json). Beyond the keys, a form is refused where

* it names no purpose or no legal basis, or a basis that is not known;
* a kind of basis is missing for a class of its fields: `gdpr-6-1-*` for ordinary and confidential ones, `gdpr-9-2-*` for
  special ones, `gdpr-10` and `dbl-8` for criminal ones, `dbl-11` for a CPR number (a basis outside those that
  municipalities rest on as a rule, 6(1) a, c, e and 9(2) a, e, f, g, is a warning);
* `receipt.to`, `receipt.key`, `journal.party` or `journal.when.field` names no field; a site, department or journal
  target is not in `kvit.toml`;
* it is journalised and `journal.period` or `journal.archive` is missing, or marked by a person and `journal.wait` is;
* it has an `[event]` and is no registration; a group has no fields, or another field has some;
* another file states the same form for the same site.
";

/// The text of `docs/configuration.md`.
#[must_use]
pub fn configuration() -> String {
    let mut text = HEAD.to_owned();
    tables(&mut text, "", schema::config());
    text.push_str(FORMS);
    tables(&mut text, "", schema::form());
    text
}

/// The text of `docs/kvit.schema.json`.
#[must_use]
pub fn config_schema() -> String {
    pretty(schema::config_schema())
}

/// The text of `docs/form.schema.json`.
#[must_use]
pub fn form_schema() -> String {
    pretty(schema::form_schema())
}

fn pretty(json: &Json) -> String {
    format!("{json:#}\n")
}

/// The keys of a table, then its sections, each under its heading.
fn tables(text: &mut String, path: &str, schema: Schema<'_>) {
    let Kind::Table(properties) = schema.kind() else {
        return;
    };
    let parts = || {
        properties
            .keys()
            .map(|key| (key, schema.property(key).expect("it is one of the properties")))
    };
    let keys: Vec<_> = parts().filter(|(_, part)| section(*part).is_none()).collect();
    if !keys.is_empty() {
        text.push_str("\n| key | holds | default | |\n| --- | --- | --- | --- |\n");
    }
    for (key, part) in keys {
        let default = default(key, schema, part);
        let meaning = cell(part.description());
        writeln!(text, "| `{key}` | {} | {default} | {meaning} |", cell(&holds(part))).expect("a text takes text");
    }
    for (key, part) in parts() {
        if let Some((below, inner)) = section(part) {
            let path = format!("{path}{key}{below}");
            write!(text, "\n## `[{path}]`\n\n{}\n", part.description()).expect("a text takes text");
            if path.matches(".<").count() < 2 {
                tables(text, &format!("{path}."), inner);
            } else {
                text.push_str("The keys are those above.\n");
            }
        }
    }
}

/// What stands under a heading of its own: a table, or a table of tables by id. Small ones stand on a line.
fn section(part: Schema<'_>) -> Option<(&'static str, Schema<'_>)> {
    match part.kind() {
        Kind::Table(_) if inline(part).is_none() => Some(("", part)),
        Kind::Map(values, _) if matches!(values.kind(), Kind::Table(_)) && inline(values).is_none() => {
            Some((".<id>", values))
        }
        _ => None,
    }
}

/// Tables that are written on one line.
fn inline(part: Schema<'_>) -> Option<&'static str> {
    let Kind::Table(properties) = part.kind() else {
        return None;
    };
    let keys: Vec<&str> = properties.keys().map(String::as_str).collect();
    match keys.as_slice() {
        ["da", "en"] => Some("words"),
        ["file", "fingerprint"] => Some("`{ file, fingerprint }`"),
        ["field", "equals"] => Some("`{ field, equals }`"),
        _ => None,
    }
}

fn holds(part: Schema<'_>) -> String {
    match part.kind() {
        Kind::Choice(choices) => choices
            .iter()
            .map(|(word, _)| format!("`\"{word}\"`"))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::Text => match part.format() {
            "" if part.is_id() => "id".to_owned(),
            "" => "text".to_owned(),
            "path" => "path".to_owned(),
            "email" => "mail address".to_owned(),
            "mailbox" => "sender".to_owned(),
            "listen" => "address:port".to_owned(),
            "key" => "32 bytes, base64".to_owned(),
            "keys" => "32 bytes, base64; several, a line each: the first wraps, all open".to_owned(),
            "cron" => "cron".to_owned(),
            "time-zone" => "time zone".to_owned(),
            "amqp-url" | "smtp-url" | "store-url" | "http-url" => "URL".to_owned(),
            other => other.to_owned(),
        },
        Kind::Integer(Some(least), Some(most)) => format!("{least} to {most}"),
        Kind::Integer(Some(least), None) => format!("integer, at least {least}"),
        Kind::Integer(..) => "integer".to_owned(),
        Kind::Number => "number".to_owned(),
        Kind::Boolean => "`true`, `false`".to_owned(),
        Kind::List(items) => format!("list of {}", holds(items)),
        Kind::Map(values, _) => format!("table of {}", holds(values)),
        Kind::Table(_) => inline(part).unwrap_or("table").to_owned(),
        Kind::Either(options) => options.into_iter().map(holds).collect::<Vec<_>>().join(", or "),
    }
}

fn default(key: &str, table: Schema<'_>, part: Schema<'_>) -> String {
    match part.default() {
        Some(Json::String(text)) if text.is_empty() => "none".to_owned(),
        Some(default) if default.is_array() && default.as_array().is_some_and(Vec::is_empty) => "none".to_owned(),
        Some(default) if default.is_object() => "none".to_owned(),
        Some(default) => format!("`{default}`"),
        None if table.is_required(key) => "**must be stated**".to_owned(),
        None => "none".to_owned(),
    }
}

/// A text as a cell of a table: on one line.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The committed documents are what the types say.
    #[test]
    fn the_documents_are_those_of_the_types() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        for (name, text) in [
            ("configuration.md", configuration()),
            ("kvit.schema.json", config_schema()),
            ("form.schema.json", form_schema()),
        ] {
            let path = docs.join(name);
            if std::env::var_os("KVIT_BLESS").is_some() {
                std::fs::write(&path, &text).expect("the document is written");
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                committed == text,
                "docs/{name} is not what the types say: KVIT_BLESS=1 cargo test -p kvit-runtime"
            );
        }
    }

    #[test]
    fn every_key_is_documented() {
        let text = configuration();
        for key in [
            "`broker.url`",
            "prefetch",
            "require_sealed",
            "confirms_deletion",
            "unseal_key_file",
            "legal_basis",
        ] {
            assert!(
                text.contains(key.trim_matches('`').trim_start_matches("broker.")),
                "{key}"
            );
        }
        assert!(!text.contains("|  |\n"), "a key has no description");
    }
}
