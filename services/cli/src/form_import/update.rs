//! Brings a form file up to its webform without touching what a person may have decided.

use domain::Language;
use similar::TextDiff;
use toml_edit::{DocumentMut, InlineTable, Item, RawString, Table, TableLike};

use super::elements::Field;
use super::webform::Webform;
use super::{ImportError, Updated, todo, write};

/// What marks a field that the webform no longer has.
const GONE: &str = "# Gone from the webform: remove it when no submission with it can come any more.\n";

pub(super) fn update(webform: &Webform, existing: &str) -> Result<Updated, ImportError> {
    let mut document: DocumentMut = existing.parse().map_err(ImportError::Existing)?;
    let id = document.get("id").and_then(Item::as_str).unwrap_or_default().to_owned();
    if id != webform.id.as_str() {
        return Err(ImportError::OtherForm {
            existing: id,
            webform: webform.id.to_string(),
        });
    }
    let mut merge = Merge {
        language: webform.language,
        notes: Vec::new(),
    };
    merge.below(document.as_table_mut(), &webform.fields, "")?;
    merge.deadline(&document, webform);
    let toml = document.to_string();
    let diff = TextDiff::from_lines(existing, &toml)
        .unified_diff()
        .header("existing", "updated")
        .to_string();
    Ok(Updated {
        diff,
        todos: todo::list(&document),
        notes: merge.notes,
        toml,
    })
}

struct Merge {
    language: Language,
    notes: Vec<String>,
}

impl Merge {
    /// Merges into the `fields` of a form or of a group.
    fn below(&mut self, holder: &mut dyn TableLike, fields: &[Field], path: &str) -> Result<(), ImportError> {
        let path = if path.is_empty() {
            "fields".to_owned()
        } else {
            format!("{path}.fields")
        };
        match holder.entry("fields").or_insert_with(implicit_table) {
            Item::Table(table) => self.table(table, fields, &path),
            item => match item.as_inline_table_mut() {
                Some(table) => self.inline(table, fields, &path),
                None => Err(ImportError::NotATable { path }),
            },
        }
    }

    fn table(&mut self, table: &mut Table, fields: &[Field], path: &str) -> Result<(), ImportError> {
        let first = table
            .iter()
            .filter_map(|(_, item)| positions(item).into_iter().min())
            .min();
        let mut after = first.map(|first| first - 1);
        for field in fields {
            if let Some(item) = table.get_mut(&field.key) {
                after = positions(item).into_iter().max().or(after);
                self.field(item, field, &format!("{path}.{}", field.key))?;
            } else {
                let mut new = write::field_table(field, self.language);
                new.set_position(after);
                table.insert(&field.key, Item::Table(new));
            }
        }
        let keys: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).collect();
        for key in keys {
            let is_gone = fields.iter().all(|field| field.key != key);
            mark(table, &key, is_gone);
        }
        Ok(())
    }

    /// A table on one line takes no comments: what vanished is only noted.
    fn inline(&mut self, table: &mut InlineTable, fields: &[Field], path: &str) -> Result<(), ImportError> {
        for field in fields {
            let path = format!("{path}.{}", field.key);
            if let Some(value) = table.get_mut(&field.key) {
                let mut item = Item::Value(value.clone());
                self.field(&mut item, field, &path)?;
                if let Ok(new) = item.into_value() {
                    *value = new;
                }
            } else if let Ok(new) = Item::Table(write::field_table(field, self.language)).into_value() {
                table.insert(&field.key, new);
                table.fmt();
            }
        }
        let gone = table
            .iter()
            .filter(|(key, _)| fields.iter().all(|field| field.key != *key));
        self.notes
            .extend(gone.map(|(key, _)| format!("{path}.{key}: gone from the webform")));
        Ok(())
    }

    /// Adds to a field what it lacks, and notes where it says something else.
    fn field(&mut self, item: &mut Item, field: &Field, path: &str) -> Result<(), ImportError> {
        let Some(table) = item.as_table_like_mut() else {
            return Err(ImportError::NotATable { path: path.to_owned() });
        };
        self.differences(table, field, path);
        self.options(table, field, path)?;
        if !field.fields.is_empty() && table.get("type").and_then(Item::as_str) == Some("group") {
            self.below(table, &field.fields, path)?;
        }
        Ok(())
    }

    fn differences(&mut self, table: &dyn TableLike, field: &Field, path: &str) {
        let new = field.label.get(self.language);
        let old = table
            .get("label")
            .and_then(|label| label.get(self.language.code()))
            .and_then(Item::as_str);
        if let Some(old) = old.filter(|old| *old != new) {
            self.notes
                .push(format!("{path}.label: `{old}` here, `{new}` in the webform"));
        }
        let new = write::type_name(field.kind);
        let old = table.get("type").and_then(Item::as_str).unwrap_or("text");
        if old != new && !old.contains("TODO") && !field.guessed {
            self.notes
                .push(format!("{path}.type: `{old}` here, `{new}` in the webform"));
        }
        for (key, new) in [("required", field.required), ("multiple", field.multiple)] {
            let old = table.get(key).and_then(Item::as_bool).unwrap_or(false);
            if old != new {
                self.notes
                    .push(format!("{path}.{key}: {old} here, {new} in the webform"));
            }
        }
    }

    /// New options are added, vanished ones stay: a submission on its way may have them.
    fn options(&mut self, table: &mut dyn TableLike, field: &Field, path: &str) -> Result<(), ImportError> {
        let Some(new) = write::options(&field.options, self.language) else {
            return Ok(());
        };
        let Some(existing) = table.get_mut("options") else {
            // On one line: a table of its own would end the field's values, or not fit into one on one line.
            let mut new = new;
            new.make_value();
            table.insert("options", new);
            return Ok(());
        };
        let Some(listed) = existing.as_table_like_mut() else {
            return Err(ImportError::NotATable {
                path: format!("{path}.options"),
            });
        };
        let before = listed.len();
        for (key, text) in &field.options {
            let text = write::label(&super::elements::words(self.language, text));
            match listed
                .get(key)
                .and_then(|words| words.get(self.language.code()))
                .and_then(Item::as_str)
            {
                None if listed.contains_key(key) => {}
                None => {
                    listed.insert(key, Item::Value(text));
                }
                Some(old) => {
                    let new = text
                        .as_inline_table()
                        .and_then(|words| words.get(self.language.code()))
                        .and_then(|new| new.as_str());
                    if new.is_some_and(|new| new != old) {
                        self.notes
                            .push(format!("{path}.options.{key}: another text in the webform"));
                    }
                }
            }
        }
        if let (true, Some(line)) = (listed.len() > before, existing.as_inline_table_mut()) {
            line.fmt();
        }
        Ok(())
    }

    fn deadline(&mut self, document: &DocumentMut, webform: &Webform) {
        let old = document
            .get("event")
            .and_then(|event| event.get("deadline"))
            .and_then(Item::as_str);
        let new = webform.close.as_deref();
        if let (Some(new), true) = (new, old != new) {
            self.notes.push(format!(
                "event.deadline: `{}` here, the webform closes `{new}`",
                old.unwrap_or("none")
            ));
        }
    }
}

fn implicit_table() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

/// Where in the file a table and those in it stand.
fn positions(item: &Item) -> Vec<isize> {
    let Item::Table(table) = item else { return Vec::new() };
    let below = table.iter().flat_map(|(_, item)| positions(item));
    table.position().into_iter().chain(below).collect()
}

/// Writes the mark of a vanished field above it, or takes it off one that came back.
fn mark(table: &mut Table, key: &str, is_gone: bool) {
    let Some((mut name, item)) = table.get_key_value_mut(key) else {
        return;
    };
    let decor = match item {
        Item::Table(table) if !table.is_dotted() && !table.is_implicit() => table.decor_mut(),
        _ => name.leaf_decor_mut(),
    };
    let prefix = decor
        .prefix()
        .and_then(RawString::as_str)
        .unwrap_or_default()
        .to_owned();
    match (is_gone, prefix.contains(GONE)) {
        (true, false) => decor.set_prefix(format!("{prefix}{GONE}")),
        (false, true) => decor.set_prefix(prefix.replace(GONE, "")),
        _ => {}
    }
}
