//! Words in the languages that letters are written in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A language that every letter exists in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Danish.
    #[default]
    Da,
    /// English.
    En,
}

impl Language {
    /// The language of a `langcode` as Drupal writes it (`da`, `en`, `en-gb`), where it is one of ours.
    #[must_use]
    pub fn from_langcode(code: &str) -> Option<Self> {
        match code.split(['-', '_']).next().map(str::to_ascii_lowercase).as_deref() {
            Some("da") => Some(Self::Da),
            Some("en") => Some(Self::En),
            _ => None,
        }
    }

    /// The two-letter code (ISO 639-1).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Da => "da",
            Self::En => "en",
        }
    }
}

/// A text in one or both languages; at least one is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// In Danish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub da: Option<String>,
    /// In English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub en: Option<String>,
}

impl Words {
    /// The text in this language, or in the other where this one is missing. Empty only where both are.
    #[must_use]
    pub fn get(&self, language: Language) -> &str {
        let (first, second) = match language {
            Language::Da => (&self.da, &self.en),
            Language::En => (&self.en, &self.da),
        };
        first.as_deref().or(second.as_deref()).unwrap_or_default()
    }

    /// Whether there is no text in any language, or only blanks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.da, &self.en]
            .into_iter()
            .flatten()
            .all(|text| text.trim().is_empty())
    }

    /// Whether any language's text still says `TODO`.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        [&self.da, &self.en]
            .into_iter()
            .flatten()
            .any(|text| text.contains("TODO"))
    }
}
