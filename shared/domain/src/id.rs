//! Names and numbers: sites, forms, departments, submissions, duties, references.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a name was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to 64 characters of a-z, 0-9, '_' and '-'")]
pub struct InvalidId;

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a reference looks like K-7Q4M-2XRD")]
pub struct InvalidReference;

fn checked(name: &str) -> Result<(), InvalidId> {
    let valid = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if valid { Ok(()) } else { Err(InvalidId) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = "^[a-z0-9_-]{1,64}$"))]
        pub struct $name(#[schemars(length(min = 1, max = 64))] String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(name: String) -> Result<Self, InvalidId> {
                checked(&name).map(|()| Self(name))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(name: &str) -> Result<Self, InvalidId> {
                Self::try_from(name.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A producer of submissions; its queue is `kvit.submissions.<site>`.
    SiteId
}
name! {
    /// A form, by the site's `webform_id`.
    FormId
}
name! {
    /// A department that receives mail.
    DepartmentId
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id whose order is that of its making (UUID version 7, RFC 9562), so that indexes grow at one end.
            #[must_use]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

number! {
    /// One version of one submission, or one quarantined message.
    SubmissionId
}
number! {
    /// One thing that is owed for a submission.
    DutyId
}

/// What a citizen quotes: `K-XXXX-XXXX`, eight random symbols of Crockford's base 32.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference(String);

/// Crockford's alphabet: no I, L, O, U (<https://www.crockford.com/base32.html>).
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl Reference {
    /// The reference that forty random bits spell.
    #[must_use]
    pub fn from_random(bytes: [u8; 5]) -> Self {
        let mut bits = bytes.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        let mut symbols = [0u8; 8];
        for symbol in symbols.iter_mut().rev() {
            *symbol = CROCKFORD[usize::try_from(bits & 31).expect("five bits fit")];
            bits >>= 5;
        }
        let text = std::str::from_utf8(&symbols).expect("the alphabet is ASCII");
        Self(format!("K-{}-{}", &text[..4], &text[4..]))
    }

    /// The reference as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    /// Reads a reference as people write it: any case, `O` for 0, `I` and `L` for 1, as Crockford allows.
    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let upper = text.trim().to_ascii_uppercase();
        let symbols: String = upper
            .strip_prefix("K-")
            .ok_or(InvalidReference)?
            .chars()
            .filter(|c| *c != '-')
            .map(|c| match c {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            })
            .collect();
        let valid = symbols.len() == 8 && symbols.bytes().all(|b| CROCKFORD.contains(&b));
        if !valid {
            return Err(InvalidReference);
        }
        Ok(Self(format!("K-{}-{}", &symbols[..4], &symbols[4..])))
    }
}

impl TryFrom<String> for Reference {
    type Error = InvalidReference;
    fn try_from(text: String) -> Result<Self, InvalidReference> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.0
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_two_groups_of_four() {
        assert_eq!(Reference::from_random([0; 5]).as_str(), "K-0000-0000");
        assert_eq!(Reference::from_random([255; 5]).as_str(), "K-ZZZZ-ZZZZ");
        assert_eq!(Reference::from_random([0, 0, 0, 0, 33]).as_str(), "K-0000-0011");
    }

    #[test]
    fn a_reference_is_read_as_people_write_it() {
        let read: Reference = " k-oIl4-2xrd".parse().expect("a reference");
        assert_eq!(read.as_str(), "K-0114-2XRD");
        for wrong in [
            "",
            "K-",
            "7Q4M-2XRD",
            "K-7Q4M-2XR",
            "K-7Q4M-2XRDX",
            "K-7Q4M-2XRU",
            "K-ÆØÅ4-2XRD",
        ] {
            assert_eq!(wrong.parse::<Reference>(), Err(InvalidReference), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_short_and_plain() {
        for right in ["a", "teknik-miljoe", "form_2", &"x".repeat(64)] {
            assert!(right.parse::<SiteId>().is_ok(), "{right}");
        }
        for wrong in ["", "A", "æ", "a b", "a.b", "a/b", &"x".repeat(65)] {
            assert_eq!(wrong.parse::<SiteId>(), Err(InvalidId), "{wrong}");
        }
    }
}
