//! Events of registrations: their dates as an operator sets them, their end, and the department's word that it has
//! deleted its copies.

use std::collections::BTreeMap;

use domain::Reference;
use jiff::Timestamp;
use serde::Serialize;
use store::{Row, StoreError, Tx, Value};
use uuid::Uuid;

use crate::outbox::leaf;
use crate::read::time;
use crate::{Ledger, NewDuty};

/// An event, and how far its registrations have come.
#[derive(Debug, Clone, Serialize)]
pub struct EventRow {
    /// `site/form/entity_id` or `site/form`.
    pub id: String,
    /// What it is called where its form must not be told of: `E-XXXX-XXXX`. Given when it is first needed.
    pub tag: Option<String>,
    /// The producer.
    pub site: String,
    /// The form.
    pub form: String,
    /// The registration deadline.
    pub deadline: Option<Timestamp>,
    /// Who said it: `form`, `message` or `operator`.
    pub deadline_source: Option<String>,
    /// When it has been held.
    pub held: Option<Timestamp>,
    /// Who said it.
    pub held_source: Option<String>,
    /// When an operator cancelled it.
    pub cancelled_at: Option<Timestamp>,
    /// When the department was told to delete its copies.
    pub notified_at: Option<Timestamp>,
    /// When the department said that it has.
    pub erased_at: Option<Timestamp>,
    /// Registrations that are kept whole.
    pub open: i64,
    /// Those of them that no confirmed extract covers.
    pub unextracted: i64,
    /// Registrations of which only reference and address are kept.
    pub kept: i64,
    /// The digest of the code in the notice to delete.
    #[serde(skip)]
    pub erase_code: Option<Vec<u8>>,
}

/// An operator's dates for an event.
#[derive(Debug, Clone)]
pub struct SetEvent {
    /// `site/form/entity_id` or `site/form`.
    pub id: String,
    /// The producer.
    pub site: String,
    /// The form.
    pub form: String,
    /// The deadline, where it is set.
    pub deadline: Option<Timestamp>,
    /// When it has been held, where that is set.
    pub held: Option<Timestamp>,
    /// Whether this cancels the event.
    pub cancelled: bool,
}

const EVENT: &str =
    "SELECT event.id, event.tag, event.site, event.form, event.deadline, event.deadline_source, event.held,
    event.held_source, event.cancelled_at, event.notified_at, event.erased_at,
    (SELECT COUNT(*) FROM submission WHERE submission.event = event.id AND submission.state = 'open'
        AND submission.kind = 'registration' AND submission.late = 0),
    (SELECT COUNT(*) FROM submission WHERE submission.event = event.id AND submission.state = 'open'
        AND submission.kind = 'registration' AND submission.late = 0
        AND EXISTS (SELECT 1 FROM duty WHERE duty.submission = submission.id AND duty.kind = 'extract'
            AND duty.state NOT IN ('done', 'cancelled'))),
    (SELECT COUNT(*) FROM registration JOIN submission ON submission.id = registration.submission
        WHERE registration.event = event.id AND registration.ended IS NULL AND submission.state <> 'open'),
    event.erase_code FROM event";

fn event(row: &Row) -> Result<EventRow, StoreError> {
    let owned = |column| row.opt_text(column).map(|text| text.map(str::to_owned));
    let at = |column| row.opt_int(column).map(|at| at.map(time));
    Ok(EventRow {
        id: row.text(0)?.to_owned(),
        tag: owned(1)?,
        site: row.text(2)?.to_owned(),
        form: row.text(3)?.to_owned(),
        deadline: at(4)?,
        deadline_source: owned(5)?,
        held: at(6)?,
        held_source: owned(7)?,
        cancelled_at: at(8)?,
        notified_at: at(9)?,
        erased_at: at(10)?,
        open: row.int(11)?,
        unextracted: row.int(12)?,
        kept: row.int(13)?,
        erase_code: row.opt_blob(14)?.map(<[u8]>::to_vec),
    })
}

/// The opaque name of an event, given to it where it has none yet.
pub(crate) fn tag(tx: &mut Tx<'_>, id: &str) -> Result<String, StoreError> {
    let random = Uuid::new_v4();
    let bytes = random.as_bytes();
    let name = Reference::from_random([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]]);
    let name = name.as_str().replacen('K', "E", 1);
    tx.execute(
        "UPDATE event SET tag = $2 WHERE id = $1 AND tag IS NULL",
        &[id.into(), name.into()],
    )?;
    let row = tx.one("SELECT tag FROM event WHERE id = $1", &[id.into()])?;
    row.map_or(Ok(String::new()), |row| row.text(0).map(str::to_owned))
}

/// As [`tag`], of several: all transactions that name some do so in one order.
pub(crate) fn tags(tx: &mut Tx<'_>, ids: &[String]) -> Result<Vec<String>, StoreError> {
    let mut names: BTreeMap<&str, String> = ids.iter().map(|id| (id.as_str(), String::new())).collect();
    for (id, name) in &mut names {
        *name = tag(tx, id)?;
    }
    Ok(ids.iter().filter_map(|id| names.remove(id.as_str())).collect())
}

impl Ledger {
    /// Every event, the next deadline first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn events(&self) -> Result<Vec<EventRow>, StoreError> {
        self.read(|tx| {
            let sql = format!("{EVENT} ORDER BY event.deadline, event.id");
            tx.query(&sql, &[])?.iter().map(event).collect()
        })
        .await
    }

    /// One event, by its id or its opaque name.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn event(&self, id: String) -> Result<Option<EventRow>, StoreError> {
        self.read(move |tx| {
            let sql = format!("{EVENT} WHERE event.id = $1 OR event.tag = $1");
            tx.one(&sql, &[id.into()])?.as_ref().map(event).transpose()
        })
        .await
    }

    /// Records an operator's dates, which stand whatever messages and forms say; an event that nobody has registered for
    /// yet begins with them. One that is to be held again is told of again.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn set_event(&self, set: SetEvent, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            let id = set.id.as_str();
            tx.execute(
                "INSERT INTO event (id, site, form) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
                &[id.into(), set.site.as_str().into(), set.form.as_str().into()],
            )?;
            tx.one_for_update("SELECT 1 FROM event WHERE id = $1", &[id.into()])?;
            let name = tag(tx, id)?;
            let at = |date: Option<Timestamp>| Value::from(date.map(Timestamp::as_millisecond));
            tx.execute(
                "UPDATE event SET deadline = COALESCE($2, deadline), held = COALESCE($3, held),
                     deadline_source = CASE WHEN CAST($2 AS BIGINT) IS NULL THEN deadline_source ELSE 'operator' END,
                     held_source = CASE WHEN CAST($3 AS BIGINT) IS NULL THEN held_source ELSE 'operator' END
                 WHERE id = $1",
                &[id.into(), at(set.deadline), at(set.held)],
            )?;
            if set.held.is_some_and(|held| held > now) {
                tx.execute(
                    "UPDATE event SET notified_at = NULL, erase_code = NULL, erased_at = NULL WHERE id = $1",
                    &[id.into()],
                )?;
            }
            if set.cancelled {
                tx.execute(
                    "UPDATE event SET cancelled_at = $2 WHERE id = $1",
                    &[id.into(), now.as_millisecond().into()],
                )?;
            }
            let said = if set.cancelled {
                "event_cancelled"
            } else {
                "event_dates_set"
            };
            leaf(tx, None, said, now, Some(&name), None)
        })
        .await
    }

    /// Events that have been held, and whose department was not told since.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn held_and_untold(&self, now: Timestamp) -> Result<Vec<EventRow>, StoreError> {
        self.write(move |tx| {
            let sql = format!(
                "{EVENT} WHERE event.held <= $1 AND (event.notified_at IS NULL OR event.notified_at < event.held)
                 ORDER BY event.id"
            );
            let rows = tx.query(&sql, &[now.as_millisecond().into()])?;
            let mut events: Vec<EventRow> = rows.iter().map(event).collect::<Result<_, _>>()?;
            let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
            for (event, tag) in events.iter_mut().zip(tags(tx, &ids)?) {
                event.tag = Some(tag);
            }
            Ok(events)
        })
        .await
    }

    /// Whether the department was sent anything of an event, and the references of the mails that it was sent one by
    /// one; of the tests, or of the others.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn sent_of_event(&self, id: String, test: bool) -> Result<(bool, Vec<Reference>), StoreError> {
        self.read(move |tx| {
            let extract = tx.one(
                "SELECT 1 FROM event_extract WHERE event = $1 AND test = $2 LIMIT 1",
                &[id.as_str().into(), test.into()],
            )?;
            let rows = tx.query(
                "SELECT DISTINCT reference FROM submission WHERE event = $1 AND test = $2 AND EXISTS (SELECT 1 FROM duty
                 WHERE duty.submission = submission.id AND duty.kind = 'department_mail' AND duty.state = 'done')
                 ORDER BY reference",
                &[id.into(), test.into()],
            )?;
            let references: Vec<Reference> = rows.iter().map(|row| row.parse(0)).collect::<Result<_, _>>()?;
            Ok((extract.is_some() || !references.is_empty(), references))
        })
        .await
    }

    /// Puts the notices to delete on their way; where nothing was ever sent there is none, and nothing to wait for.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn told_of_end(
        &self,
        id: String,
        notices: Vec<NewDuty>,
        code: Option<Vec<u8>>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let nothing = notices.is_empty().then(|| now.as_millisecond());
            tx.execute(
                "UPDATE event SET notified_at = $2, erase_code = $3, erased_at = $4 WHERE id = $1",
                &[
                    id.as_str().into(),
                    now.as_millisecond().into(),
                    code.into(),
                    nothing.into(),
                ],
            )?;
            for duty in &notices {
                crate::duty::add::add_duty(tx, None, duty, now)?;
            }
            if notices.is_empty() {
                return Ok(());
            }
            let name = tag(tx, &id)?;
            leaf(tx, None, "event_end_notified", now, Some(&name), None)
        })
        .await
    }

    /// The department says that it has deleted its copies. Answers whether that was news.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn event_erased(&self, id: String, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let changed = tx.execute(
                "UPDATE event SET erased_at = $2 WHERE id = $1 AND erased_at IS NULL",
                &[id.as_str().into(), now.as_millisecond().into()],
            )?;
            if changed > 0 {
                let name = tag(tx, &id)?;
                leaf(tx, None, "event_erased", now, Some(&name), None)?;
            }
            Ok(changed > 0)
        })
        .await
    }
}
