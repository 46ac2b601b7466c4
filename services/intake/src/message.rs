//! A message as it came, and as it is kept sealed in quarantine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use broker::{Delivery, Properties};
use bytes::Bytes;
use domain::SiteId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::shapes::Headers;

/// What tells a kept message from anything else, and its format's version.
const MAGIC: &[u8] = b"kvit-message-1\n";

/// A message from a site. Personal: it has no `Debug`.
#[derive(Clone)]
pub(crate) struct Message {
    /// The queue says which site it is.
    pub(crate) site: SiteId,
    /// Shared with the broker's delivery: a clone copies nothing.
    pub(crate) body: Bytes,
    pub(crate) properties: Properties,
    pub(crate) received_at: Timestamp,
    pub(crate) redelivered: bool,
    /// Came by the dead-letter queue: it is put aside unparsed.
    pub(crate) dead: bool,
    /// What was done with it, and by when: kept for its trace alone, and where there is one.
    pub(crate) way: Option<Arc<Mutex<Way>>>,
}

/// The steps of a message's way through intake, each with the moment at which it was done.
pub(crate) type Way = Vec<(&'static str, Timestamp)>;

#[derive(Serialize, Deserialize)]
struct Head {
    site: SiteId,
    content_type: Option<String>,
    content_encoding: Option<String>,
    message_id: Option<String>,
    timestamp: Option<i64>,
    headers: BTreeMap<String, String>,
    received_at: Timestamp,
}

impl Message {
    /// The message of a delivery; `None` where its queue is no configured site's.
    pub(crate) fn from_delivery(delivery: Delivery, received_at: Timestamp) -> Option<Self> {
        let Delivery {
            queue,
            body,
            properties,
            redelivered,
            ..
        } = delivery;
        let (site, dead) = match (
            queue.strip_prefix("kvit.submissions."),
            queue.strip_prefix("kvit.dead."),
        ) {
            (Some(site), _) => (site, false),
            (_, Some(site)) => (site, true),
            _ => return None,
        };
        Some(Self {
            site: site.parse().ok()?,
            body,
            properties,
            received_at,
            redelivered,
            dead,
            way: None,
        })
    }

    /// Notes that a step is done. `now` is asked only where there is a trace.
    pub(crate) fn passed(&self, step: &'static str, now: impl FnOnce() -> Timestamp) {
        if let Some(way) = &self.way {
            way.lock().unwrap_or_else(PoisonError::into_inner).push((step, now()));
        }
    }

    /// The steps so far.
    pub(crate) fn way(&self) -> Way {
        let way = self.way.as_ref();
        way.map(|way| way.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .unwrap_or_default()
    }

    /// The properties that mean something to Kvit.
    pub(crate) fn headers(&self) -> Headers {
        let given = self.properties.clone();
        Headers::from_map(
            &given.headers,
            given.content_type,
            given.content_encoding,
            given.message_id,
            given.timestamp,
        )
    }

    /// Whether it says that it is sealed.
    pub(crate) fn is_sealed(&self) -> bool {
        let kind = self.properties.content_type.as_deref().unwrap_or_default();
        kind.split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case("application/pgp-encrypted")
    }

    /// What comes before the body in the bytes that are sealed.
    pub(crate) fn encode_head(&self) -> Vec<u8> {
        let head = Head {
            site: self.site.clone(),
            content_type: self.properties.content_type.clone(),
            content_encoding: self.properties.content_encoding.clone(),
            message_id: self.properties.message_id.clone(),
            timestamp: self.properties.timestamp,
            headers: self.properties.headers.clone(),
            received_at: self.received_at,
        };
        let head = serde_json::to_vec(&head).expect("a head is plain JSON");
        [MAGIC, &head, b"\n"].concat()
    }

    /// Reads what was sealed: [`Message::encode_head`] and the body.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&rest[..end]).ok()?;
        Some(Self {
            site: head.site,
            body: Bytes::copy_from_slice(&rest[end + 1..]),
            properties: Properties {
                content_type: head.content_type,
                content_encoding: head.content_encoding,
                message_id: head.message_id,
                timestamp: head.timestamp,
                headers: head.headers,
            },
            received_at: head.received_at,
            redelivered: false,
            dead: false,
            way: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_message_is_read_as_it_was() {
        let message = Message {
            site: "eksempel".parse().expect("a site"),
            body: Bytes::from_static(b"{\"a\":\"\n\"}\n"),
            properties: Properties {
                message_id: Some("m".to_owned()),
                headers: BTreeMap::from([("x-kvit-form".to_owned(), "f".to_owned())]),
                ..Properties::default()
            },
            received_at: Timestamp::UNIX_EPOCH,
            redelivered: true,
            dead: false,
            way: None,
        };
        let kept = [message.encode_head(), message.body.to_vec()].concat();
        let read = Message::decode(&kept).expect("a message");
        assert_eq!((read.body, read.site), (message.body, message.site));
        assert_eq!(read.properties.headers, message.properties.headers);
        assert!(Message::decode(b"{}").is_none());
    }
}
