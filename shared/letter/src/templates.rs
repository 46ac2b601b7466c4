//! The words of the letters: embedded templates, replaced by an operator's files of the same names.
//!
//! A text template's first line is the subject; what follows is the text. The HTML template is given the subject. A
//! notice has a text template alone, whose paragraphs the language's `notice.html` shows.

use std::path::Path;
use std::{fs, io};

use domain::Language;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;

use crate::LetterError;

macro_rules! embedded {
    ($($name:literal),+ $(,)?) => { &[$(($name, include_str!(concat!("../templates/", $name)))),+] };
}

/// Every template, by its path below `templates/`.
const EMBEDDED: &[(&str, &str)] = embedded![
    "layout.html",
    "da/department.html",
    "da/department.txt",
    "da/extract.txt",
    "da/notice.html",
    "da/notice-certificate.txt",
    "da/notice-checkpoint.txt",
    "da/notice-corrected.txt",
    "da/notice-event.txt",
    "da/notice-extract.txt",
    "da/notice-held.txt",
    "da/notice-keytest.txt",
    "da/notice-quarantined.txt",
    "da/notice-undeliverable.txt",
    "da/notice-withdrawn.txt",
    "da/receipt.html",
    "da/receipt.txt",
    "da/record.html",
    "en/department.html",
    "en/department.txt",
    "en/extract.txt",
    "en/notice.html",
    "en/notice-certificate.txt",
    "en/notice-checkpoint.txt",
    "en/notice-corrected.txt",
    "en/notice-event.txt",
    "en/notice-extract.txt",
    "en/notice-held.txt",
    "en/notice-keytest.txt",
    "en/notice-quarantined.txt",
    "en/notice-undeliverable.txt",
    "en/notice-withdrawn.txt",
    "en/receipt.html",
    "en/receipt.txt",
    "en/record.html",
];

/// A letter in words.
pub(crate) struct Letter {
    /// One line.
    pub(crate) subject: String,
    /// Plain text.
    pub(crate) text: String,
    /// The same in HTML.
    pub(crate) html: String,
}

/// The templates, parsed.
pub(crate) struct Templates {
    environment: Environment<'static>,
}

/// A block of a notice, as its HTML shows it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Block {
    /// `paragraph`, `list` (lines that began with `- `), or `verbatim` (lines that were indented).
    kind: &'static str,
    lines: Vec<String>,
}

impl Templates {
    /// The embedded templates and those that replace them.
    pub(crate) fn load(overrides: Option<&Path>) -> Result<Self, LetterError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("the default delimiters are valid"));
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_debug(false); // Its details show what was rendered.
        environment.add_filter("link", link);
        for (name, source) in EMBEDDED {
            add(&mut environment, name, (*source).to_owned())?;
        }
        if let Some(folder) = overrides {
            for name in files_below(folder)? {
                let source = fs::read_to_string(folder.join(&name)).map_err(|cause| unreadable(&name, cause))?;
                add(&mut environment, &name, source)?;
            }
        }
        Ok(Self { environment })
    }

    /// The letter of this name: `da/<name>.txt` and `da/<name>.html`. A test is marked in the subject.
    pub(crate) fn letter(
        &self,
        name: &str,
        language: Language,
        view: &impl Serialize,
        is_test: bool,
    ) -> Result<Letter, LetterError> {
        let view = Value::from(Serde(view));
        let (subject, text) = self.text(&format!("{}/{name}.txt", language.code()), &view, is_test)?;
        let html = self.render(
            &format!("{}/{name}.html", language.code()),
            context! { subject => subject.as_str(), ..view },
        )?;
        Ok(Letter { subject, text, html })
    }

    /// A notice: `da/<name>.txt`, and its paragraphs in `da/notice.html`.
    pub(crate) fn notice(
        &self,
        name: &str,
        language: Language,
        view: &impl Serialize,
        is_test: bool,
    ) -> Result<Letter, LetterError> {
        let view = Value::from(Serde(view));
        let (subject, text) = self.text(&format!("{}/{name}.txt", language.code()), &view, is_test)?;
        let blocks = Value::from(Serde(blocks(&text)));
        let html = self.render(
            &format!("{}/notice.html", language.code()),
            context! { subject => subject.as_str(), blocks, ..view },
        )?;
        Ok(Letter { subject, text, html })
    }

    /// An HTML document: `da/<name>.html`.
    pub(crate) fn document(
        &self,
        name: &str,
        language: Language,
        title: &str,
        view: &impl Serialize,
    ) -> Result<String, LetterError> {
        let view = Value::from(Serde(view));
        self.render(
            &format!("{}/{name}.html", language.code()),
            context! { subject => title, ..view },
        )
    }

    fn text(&self, name: &str, view: &Value, is_test: bool) -> Result<(String, String), LetterError> {
        let rendered = self.render(name, view.clone())?;
        let (first, rest) = rendered.split_once('\n').unwrap_or((&rendered, ""));
        let subject = first.trim();
        if subject.is_empty() {
            return Err(LetterError::NoSubject { name: name.to_owned() });
        }
        let subject = if is_test && !subject.starts_with("TEST") {
            format!("TEST {subject}")
        } else {
            subject.to_owned()
        };
        Ok((subject, format!("{}\n", rest.trim_matches('\n'))))
    }

    fn render(&self, name: &str, view: Value) -> Result<String, LetterError> {
        let rendered = self
            .environment
            .get_template(name)
            .and_then(|template| template.render(view));
        rendered.map_err(|fault| LetterError::Unrendered {
            name: fault.name().unwrap_or(name).to_owned(),
            line: fault.line().unwrap_or_default(),
            kind: fault.kind(),
        })
    }
}

fn add(environment: &mut Environment<'static>, name: &str, source: String) -> Result<(), LetterError> {
    environment
        .add_template_owned(name.to_owned(), source)
        .map_err(|cause| LetterError::Invalid {
            name: name.to_owned(),
            cause,
        })
}

/// The templates in a folder. Other kinds of files, such as notes and back-ups, may lie there; a template of an unknown
/// name is a mistake that would otherwise be found out by a citizen.
fn files_below(folder: &Path) -> Result<Vec<String>, LetterError> {
    let mut found = Vec::new();
    for sub in ["", "da", "en"] {
        let entries = match fs::read_dir(folder.join(sub)) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && !sub.is_empty() => continue,
            Err(cause) => return Err(unreadable(sub, cause)),
        };
        for entry in entries {
            let path = entry.map_err(|cause| unreadable(sub, cause))?.path();
            if is_template(&path) {
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                found.push(if sub.is_empty() { file } else { format!("{sub}/{file}") });
            }
        }
    }
    found.sort_unstable();
    match found
        .iter()
        .find(|name| !EMBEDDED.iter().any(|(known, _)| known == name))
    {
        Some(name) => Err(LetterError::Unknown { name: name.clone() }),
        None => Ok(found),
    }
}

fn is_template(path: &Path) -> bool {
    path.is_file()
        && path
            .extension()
            .is_some_and(|ending| ending == "txt" || ending == "html")
}

fn unreadable(name: &str, cause: io::Error) -> LetterError {
    LetterError::Unreadable {
        name: name.to_owned(),
        cause,
    }
}

/// A filter: a page or a mail address as a link, anything else as it is.
fn link(text: &str) -> Value {
    let target = if text.starts_with("https://") || text.starts_with("http://") {
        text.to_owned()
    } else if domain::EmailAddress::parse(text).is_ok() {
        format!("mailto:{text}")
    } else {
        return Value::from(text);
    };
    Value::from_safe_string(format!("<a href=\"{}\">{}</a>", escaped(&target), escaped(text)))
}

/// For HTML text and quoted attributes, slashes left as they are so that a link can be read and copied in the source.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#x27;")
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        let lines: Vec<&str> = paragraph.lines().filter(|line| !line.trim().is_empty()).collect();
        let (kind, prefix) = if lines.iter().all(|line| line.starts_with("- ")) {
            ("list", "- ")
        } else if lines.iter().all(|line| line.starts_with("  ")) {
            ("verbatim", "  ")
        } else {
            ("paragraph", "")
        };
        let lines = lines
            .iter()
            .map(|line| line.strip_prefix(prefix).unwrap_or(line).to_owned())
            .collect();
        blocks.push(Block { kind, lines });
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_in_text_becomes_paragraphs_lists_and_verbatim_lines() {
        let found = blocks("Hej\nder\n\n- et\n- to\n\n  a\n  b\n\n\n");
        let kinds: Vec<&str> = found.iter().map(|block| block.kind).collect();
        assert_eq!(kinds, ["paragraph", "list", "verbatim"]);
        assert_eq!(found[1].lines, ["et", "to"]);
        assert_eq!(found[2].lines, ["a", "b"]);
    }

    #[test]
    fn only_pages_and_addresses_become_links() {
        assert_eq!(
            link("https://a.example/?b=1&c=\"").to_string(),
            "<a href=\"https://a.example/?b=1&amp;c=&quot;\">https://a.example/?b=1&amp;c=&quot;</a>"
        );
        assert_eq!(
            link("dpo@a.example").to_string(),
            "<a href=\"mailto:dpo@a.example\">dpo@a.example</a>"
        );
        assert!(!link("javascript:alert(1)").is_safe());
    }
}
