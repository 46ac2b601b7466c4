//! What is wrong with a configuration: every fault at once, each with its place.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use domain::form_check::{Fault, Weight};
use serde::Serialize;

/// Where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file, on a line counted from 1; 0 stands for the file as a whole.
    File {
        /// The file, as the user named it.
        file: Arc<Path>,
        /// The line.
        line: usize,
    },
    /// By an environment variable.
    Variable(String),
    /// By a flag of the command line.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line: 0 } => write!(f, "{}", file.display()),
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One fault. Prints as `forms/x.toml:12: message (did you mean …)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it refuses.
    pub weight: Weight,
    /// Where.
    pub place: Place,
    /// What is wrong; never a secret.
    pub message: String,
    /// The known word that was probably meant.
    pub nearest: Option<String>,
}

impl Finding {
    /// A fault that refuses.
    #[must_use]
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self {
            weight: Weight::Refused,
            place,
            message: message.into(),
            nearest: None,
        }
    }

    /// A fault of a checker, at a place.
    pub(crate) fn of(fault: Fault, place: Place) -> Self {
        let nearest = fault.wrong.as_deref().and_then(|wrong| close(wrong, &fault.known));
        Self {
            weight: fault.weight,
            place,
            message: fault.message,
            nearest: nearest.map(str::to_owned),
        }
    }

    /// The line it stands on; what is in no file comes first.
    pub(crate) fn line(&self) -> usize {
        match self.place {
            Place::File { line, .. } => line,
            Place::Variable(_) | Place::Flag(_) => 0,
        }
    }

    /// Whether it refuses.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.weight == Weight::Refused
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warning = if self.is_error() { "" } else { "warning: " };
        write!(f, "{}: {warning}{}", self.place, self.message)?;
        match &self.nearest {
            Some(nearest) => write!(f, " (did you mean `{nearest}`?)"),
            None => Ok(()),
        }
    }
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (file, line) = match &self.place {
            Place::File { file, line } => (file.display().to_string(), (*line > 0).then_some(*line)),
            other => (other.to_string(), None),
        };
        let json = serde_json::json!({
            "severity": if self.is_error() { "error" } else { "warning" },
            "file": file,
            "line": line,
            "message": self.message,
            "nearest": self.nearest,
        });
        json.serialize(serializer)
    }
}

/// Every fault that was found, in the order of files and lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Whether any of them refuses.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(Finding::is_error)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Adds several.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.0.extend(findings);
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, finding) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

/// The known word nearest to a wrong one, where one is near enough to have been meant.
pub(crate) fn close<'a>(wrong: &str, known: &'a [String]) -> Option<&'a str> {
    let (nearest, distance) = nearest(wrong, known)?;
    (distance <= (wrong.chars().count() / 3).max(2) && distance < wrong.chars().count()).then_some(nearest)
}

/// The known word nearest to a wrong one, and how many letters are between them.
pub(crate) fn nearest<'a>(wrong: &str, known: &'a [String]) -> Option<(&'a str, usize)> {
    let wrong = wrong.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|word| (word.as_str(), strsim::osa_distance(&wrong, &word.replace('-', "_"))))
        .min_by_key(|(_, distance)| *distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_compilers_write_theirs() {
        let place = Place::File {
            file: Path::new("forms/x.toml").into(),
            line: 12,
        };
        let mut finding = Finding::error(place, "unknown key `lable`");
        finding.nearest = Some("label".into());
        assert_eq!(
            finding.to_string(),
            "forms/x.toml:12: unknown key `lable` (did you mean `label`?)"
        );
        finding.weight = Weight::Warning;
        finding.nearest = None;
        assert_eq!(finding.to_string(), "forms/x.toml:12: warning: unknown key `lable`");
    }

    #[test]
    fn the_nearest_word_is_one_that_could_have_been_meant() {
        let known = ["label".to_owned(), "type".to_owned(), "multiple".to_owned()];
        assert_eq!(close("lable", &known), Some("label"));
        assert_eq!(close("Multiple", &known), Some("multiple"));
        assert_eq!(close("purpose", &known), None);
        assert_eq!(close("x", &known), None);
    }
}
