//! A message as a handler sees it, without AMQP.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString, ShortStringError};

/// What becomes of a message when its handler is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is dealt with, for ever: everything that it asked for is committed.
    Ack,
    /// Not now: what the handler needs (the store) is away.
    ///
    /// The message stays here, unacked, and the handler is called again with it after a growing pause (0.5 s to 10 s),
    /// so that an outage costs none of its fifty deliveries. Only after 20 minutes (the broker closes a channel after
    /// 30) is it put back. Prefetch bounds what is held.
    Requeue,
}

/// One delivery of one message. Cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    /// The queue it came from: for a submission, this says which site it is.
    pub queue: String,
    /// The body, as sent.
    pub body: Bytes,
    /// What the sender says about it.
    pub properties: Properties,
    /// Whether the broker has, or may have, delivered it before.
    pub redelivered: bool,
    /// How often it was delivered before without being acked (`x-delivery-count`; quorum queues only, else 0).
    pub delivery_count: u64,
}

/// Shows sizes, never content.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("queue", &self.queue)
            .field("body.bytes", &self.body.len())
            .field("redelivered", &self.redelivered)
            .field("delivery_count", &self.delivery_count)
            .finish_non_exhaustive()
    }
}

/// The properties of a message that Kvit uses.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// The media type of the body.
    pub content_type: Option<String>,
    /// How the body is encoded on top of that; Kvit takes none.
    pub content_encoding: Option<String>,
    /// The sender's name for the message.
    pub message_id: Option<String>,
    /// The sender's time, in seconds since 1970.
    pub timestamp: Option<i64>,
    /// The headers whose values are scalars, as text; tables, lists and bytes that are no text are left out.
    pub headers: BTreeMap<String, String>,
}

/// Shows which headers there are, never a value: a site may put anything there.
impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Properties")
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

impl Delivery {
    pub(crate) fn new(queue: &str, redelivered: bool, properties: &BasicProperties, body: Vec<u8>) -> Self {
        let properties = Properties::from(properties);
        let delivery_count = properties
            .headers
            .get("x-delivery-count")
            .and_then(|count| count.parse().ok())
            .unwrap_or(0);
        Self {
            queue: queue.to_owned(),
            body: Bytes::from(body),
            properties,
            redelivered,
            delivery_count,
        }
    }
}

impl From<&BasicProperties> for Properties {
    fn from(properties: &BasicProperties) -> Self {
        let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
        let headers = properties.headers().iter().flat_map(FieldTable::inner);
        Self {
            content_type: text(properties.content_type()),
            content_encoding: text(properties.content_encoding()),
            message_id: text(properties.message_id()),
            timestamp: properties.timestamp().and_then(|seconds| i64::try_from(seconds).ok()),
            headers: headers
                .filter_map(|(name, value)| Some((name.to_string(), scalar(value)?)))
                .collect(),
        }
    }
}

/// A header's value as text, when it is one value.
fn scalar(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::ShortString(value) => value.to_string(),
        AMQPValue::LongString(value) => str::from_utf8(value.as_bytes()).ok()?.to_owned(),
        AMQPValue::ByteArray(value) => str::from_utf8(value.as_slice()).ok()?.to_owned(),
        AMQPValue::DecimalValue(_) | AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) | AMQPValue::Void => {
            return None;
        }
    })
}

/// On disk before it is confirmed.
const PERSISTENT: u8 = 2;

impl Properties {
    /// The properties of a persistent message; an error when a name or value is longer than AMQP's 255 bytes.
    pub(crate) fn persistent(&self) -> Result<BasicProperties, ShortStringError> {
        let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        if let Some(value) = &self.content_type {
            properties = properties.with_content_type(ShortString::try_new(value)?);
        }
        if let Some(value) = &self.content_encoding {
            properties = properties.with_content_encoding(ShortString::try_new(value)?);
        }
        if let Some(value) = &self.message_id {
            properties = properties.with_message_id(ShortString::try_new(value)?);
        }
        if let Some(value) = self.timestamp.and_then(|seconds| u64::try_from(seconds).ok()) {
            properties = properties.with_timestamp(value);
        }
        let mut headers = FieldTable::default();
        for (name, value) in &self.headers {
            let value = AMQPValue::LongString(LongString::from(value.as_str()));
            headers.insert(ShortString::try_new(name)?, value);
        }
        Ok(properties.with_headers(headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_survive_a_publish() {
        let properties = Properties {
            content_type: Some("application/json".to_owned()),
            content_encoding: None,
            message_id: Some("42".to_owned()),
            timestamp: Some(1_778_586_315),
            headers: BTreeMap::from([("x-kvit-form".to_owned(), "æøå".to_owned())]),
        };
        let sent = properties.persistent().unwrap();
        assert_eq!(*sent.delivery_mode(), Some(PERSISTENT));
        assert_eq!(Properties::from(&sent), properties);
    }

    #[test]
    fn a_long_name_is_an_error_and_no_panic() {
        let properties = Properties {
            message_id: Some("x".repeat(256)),
            ..Properties::default()
        };
        assert!(properties.persistent().is_err());
    }

    #[test]
    fn scalars_become_text_and_the_rest_is_left_out() {
        let mut headers = FieldTable::default();
        headers
            .insert("x-delivery-count".into(), AMQPValue::LongLongInt(3))
            .insert("x-kvit-test".into(), AMQPValue::Boolean(true))
            .insert("latin-1".into(), AMQPValue::LongString(LongString::from(vec![0xe6])))
            .insert("table".into(), AMQPValue::FieldTable(FieldTable::default()));
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_timestamp(u64::MAX);

        let delivery = Delivery::new("q", true, &properties, b"{}".to_vec());

        assert_eq!(delivery.delivery_count, 3);
        let expected = [("x-delivery-count", "3"), ("x-kvit-test", "true")];
        assert_eq!(
            delivery.properties.headers,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        );
        assert_eq!(delivery.properties.timestamp, None);
    }

    #[test]
    fn a_delivery_shows_no_content() {
        let properties = BasicProperties::default().with_message_id("kanarie-1".into());
        let delivery = Delivery::new("q", false, &properties, b"kanarie-2".to_vec());
        let shown = format!("{delivery:?} {:?}", delivery.properties);
        assert!(!shown.contains("kanarie"), "{shown}");
    }
}
