//! Turns a webform as Drupal exports it (`drush config:export`) into a form file.
//!
//! [`import()`] writes what the export says: fields, labels, options, sections, types. What it cannot know stands as a
//! text that contains `TODO`, with a comment that says what to decide; the form is refused until that is done.
//! [`update()`] brings a form file up to its webform, and changes nothing that a person may have decided.
//!
//! Nothing is read or written here but texts, and no field is lost: what is not understood becomes text, with a comment.

mod composites;
mod elements;
mod guess;
mod shape;
mod todo;
mod update;
mod webform;
mod write;

#[cfg(test)]
mod tests;

use domain::SiteId;
use domain::id::InvalidId;
use yaml_rust2::ScanError;

use webform::Webform;

/// A form file made from an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The file's text.
    pub toml: String,
    /// What a person must decide, each as `path: what`.
    pub todos: Vec<String>,
}

/// A form file brought up to its webform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updated {
    /// The file's new text.
    pub toml: String,
    /// What changed, as a unified diff; empty where nothing did.
    pub diff: String,
    /// What a person must decide, what was undecided before included.
    pub todos: Vec<String>,
    /// Where the webform and the file differ and the file was left as it is.
    pub notes: Vec<String>,
}

/// Why an export or a form file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The export is no YAML; the cause says where.
    #[error("the export is not YAML")]
    Yaml(#[source] ScanError),
    /// The export is YAML of another kind.
    #[error("the export is not one mapping: give one webform.webform.*.yml of `drush config:export`")]
    NotAMapping,
    /// A key of the export is missing.
    #[error("the export has no `{key}`: give one webform.webform.*.yml of `drush config:export`")]
    Missing {
        /// Which.
        key: &'static str,
    },
    /// The webform's id is no id here.
    #[error("the export's `id` cannot be a form's id")]
    Id(#[source] InvalidId),
    /// The text in `elements` is no YAML; the cause says where in that text.
    #[error("the export's `elements` is not YAML; the line is counted from the first element")]
    Elements(#[source] ScanError),
    /// Something among the elements is no element.
    #[error("the element `{path}` is not a mapping")]
    NotAnElement {
        /// Keys from the outermost container inwards, joined by `.`.
        path: String,
    },
    /// Drupal would not have saved this either.
    #[error("two elements have one key: `{first}` and `{second}`")]
    Twice {
        /// The one that came first.
        first: String,
        /// The other.
        second: String,
    },
    /// Containers in containers, or brackets in brackets, deeper than any form.
    #[error("{what} is nested deeper than {limit}")]
    TooDeep {
        /// What is.
        what: String,
        /// How deep it may be.
        limit: usize,
    },
    /// No element holds a value.
    #[error("the webform asks for nothing: no element holds a value")]
    NoFields,
    /// The existing form file is no TOML; the cause says where.
    #[error("the existing form file is not TOML")]
    Existing(#[source] toml_edit::TomlError),
    /// The existing form file is another form's.
    #[error("the existing form file is of `{existing}`, the export of `{webform}`")]
    OtherForm {
        /// The file's id.
        existing: String,
        /// The export's id.
        webform: String,
    },
    /// Something in the existing form file has another shape than a form file's.
    #[error("`{path}` in the existing form file is not a table")]
    NotATable {
        /// Where.
        path: String,
    },
}

/// Makes a form file from a webform's export.
///
/// # Errors
///
/// [`ImportError`], which names what is wrong and where.
pub fn import(yaml: &str, site: Option<&SiteId>) -> Result<Imported, ImportError> {
    let webform = Webform::read(yaml)?;
    let document = write::document(&webform, site);
    Ok(Imported {
        todos: todo::list(&document),
        toml: document.to_string(),
    })
}

/// Brings a form file up to its webform: new fields and options are added, vanished fields are marked, and everything
/// else stays as it is, in its order.
///
/// # Errors
///
/// [`ImportError`], which names what is wrong and where.
pub fn update(yaml: &str, existing: &str) -> Result<Updated, ImportError> {
    update::update(&Webform::read(yaml)?, existing)
}
