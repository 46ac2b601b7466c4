//! Leaves of the configuration that are more than text.

use domain::EmailAddress;
use domain::form::parse_duration;
use jiff::tz::TimeZone;
use serde::de::{Deserialize, Deserializer, Error};

pub(super) fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeZone, D::Error> {
    let name = String::deserialize(deserializer)?;
    TimeZone::get(&name).map_err(|_| Error::custom("an unknown time zone"))
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EmailAddress, D::Error> {
    EmailAddress::parse(&String::deserialize(deserializer)?).map_err(Error::custom)
}

pub(super) fn optional_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<EmailAddress>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        Some(text) => EmailAddress::parse(&text).map(Some).map_err(Error::custom),
        None => Ok(None),
    }
}

/// A duration of ISO 8601, in which a day has 24 hours: `PT30S`, `P5D`; nothing that only looks like one to people.
pub(crate) fn iso_duration(text: &str) -> Option<jiff::SignedDuration> {
    text.starts_with('P').then(|| parse_duration(text))?
}

/// For `#[serde(with)]`.
pub(super) mod duration {
    use jiff::SignedDuration;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SignedDuration, D::Error> {
        super::iso_duration(&String::deserialize(deserializer)?)
            .ok_or_else(|| Error::custom("not an ISO 8601 duration"))
    }

    /// As people write it: whole days as days.
    pub(in super::super) fn serialize<S: Serializer>(
        duration: &SignedDuration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        const DAY: i64 = 24 * 3600;
        let seconds = duration.as_secs();
        if seconds >= DAY && seconds % DAY == 0 {
            serializer.collect_str(&format_args!("P{}D", seconds / DAY))
        } else {
            serializer.collect_str(duration)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    #[test]
    fn a_duration_is_iso_8601() {
        assert_eq!(iso_duration("PT30S"), Some(SignedDuration::from_secs(30)));
        assert_eq!(iso_duration("P5D"), Some(SignedDuration::from_hours(120)));
        assert_eq!(iso_duration("P1W"), Some(SignedDuration::from_hours(168)));
        for wrong in ["", "30s", "1 hour", "P1M", "P1Y", "-PT1S", "PT0S", "P", "P1D extra"] {
            assert_eq!(iso_duration(wrong), None, "{wrong}");
        }
    }
}
