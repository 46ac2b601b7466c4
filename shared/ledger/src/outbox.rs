//! Evidence leaves, and events on their way to a site.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::{Insert, Row, StoreError, Tx, Value};

use crate::Ledger;
use crate::facts::SubmissionFacts;

/// What a site is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteEvent {
    /// It was taken.
    Accepted,
    /// It was known already.
    Duplicate,
    /// Something about it waits for a person or a key.
    Held,
    /// Everything that binds the site's copy is done: the site may delete it.
    Delivered,
    /// Kvit's own copy is gone.
    Deleted,
    /// It could not be taken.
    Quarantined,
}

impl SiteEvent {
    /// The word for it in routing keys and types.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Held => "held",
            Self::Delivered => "delivered",
            Self::Deleted => "deleted",
            Self::Quarantined => "quarantined",
        }
    }
}

/// An event's data: the site's own ids and Kvit's, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventData {
    /// The site's uuid.
    pub uuid: Option<String>,
    /// The site's number.
    pub sid: Option<String>,
    /// The form's running number on the site.
    pub serial: Option<String>,
    /// Kvit's id.
    pub id: Option<String>,
    /// What the citizen quotes.
    pub reference: Option<String>,
}

impl EventData {
    /// What is said of a message: its site's ids (uuid, sid, serial) as the ledger keeps them, for every event alike.
    pub(crate) fn of(ids: &[Option<String>; 3], id: Option<String>, reference: Option<String>) -> Self {
        let [uuid, sid, serial] = ids.clone().map(|id| id.map(store::text));
        Self {
            uuid,
            sid,
            serial,
            id,
            reference,
        }
    }
}

/// An event that a site has not been told of yet.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its place in the order of events.
    pub seq: i64,
    /// The site.
    pub site: String,
    /// The form; empty where it is not known.
    pub form: String,
    /// The event's word.
    pub event: String,
    /// When it happened.
    pub at: Timestamp,
    /// What is said.
    pub data: EventData,
    /// The place in the evidence log of the leaf that it follows, once that is signed.
    pub evidence: Option<i64>,
}

/// An evidence leaf to be written.
#[derive(Clone, Copy)]
pub(crate) struct Leaf<'a> {
    /// The submission, event or entry that it is about.
    pub(crate) submission: Option<&'a str>,
    /// The duty that it is about.
    pub(crate) duty: Option<&'a str>,
    /// What happened.
    pub(crate) event: &'a str,
    /// When.
    pub(crate) at: Timestamp,
    /// By which rule, or about what.
    pub(crate) rule: Option<&'a str>,
    /// Whose act it was, an opaque id.
    pub(crate) actor: Option<&'a str>,
    /// A digest of content, under a key of its own.
    pub(crate) mac: Option<&'a [u8]>,
}

impl<'a> Leaf<'a> {
    /// A leaf that says that this happened, and to which submission.
    pub(crate) fn of(submission: Option<&'a str>, event: &'a str, at: Timestamp) -> Self {
        Self {
            submission,
            duty: None,
            event,
            at,
            rule: None,
            actor: None,
            mac: None,
        }
    }
}

/// Writes evidence leaves, in order.
pub(crate) fn leaves(tx: &mut Tx<'_>, leaves: &[Leaf<'_>]) -> Result<(), StoreError> {
    let row = |leaf: &Leaf<'_>| {
        [
            leaf.submission.into(),
            leaf.duty.into(),
            leaf.event.into(),
            leaf.at.as_millisecond().into(),
            leaf.rule.into(),
            leaf.actor.into(),
            leaf.mac.into(),
        ]
    };
    tx.insert(
        Insert::into("leaf (submission, duty, event, at, rule, actor, mac)"),
        &leaves.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Writes an evidence leaf.
pub(crate) fn leaf(
    tx: &mut Tx<'_>,
    submission: Option<&str>,
    event: &str,
    at: Timestamp,
    rule: Option<&str>,
    mac: Option<&[u8]>,
) -> Result<(), StoreError> {
    let leaf = Leaf::of(submission, event, at);
    leaves(tx, &[Leaf { rule, mac, ..leaf }])
}

/// Writes an evidence leaf about one duty.
pub(crate) fn leaf_of_duty(
    tx: &mut Tx<'_>,
    (submission, duty): (Option<&str>, &str),
    event: &str,
    at: Timestamp,
    rule: Option<&str>,
) -> Result<(), StoreError> {
    let (leaf, duty) = (Leaf::of(submission, event, at), Some(duty));
    leaves(tx, &[Leaf { duty, rule, ..leaf }])
}

/// Records a person's act for the evidence log: what, about what, and by whom (an opaque id).
pub(crate) fn leaf_by(
    tx: &mut Tx<'_>,
    submission: Option<&str>,
    event: &str,
    at: Timestamp,
    rule: Option<&str>,
    actor: Option<&str>,
) -> Result<(), StoreError> {
    let leaf = Leaf::of(submission, event, at);
    leaves(tx, &[Leaf { rule, actor, ..leaf }])
}

/// An event to be put on its way.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) site: &'a str,
    pub(crate) form: &'a str,
    pub(crate) event: SiteEvent,
    pub(crate) at: Timestamp,
    pub(crate) data: &'a EventData,
}

/// Puts events on their way, in order. Each follows the last leaf about its submission, written in this
/// transaction or before.
pub(crate) fn tell(tx: &mut Tx<'_>, told: &[Told<'_>]) -> Result<(), StoreError> {
    let row = |told: &Told<'_>| {
        [
            told.data.id.as_ref().into(),
            told.site.into(),
            told.form.into(),
            told.event.as_str().into(),
            told.at.as_millisecond().into(),
            text_of(told.data).into(),
        ]
    };
    let insert = Insert {
        computed: Some("(SELECT MAX(seq) FROM leaf WHERE submission = $1)"),
        ..Insert::into("outbox (submission, site, form, event, at, data, leaf)")
    };
    tx.insert(insert, &told.iter().map(row).collect::<Vec<_>>())
}

/// Event data as it waits in the outbox.
fn text_of(data: &EventData) -> String {
    serde_json::to_string(data).expect("event data is plain JSON")
}

/// Writes a leaf about what happened to each of these submissions, by which rule, and puts an event about it on its way.
pub(crate) fn record_all<'a>(
    tx: &mut Tx<'_>,
    event: SiteEvent,
    of: &[(&'a SubmissionFacts, Option<&'a str>)],
    at: Timestamp,
) -> Result<(), StoreError> {
    let said = |(facts, rule): &(&'a SubmissionFacts, Option<&'a str>)| Leaf {
        rule: *rule,
        ..Leaf::of(Some(&facts.id), event.as_str(), at)
    };
    let said: Vec<Leaf<'_>> = of.iter().map(said).collect();
    leaves(tx, &said)?;
    let told: Vec<Told<'_>> = of.iter().map(|(facts, _)| facts.told(event, at)).collect();
    tell(tx, &told)
}

impl Ledger {
    /// The sites that events wait for.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn outgoing_sites(&self) -> Result<Vec<String>, StoreError> {
        self.read(|tx| {
            let rows = tx.query("SELECT DISTINCT site FROM outbox ORDER BY site", &[])?;
            rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
        })
        .await
    }

    /// The oldest events of a site that are not known to have reached the broker; with `signed`, only as far as the leaves that
    /// they follow are signed, so that a site never knows of what the evidence might yet lose.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn outgoing(&self, site: String, limit: u32, signed: bool) -> Result<Vec<Outgoing>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT outbox.seq, outbox.site, outbox.form, outbox.event, outbox.at, outbox.data, outbox.leaf,
                     (SELECT log_index FROM leaf JOIN evidence_log ON evidence_log.year = leaf.log_year
                         WHERE leaf.seq = outbox.leaf AND leaf.log_index < evidence_log.signed)
                 FROM outbox WHERE outbox.site = $2 ORDER BY outbox.seq LIMIT $1",
                &[limit.into(), site.into()],
            )?;
            let ready = |row: &Row| -> Result<bool, StoreError> {
                Ok(!signed || row.opt_int(6)?.is_none() || row.opt_int(7)?.is_some())
            };
            rows.iter()
                .take_while(|row| ready(row).unwrap_or(true))
                .map(|row| {
                    Ok(Outgoing {
                        seq: row.int(0)?,
                        site: row.text(1)?.to_owned(),
                        form: row.text(2)?.to_owned(),
                        event: row.text(3)?.to_owned(),
                        at: crate::read::time(row.int(4)?),
                        data: serde_json::from_str(row.text(5)?).map_err(|_| StoreError::Unexpected { column: 5 })?,
                        evidence: row.opt_int(7)?,
                    })
                })
                .collect()
        })
        .await
    }

    /// The broker has these events. With a `deleted` event confirmed, the site's own ids go too: what is left is the
    /// tombstone.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn told(&self, events: Vec<Outgoing>) -> Result<(), StoreError> {
        self.write(move |tx| {
            for seqs in Value::lists(events.iter().map(|event| event.seq)) {
                tx.reserve("outbox", "seq", &seqs)?;
                tx.execute("DELETE FROM outbox WHERE seq = ANY($1)", &[seqs])?;
            }
            let gone = events.iter().filter(|event| event.event == SiteEvent::Deleted.as_str());
            let mut gone: Vec<&String> = gone.filter_map(|event| event.data.id.as_ref()).collect();
            gone.sort_unstable();
            for ids in Value::lists(gone) {
                tx.reserve("submission", "id", &ids)?;
                tx.execute(
                    "UPDATE submission SET site_uuid = NULL, sid = NULL, serial = NULL WHERE id = ANY($1) AND state = 'deleted'",
                    &[ids],
                )?;
            }
            Ok(())
        })
        .await
    }
}
