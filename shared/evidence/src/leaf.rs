//! What the log holds of an event: never a person's data, only ids that mean nothing outside the ledger.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A leaf.
///
/// Its bytes are canonical JSON: the members in alphabetical order, absent ones left out, no white space, the time in UTC
/// with three decimals, digests in lower-case hexadecimal. Two leaves that say the same are the same bytes.
///
/// ```
/// # use evidence::Leaf;
/// let leaf = Leaf::read(br#"{"at":"2026-11-22T10:00:00.000Z","event":"deleted","rule":"discharged"}"#)?;
/// assert_eq!(leaf.rule.as_deref(), Some("discharged"));
/// # Ok::<(), evidence::NotALeaf>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// By whom: an opaque id.
    pub actor: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Kvit's id of the duty, where it is about one: several mails of a submission are told apart by it.
    pub duty: Option<String>,
    /// What happened: `accepted`, `department_mail_done`, `deleted`, …
    pub event: String,
    /// Kvit's id of the submission.
    pub id: Option<String>,
    /// `HMAC(k_submission, content)`: with the submission's key gone it links to nothing.
    pub mac: Option<Vec<u8>>,
    /// By which rule, or for which reason.
    pub rule: Option<String>,
}

/// Bytes that are no leaf, or not written canonically.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not canonical JSON with a leaf's members")]
pub struct NotALeaf;

/// As it is written; the order of the fields is the order of the members.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duty: Option<String>,
    event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

impl Leaf {
    /// The bytes that stand in the log.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let written = Written {
            actor: self.actor.clone(),
            at: format!("{:.3}", self.at),
            duty: self.duty.clone(),
            event: self.event.clone(),
            id: self.id.clone(),
            mac: self.mac.as_ref().map(hex::encode),
            rule: self.rule.clone(),
        };
        serde_json::to_vec(&written).expect("texts are JSON")
    }

    /// A leaf from its bytes.
    ///
    /// # Errors
    ///
    /// [`NotALeaf`], also where another spelling of the same leaf is the canonical one.
    pub fn read(bytes: &[u8]) -> Result<Self, NotALeaf> {
        let written: Written = serde_json::from_slice(bytes).map_err(|_| NotALeaf)?;
        let leaf = Self {
            actor: written.actor,
            at: written.at.parse().map_err(|_| NotALeaf)?,
            duty: written.duty,
            event: written.event,
            id: written.id,
            mac: written.mac.map(hex::decode).transpose().map_err(|_| NotALeaf)?,
            rule: written.rule,
        };
        if leaf.to_bytes() == bytes {
            Ok(leaf)
        } else {
            Err(NotALeaf)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_has_one_spelling() {
        let leaf = Leaf {
            actor: None,
            at: "2026-11-22T10:00:00Z".parse().unwrap(),
            duty: None,
            event: "accepted".to_owned(),
            id: Some("0199".to_owned()),
            mac: Some(vec![0xab, 1]),
            rule: None,
        };
        let bytes = leaf.to_bytes();
        let text = r#"{"at":"2026-11-22T10:00:00.000Z","event":"accepted","id":"0199","mac":"ab01"}"#;
        assert_eq!(std::str::from_utf8(&bytes), Ok(text));
        assert_eq!(Leaf::read(&bytes), Ok(leaf));
        for other in [
            text.replace("ab01", "AB01"),
            text.replace(".000Z", "Z"),
            text.replace("\"event\"", " \"event\""),
            text.replace("\"id\":\"0199\",", "\"id\":null,"),
            text.replace("\"id\"", "\"name\""),
            format!("{text}\n"),
        ] {
            assert_eq!(Leaf::read(other.as_bytes()), Err(NotALeaf), "{other}");
        }
    }
}
