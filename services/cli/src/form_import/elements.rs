//! The elements of a webform, as the fields of a form.

use std::collections::HashMap;

use domain::form::Class;
use domain::{FieldType, Language, Words};
use yaml_rust2::Yaml;
use yaml_rust2::yaml::Hash;

use super::shape::{self, Shape};
use super::webform::{clean, get, scalar, text_at};
use super::{ImportError, composites, guess};

/// Containers in containers: no form has more, and a deeper one could exhaust the stack.
const DEEPEST: usize = 32;

/// One field, as far as the export tells.
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are keys of a form file, each on its own"
)]
#[derive(Debug, Clone, Default)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) label: Words,
    pub(super) kind: FieldType,
    /// The type is a guess that a person must confirm.
    pub(super) guessed: bool,
    pub(super) multiple: bool,
    pub(super) required: bool,
    pub(super) computed: bool,
    /// The class that its name suggests, and the word that does.
    pub(super) class: Option<(Class, String)>,
    pub(super) section: Option<String>,
    pub(super) options: Vec<(String, String)>,
    pub(super) fields: Vec<Field>,
    /// What the file says about it in comments; one that begins with `TODO` is listed as one.
    pub(super) notes: Vec<String>,
}

/// The fields of a webform, flat and in order.
pub(super) fn read(elements: &Hash, language: Language) -> Result<Vec<Field>, ImportError> {
    let mut reader = Reader {
        language,
        fields: Vec::new(),
        seen: HashMap::new(),
    };
    reader.children(elements, None, &[])?;
    Ok(reader.fields)
}

struct Reader {
    language: Language,
    fields: Vec<Field>,
    /// Where each key was first.
    seen: HashMap<String, String>,
}

impl Reader {
    fn children(&mut self, elements: &Hash, section: Option<&str>, path: &[&str]) -> Result<(), ImportError> {
        if path.len() > DEEPEST {
            return Err(ImportError::TooDeep {
                what: format!("the element `{}`", path[0]),
                limit: DEEPEST,
            });
        }
        for (key, element) in children(elements) {
            let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
            let Yaml::Hash(element) = element else {
                return Err(ImportError::NotAnElement { path: path.join(".") });
            };
            match shape::of(element) {
                Shape::Container { heading } => {
                    let title = text_at(element, "#title").map(|title| clean(&title));
                    let shown = title
                        .as_deref()
                        .filter(|title| heading && !title.is_empty() && !is_title_hidden(element));
                    self.children(element, shown.or(section), &path)?;
                }
                Shape::Nothing => {}
                shape => {
                    self.first_of_its_key(&key, &path.join("."))?;
                    let mut field = self.field(&key, element, &shape, &path)?;
                    field.section = section.map(str::to_owned);
                    self.fields.push(field);
                }
            }
        }
        Ok(())
    }

    fn first_of_its_key(&mut self, key: &str, path: &str) -> Result<(), ImportError> {
        match self.seen.insert(key.to_owned(), path.to_owned()) {
            Some(first) => Err(ImportError::Twice {
                first,
                second: path.to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn field(&self, key: &str, element: &Hash, shape: &Shape, path: &[&str]) -> Result<Field, ImportError> {
        let title = label(element, key);
        let mut field = Field {
            label: self.words(&title),
            required: is_true(element, "#required"),
            multiple: is_multiple(element),
            class: guess::class(key, &title),
            key: key.to_owned(),
            ..Field::default()
        };
        if get(element, "#access").is_some_and(|access| *access == Yaml::Boolean(false)) {
            field
                .notes
                .push("The webform shows it to nobody (#access: false).".to_owned());
        }
        match shape {
            Shape::Value(kind) => {
                field.kind = *kind;
                value_details(&mut field, element);
            }
            Shape::Choice { multiple } => {
                field.multiple |= multiple;
                Self::choice_details(&mut field, element);
            }
            Shape::Composite(parts) => self.composite(&mut field, element, parts),
            Shape::Custom => self.custom(&mut field, element, path)?,
            Shape::Likert => self.pairs(&mut field, element, "#questions", "#answers"),
            Shape::Mapping => self.pairs(&mut field, element, "#source", "#destination"),
            Shape::Computed => {
                field.computed = true;
                field.required = false;
            }
            Shape::Unknown | Shape::Container { .. } | Shape::Nothing => {
                let element_type = clean(&text_at(element, "#type").unwrap_or_default());
                field.notes.push(format!(
                    "Drupal's type `{element_type}` is not known here: taken as text."
                ));
                Self::choice_options(&mut field, element);
            }
        }
        suggest_number(&mut field, element, &title);
        if field.kind == FieldType::Group {
            field.class = None;
        }
        Ok(field)
    }

    fn words(&self, text: &str) -> Words {
        words(self.language, text)
    }

    fn choice_details(field: &mut Field, element: &Hash) {
        let element_type = text_at(element, "#type").unwrap_or_default();
        if element_type.ends_with("_other") {
            field.notes.push("Free text beside the options may come.".to_owned());
        }
        let is_entity = element_type.starts_with("webform_term_") || element_type.starts_with("webform_entity_");
        if is_entity || element_type == "entity_autocomplete" {
            field
                .notes
                .push("TODO: Drupal sends the number of a term or an entity; give the texts in `options`.".to_owned());
        }
        Self::choice_options(field, element);
    }

    /// The options that stand in the element; a named set is only named there.
    fn choice_options(field: &mut Field, element: &Hash) {
        for key in ["#options", "#images"] {
            match get(element, key) {
                Some(Yaml::Hash(options)) => field.options = flat_options(options, has_descriptions(element)),
                Some(Yaml::Array(options)) => {
                    let listed = options.iter().filter_map(scalar).enumerate();
                    field.options = listed.map(|(n, text)| (n.to_string(), clean(&text))).collect();
                }
                Some(named) => field.notes.extend(scalar(named).map(|set| named_set("options", &set))),
                None => {}
            }
        }
    }

    fn composite(&self, field: &mut Field, element: &Hash, parts: &[composites::Part]) {
        field.kind = FieldType::Group;
        for (key, da, en, kind) in parts {
            let property = |name: &str| format!("#{key}__{name}");
            if get(element, &property("access")).is_some_and(|access| *access == Yaml::Boolean(false)) {
                continue;
            }
            let title = text_at(element, &property("title"))
                .map(|title| clean(&title))
                .filter(|title| !title.is_empty());
            let both = Words {
                da: Some((*da).to_owned()),
                en: Some((*en).to_owned()),
            };
            let class = (*kind == FieldType::Cpr).then(|| (Class::Confidential, String::new()));
            let mut part = Field {
                key: (*key).to_owned(),
                label: title.map_or(both, |title| self.words(&title)),
                kind: *kind,
                class,
                required: is_true(element, &property("required")),
                ..Field::default()
            };
            if let Some(Yaml::Hash(options)) = get(element, &property("options")) {
                part.options = flat_options(options, false);
            }
            field.fields.push(part);
        }
        or_text(field, "all its fields are switched off in the webform");
    }

    fn custom(&self, field: &mut Field, element: &Hash, path: &[&str]) -> Result<(), ImportError> {
        field.kind = FieldType::Group;
        field.multiple = true; // Drupal's custom composite is a list whatever `#multiple` says.
        if let Some(Yaml::Hash(parts)) = get(element, "#element") {
            for (key, part) in children(parts) {
                let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
                let Yaml::Hash(part) = part else {
                    return Err(ImportError::NotAnElement { path: path.join(".") });
                };
                let mut part = part.clone();
                if let Some(title) = get(element, &format!("#{key}__title")) {
                    part.insert(Yaml::String("#title".to_owned()), title.clone());
                }
                match shape::of(&part) {
                    Shape::Nothing | Shape::Container { .. } => {}
                    shape => field.fields.push(self.field(&key, &part, &shape, &path)?),
                }
            }
        }
        or_text(field, "its fields are not in the export");
        Ok(())
    }

    /// A group with a field for each of one list, each of which takes one of the other.
    fn pairs(&self, field: &mut Field, element: &Hash, rows: &str, columns: &str) {
        field.kind = FieldType::Group;
        field.multiple = false;
        let mut options = Vec::new();
        match get(element, columns) {
            Some(Yaml::Hash(listed)) => options = flat_options(listed, true),
            Some(named) => field
                .notes
                .extend(scalar(named).map(|set| named_set("options of each of its fields", &set))),
            None => {}
        }
        if is_true(element, "#na_answer") {
            let value = text_at(element, "#na_answer_value").filter(|value| !value.is_empty());
            let text = text_at(element, "#na_answer_text")
                .map(|text| clean(&text))
                .filter(|text| !text.is_empty());
            let value = value.unwrap_or_else(|| "N/A".to_owned());
            options.push((value.clone(), text.unwrap_or(value)));
        }
        if let Some(Yaml::Hash(rows)) = get(element, rows) {
            field.fields = flat_options(rows, true)
                .into_iter()
                .map(|(key, text)| Field {
                    class: guess::class(&key, &text),
                    label: self.words(&text),
                    required: field.required,
                    options: options.clone(),
                    key,
                    ..Field::default()
                })
                .collect();
        }
        or_text(field, "its fields are in an option set of the site");
    }
}

/// A text in the form's language.
pub(super) fn words(language: Language, text: &str) -> Words {
    let text = Some(text.to_owned());
    match language {
        Language::Da => Words { da: text, en: None },
        Language::En => Words { da: None, en: text },
    }
}

/// The elements in an element, with their keys; what begins with `#` is a property.
pub(super) fn children(elements: &Hash) -> impl Iterator<Item = (String, &Yaml)> {
    let keyed = elements
        .iter()
        .filter_map(|(key, element)| Some((scalar(key)?, element)));
    keyed.filter(|(key, _)| !key.starts_with('#'))
}

fn is_title_hidden(element: &Hash) -> bool {
    text_at(element, "#title_display").is_some_and(|display| display == "invisible" || display == "none")
}

/// What stands beside the input, in whichever property it does; the key where nothing stands.
fn label(element: &Hash, key: &str) -> String {
    let is_terms = text_at(element, "#type").as_deref() == Some("webform_terms_of_service");
    let titles = ["#title", "#question", "#admin_title", "#label"]
        .into_iter()
        .filter_map(|property| text_at(element, property));
    let mut cleaned = titles.map(|title| clean(&if is_terms { title.replace(['{', '}'], "") } else { title }));
    cleaned
        .find(|title| !title.is_empty())
        .unwrap_or_else(|| key.to_owned())
}

fn is_true(element: &Hash, key: &str) -> bool {
    match get(element, key) {
        Some(Yaml::Boolean(truth)) => *truth,
        Some(Yaml::Integer(number)) => *number != 0,
        Some(Yaml::String(text)) => text == "1" || text == "true",
        _ => false,
    }
}

/// `true`, or a largest number other than one; below zero there is none.
fn is_multiple(element: &Hash) -> bool {
    match get(element, "#multiple") {
        Some(Yaml::Integer(number)) => *number > 1 || *number < 0,
        _ => is_true(element, "#multiple"),
    }
}

/// Whether an option's text may be `text -- description`.
fn has_descriptions(element: &Hash) -> bool {
    text_at(element, "#type")
        .is_some_and(|name| name.contains("radios") || name.contains("checkboxes") || name.contains("buttons"))
}

/// Key and text of each option; those in groups of options too. An empty key is no answer and no option.
fn flat_options(options: &Hash, described: bool) -> Vec<(String, String)> {
    let mut flat = Vec::new();
    for (key, text) in options {
        let Some(key) = scalar(key).filter(|key| !key.is_empty()) else {
            continue;
        };
        match text {
            Yaml::Hash(image) if get(image, "src").is_some() => {
                flat.push((key.clone(), text_at(image, "text").map_or(key, |text| clean(&text))));
            }
            Yaml::Hash(group) => flat.extend(flat_options(group, described)),
            text => {
                let text = clean(&scalar(text).unwrap_or_default());
                let text = if described {
                    text.split(" -- ").next().unwrap_or_default().to_owned()
                } else {
                    text
                };
                flat.push((key.clone(), if text.is_empty() { key } else { text }));
            }
        }
    }
    flat
}

fn named_set(what: &str, set: &str) -> String {
    let set = clean(set);
    format!(
        "TODO: Drupal takes the {what} from its set `{set}`, which is not in the export; without them the department reads keys."
    )
}

/// A group needs fields: without any it is delivered as text, as it came.
fn or_text(field: &mut Field, why: &str) {
    if field.fields.is_empty() {
        field.kind = FieldType::Text;
        field.notes.push(format!(
            "TODO: a group, but {why}; give them (`type = \"group\"`), or it is shown as it comes."
        ));
    }
}

fn value_details(field: &mut Field, element: &Hash) {
    let element_type = text_at(element, "#type").unwrap_or_default();
    let returned =
        text_at(element, "#return_value").filter(|value| value != "1" && value != "true" && !value.is_empty());
    if field.kind == FieldType::Boolean && returned.is_some() {
        field.kind = FieldType::Text;
        field
            .notes
            .push("A checkbox that sends a text of its own instead of yes.".to_owned());
    }
    if element_type == "webform_signature" {
        field.notes.push("A signature: a picture as a data URI.".to_owned());
    }
    if field.kind == FieldType::Cpr {
        field.class = Some((Class::Confidential, String::new()));
    }
}

/// A text field that is named like a number of a person or a company is proposed as one.
fn suggest_number(field: &mut Field, element: &Hash, title: &str) {
    let element_type = text_at(element, "#type").unwrap_or_default();
    let one_line =
        ["textfield", "number", "tel", "search", "hidden", "value", "password"].contains(&element_type.as_str());
    if !one_line || !field.options.is_empty() {
        return;
    }
    if guess::cpr(&field.key, title) {
        field.kind = FieldType::Cpr;
        field.guessed = true;
        field.class = Some((Class::Confidential, String::new()));
    } else if guess::cvr(&field.key, title) {
        field.kind = FieldType::Cvr;
        field.notes.push("Taken for a CVR number by its name.".to_owned());
    }
}
