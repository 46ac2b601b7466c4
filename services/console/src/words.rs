//! The words of the pages, in Danish and English.

use axum::http::HeaderMap;
use domain::Language;
use fluent::concurrent::FluentBundle;
use fluent::{FluentArgs, FluentResource};

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
    // The marks around what is filled in are for texts of two directions, and both of ours have one.
    bundle.set_use_isolating(false);
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

    /// A phrase, where there is one.
    pub(crate) fn find(&self, language: Language, name: &str) -> Option<String> {
        self.fill(language, name, &[])
    }

    /// A phrase with what it is about filled in, where there is one.
    pub(crate) fn fill(&self, language: Language, name: &str, about: &[(&str, String)]) -> Option<String> {
        let bundle = match language {
            Language::Da => &self.da,
            Language::En => &self.en,
        };
        let message = bundle.get_message(&name.replace(['.', '_'], "-"))?;
        let pattern = message.value()?;
        let about: FluentArgs<'_> = about.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let text = bundle.format_pattern(pattern, Some(&about), &mut Vec::new());
        Some(text.into_owned())
    }
}

/// The phrase for a duty's reason; those with a number have one for what may pass and one for what does not.
pub(crate) fn of_duty(reason: &str) -> String {
    match reason.split_once('_') {
        Some((peer @ ("smtp" | "http"), code)) => {
            let passes = code.starts_with(if peer == "smtp" { '4' } else { '5' });
            format!("of-duty-{peer}-{}", if passes { "later" } else { "never" })
        }
        _ => format!("of-duty-{reason}"),
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
    use crate::tables::Choices;

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

    /// A phrase in both languages fills in the same.
    #[test]
    fn what_a_phrase_fills_in_is_the_same_in_both_languages() {
        let filled = |text: &'static str| -> Vec<(&str, Vec<&str>)> {
            let lines = text.lines().filter_map(|line| line.split_once(" = "));
            let mut filled: Vec<_> = lines
                .map(|(name, phrase)| {
                    let mut names: Vec<_> = phrase
                        .split("{ $")
                        .skip(1)
                        .filter_map(|rest| rest.split(' ').next())
                        .collect();
                    names.sort_unstable();
                    (name, names)
                })
                .collect();
            filled.sort_unstable();
            filled
        };
        let (da, en) = (include_str!("../locales/da.ftl"), include_str!("../locales/en.ftl"));
        assert_eq!(filled(da), filled(en));
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
        let of_duties = domain::Reason::ALL.iter().map(|reason| of_duty(&reason.to_string()));
        let refusals = operate::Because::ALL
            .iter()
            .map(|code| format!("refused-{}", code.as_str()));
        let whys = ledger::Because::CODES.iter().chain(&operate::OF_ENTRIES);
        let whys = whys.map(|code| format!("why-{code}"));
        let acts = Choices::acts().into_iter();
        let runs = ["done", "failed", "unended"].map(|state| format!("run-{state}"));
        let reasons = reasons
            .chain(of_duties)
            .chain(refusals)
            .chain(whys)
            .chain(acts)
            .chain(runs);
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
