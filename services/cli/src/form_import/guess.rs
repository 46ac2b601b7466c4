//! What a key and a title suggest. A guess that matters is written as a `TODO`, for a person to confirm.

use domain::form::Class;

/// Words that begin like these suggest criminal offences (GDPR article 10).
const CRIMINAL: &[&str] = &[
    "straf",
    "kriminel",
    "sigtelse",
    "sigtet",
    "børneattest",
    "boerneattest",
    "criminal",
    "conviction",
];
/// Words that begin like these suggest special categories (GDPR article 9).
const SPECIAL: &[&str] = &[
    "helbred",
    "sygdom",
    "sygemeld",
    "diagnose",
    "handicap",
    "funktionsneds",
    "medicin",
    "allergi",
    "psykisk",
    "gravid",
    "læge",
    "laege",
    "misbrug",
    "fagforening",
    "nationalitet",
    "statsborger",
    "etnisk",
    "religi",
    "trossamfund",
    "politisk",
    "seksuel",
    "health",
    "illness",
    "disease",
    "disab",
    "medication",
    "allerg",
    "ethnic",
    "nationality",
    "political",
    "sexual",
];
/// Words that begin like these suggest confidential data (P6: CPR number, family, social, housing, economy).
const CONFIDENTIAL: &[&str] = &[
    "indkomst",
    "indtægt",
    "indtaegt",
    "formue",
    "gæld",
    "gaeld",
    "skatte",
    "økonomi",
    "oekonomi",
    "kontanthj",
    "kontonummer",
    "kontonr",
    "bankkonto",
    "boligforhold",
    "boligsituation",
    "familie",
    "civilstand",
    "ægteskab",
    "skilsmisse",
    "forældremyndig",
    "social",
    "income",
    "salary",
    "debt",
    "family",
    "custody",
    "housing",
];
/// Whole words, too short to be looked for at the beginning of longer ones.
const WORDS: &[(&str, Class)] = &[
    ("dom", Class::Criminal),
    ("dømt", Class::Criminal),
    ("syg", Class::Special),
    ("race", Class::Special),
    ("kost", Class::Special),
    ("diæt", Class::Special),
    ("diet", Class::Special),
    ("union", Class::Special),
    ("løn", Class::Confidential),
    ("skat", Class::Confidential),
    ("barn", Class::Confidential),
    ("barnets", Class::Confidential),
    ("børn", Class::Confidential),
];

/// The class that a field's key and title suggest, and the word that does; the strictest of them.
pub(super) fn class(key: &str, title: &str) -> Option<(Class, String)> {
    let strictest = |best: Option<(Class, String)>, word: String| match (class_of(&word), best) {
        (Some(class), Some(best)) if class <= best.0 => Some(best),
        (Some(class), _) => Some((class, word)),
        (None, best) => best,
    };
    words(key, title).fold(None, strictest)
}

fn class_of(word: &str) -> Option<Class> {
    let begins = |list: &[&str]| list.iter().any(|start| word.starts_with(start));
    if let Some((_, class)) = WORDS.iter().find(|(whole, _)| *whole == word) {
        return Some(*class);
    }
    match () {
        () if begins(CRIMINAL) => Some(Class::Criminal),
        () if begins(SPECIAL) => Some(Class::Special),
        () if begins(CONFIDENTIAL) => Some(Class::Confidential),
        () => None,
    }
}

/// Whether a text field is for a CPR number.
pub(super) fn cpr(key: &str, title: &str) -> bool {
    words(key, title).any(|word| word.starts_with("cpr") || word.ends_with("cpr") || word.starts_with("personnummer"))
}

/// Whether a text field is for a CVR number.
pub(super) fn cvr(key: &str, title: &str) -> bool {
    words(key, title).any(|word| word.starts_with("cvr") || word.ends_with("cvr"))
}

/// Whether a form is for registering for an event.
pub(super) fn registration(id: &str, title: &str) -> bool {
    words(id, title).any(|word| {
        ["tilmeld", "registration", "arrangement"]
            .iter()
            .any(|start| word.starts_with(start))
    })
}

fn words(key: &str, title: &str) -> impl Iterator<Item = String> {
    let both = format!("{key} {title}").to_lowercase();
    let words: Vec<String> = both.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect();
    words.into_iter().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P4
    #[test]
    fn a_cpr_field_is_known_by_its_key_or_its_title() {
        for (key, title) in [
            ("cpr", "Nummer"),
            ("felt_3", "CPR-nr."),
            ("barnets_cpr", ""),
            ("x", "Personnummer"),
        ] {
            assert!(cpr(key, title), "{key} {title}");
        }
        assert!(!cpr("navn", "Navn"));
        assert!(cvr("cvr", "") && cvr("x", "CVR-nummer") && !cvr("navn", "Navn"));
    }

    /// P6
    #[test]
    fn the_strictest_word_decides_the_class() {
        assert_eq!(
            class("familie", "Sygdom i familien").map(|(class, _)| class),
            Some(Class::Special)
        );
        assert_eq!(
            class("straffeattest", "").map(|(class, _)| class),
            Some(Class::Criminal)
        );
        assert_eq!(
            class("indkomst", "Indkomst").map(|(class, _)| class),
            Some(Class::Confidential)
        );
        assert_eq!(class("erklaering", "Jeg erklærer på tro og love"), None);
        assert_eq!(class("", ""), None);
    }
}
