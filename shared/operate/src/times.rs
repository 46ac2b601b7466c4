//! Times as people write and read them.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use runtime::Exit;

use crate::{Because, usage};

/// A time as RFC 3339 writes it, a date, which begins at midnight in UTC, or a duration, counted back from now.
///
/// # Errors
///
/// Where it is none of these (64); the words say what is.
pub fn since(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    if let Some(back) = domain::form::parse_duration(text) {
        return Ok(now.checked_sub(back).map_err(Exit::usage)?);
    }
    let wrong = "give a time as 2026-11-22T10:00:00Z, a date as 2026-11-22, or a duration as PT2H";
    let date: Date = text.parse().map_err(|_| usage(Because::TimeForm, &[], wrong))?;
    Ok(date.to_zoned(TimeZone::UTC).map_err(Exit::usage)?.timestamp())
}

/// A time with an offset, or local time in the controller's zone. What the spring change skips is as much later, and of
/// what autumn repeats the first counts.
///
/// # Errors
///
/// Where it is neither (64).
pub fn moment(text: &str, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let wrong = "give a time as 2026-12-01T23:59 in local time, or with an offset as 2026-12-01T23:59:00+01:00";
    let civil: DateTime = text.parse().map_err(|_| usage(Because::TimeForm, &[], wrong))?;
    Ok(civil.to_zoned(zone.clone()).map_err(Exit::usage)?.timestamp())
}

/// RFC 3339 with the offset that holds then.
#[must_use]
pub fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E4: right across both daylight-saving changes.
    #[test]
    fn a_time_without_an_offset_is_local_on_both_sides_of_a_change() {
        let copenhagen = TimeZone::get("Europe/Copenhagen").unwrap();
        for (given, utc) in [
            ("2026-12-01T23:59", "2026-12-01T22:59:00Z"),
            ("2026-07-01T23:59:00", "2026-07-01T21:59:00Z"),
            ("2026-03-29T01:59", "2026-03-29T00:59:00Z"),
            ("2026-03-29T02:30", "2026-03-29T01:30:00Z"), // does not exist: 03:30
            ("2026-03-29T03:00", "2026-03-29T01:00:00Z"),
            ("2026-10-25T02:30", "2026-10-25T00:30:00Z"), // exists twice: the first
            ("2026-10-25T03:00", "2026-10-25T02:00:00Z"),
            ("2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00Z"),
        ] {
            assert_eq!(moment(given, &copenhagen).unwrap().to_string(), utc, "{given}");
        }
        assert!(moment("tomorrow", &copenhagen).is_err());
    }
}
