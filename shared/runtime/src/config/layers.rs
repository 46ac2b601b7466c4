//! What is laid over the file: the environment, and flags over that.
//!
//! `KVIT_` and the path joined by `__` names a key, as `KVIT_BROKER__URL`; `--set broker.url=…` does so on the command
//! line. A secret given in one layer as `x` replaces an `x_file` of the layer below, and the other way round.

use super::document::{Node, Table, Value, read_value};
use super::findings::{Finding, Place, close, nearest};
use super::schema::{Kind, Schema};

/// Settings from outside the file.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    environment: Vec<(String, String)>,
    flags: Vec<(String, String)>,
}

impl Layers {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The environment of this process.
    #[must_use]
    pub fn from_environment() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::none().with_environment(std::env::vars_os().filter_map(text))
    }

    /// These variables, of which only those named `KVIT_…` count.
    #[must_use]
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment
            .extend(variables.into_iter().filter(|(name, _)| name.starts_with("KVIT_")));
        self.environment.sort();
        self
    }

    /// A flag that sets a key: its path joined by dots.
    #[must_use]
    pub fn with_flag(mut self, path: impl Into<String>, value: impl Into<String>) -> Self {
        self.flags.push((path.into(), value.into()));
        self
    }

    /// Lays them over a file.
    pub(crate) fn apply(&self, document: &mut Node, schema: Schema<'_>, findings: &mut Vec<Finding>) {
        let Value::Table(root) = &mut document.value else {
            return;
        };
        for (name, value) in &self.environment {
            variable(root, schema, name, value, findings);
        }
        for (path, value) in &self.flags {
            let place = Place::Flag(format!("--set {path}"));
            let segments: Vec<&str> = path.split('.').collect();
            if let Err(message) = set(root, schema, &segments, value, &place) {
                findings.push(Finding::error(place, message));
            }
        }
    }
}

fn variable(root: &mut Table, schema: Schema<'_>, name: &str, value: &str, findings: &mut Vec<Finding>) {
    let place = Place::Variable(name.to_owned());
    let path = name.trim_start_matches("KVIT_");
    let segments: Vec<&str> = path.split("__").collect();
    let is_key = matches!(schema.kind(), Kind::Table(keys) if keys.contains_key(&path.to_lowercase()));
    if segments.len() == 1 && !is_key {
        // KVIT_CONFIG and KVIT_LOG are no keys, and other programs may have variables of this prefix.
        findings.extend(single_underscore(schema, path, place));
        return;
    }
    if let Err(message) = set(root, schema, &segments, value, &place) {
        findings.push(Finding::error(place, message));
    }
}

/// `KVIT_BROKER_URL` is a slip for `KVIT_BROKER__URL`, which would otherwise be without effect and without a word.
fn single_underscore(schema: Schema<'_>, path: &str, place: Place) -> Option<Finding> {
    let Kind::Table(sections) = schema.kind() else {
        return None;
    };
    let meant = sections.keys().find_map(|section| {
        let key = path.to_lowercase().strip_prefix(&format!("{section}_"))?.to_owned();
        let known = schema.property(section)?.property(&key).is_some();
        known.then(|| format!("KVIT_{}__{}", section.to_uppercase(), key.to_uppercase()))
    })?;
    let mut finding = Finding::error(place, "this variable names no key");
    finding.weight = domain::form_check::Weight::Warning;
    finding.nearest = Some(meant);
    Some(finding)
}

/// Sets the key that the segments lead to.
fn set(table: &mut Table, schema: Schema<'_>, segments: &[&str], value: &str, place: &Place) -> Result<(), String> {
    let Some((segment, rest)) = segments.split_first() else {
        return Err("it names no key".to_owned());
    };
    let (key, below) = step(table, schema, segment)?;
    if rest.is_empty() {
        let node = leaf(below, value, place).ok_or_else(|| format!("`{key}` is a section, not a key"))?;
        let other = key
            .strip_suffix("_file")
            .map_or_else(|| format!("{key}_file"), str::to_owned);
        if schema.property(&other).is_some() {
            table.shift_remove(&other);
        }
        table.insert(key, node);
        return Ok(());
    }
    let node = table.entry(key).or_insert_with(|| Node {
        value: Value::Table(Table::new()),
        place: place.clone(),
    });
    match &mut node.value {
        Value::Table(inner) => set(inner, below, rest, value, place),
        _ => Err(format!("`{segment}` is a key, not a section")),
    }
}

/// The key that a segment means in this table, and what it may hold. Ids may have hyphens, variables may not.
fn step<'s>(table: &Table, schema: Schema<'s>, segment: &str) -> Result<(String, Schema<'s>), String> {
    let lower = segment.to_lowercase();
    match schema.kind() {
        Kind::Table(properties) => {
            if let Some(below) = schema.property(&lower) {
                return Ok((lower, below));
            }
            let known: Vec<String> = properties.keys().cloned().collect();
            let hint = match (close(&lower, &known), nearest(&lower, &known)) {
                (Some(meant), _) => format!(" (did you mean `{meant}`?)"),
                (None, Some((nearest, _))) => format!("; the nearest known key is `{nearest}`"),
                (None, None) => String::new(),
            };
            Err(format!("unknown key `{lower}`{hint}"))
        }
        Kind::Map(values, _) => {
            let alike = |key: &&String| key.replace('-', "_").eq_ignore_ascii_case(&lower.replace('-', "_"));
            let key = table.keys().find(alike).cloned().unwrap_or(lower);
            Ok((key, values))
        }
        _ => Err(format!("there is nothing below the key above `{lower}`")),
    }
}

/// The value as its key wants it: a text as it is, anything else as TOML writes it. A list may also be `a,b`.
fn leaf(schema: Schema<'_>, value: &str, place: &Place) -> Option<Node> {
    let text = |text: &str| Node {
        value: Value::Text(text.to_owned()),
        place: place.clone(),
    };
    match schema.kind() {
        Kind::Choice(_) | Kind::Text => Some(text(value)),
        Kind::Table(_) | Kind::Map(..) => None,
        Kind::List(_) if !value.trim_start().starts_with('[') => Some(Node {
            value: Value::List(
                value
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(text)
                    .collect(),
            ),
            place: place.clone(),
        }),
        _ => Some(read_value(value.trim(), place).unwrap_or_else(|| text(value))),
    }
}
