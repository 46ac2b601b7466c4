//! What the actions take. A page's form and an address give texts alone, so numbers and flags may be texts, too.

use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

/// Nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// One of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Id {
    /// Kvit's id, the reference, or SITE/UUID
    pub(crate) id: String,
}

/// Which acts.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Acts {
    /// Whose, by the id that the evidence has
    pub(crate) actor: Option<String>,
    /// What was done
    pub(crate) event: Option<String>,
    /// A time, a date, or a duration as PT2H, counted back from now
    pub(crate) since: Option<String>,
    /// Goes on after the one with this `seq`
    #[serde(deserialize_with = "number")]
    pub(crate) after: Option<u32>,
    /// At most so many
    #[serde(deserialize_with = "number")]
    pub(crate) limit: Option<u32>,
}

/// Which submissions.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Submissions {
    pub(crate) site: Option<String>,
    pub(crate) form: Option<String>,
    /// `open`, `deleting`, `deleted`
    pub(crate) state: Option<String>,
    /// A time, a date, or a duration as PT2H, counted back from now
    pub(crate) since: Option<String>,
    /// Goes on after the one with this id, in the order of the list
    pub(crate) after: Option<String>,
    #[serde(deserialize_with = "number")]
    pub(crate) limit: Option<u32>,
}

/// Which duties or quarantined messages: one, the selected, or all that match.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Matching {
    pub(crate) id: Option<String>,
    /// The selected
    #[serde(deserialize_with = "some")]
    pub(crate) ids: Vec<String>,
    pub(crate) submission: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) form: Option<String>,
    pub(crate) site: Option<String>,
    /// A time, a date, or a duration as PT2H, counted back from now
    pub(crate) since: Option<String>,
    /// Goes on after the one with this id, in the order of the list
    pub(crate) after: Option<String>,
    /// The reason, for the record; a discard wants one
    pub(crate) why: Option<String>,
    /// Only counts
    #[serde(deserialize_with = "flag")]
    pub(crate) dry_run: bool,
    /// Does nothing where another number matches than the person saw
    #[serde(deserialize_with = "number")]
    pub(crate) expect: Option<u32>,
    /// Those that were decided, too
    #[serde(deserialize_with = "flag")]
    pub(crate) all: bool,
    #[serde(deserialize_with = "number")]
    pub(crate) limit: Option<u32>,
}

/// What is to rest.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pausing {
    /// `queue`, `department` or `form`
    #[schema(value_type = String)]
    pub(crate) what: domain::Pausable,
    pub(crate) name: String,
    /// The reason, for whoever wonders
    pub(crate) why: String,
    /// Goes on by itself then: local time, or with an offset
    pub(crate) until: Option<String>,
}

/// What is to go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resuming {
    /// `queue`, `department` or `form`
    #[schema(value_type = String)]
    pub(crate) what: domain::Pausable,
    pub(crate) name: String,
    pub(crate) why: Option<String>,
}

/// Which schedule.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Running {
    /// `purge`, `extract`, `keys` or `checkpoint`
    pub(crate) name: String,
    /// Only says what it would do; of purge and extract
    #[serde(default, deserialize_with = "flag")]
    pub(crate) dry_run: bool,
}

/// Whose runs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfSchedule {
    /// `purge`, `extract`, `keys` or `checkpoint`
    pub(crate) name: String,
}

/// Which event.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfEvent {
    /// Its id or its opaque name
    pub(crate) event: String,
}

/// The dates of an event.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dates {
    pub(crate) event: String,
    /// Local time, or with an offset
    pub(crate) deadline: Option<String>,
    /// Local time, or with an offset
    pub(crate) held: Option<String>,
}

/// A code that a department gives back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Coded {
    pub(crate) event: String,
    pub(crate) code: String,
}

/// Whose registrations, and where to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exporting {
    pub(crate) event: String,
    /// The department
    #[schema(value_type = String)]
    pub(crate) to: domain::DepartmentId,
}

/// Which department.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfDepartment {
    #[schema(value_type = String)]
    pub(crate) department: domain::DepartmentId,
}

/// A certificate for a department.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adding {
    #[schema(value_type = String)]
    pub(crate) department: domain::DepartmentId,
    /// The OpenPGP certificate, armored
    pub(crate) certificate: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Flag(bool),
    Text(String),
}

fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    match Option::<Flag>::deserialize(from)? {
        None => Ok(false),
        Some(Flag::Flag(flag)) => Ok(flag),
        Some(Flag::Text(text)) => match text.as_str() {
            "true" | "on" | "1" => Ok(true),
            "false" | "" | "0" => Ok(false),
            _ => Err(serde::de::Error::custom("a flag is true or false")),
        },
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u32),
    Text(String),
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    match Option::<Number>::deserialize(from)? {
        None => Ok(None),
        Some(Number::Number(number)) => Ok(Some(number)),
        Some(Number::Text(text)) => {
            let number = text.trim().parse::<u32>();
            number
                .map(Some)
                .map_err(|_| serde::de::Error::custom("it is not a number"))
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Few {
    One(String),
    Several(Vec<String>),
}

fn some<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(match Option::<Few>::deserialize(from)? {
        None => Vec::new(),
        Some(Few::One(one)) => vec![one],
        Some(Few::Several(several)) => several,
    })
}
