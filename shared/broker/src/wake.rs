//! What a wake-up says: a JSON array of duty ids, and nothing else.

use domain::DutyId;

/// At most so many ids in one message.
pub(crate) const MOST: usize = 500;

/// The body of a wake-up.
pub(crate) fn body(ids: &[DutyId]) -> Vec<u8> {
    serde_json::to_vec(ids).expect("ids are plain text")
}

/// The duties that a wake-up names; none when it cannot be read, because the sweep finds them anyway.
#[must_use]
pub fn wake_ids(body: &[u8]) -> Vec<DutyId> {
    serde_json::from_slice(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_carries_ids_and_bad_ones_are_none() {
        let ids = [DutyId::new(), DutyId::new()];
        assert_eq!(wake_ids(&body(&ids)), ids);
        assert_eq!(String::from_utf8(body(&ids[..1])).unwrap(), format!("[\"{}\"]", ids[0]));
        for bad in ["", "{}", "[1]", "[\"x\"]"] {
            assert!(wake_ids(bad.as_bytes()).is_empty(), "{bad}");
        }
    }
}
