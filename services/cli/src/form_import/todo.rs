//! What a form file still leaves to a person.

use toml_edit::{Decor, DocumentMut, Item, Key, Table, Value};

const MARK: &str = "TODO";

/// Every value that says `TODO`, with what its comment asks, and every `TODO` in a comment before a table.
pub(super) fn list(document: &DocumentMut) -> Vec<String> {
    let mut todos = Vec::new();
    walk(document.as_table(), "", &mut todos);
    todos
}

fn walk(table: &Table, path: &str, todos: &mut Vec<String>) {
    for (name, item) in table {
        let path = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        match item {
            Item::Value(value) if is_undecided(value) => {
                let asked = table.key(name).map(|key| asked(key.leaf_decor())).unwrap_or_default();
                let asked = asked.into_iter().next();
                todos.push(format!(
                    "{path}: {}",
                    asked.unwrap_or_else(|| "still says TODO".to_owned())
                ));
            }
            Item::Table(inner) => {
                let asked = table
                    .key(name)
                    .map(Key::leaf_decor)
                    .into_iter()
                    .chain([inner.decor()])
                    .flat_map(asked);
                todos.extend(asked.map(|asked| format!("{path}: {asked}")));
                walk(inner, &path, todos);
            }
            _ => {}
        }
    }
}

/// What the comments before something ask.
fn asked(decor: &Decor) -> Vec<String> {
    let prefix = decor.prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let asked = prefix
        .lines()
        .filter_map(|line| line.trim_start_matches(['#', ' ']).strip_prefix(MARK));
    asked
        .map(|asked| asked.trim_start_matches([':', ' ']).to_owned())
        .collect()
}

/// Whether a value, or one within it, says `TODO`.
fn is_undecided(value: &Value) -> bool {
    match value {
        Value::String(text) => text.value().contains(MARK),
        Value::Array(values) => values.iter().any(is_undecided),
        Value::InlineTable(values) => values.iter().any(|(_, value)| is_undecided(value)),
        _ => false,
    }
}
