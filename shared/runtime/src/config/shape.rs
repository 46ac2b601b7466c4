//! Holds a file against its schema, and finds every fault rather than the first.
//!
//! serde stops at the first fault and knows no lines; here each part that does not fit is told and replaced by a
//! stand-in, so that the rest, and what the types cannot say, is still checked. A configuration with a fault is never
//! used: the stand-ins go nowhere.

use std::collections::HashMap;
use std::path::Path;

use domain::SiteId;
use domain::form_check::Fault;
use serde_json::{Map, Value as Json};

use super::document::{Node, Table, Value};
use super::findings::{Finding, Place, close, nearest};
use super::format;
use super::schema::{Kind, Schema};

/// A file that has been held against its schema.
pub(crate) struct Shaped {
    /// What serde reads; it fits the types.
    pub(crate) json: Json,
    /// Where each key stands.
    pub(crate) places: Places,
    /// The parts that were found at fault.
    faulty: Vec<Vec<String>>,
}

/// Where each key stands.
#[derive(Debug, Clone)]
pub(crate) struct Places(HashMap<Vec<String>, Place>);

impl Places {
    /// Where a key stands, or what holds it where it does not stand in any file.
    pub(crate) fn of(&self, path: &[String]) -> Place {
        let at = (0..=path.len()).rev().find_map(|length| self.0.get(&path[..length]));
        at.cloned().expect("the root has a place")
    }
}

impl Shaped {
    /// The faults of a checker as findings, without those that only repeat what is known.
    pub(crate) fn findings(&self, faults: Vec<Fault>) -> impl Iterator<Item = Finding> {
        let news = |fault: &Fault| {
            let repeats = |faulty: &Vec<String>| faulty.starts_with(&fault.path) || fault.path.starts_with(faulty);
            !self.faulty.iter().any(repeats)
        };
        faults.into_iter().filter(news).map(|fault| {
            let place = self.places.of(&fault.path);
            Finding::of(fault, place)
        })
    }
}

/// Holds a document against a schema. Paths become absolute against `base`.
pub(crate) fn shape(document: &Node, schema: Schema<'_>, base: &Path, findings: &mut Vec<Finding>) -> Shaped {
    let mut walk = Walk {
        base,
        findings,
        places: HashMap::new(),
        faulty: Vec::new(),
        path: Vec::new(),
        standing_in: false,
    };
    let json = walk.value(document, schema);
    Shaped {
        json,
        places: Places(walk.places),
        faulty: walk.faulty,
    }
}

struct Walk<'a> {
    base: &'a Path,
    findings: &'a mut Vec<Finding>,
    places: HashMap<Vec<String>, Place>,
    faulty: Vec<Vec<String>>,
    path: Vec<String>,
    /// Below something that is missing: its own keys are missing too, which goes without saying.
    standing_in: bool,
}

impl Walk<'_> {
    /// The value as its type reads it.
    fn value(&mut self, node: &Node, schema: Schema<'_>) -> Json {
        self.places.insert(self.path.clone(), node.place.clone());
        if let Value::Text(text) = &node.value
            && text.contains("TODO")
            && !schema.is_secret()
        {
            let message = format!("{} still says TODO: decide it", self.name());
            return self.fault(node, schema, message);
        }
        match (schema.kind(), &node.value) {
            (Kind::Choice(choices), Value::Text(text)) => self.choice(node, schema, &choices, text),
            (Kind::Text, Value::Text(text)) => self.text(node, schema, text),
            (Kind::Integer(least, most), Value::Integer(number)) => {
                if least.is_some_and(|least| *number < least) || most.is_some_and(|most| *number > most) {
                    let message = format!("{} must be {}", self.name(), range(least, most));
                    return self.fault(node, schema, message);
                }
                (*number).into()
            }
            (Kind::Number, Value::Integer(number)) => (*number).into(),
            (Kind::Number, Value::Number(number)) => (*number).into(),
            (Kind::Boolean, Value::Boolean(yes)) => (*yes).into(),
            (Kind::List(items), Value::List(nodes)) => self.list(nodes, items),
            (Kind::Table(_), Value::Table(table)) => self.table(node, schema, table),
            (Kind::Map(values, ids), Value::Table(table)) => self.map(table, values, ids),
            (Kind::Either(options), value) => {
                let fits = |option: &&Schema<'_>| {
                    matches!(option.kind(), Kind::Table(_)) == matches!(value, Value::Table(_))
                        && matches!(option.kind(), Kind::List(_)) == matches!(value, Value::List(_))
                };
                match options.iter().find(fits) {
                    Some(option) => self.value(node, *option),
                    None => self.wrong_type(node, schema),
                }
            }
            _ => self.wrong_type(node, schema),
        }
    }

    fn wrong_type(&mut self, node: &Node, schema: Schema<'_>) -> Json {
        let message = format!(
            "{} must be {}, not {}",
            self.name(),
            expected(schema),
            node.value.name()
        );
        self.fault(node, schema, message)
    }

    fn choice(&mut self, node: &Node, schema: Schema<'_>, choices: &[(&str, &str)], text: &str) -> Json {
        if choices.iter().any(|(choice, _)| *choice == text) {
            return text.into();
        }
        let known: Vec<String> = choices.iter().map(|(choice, _)| (*choice).to_owned()).collect();
        let message = format!("{} must be one of {}, not `{text}`", self.name(), list_of(&known));
        let nearest = close(text, &known).map(str::to_owned);
        let stand_in = self.fault(node, schema, message);
        if let Some(finding) = self.findings.last_mut() {
            finding.nearest = nearest;
        }
        stand_in
    }

    fn text(&mut self, node: &Node, schema: Schema<'_>, text: &str) -> Json {
        let format = schema.format();
        if text.is_empty() && schema.optional {
            return Json::Null;
        }
        if schema.is_id() && text.parse::<SiteId>().is_err() {
            let message = format!("{} is no id: 1 to 64 characters of a-z, 0-9, '_' and '-'", self.name());
            return self.fault(node, schema, message);
        }
        let text = format::resolved(format, text, self.base);
        match format::fault(format, &text) {
            Some(words) => {
                let message = format!("{} is refused: {words}", self.name());
                self.fault(node, schema, message)
            }
            None => text.into(),
        }
    }

    fn list(&mut self, nodes: &[Node], items: Schema<'_>) -> Json {
        let mut list = Vec::with_capacity(nodes.len());
        for (n, node) in nodes.iter().enumerate() {
            list.push(self.below(&n.to_string(), |walk| walk.value(node, items)));
        }
        list.into()
    }

    fn map(&mut self, table: &Table, values: Schema<'_>, ids: bool) -> Json {
        let mut map = Map::new();
        for (key, node) in table {
            let value = self.below(key, |walk| {
                let value = walk.value(node, values);
                if ids && key.parse::<SiteId>().is_err() {
                    let message = format!("`{key}` is no id: 1 to 64 characters of a-z, 0-9, '_' and '-'");
                    walk.tell(&node.place, message);
                    return None;
                }
                Some(value)
            });
            if let Some(value) = value {
                map.insert(key.clone(), value);
            }
        }
        map.into()
    }

    fn table(&mut self, node: &Node, schema: Schema<'_>, table: &Table) -> Json {
        let Kind::Table(properties) = schema.kind() else {
            return Json::Null;
        };
        let mut map = Map::new();
        for (key, node) in table {
            match schema.property(key) {
                Some(property) => {
                    let value = self.below(key, |walk| walk.value(node, property));
                    map.insert(key.clone(), value);
                }
                None => self.below(key, |walk| walk.unknown(node, key, properties)),
            }
            if let Some(other) = table.get(&format!("{key}_file"))
                && properties.contains_key(&format!("{key}_file"))
            {
                let message = format!("{} and `{key}_file` are both given: one is enough", self.name_of(key));
                self.below(key, |walk| walk.tell(&other.place, message));
            }
        }
        for key in properties.keys().filter(|key| !table.contains_key(*key)) {
            let property = schema.property(key).expect("it is one of the properties");
            let value = self.below(key, |walk| walk.absent(node, key, schema, property, table));
            if let Some(value) = value {
                map.insert(key.clone(), value);
            }
        }
        map.into()
    }

    /// What holds for a key that the file does not give: nothing where serde knows the default, else the default that
    /// the schema names, as paths in it are to be made absolute; a stand-in where the key was required.
    fn absent(
        &mut self,
        parent: &Node,
        key: &str,
        table: Schema<'_>,
        schema: Schema<'_>,
        given: &Table,
    ) -> Option<Json> {
        let is_table = matches!(schema.kind(), Kind::Table(_));
        if table.is_required(key) {
            if !self.standing_in {
                let message = if is_table && self.path.len() == 1 && schema.has_required() {
                    format!("section `[{}]` is missing", self.path.join("."))
                } else {
                    format!("{} must be stated", self.name())
                };
                self.tell(&parent.place, message);
            }
            return Some(self.stand_in(&parent.place, schema));
        }
        if is_table && !schema.optional {
            let empty = Node {
                value: Value::Table(Table::new()),
                place: parent.place.clone(),
            };
            return Some(self.value(&empty, schema));
        }
        let other = key
            .strip_suffix("_file")
            .map_or_else(|| format!("{key}_file"), str::to_owned);
        if given.contains_key(&other) {
            return None;
        }
        let default = schema.default()?.as_str().filter(|_| !schema.format().is_empty())?;
        Some(format::resolved(schema.format(), default, self.base).into())
    }

    fn unknown(&mut self, node: &Node, key: &str, properties: &Map<String, Json>) {
        let known: Vec<String> = properties.keys().cloned().collect();
        let within = match self.path.split_last() {
            Some((_, above)) if !above.is_empty() => format!(" in `[{}]`", above.join(".")),
            _ => String::new(),
        };
        let mut message = format!("unknown key `{key}`{within}");
        let meant = close(key, &known).map(str::to_owned);
        if meant.is_none()
            && let Some((nearest, _)) = nearest(key, &known)
        {
            message = format!("{message}; the nearest known key is `{nearest}`");
        }
        self.tell(&node.place, message);
        if let Some(finding) = self.findings.last_mut() {
            finding.nearest = meant;
        }
    }

    fn below<T>(&mut self, key: &str, walk: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let result = walk(self);
        self.path.pop();
        result
    }

    fn name(&self) -> String {
        format!("`{}`", self.path.join("."))
    }

    fn name_of(&self, key: &str) -> String {
        format!("`{}`", [self.path.as_slice(), &[key.to_owned()]].concat().join("."))
    }

    fn tell(&mut self, place: &Place, message: String) {
        self.faulty.push(self.path.clone());
        self.findings.push(Finding::error(place.clone(), message));
    }

    fn fault(&mut self, node: &Node, schema: Schema<'_>, message: String) -> Json {
        self.tell(&node.place, message);
        self.stand_in(&node.place, schema)
    }

    /// A value that fits the type, in the place of one that does not.
    fn stand_in(&mut self, place: &Place, schema: Schema<'_>) -> Json {
        if schema.optional {
            return Json::Null;
        }
        if let Some(default) = schema.default().filter(|default| !default.is_object()) {
            return default.clone(); // it agrees with the keys beside it
        }
        match schema.kind() {
            Kind::Choice(choices) => choices.first().map_or(Json::Null, |(choice, _)| (*choice).into()),
            Kind::Text => match schema.format() {
                "duration" => "PT1S".into(),
                "email" => "nobody@kvit.example".into(),
                "time-zone" => "UTC".into(),
                _ => "x".into(),
            },
            Kind::Integer(least, _) => least.unwrap_or(1).into(),
            Kind::Number => 0.into(),
            Kind::Boolean => false.into(),
            Kind::List(_) => Json::Array(Vec::new()),
            Kind::Map(..) => Json::Object(Map::new()),
            Kind::Either(options) => options
                .first()
                .map_or(Json::Null, |option| self.stand_in(place, *option)),
            Kind::Table(_) => {
                let before = std::mem::replace(&mut self.standing_in, true);
                let empty = Node {
                    value: Value::Table(Table::new()),
                    place: place.clone(),
                };
                let value = self.table(&empty, schema, &Table::new());
                self.standing_in = before;
                value
            }
        }
    }
}

fn range(least: Option<i64>, most: Option<i64>) -> String {
    match (least, most) {
        (Some(least), Some(most)) => format!("from {least} to {most}"),
        (Some(least), None) => format!("at least {least}"),
        (None, Some(most)) => format!("at most {most}"),
        (None, None) => "an integer".to_owned(),
    }
}

fn list_of(words: &[String]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn expected(schema: Schema<'_>) -> String {
    match schema.kind() {
        Kind::Choice(_) | Kind::Text => "a text".to_owned(),
        Kind::Integer(..) => "an integer".to_owned(),
        Kind::Number => "a number".to_owned(),
        Kind::Boolean => "true or false".to_owned(),
        Kind::List(_) => "a list".to_owned(),
        Kind::Table(_) | Kind::Map(..) => "a table".to_owned(),
        Kind::Either(options) => options.into_iter().map(expected).collect::<Vec<_>>().join(" or "),
    }
}
