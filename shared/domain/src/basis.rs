//! Legal bases, and which class of data each can carry (P5, P7).
//!
//! The letters are those of GDPR article 6(1) and 9(2); `dbl` is databeskyttelsesloven.

use std::fmt;
use std::str::FromStr;

use crate::form::Class;

/// A legal basis that a form may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Basis {
    /// GDPR article 6(1), by its letter: ordinary data.
    Article6(char),
    /// GDPR article 9(2), by its letter: special categories.
    Article9(char),
    /// GDPR article 10: criminal offences.
    Article10,
    /// Databeskyttelsesloven § 8: criminal offences.
    Section8,
    /// Databeskyttelsesloven § 11: CPR numbers.
    Section11,
}

/// The letters of article 6(1).
const ARTICLE_6: &str = "abcdef";
/// The letters of article 9(2).
const ARTICLE_9: &str = "abcdefghij";
/// Those of article 6(1) that a municipality's forms rest on as a rule.
const USUAL_6: &str = "ace";
/// Those of article 9(2) that a municipality's forms rest on as a rule.
const USUAL_9: &str = "aefg";

impl Basis {
    /// Every basis, in the order of the law.
    pub fn all() -> impl Iterator<Item = Self> {
        let six = ARTICLE_6.chars().map(Self::Article6);
        let nine = ARTICLE_9.chars().map(Self::Article9);
        six.chain(nine)
            .chain([Self::Article10, Self::Section8, Self::Section11])
    }

    /// Whether it is one of those that the rule names for its class.
    #[must_use]
    pub fn is_usual(self) -> bool {
        match self {
            Self::Article6(letter) => USUAL_6.contains(letter),
            Self::Article9(letter) => USUAL_9.contains(letter),
            Self::Article10 | Self::Section8 | Self::Section11 => true,
        }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Article6(letter) => write!(f, "gdpr-6-1-{letter}"),
            Self::Article9(letter) => write!(f, "gdpr-9-2-{letter}"),
            Self::Article10 => f.write_str("gdpr-10"),
            Self::Section8 => f.write_str("dbl-8"),
            Self::Section11 => f.write_str("dbl-11"),
        }
    }
}

/// Why a text is no basis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a legal basis")]
pub struct UnknownBasis;

impl FromStr for Basis {
    type Err = UnknownBasis;
    fn from_str(text: &str) -> Result<Self, UnknownBasis> {
        Self::all().find(|basis| basis.to_string() == text).ok_or(UnknownBasis)
    }
}

/// A kind of basis that data of some sort cannot do without (P7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// Ordinary and confidential data: article 6(1).
    Article6,
    /// Special categories: article 9(2).
    Article9,
    /// Criminal offences: article 10.
    Article10,
    /// Criminal offences: § 8.
    Section8,
    /// CPR numbers: § 11.
    Section11,
}

impl Need {
    /// What a class of data needs.
    #[must_use]
    pub fn of(class: Class) -> &'static [Self] {
        match class {
            Class::Ordinary | Class::Confidential => &[Self::Article6],
            Class::Special => &[Self::Article9],
            Class::Criminal => &[Self::Article10, Self::Section8],
        }
    }

    /// Whether this basis is of the kind that is needed.
    #[must_use]
    pub fn is_met_by(self, basis: Basis) -> bool {
        matches!(
            (self, basis),
            (Self::Article6, Basis::Article6(_))
                | (Self::Article9, Basis::Article9(_))
                | (Self::Article10, Basis::Article10)
                | (Self::Section8, Basis::Section8)
                | (Self::Section11, Basis::Section11)
        )
    }

    /// How a form names it.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Article6 => "gdpr-6-1-*",
            Self::Article9 => "gdpr-9-2-*",
            Self::Article10 => "gdpr-10",
            Self::Section8 => "dbl-8",
            Self::Section11 => "dbl-11",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P7
    #[test]
    fn a_basis_is_read_as_it_is_written() {
        for basis in Basis::all() {
            assert_eq!(basis.to_string().parse(), Ok(basis));
        }
        assert_eq!(Basis::all().count(), 19);
        for wrong in ["", "gdpr-6", "gdpr-6-1-g", "gdpr-9-2-k", "GDPR-6-1-e", "dbl-7"] {
            assert_eq!(wrong.parse::<Basis>(), Err(UnknownBasis), "{wrong}");
        }
    }

    /// P7
    #[test]
    fn each_class_needs_its_own_kind_of_basis() {
        let met = |class: Class, bases: &[&str]| {
            Need::of(class).iter().all(|need| {
                bases
                    .iter()
                    .any(|basis| need.is_met_by(basis.parse().expect("a basis")))
            })
        };
        assert!(met(Class::Ordinary, &["gdpr-6-1-e"]));
        assert!(met(Class::Confidential, &["gdpr-6-1-c"]));
        assert!(!met(Class::Special, &["gdpr-6-1-e"]));
        assert!(met(Class::Special, &["gdpr-9-2-g"]));
        assert!(!met(Class::Criminal, &["gdpr-10"]));
        assert!(met(Class::Criminal, &["gdpr-10", "dbl-8"]));
    }
}
