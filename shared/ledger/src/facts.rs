//! A submission's row, read once in a transaction and handed to all that ask something of it there.

use domain::submission::Kind;
use jiff::Timestamp;
use store::{Row, StoreError, Tx, Value};

use crate::counter::Scope;
use crate::outbox::{EventData, SiteEvent, Told};
use crate::read::time;

/// What is read, in the order of [`SubmissionFacts::of`].
const COLUMNS: &str =
    "SELECT id, state, kind, late, event, hold, site, form, test, received_at, site_uuid, sid, serial,
    reference, rule, deleted_at FROM submission";

/// A submission as the ledger has it.
#[derive(Debug, Clone)]
pub(crate) struct SubmissionFacts {
    /// Kvit's id.
    pub(crate) id: String,
    /// `open`, `deleting` or `deleted`.
    state: String,
    /// What it is to disposal: a late registration is told so and not kept for its event, so it goes as a message does.
    pub(crate) kind: Kind,
    /// Its event.
    pub(crate) event: Option<String>,
    /// Whether a hold freezes it.
    pub(crate) is_frozen: bool,
    site: String,
    form: String,
    test: bool,
    /// When it came.
    pub(crate) received_at: Timestamp,
    /// What its site is told of it.
    data: EventData,
    /// By which rule it goes, once it does.
    pub(crate) rule: Option<String>,
    /// Whether it was counted as deleted.
    pub(crate) is_counted: bool,
}

impl SubmissionFacts {
    /// The submission of this id.
    pub(crate) fn read(tx: &mut Tx<'_>, id: &str) -> Result<Option<Self>, StoreError> {
        let row = tx.one(&format!("{COLUMNS} WHERE id = $1"), &[id.into()])?;
        row.as_ref().map(Self::of).transpose()
    }

    /// The submission of this id, which no other writer changes until the transaction ends. What is read of its duties
    /// afterwards is what those before have committed. Submissions are reserved before their duties.
    pub(crate) fn reserve(tx: &mut Tx<'_>, id: &str) -> Result<Option<Self>, StoreError> {
        let row = tx.one_for_update(&format!("{COLUMNS} WHERE id = $1"), &[id.into()])?;
        row.as_ref().map(Self::of).transpose()
    }

    /// As [`SubmissionFacts::reserve`], by a duty of the submission; a notice about no single one has none.
    pub(crate) fn reserve_by_duty(tx: &mut Tx<'_>, duty: &str) -> Result<Option<Self>, StoreError> {
        Ok(Self::reserve_by_duties(tx, Value::list(vec![duty.into()]))?.pop())
    }

    /// As [`SubmissionFacts::reserve_by_duty`], by a list of duties: all replicas reserve in one order, that of ids.
    pub(crate) fn reserve_by_duties(tx: &mut Tx<'_>, duties: Value) -> Result<Vec<Self>, StoreError> {
        let (order, lock) = if tx.is_postgres() {
            (" COLLATE \"C\"", " FOR UPDATE")
        } else {
            ("", "")
        };
        let sql =
            format!("{COLUMNS} WHERE id IN (SELECT submission FROM duty WHERE id = ANY($1)) ORDER BY id{order}{lock}");
        tx.query(&sql, &[duties])?.iter().map(Self::of).collect()
    }

    /// Those of these submissions whose deletion was begun and not ended, reserved as by [`SubmissionFacts::reserve`].
    pub(crate) fn reserve_deleting(tx: &mut Tx<'_>, ids: Value) -> Result<Vec<Self>, StoreError> {
        tx.reserve("submission", "id", &ids)?;
        let sql = format!("{COLUMNS} WHERE id = ANY($1) AND state || '' = 'deleting' ORDER BY id");
        tx.query(&sql, &[ids])?.iter().map(Self::of).collect()
    }

    fn of(row: &Row) -> Result<Self, StoreError> {
        let owned = |column| row.opt_text(column).map(|text| text.map(str::to_owned));
        let id = row.text(0)?.to_owned();
        Ok(Self {
            state: row.text(1)?.to_owned(),
            kind: if row.text(2)? == Kind::Registration.as_str() && row.int(3)? == 0 {
                Kind::Registration
            } else {
                Kind::Message
            },
            event: owned(4)?,
            is_frozen: row.opt_text(5)?.is_some(),
            site: row.text(6)?.to_owned(),
            form: row.text(7)?.to_owned(),
            test: row.int(8)? != 0,
            received_at: time(row.int(9)?),
            data: EventData {
                uuid: owned(10)?,
                sid: owned(11)?,
                serial: owned(12)?,
                id: Some(id.clone()),
                reference: owned(13)?,
            },
            rule: owned(14)?,
            is_counted: row.opt_int(15)?.is_some(),
            id,
        })
    }

    /// Whether its deletion has not begun.
    pub(crate) fn is_open(&self) -> bool {
        self.state == "open"
    }

    /// Where it counts.
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope {
            site: &self.site,
            form: &self.form,
            test: self.test,
        }
    }

    /// An event about it on its way to its site.
    pub(crate) fn told(&self, event: SiteEvent, at: Timestamp) -> Told<'_> {
        Told {
            site: &self.site,
            form: &self.form,
            event,
            at,
            data: &self.data,
        }
    }
}
