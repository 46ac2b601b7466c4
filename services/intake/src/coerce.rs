//! Single values, read the same however a site writes them: Drupal's `true`, `1`, `"1"`; `25.5` and `"25.50"`; `+0200`.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use serde_json::Value;

/// The largest power of ten a number may be written with: a double's, and some.
const MAX_EXPONENT: u32 = 400;

/// Base 64 as sites write it, with its padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether nothing was answered: `null`, `""`, `[]`, `{}`, and what holds only those.
#[must_use]
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A scalar as text; `true` and `false` as `1` and `0`, which is what Drupal makes of them on reload.
#[must_use]
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(decimal(&number.to_string()).unwrap_or_else(|| number.to_string())),
        Value::Bool(yes) => Some(if *yes { "1" } else { "0" }.to_owned()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Text that is not empty, from a scalar.
#[must_use]
pub fn filled_text(value: &Value) -> Option<String> {
    text(value).filter(|text| !text.is_empty())
}

/// Yes or no: from true, 1, "1", false, 0, "0" and "".
#[must_use]
pub fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        Value::Number(_) | Value::String(_) => match text(value)?.as_str() {
            "1" => Some(true),
            "0" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A number in canonical decimal digits, from a number or its text.
#[must_use]
pub fn number(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => decimal(&number.to_string()),
        Value::String(text) => decimal(text),
        _ => None,
    }
}

/// The canonical form of a decimal number: no sign but `-`, no exponent, no zeros that say nothing. `25.50` is `25.5`,
/// `1e3` is `1000`, `-0` is `0`.
#[must_use]
pub fn decimal(text: &str) -> Option<String> {
    let text = text.trim();
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let written = format!("{whole}{fraction}");
    if written.is_empty() || !written.bytes().all(|b| b.is_ascii_digit()) || exponent.unsigned_abs() > MAX_EXPONENT {
        return None;
    }
    let digits = written.trim_start_matches('0');
    let leading_zeros = written.len() - digits.len();
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent) - i64::try_from(leading_zeros).ok()?;
    Some(match digits.trim_end_matches('0') {
        "" => "0".to_owned(),
        digits => format!("{sign}{}", with_point(digits, point)),
    })
}

/// Digits with the decimal point after the `point`th of them, which may lie before the first or after the last.
fn with_point(digits: &str, point: i64) -> String {
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    match usize::try_from(point) {
        Ok(point) if point > 0 && point < digits.len() => format!("{}.{}", &digits[..point], &digits[point..]),
        Ok(point) if point > 0 => format!("{digits}{}", "0".repeat(point - digits.len())),
        _ => format!("0.{}{digits}", zeros(-point)),
    }
}

/// A moment: Unix seconds as a number or its text, or RFC 3339, an offset without its colon (`+0200`) included. Zero and
/// empty are no moment: Drupal writes them for "not yet".
#[must_use]
pub fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => from_seconds(number.as_i64()?),
        Value::String(text) => time_from_text(text),
        _ => None,
    }
}

/// As [`time`], from text.
#[must_use]
pub fn time_from_text(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    match text.parse::<i64>() {
        Ok(seconds) => from_seconds(seconds),
        Err(_) => text.parse().ok(),
    }
}

/// As [`time_from_text`], and local time in `zone` where no offset is written. `None` for everything else, an unresolved
/// Drupal token (`[webform:close:html_datetime]`) included.
#[must_use]
pub fn moment(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    time_from_text(text).or_else(|| {
        let local: DateTime = text.trim().parse().ok()?;
        zone.to_ambiguous_timestamp(local).compatible().ok()
    })
}

fn from_seconds(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds)
        .ok()
        .filter(|time| *time > Timestamp::UNIX_EPOCH)
}

/// Whether a text is a date, a time of day, or both, in ISO 8601's writing; Unix seconds too.
#[must_use]
pub fn is_date(text: &str) -> bool {
    let text = text.trim();
    time_from_text(text).is_some()
        || text.parse::<DateTime>().is_ok()
        || text.parse::<Date>().is_ok()
        || text.parse::<Time>().is_ok()
}

/// Whether a text can be a telephone number: at least three digits, and nothing but digits and what is written between.
#[must_use]
pub fn is_phone(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() >= 3
        && text.chars().all(|c| c.is_ascii_digit() || " +-()./\u{a0}".contains(c))
}

/// Whether a text can be a CVR number: eight digits, blanks between them allowed.
#[must_use]
pub fn is_cvr(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() == 8 && text.chars().all(|c| c.is_ascii_digit() || c == ' ')
}

/// What base 64 says; `None` where it is not that.
#[must_use]
pub fn base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// The media type and the base 64 of a data URI (RFC 2397), as signatures come.
#[must_use]
pub fn data_uri(text: &str) -> Option<(&str, &str)> {
    let (kind, data) = text.strip_prefix("data:")?.split_once(";base64,")?;
    (kind.len() < 128 && !kind.contains([' ', '\r', '\n'])).then_some((kind, data))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        for (written, canonical) in [
            ("25.50", "25.5"),
            ("25.5", "25.5"),
            (" 3 ", "3"),
            ("+3", "3"),
            ("003", "3"),
            ("-0", "0"),
            ("0.0", "0"),
            ("-0.10", "-0.1"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1.5E-3", "0.0015"),
            ("100.0", "100"),
            ("12500.00", "12500"),
            ("12345678901234567890.10", "12345678901234567890.1"),
            ("120e-1", "12"),
            ("0e400", "0"),
        ] {
            assert_eq!(decimal(written).as_deref(), Some(canonical), "{written}");
        }
        for wrong in [
            "",
            " ",
            ".",
            "-",
            "1,5",
            "1 000",
            "0x10",
            "1e",
            "1e999999999999",
            "1e401",
            "NaN",
            "--1",
            "1.2.3",
            "٣",
        ] {
            assert_eq!(decimal(wrong), None, "{wrong}");
        }
        assert_eq!(number(&json!(1e25)).as_deref(), Some("10000000000000000000000000"));
        assert_eq!(number(&json!(1.5e-7)).as_deref(), Some("0.00000015"));
        assert_eq!(number(&json!(25.5)).as_deref(), Some("25.5"));
        assert_eq!(number(&json!(true)), None);
    }

    #[test]
    fn a_boolean_is_the_same_however_it_is_written() {
        for yes in [json!(true), json!(1), json!("1")] {
            assert_eq!(boolean(&yes), Some(true), "{yes}");
        }
        for no in [json!(false), json!(0), json!("0"), json!("")] {
            assert_eq!(boolean(&no), Some(false), "{no}");
        }
        for neither in [json!(null), json!(2), json!("ja"), json!([]), json!("true")] {
            assert_eq!(boolean(&neither), None, "{neither}");
        }
    }

    #[test]
    fn a_moment_is_the_same_however_it_is_written() {
        let expected = Timestamp::from_second(1_782_909_000).unwrap();
        for written in [
            json!(1_782_909_000),
            json!("1782909000"),
            json!("2026-07-01T14:30:00+0200"),
            json!("2026-07-01T14:30:00+02:00"),
            json!("2026-07-01T12:30:00Z"),
            json!(" 2026-07-01T12:30:00+00:00 "),
        ] {
            assert_eq!(time(&written), Some(expected), "{written}");
        }
        for none in [
            json!(""),
            json!(null),
            json!(0),
            json!("0"),
            json!(-5),
            json!("i går"),
            json!("2026-07-01"),
            json!(1e300),
        ] {
            assert_eq!(time(&none), None, "{none}");
        }
    }

    /// E4
    #[test]
    fn a_deadline_may_be_local_and_an_unresolved_token_is_none() {
        let zone = TimeZone::get("Europe/Copenhagen").unwrap();
        let expected = time_from_text("2026-12-01T22:59:00Z");
        assert_eq!(moment("2026-12-01T23:59:00", &zone), expected);
        assert_eq!(moment("2026-12-01T23:59:00+0100", &zone), expected);
        assert_eq!(moment("[webform:close:html_datetime]", &zone), None);
        assert_eq!(moment("", &zone), None);
    }

    #[test]
    fn dates_telephone_numbers_and_signatures_are_told_from_text() {
        for right in [
            "2026-12-24",
            "2026-07-01T14:30:00+0200",
            "2026-07-01 14:30:00",
            "09:15:00",
            "09:15",
            "1795304922",
        ] {
            assert!(is_date(right), "{right}");
        }
        for wrong in ["i går", "24. december", "2026-13-01", "25:00:00"] {
            assert!(!is_date(wrong), "{wrong}");
        }
        assert!(
            is_phone("+45 00 00 00 00") && is_phone("0045 0000 0007") && !is_phone("ring til mor") && !is_phone("+")
        );
        assert!(is_cvr("00000000") && is_cvr("12 34 56 78") && !is_cvr("1234567"));
        assert_eq!(data_uri("data:image/png;base64,AAA="), Some(("image/png", "AAA=")));
        assert_eq!(data_uri("data: min dato"), None);
        assert_eq!(base64("AAA=").as_deref(), Some(&[0, 0][..]));
        assert_eq!(base64("AAA").as_deref(), Some(&[0, 0][..]));
        assert_eq!(base64("A*A="), None);
    }
}
