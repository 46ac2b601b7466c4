//! What a template cannot say by itself: dates, periods, legal bases, yes and no, in both languages.

use domain::Language;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::Serialize;

/// A time as it is written in a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Moment {
    /// `21.11.2026` or `21 November 2026`.
    pub(crate) date: String,
    /// `14.05` or `14:05`.
    pub(crate) time: String,
}

impl Moment {
    /// How this language writes a time.
    pub(crate) fn new(at: Timestamp, zone: &TimeZone, language: Language) -> Self {
        let local = at.to_zoned(zone.clone());
        let (date, time) = match language {
            Language::Da => ("%d.%m.%Y", "%H.%M"),
            Language::En => ("%-d %B %Y", "%H:%M"),
        };
        Self {
            date: local.strftime(date).to_string(),
            time: local.strftime(time).to_string(),
        }
    }
}

/// Yes or no.
pub(crate) fn yes_or_no(yes: bool, language: Language) -> &'static str {
    match (language, yes) {
        (Language::Da, true) => "Ja",
        (Language::Da, false) => "Nej",
        (Language::En, true) => "Yes",
        (Language::En, false) => "No",
    }
}

/// What stands for a file that is attached.
pub(crate) fn attached(name: &str, language: Language) -> String {
    match language {
        Language::Da => format!("{name} (vedhæftet)"),
        Language::En => format!("{name} (attached)"),
    }
}

/// What stands for a file that did not come.
pub(crate) fn not_included(name: &str, language: Language) -> String {
    match language {
        Language::Da => format!("{name} (fulgte ikke med)"),
        Language::En => format!("{name} (was not included)"),
    }
}

/// A file that the site numbered and did not name.
pub(crate) fn numbered_file(id: &str, language: Language) -> String {
    match language {
        Language::Da => format!("fil nr. {id}"),
        Language::En => format!("file no. {id}"),
    }
}

/// The name of a file without a name.
pub(crate) fn nameless_file(language: Language) -> &'static str {
    match language {
        Language::Da => "fil",
        Language::En => "file",
    }
}

/// The legal bases of a form, as a citizen can look them up.
#[must_use]
pub fn legal_bases(codes: &[String], language: Language) -> String {
    let named: Vec<String> = codes.iter().map(|code| legal_basis(code, language)).collect();
    listed(&named, language)
}

fn legal_basis(code: &str, language: Language) -> String {
    let parts: Vec<&str> = code.split('-').collect();
    match (parts.as_slice(), language) {
        (["gdpr", article, paragraph, letter], Language::Da) => {
            format!("databeskyttelsesforordningens artikel {article}, stk. {paragraph}, litra {letter}")
        }
        (["gdpr", article, paragraph, letter], Language::En) => {
            format!("Article {article}({paragraph})({letter}) GDPR")
        }
        (["gdpr", article], Language::Da) => format!("databeskyttelsesforordningens artikel {article}"),
        (["gdpr", article], Language::En) => format!("Article {article} GDPR"),
        (["dbl", section], Language::Da) => format!("databeskyttelseslovens § {section}"),
        (["dbl", section], Language::En) => format!("section {section} of the Danish Data Protection Act"),
        _ => code.to_owned(),
    }
}

/// `a, b og c`.
pub(crate) fn listed(items: &[String], language: Language) -> String {
    let and = match language {
        Language::Da => "og",
        Language::En => "and",
    };
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} {and} {last}", head.join(", ")),
    }
}

/// An ISO 8601 period in words (`P5Y` is `5 år`). What cannot be read stands as it is.
#[must_use]
pub fn period(iso: &str, language: Language) -> String {
    let Ok(span) = iso.parse::<Span>() else {
        return iso.to_owned();
    };
    let units = [
        (i32::from(span.get_years()), ["år", "år", "year", "years"]),
        (span.get_months(), ["måned", "måneder", "month", "months"]),
        (span.get_weeks(), ["uge", "uger", "week", "weeks"]),
        (span.get_days(), ["dag", "dage", "day", "days"]),
        (span.get_hours(), ["time", "timer", "hour", "hours"]),
    ];
    let named: Vec<String> = units
        .iter()
        .filter(|(count, _)| *count != 0)
        .map(|(count, forms)| {
            let form = usize::from(*count != 1) + if language == Language::En { 2 } else { 0 };
            format!("{count} {}", forms[form])
        })
        .collect();
    if named.is_empty() {
        iso.to_owned()
    } else {
        listed(&named, language)
    }
}

/// The lines of a text, wherever a reader could break them, without trailing empty ones. A control character is shown as
/// U+FFFD: some readers act on it.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let unified = text.replace("\r\n", "\n");
    let breaks = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
    let mut lines: Vec<String> = unified.split(breaks).map(printable).collect();
    while lines.len() > 1 && lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    lines
}

/// One line of text: breaks become blanks.
pub(crate) fn one_line(text: &str) -> String {
    lines(text).join(" ").trim().to_owned()
}

fn printable(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P9
    #[test]
    fn a_basis_is_named_so_that_it_can_be_looked_up() {
        let codes = ["gdpr-6-1-e".to_owned(), "gdpr-9-2-f".to_owned(), "dbl-11".to_owned()];
        assert_eq!(
            legal_bases(&codes, Language::Da),
            "databeskyttelsesforordningens artikel 6, stk. 1, litra e, databeskyttelsesforordningens artikel 9, stk. 2, \
             litra f og databeskyttelseslovens § 11"
        );
        assert_eq!(legal_bases(&["gdpr-10".to_owned()], Language::En), "Article 10 GDPR");
    }

    /// P9
    #[test]
    fn a_period_is_said_in_words() {
        assert_eq!(period("P5Y", Language::Da), "5 år");
        assert_eq!(period("P1Y6M", Language::En), "1 year and 6 months");
        assert_eq!(period("P1M", Language::Da), "1 måned");
        assert_eq!(period("forever", Language::Da), "forever");
    }

    #[test]
    fn a_time_is_local() {
        let zone = TimeZone::get("Europe/Copenhagen").unwrap();
        let at: Timestamp = "2026-11-21T23:05:00Z".parse().unwrap();
        let danish = Moment::new(at, &zone, Language::Da);
        assert_eq!((danish.date.as_str(), danish.time.as_str()), ("22.11.2026", "00.05"));
        let english = Moment::new(at, &zone, Language::En);
        assert_eq!(
            (english.date.as_str(), english.time.as_str()),
            ("22 November 2026", "00:05")
        );
    }

    #[test]
    fn every_kind_of_line_break_breaks_a_line() {
        assert_eq!(
            lines("a\r\nb\rc\u{2028}d\u{b}e\0\n\n"),
            ["a", "b", "c", "d", "e\u{fffd}"]
        );
        assert_eq!(lines(""), [""]);
    }
}
