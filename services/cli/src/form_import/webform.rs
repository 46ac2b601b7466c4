//! The export itself: a YAML file that holds the elements as a YAML text.

use domain::{FormId, Language};
use yaml_rust2::yaml::Hash;
use yaml_rust2::{ScanError, Yaml, YamlLoader};

use super::elements::{self, Field};
use super::{ImportError, guess};

/// Brackets in brackets, or lines in lines: deeper ones could exhaust the stack of the YAML reader.
const DEEPEST_YAML: usize = 256;

/// What is read from an export.
pub(super) struct Webform {
    pub(super) id: FormId,
    pub(super) title: String,
    pub(super) language: Language,
    /// The export's `langcode` where it is none of ours.
    pub(super) foreign: Option<String>,
    /// When the form closes, as a form file's deadline.
    pub(super) close: Option<String>,
    /// Whether it reads like a registration for an event.
    pub(super) looks_like_registration: bool,
    pub(super) fields: Vec<Field>,
}

impl Webform {
    /// Reads an export.
    pub(super) fn read(yaml: &str) -> Result<Self, ImportError> {
        let export = one_mapping(yaml, "the export", ImportError::Yaml)?.ok_or(ImportError::NotAMapping)?;
        let id: FormId = text_at(&export, "id")
            .ok_or(ImportError::Missing { key: "id" })?
            .parse()
            .map_err(ImportError::Id)?;
        let langcode = text_at(&export, "langcode").unwrap_or_default();
        let language = Language::from_langcode(&langcode);
        let title = text_at(&export, "title")
            .map(|title| clean(&title))
            .filter(|title| !title.is_empty());
        let title = title.unwrap_or_else(|| id.to_string());
        let fields = elements::read(&elements_of(&export)?, language.unwrap_or_default())?;
        if fields.is_empty() {
            return Err(ImportError::NoFields);
        }
        Ok(Self {
            close: text_at(&export, "close").and_then(|close| deadline(&close)),
            looks_like_registration: guess::registration(id.as_str(), &title),
            language: language.unwrap_or_default(),
            foreign: language
                .is_none()
                .then(|| clean(&langcode))
                .filter(|code| !code.is_empty()),
            id,
            title,
            fields,
        })
    }
}

/// The elements: a YAML text in real exports; a mapping is taken too, as people paste it.
fn elements_of(export: &Hash) -> Result<Hash, ImportError> {
    match get(export, "elements") {
        Some(Yaml::String(text)) => Ok(one_mapping(text, "`elements`", ImportError::Elements)?.unwrap_or_default()),
        Some(Yaml::Hash(elements)) => Ok(elements.clone()),
        _ => Err(ImportError::Missing { key: "elements" }),
    }
}

/// The one mapping that a YAML text holds; `None` where it holds something else or nothing.
fn one_mapping(
    yaml: &str,
    what: &str,
    error: impl FnOnce(ScanError) -> ImportError,
) -> Result<Option<Hash>, ImportError> {
    let yaml = yaml.trim_start_matches('\u{feff}');
    if depth(yaml) > DEEPEST_YAML {
        return Err(ImportError::TooDeep {
            what: what.to_owned(),
            limit: DEEPEST_YAML,
        });
    }
    let mut documents = YamlLoader::load_from_str(yaml).map_err(error)?;
    match (documents.pop(), documents.is_empty()) {
        (Some(Yaml::Hash(mapping)), true) => Ok(Some(mapping)),
        _ => Ok(None),
    }
}

/// At least as deep as the YAML is nested: brackets are counted wherever they stand, and so is every indented column
/// and every dash before a value.
fn depth(yaml: &str) -> usize {
    let mut open = 0usize;
    let mut deepest = 0;
    for c in yaml.chars() {
        match c {
            '[' | '{' => open += 1,
            ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    let nested = |line: &str| line.chars().take_while(|c| " -?:".contains(*c)).count();
    deepest + yaml.lines().map(nested).max().unwrap_or(0) / 2
}

/// A key's value.
pub(super) fn get<'a>(mapping: &'a Hash, key: &str) -> Option<&'a Yaml> {
    mapping.get(&Yaml::String(key.to_owned()))
}

/// A scalar as text: `1`, `true` and `2.5` as they are written. `None` for null, lists and mappings.
pub(super) fn scalar(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        Yaml::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// A key's scalar as text.
pub(super) fn text_at(mapping: &Hash, key: &str) -> Option<String> {
    get(mapping, key).and_then(scalar)
}

/// Drupal's close date as a deadline: `2027-01-15T23:59:00+0100` with its colon, or local time. `None` where it is no
/// date, as a token is none.
fn deadline(close: &str) -> Option<String> {
    let close = close.trim();
    let offset_at = close.len().saturating_sub(5);
    let text = match close.split_at_checked(offset_at) {
        Some((time, offset)) if offset.starts_with(['+', '-']) && offset[1..].bytes().all(|b| b.is_ascii_digit()) => {
            format!("{time}{}:{}", &offset[..3], &offset[3..])
        }
        _ => close.to_owned(),
    };
    let is_time = text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::civil::DateTime>().is_ok();
    is_time.then_some(text)
}

/// A label as a person reads it: one line, no markup, no control or direction characters.
///
/// Drupal's titles are HTML, and anything can stand in them; here they become headings of mails.
pub(super) fn clean(text: &str) -> String {
    let plain = without_tags(text);
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#039;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(plain, |text, (entity, character)| text.replace(entity, character));
    let visible = plain.chars().filter(|c| !is_invisible(*c));
    let spaced: String = visible.map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Direction marks, joiners and the like: they could make a label read as another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn without_tags(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        plain.push_str(before);
        let is_tag = tag[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!');
        if let Some(end) = tag.find('>').filter(|_| is_tag) {
            let breaks = ["<br", "<p", "</p", "<div", "<li"];
            let is_break = breaks.iter().any(|start| tag[..end].starts_with(start));
            plain.push_str(if is_break { " " } else { "" });
            rest = &tag[end + 1..];
        } else {
            plain.push('<');
            rest = &tag[1..];
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_line_without_markup() {
        assert_eq!(
            clean("Jeg <b>accepterer</b>\r\n <a href=\"x\">betingelser</a>"),
            "Jeg accepterer betingelser"
        );
        assert_eq!(clean("a < b og c > d &amp; e"), "a < b og c > d & e");
        assert_eq!(clean("<script>alert(1)</script>"), "alert(1)");
        assert_eq!(clean("\u{202e}navn\u{0}\u{1b}[31m\t2\u{feff}"), "navn [31m 2");
        assert_eq!(clean("linje<br/>skift"), "linje skift");
        assert_eq!(clean("<"), "<");
    }

    #[test]
    fn a_close_date_becomes_a_deadline() {
        assert_eq!(
            deadline("2027-01-15T23:59:00+0100").as_deref(),
            Some("2027-01-15T23:59:00+01:00")
        );
        assert_eq!(
            deadline("2027-01-15T23:59:00+01:00").as_deref(),
            Some("2027-01-15T23:59:00+01:00")
        );
        assert_eq!(deadline("2027-01-15T23:59:00").as_deref(), Some("2027-01-15T23:59:00"));
        assert_eq!(deadline("[webform:close]"), None);
        assert_eq!(deadline("æøå+0100"), None);
        assert_eq!(deadline(""), None);
    }
}
