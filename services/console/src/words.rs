//! The words of the pages, in Danish and English.

use axum::http::HeaderMap;
use domain::Language;
use fluent::FluentResource;
use fluent::concurrent::FluentBundle;

use crate::auth::cookie;

/// The cookie of a person's choice.
pub(crate) const LANGUAGE: &str = "lang";

/// The phrases of both languages.
pub(crate) struct Phrases {
    da: FluentBundle<FluentResource>,
    en: FluentBundle<FluentResource>,
}

fn bundle(language: &str, text: &str) -> FluentBundle<FluentResource> {
    let resource = FluentResource::try_new(text.to_owned());
    let resource = resource
        .map_err(|(_, errors)| errors)
        .expect("a test reads the phrases");
    let mut bundle = FluentBundle::new_concurrent(vec![language.parse().expect("it is a language")]);
    bundle
        .add_resource(resource)
        .expect("no phrase stands twice: a test reads them");
    bundle
}

impl Phrases {
    pub(crate) fn read() -> Self {
        Self {
            da: bundle("da", include_str!("../locales/da.ftl")),
            en: bundle("en", include_str!("../locales/en.ftl")),
        }
    }

    /// A phrase; its name where there is none, so that a new word of the ledger is shown as it is.
    pub(crate) fn say(&self, language: Language, name: &str) -> String {
        self.find(language, name).unwrap_or_else(|| name.to_owned())
    }

    fn find(&self, language: Language, name: &str) -> Option<String> {
        let bundle = match language {
            Language::Da => &self.da,
            Language::En => &self.en,
        };
        let message = bundle.get_message(&name.replace(['.', '_'], "-"))?;
        let pattern = message.value()?;
        Some(bundle.format_pattern(pattern, None, &mut Vec::new()).into_owned())
    }
}

/// The language that a person reads: chosen, else the browser's first that we have, else the controller's.
pub(crate) fn language(headers: &HeaderMap, otherwise: Language) -> Language {
    let of = |text: &str| match text.get(..2) {
        Some("da") => Some(Language::Da),
        Some("en") => Some(Language::En),
        _ => None,
    };
    if let Some(chosen) = cookie(headers, LANGUAGE).and_then(of) {
        return chosen;
    }
    let accepted = headers.get("accept-language").and_then(|value| value.to_str().ok());
    let accepted = accepted.unwrap_or_default().split(',');
    accepted.map(str::trim).find_map(of).unwrap_or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        let lines = text
            .lines()
            .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
        let mut names: Vec<_> = lines
            .filter_map(|line| line.split_once(" ="))
            .map(|(name, _)| name)
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn both_languages_say_the_same() {
        Phrases::read();
        let (da, en) = (include_str!("../locales/da.ftl"), include_str!("../locales/en.ftl"));
        assert_eq!(names(da), names(en));
    }

    #[test]
    fn every_action_reason_and_state_has_words() {
        let phrases = Phrases::read();
        let actions = operate::ACTIONS
            .iter()
            .filter(|action| action.changes)
            .map(|action| action.name.to_owned());
        let reasons = domain::quarantine::QuarantineReason::ALL
            .iter()
            .map(|reason| format!("because-{reason}"));
        let states = domain::DutyState::ALL.iter().map(ToString::to_string);
        let kinds = domain::DutyKind::ALL.iter().map(ToString::to_string);
        for name in actions.chain(reasons).chain(states).chain(kinds) {
            for language in [Language::Da, Language::En] {
                assert!(
                    phrases.find(language, &name).is_some(),
                    "{language:?} has no words for {name}"
                );
            }
        }
    }
}
