//! The schemas of the types, and what a part of one allows.
//!
//! One source for three things: the check of a file with its lines, the documentation, and the schema that editors use.

use std::sync::LazyLock;

use domain::Form;
use schemars::JsonSchema;
use serde_json::{Map, Value as Json};

use super::sections::Config;

static CONFIG: LazyLock<Json> = LazyLock::new(schema_of::<Config>);
static FORM: LazyLock<Json> = LazyLock::new(schema_of::<Form>);

fn schema_of<T: JsonSchema>() -> Json {
    schemars::SchemaGenerator::default()
        .into_root_schema_for::<T>()
        .to_value()
}

/// The schema of `kvit.toml`.
pub(crate) fn config() -> Schema<'static> {
    Schema::root(&CONFIG)
}

/// The schema of a form file.
pub(crate) fn form() -> Schema<'static> {
    Schema::root(&FORM)
}

/// A part of a schema, with the root that its references point into.
#[derive(Clone, Copy)]
pub(crate) struct Schema<'s> {
    root: &'s Json,
    /// The part as it stands in its parent: it has the description and the default.
    outer: &'s Json,
    /// What it refers to.
    inner: &'s Json,
    /// Whether it may be absent as `null`.
    pub(crate) optional: bool,
}

/// What a part of a schema allows.
pub(crate) enum Kind<'s> {
    /// One of these words, with what each means.
    Choice(Vec<(&'s str, &'s str)>),
    /// A text.
    Text,
    /// An integer between these.
    Integer(Option<i64>, Option<i64>),
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A list of these.
    List(Schema<'s>),
    /// A table with these keys.
    Table(&'s Map<String, Json>),
    /// A table with any keys (ids, where told) and these values.
    Map(Schema<'s>, bool),
    /// One of these.
    Either(Vec<Schema<'s>>),
}

impl<'s> Schema<'s> {
    fn root(root: &'s Json) -> Self {
        Self {
            root,
            outer: root,
            inner: root,
            optional: false,
        }
    }

    /// A part of this schema, with its references followed and its `null` taken off.
    fn part(&self, part: &'s Json) -> Self {
        let mut schema = Self {
            root: self.root,
            outer: part,
            inner: part,
            optional: false,
        };
        loop {
            if let Some(name) = schema.inner["$ref"].as_str() {
                let name = name.trim_start_matches("#/$defs/");
                schema.inner = &self.root["$defs"][name];
            } else if let Some([one, null]) = schema.inner["anyOf"].as_array().map(Vec::as_slice)
                && null["type"] == "null"
            {
                schema.inner = one;
                schema.optional = true;
            } else {
                schema.optional |= schema.inner["type"]
                    .as_array()
                    .is_some_and(|types| types.contains(&"null".into()));
                return schema;
            }
        }
    }

    fn own(&self, key: &str) -> Option<&'s Json> {
        self.outer.get(key).or_else(|| self.inner.get(key))
    }

    fn type_name(&self) -> &'s str {
        match &self.inner["type"] {
            Json::Array(types) => types.first().and_then(Json::as_str).unwrap_or_default(),
            one => one.as_str().unwrap_or_default(),
        }
    }

    pub(crate) fn format(&self) -> &'s str {
        self.own("format").and_then(Json::as_str).unwrap_or_default()
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.own("writeOnly").is_some_and(|secret| secret == true)
    }

    /// Whether a text must be an id.
    pub(crate) fn is_id(&self) -> bool {
        self.own("pattern").is_some()
    }

    pub(crate) fn default(&self) -> Option<&'s Json> {
        self.outer.get("default").filter(|default| !default.is_null())
    }

    pub(crate) fn description(&self) -> &'s str {
        self.own("description").and_then(Json::as_str).unwrap_or_default()
    }

    pub(crate) fn is_required(&self, key: &str) -> bool {
        self.inner["required"]
            .as_array()
            .is_some_and(|keys| keys.iter().any(|required| required == key))
    }

    /// Whether a table has keys that must be stated.
    pub(crate) fn has_required(&self) -> bool {
        self.inner["required"].as_array().is_some_and(|keys| !keys.is_empty())
    }

    /// The schema of one of a table's keys.
    pub(crate) fn property(&self, key: &str) -> Option<Self> {
        self.inner["properties"].get(key).map(|part| self.part(part))
    }

    pub(crate) fn kind(&self) -> Kind<'s> {
        if let Some(options) = self.inner["oneOf"]
            .as_array()
            .or_else(|| self.inner["anyOf"].as_array())
        {
            let choices: Option<Vec<_>> = options
                .iter()
                .map(|option| {
                    Some((
                        option["const"].as_str()?,
                        option["description"].as_str().unwrap_or_default(),
                    ))
                })
                .collect();
            return match choices {
                Some(choices) => Kind::Choice(choices),
                None => Kind::Either(options.iter().map(|option| self.part(option)).collect()),
            };
        }
        if let Some(words) = self.inner["enum"].as_array() {
            return Kind::Choice(words.iter().filter_map(Json::as_str).map(|word| (word, "")).collect());
        }
        match self.type_name() {
            "integer" => Kind::Integer(self.bound("minimum"), self.bound("maximum")),
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            "array" => Kind::List(self.part(&self.inner["items"])),
            "object" => self.table(),
            _ => Kind::Text,
        }
    }

    fn bound(&self, key: &str) -> Option<i64> {
        self.own(key).and_then(Json::as_i64)
    }

    fn table(&self) -> Kind<'s> {
        static NONE: LazyLock<Map<String, Json>> = LazyLock::new(Map::new);
        if let Some(patterns) = self.inner["patternProperties"].as_object() {
            let values = patterns.values().next().unwrap_or(&Json::Null);
            return Kind::Map(self.part(values), true);
        }
        if let Some(values) = self
            .inner
            .get("additionalProperties")
            .filter(|values| values.is_object())
        {
            return Kind::Map(self.part(values), false);
        }
        Kind::Table(self.inner["properties"].as_object().unwrap_or(&NONE))
    }
}

/// The whole schema of `kvit.toml`, for editors.
#[must_use]
pub(crate) fn config_schema() -> &'static Json {
    &CONFIG
}

/// The whole schema of a form file, for editors.
#[must_use]
pub(crate) fn form_schema() -> &'static Json {
    &FORM
}
