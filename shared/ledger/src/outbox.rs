//! Evidence leaves, and events on their way to a site.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::rows::{groups, row, rows};
use store::{Row, StoreError, Tx, Value};

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

/// Writes an evidence leaf.
pub(crate) fn leaf(
    tx: &mut Tx<'_>,
    submission: Option<&str>,
    event: &str,
    at: Timestamp,
    rule: Option<&str>,
    mac: Option<&[u8]>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO leaf (submission, event, at, rule, mac) VALUES ($1, $2, $3, $4, $5)",
        &[
            submission.into(),
            event.into(),
            at.as_millisecond().into(),
            rule.into(),
            mac.into(),
        ],
    )
    .map(drop)
}

/// Writes an evidence leaf about one duty.
pub(crate) fn leaf_of_duty(
    tx: &mut Tx<'_>,
    (submission, duty): (Option<&str>, &str),
    event: &str,
    at: Timestamp,
    rule: Option<&str>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO leaf (submission, duty, event, at, rule) VALUES ($1, $2, $3, $4, $5)",
        &[
            submission.into(),
            duty.into(),
            event.into(),
            at.as_millisecond().into(),
            rule.into(),
        ],
    )
    .map(drop)
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
    tx.execute(
        "INSERT INTO leaf (submission, event, at, rule, actor) VALUES ($1, $2, $3, $4, $5)",
        &[
            submission.into(),
            event.into(),
            at.as_millisecond().into(),
            rule.into(),
            actor.into(),
        ],
    )
    .map(drop)
}

/// Puts an event on its way. It follows the last leaf about the same submission, written in this transaction or before.
pub(crate) fn tell(
    tx: &mut Tx<'_>,
    site: &str,
    form: &str,
    event: SiteEvent,
    at: Timestamp,
    data: &EventData,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO outbox (submission, site, form, event, at, data, leaf)
         VALUES ($1, $2, $3, $4, $5, $6, (SELECT MAX(seq) FROM leaf WHERE submission = $1))",
        &[
            Value::from(data.id.as_ref()),
            site.into(),
            form.into(),
            event.as_str().into(),
            at.as_millisecond().into(),
            text_of(data).into(),
        ],
    )
    .map(drop)
}

/// Writes a leaf of the same event about each of these submissions, with its rule, in one statement.
pub(crate) fn leaves(
    tx: &mut Tx<'_>,
    event: &str,
    at: Timestamp,
    about: impl ExactSizeIterator<Item = (String, Option<String>)>,
) -> Result<(), StoreError> {
    let places = rows("$2, $1, ", 3, 2, about.len());
    let mut values = vec![at.as_millisecond().into(), event.into()];
    values.extend(about.flat_map(|(submission, rule)| [submission.into(), rule.into()]));
    let sql = format!("INSERT INTO leaf (event, at, submission, rule) VALUES {places}");
    tx.execute(&sql, &values).map(drop)
}

/// Event data as it waits in the outbox.
pub(crate) fn text_of(data: &EventData) -> String {
    serde_json::to_string(data).expect("event data is plain JSON")
}

/// Writes a leaf about the end of each of these submissions, and puts an event about it on its way: one statement for all
/// of either.
pub(crate) fn record_ends(tx: &mut Tx<'_>, ended: &[SubmissionFacts], at: Timestamp) -> Result<(), StoreError> {
    let word = SiteEvent::Deleted.as_str();
    let about = ended.iter().map(|facts| (facts.id.clone(), facts.rule.clone()));
    leaves(tx, word, at, about)?;

    let mut values = vec![at.as_millisecond().into(), word.into()];
    values.extend(ended.iter().flat_map(SubmissionFacts::told_as));
    let place = |at: usize| {
        let id = 3 + 4 * at;
        format!(
            "($2, $1, {}, (SELECT MAX(seq) FROM leaf WHERE submission = ${id}))",
            row(id, 4)
        )
    };
    let places: Vec<String> = (0..ended.len()).map(place).collect();
    let sql = format!(
        "INSERT INTO outbox (event, at, submission, site, form, data, leaf) VALUES {}",
        places.join(", ")
    );
    tx.execute(&sql, &values).map(drop)
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
            for group in groups(&events) {
                let seqs: Vec<Value> = group.iter().map(|event| event.seq.into()).collect();
                tx.reserve("outbox", "seq", &seqs)?;
                let sql = format!("DELETE FROM outbox WHERE seq IN ({})", row(1, seqs.len()));
                tx.execute(&sql, &seqs)?;
            }
            let gone = events.iter().filter(|event| event.event == SiteEvent::Deleted.as_str());
            let mut gone: Vec<&String> = gone.filter_map(|event| event.data.id.as_ref()).collect();
            gone.sort_unstable();
            let gone: Vec<Value> = gone.into_iter().map(Value::from).collect();
            for group in groups(&gone) {
                tx.reserve("submission", "id", group)?;
                let sql = format!(
                    "UPDATE submission SET site_uuid = NULL, sid = NULL, serial = NULL WHERE id IN ({}) AND state = 'deleted'",
                    row(1, group.len())
                );
                tx.execute(&sql, group)?;
            }
            Ok(())
        })
        .await
    }
}
