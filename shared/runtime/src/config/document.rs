//! A TOML file as a tree in which everything knows its line, and onto which other layers are laid.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::findings::{Finding, Place};

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
}

/// Keys in the order of the file. A table's place is that of its key.
pub(crate) type Table = IndexMap<String, Node>;

impl Value {
    /// What it is, for a message.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "an integer",
            Self::Number(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Reads a TOML text.
///
/// # Errors
///
/// Every fault of its syntax, a key given twice among them.
pub(crate) fn read(text: &str, file: &Arc<Path>) -> Result<Node, Vec<Finding>> {
    let reader = Reader {
        starts: std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect(),
        file,
    };
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(Node {
            value: Value::Table(reader.table(root.get_ref())),
            place: reader.place(0),
        });
    }
    // The error's own text shows the line, which may hold a secret: only its message is taken.
    let finding = |error: &toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        Finding::error(reader.place(at), format!("not TOML: {}", error.message()))
    };
    Err(errors.iter().map(finding).collect())
}

/// Reads a single TOML value, as it would stand after `key =`.
pub(crate) fn read_value(text: &str, place: &Place) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    let reader = Reader {
        starts: vec![0],
        file: &Path::new("").into(),
    };
    let mut node = reader.node(&value, 0);
    set_place(&mut node, place);
    Some(node)
}

fn set_place(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| set_place(item, place)),
        Value::Table(table) => table.values_mut().for_each(|item| set_place(item, place)),
        _ => {}
    }
}

struct Reader<'a> {
    starts: Vec<usize>,
    file: &'a Arc<Path>,
}

impl Reader<'_> {
    fn place(&self, at: usize) -> Place {
        Place::File {
            file: Arc::clone(self.file),
            line: self.starts.partition_point(|start| *start <= at),
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let key_span: Range<usize> = key.span();
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            (name.clone().into_owned(), self.node(value, key_span.start))
        };
        table.iter().map(entry).collect()
    }

    /// A value under a key is placed where the key is: a text may go on for lines, and a table's head has its name.
    fn node(&self, value: &Spanned<DeValue<'_>>, at: usize) -> Node {
        Node {
            place: self.place(at),
            value: match value.get_ref() {
                DeValue::String(text) => Value::Text(text.clone().into_owned()),
                DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => Value::Number(f64::INFINITY),
                },
                DeValue::Float(number) => Value::Number(number.as_str().parse().unwrap_or(f64::NAN)),
                DeValue::Boolean(yes) => Value::Boolean(*yes),
                DeValue::Datetime(time) => Value::Text(time.to_string()),
                DeValue::Array(items) => {
                    Value::List(items.iter().map(|item| self.node(item, item.span().start)).collect())
                }
                DeValue::Table(table) => Value::Table(self.table(table)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of<'a>(mut node: &'a Node, path: &[&str]) -> (usize, &'a Value) {
        for key in path {
            node = match &node.value {
                Value::Table(table) => &table[*key],
                Value::List(items) => &items[key.parse::<usize>().expect("a place")],
                _ => panic!("nothing below {key}"),
            };
        }
        match &node.place {
            Place::File { line, .. } => (*line, &node.value),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn everything_knows_its_line() {
        let text = "a = 1\n\n[b]\nc = [\n  'x',\n  'y',\n]\nd = '''\nlong\n'''\n[b.e]\nf.g = true\n";
        let node = read(text, &Path::new("x.toml").into()).expect("TOML");
        assert_eq!(line_of(&node, &["a"]).0, 1);
        assert_eq!(line_of(&node, &["b"]).0, 3);
        assert_eq!(line_of(&node, &["b", "c", "1"]).0, 6);
        assert_eq!(line_of(&node, &["b", "d"]).0, 8);
        assert_eq!(line_of(&node, &["b", "e"]).0, 11);
        assert_eq!(line_of(&node, &["b", "e", "f", "g"]).0, 12);
    }

    #[test]
    fn every_fault_of_syntax_is_told_without_the_line_itself() {
        let text = "a = 1\na = 2\nkey = \"hunter2\nb = \n";
        let findings = read(text, &Path::new("x.toml").into()).expect_err("not TOML");
        let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(told.len() >= 3, "{told:?}");
        assert!(told[0].starts_with("x.toml:2: not TOML: duplicate key"), "{told:?}");
        assert!(!told.concat().contains("hunter2"));
    }

    #[test]
    fn an_integer_beyond_sixty_four_bits_is_no_integer() {
        let node = read("a = 99999999999999999999\nb = 0x10\nc = 1_000", &Path::new("x").into()).expect("TOML");
        assert!(matches!(line_of(&node, &["a"]).1, Value::Number(_)));
        assert!(matches!(line_of(&node, &["b"]).1, Value::Integer(16)));
        assert!(matches!(line_of(&node, &["c"]).1, Value::Integer(1000)));
    }
}
