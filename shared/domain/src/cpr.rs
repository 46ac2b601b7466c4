//! CPR numbers: read where declared, found where they are not (P4).
//!
//! Facts from the CPR office (<https://cpr.dk>): ten digits, the first six a date of birth `DDMMYY`; replacement numbers
//! add 60 to the day; modulus 11 has not been a validity rule since 2007, so it never refuses anything here.

use std::fmt;

/// A CPR number in its ten digits. Personal: `Debug` shows nothing, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cpr(String);

impl Cpr {
    /// Reads ten digits, with or without a hyphen or blank after the sixth. `None` where they cannot be a CPR number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let separators: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        let separated = match separators.as_str() {
            "" | " - " => true,
            "-" | " " | "\u{2013}" | "\u{a0}" => text.chars().nth(6).is_some_and(|c| !c.is_ascii_digit()),
            _ => false,
        };
        (separated && digits.len() == 10 && is_birth_date(&digits)).then_some(Self(digits))
    }

    /// The ten digits. Call it only where a person's duty needs them.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Cpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cpr(…)")
    }
}

/// Whether the first six digits can be a date of birth, replacement numbers (day + 60) included.
fn is_birth_date(digits: &str) -> bool {
    let number = |range: std::ops::Range<usize>| digits[range].parse::<u32>().unwrap_or(0);
    let day = match number(0..2) {
        day if day > 60 => day - 60,
        day => day,
    };
    let month = number(2..4);
    let longest = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return false,
    };
    (1..=longest).contains(&day)
}

/// Where CPR numbers stand in a text, as byte ranges: ten digits (a separator after the sixth allowed) that are no part
/// of a longer number, and whose first six can be a date of birth.
#[must_use]
pub fn find(text: &str) -> Vec<std::ops::Range<usize>> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        match match_at(&chars, at, text.len()) {
            Some((range, next)) => {
                found.push(range);
                at = next;
            }
            None => at = after_number(&chars, at),
        }
    }
    found
}

/// The next place where a number could begin.
fn after_number(chars: &[(usize, char)], at: usize) -> usize {
    if !chars[at].1.is_ascii_digit() {
        return at + 1;
    }
    chars[at..]
        .iter()
        .position(|(_, c)| !c.is_ascii_digit())
        .map_or(chars.len(), |length| at + length)
}

fn match_at(chars: &[(usize, char)], at: usize, end: usize) -> Option<(std::ops::Range<usize>, usize)> {
    let digits = |from: usize, count: usize| {
        let run = chars.get(from..from + count)?;
        run.iter()
            .all(|(_, c)| c.is_ascii_digit())
            .then(|| run.iter().map(|(_, c)| *c).collect::<String>())
    };
    let first = digits(at, 6)?;
    let mut second_at = at + 6;
    // At most one hyphen or dash, with or without blanks around it, or a blank alone.
    let mut separators = 0;
    while separators < 3
        && chars
            .get(second_at)
            .is_some_and(|(_, c)| " -\u{2013}\u{a0}".contains(*c))
    {
        second_at += 1;
        separators += 1;
    }
    let second = digits(second_at, 4)?;
    let next = second_at + 4;
    let ends = chars.get(next).is_none_or(|(_, c)| !c.is_ascii_digit());
    let begins = at == 0 || !chars[at - 1].1.is_ascii_digit();
    if !(begins && ends && is_birth_date(&format!("{first}{second}"))) {
        return None;
    }
    let stop = chars.get(next).map_or(end, |(offset, _)| *offset);
    Some((chars[at].0..stop, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P4
    #[test]
    fn a_cpr_number_is_read_with_and_without_its_hyphen() {
        for right in [
            "0102030000",
            "010203-0000",
            "010203 0000",
            " 010203-0000 ",
            "610203-0000",
            "290200-1234",
        ] {
            assert_eq!(Cpr::parse(right).expect(right).expose().len(), 10, "{right}");
        }
        for wrong in [
            "",
            "010203",
            "01020300001",
            "0102-030000",
            "320203-0000",
            "011303-0000",
            "300200-0000",
            "a010203-0000",
        ] {
            assert!(Cpr::parse(wrong).is_none(), "{wrong}");
        }
    }

    /// P4
    #[test]
    fn a_cpr_number_is_found_in_running_text() {
        let text = "Æ CPR 010203-0000 😀, tlf 45000000, ordre 1234567890123 og 0102030000.";
        let found: Vec<&str> = find(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, ["010203-0000", "0102030000"]);
        assert!(find("2026-11-22 10:00 og 999999-9999").is_empty());
    }
}
