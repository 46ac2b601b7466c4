//! Adding duties with their payloads.

use domain::{DepartmentId, DutyId, SubmissionId};
use jiff::Timestamp;
use store::{Insert, StoreError, Tx, Value};

use crate::{NewDuty, Payload};

/// Payloads of at most so many bytes share a statement; of larger ones, one at a time is copied.
const LIGHT_BYTES: usize = 32 << 10;

/// So many of them share one at most.
const LIGHT_TOGETHER: usize = 64;

/// A duty to be added.
pub(crate) struct Owed<'a> {
    /// Its submission; a notice about no single one has none.
    pub(crate) submission: Option<SubmissionId>,
    /// Whether the submission is a test.
    pub(crate) test: bool,
    pub(crate) duty: &'a NewDuty,
    /// When it begins.
    pub(crate) since: Timestamp,
}

/// Adds a duty with its payload.
pub(crate) fn add_duty(
    tx: &mut Tx<'_>,
    submission: Option<SubmissionId>,
    duty: &NewDuty,
    now: Timestamp,
) -> Result<(), StoreError> {
    let test = submission.map(|id| is_test(tx, id)).transpose()?;
    let owed = Owed {
        submission,
        test: test.unwrap_or(false),
        duty,
        since: now,
    };
    add_duties(tx, &[owed])
}

fn is_test(tx: &mut Tx<'_>, id: SubmissionId) -> Result<bool, StoreError> {
    let row = tx.one("SELECT test FROM submission WHERE id = $1", &[id.to_string().into()])?;
    Ok(row.map_or(Ok(0), |row| row.int(0))? != 0)
}

/// Adds duties with their payloads.
pub(crate) fn add_duties(tx: &mut Tx<'_>, owed: &[Owed<'_>]) -> Result<(), StoreError> {
    tx.insert(
        Insert::into(
            "duty (submission, created_at, next_at, attempts, test, id, kind, role, department, state, reason, done_at,
                   expires_at)",
        ),
        &owed.iter().map(values_of).collect::<Vec<_>>(),
    )?;
    let payloads = owed
        .iter()
        .filter_map(|owed| Some((owed.duty.id, owed.duty.payload.as_ref()?)));
    let (light, heavy): (Vec<_>, Vec<_>) = payloads.partition(|(_, payload)| payload.sealed.len() <= LIGHT_BYTES);
    for group in light.chunks(LIGHT_TOGETHER).chain(heavy.chunks(1)) {
        add_payloads(tx, group)?;
    }
    Ok(())
}

fn values_of(owed: &Owed<'_>) -> [Value; 13] {
    let (duty, now) = (owed.duty, owed.since.as_millisecond());
    [
        owed.submission.map(|id| id.to_string()).into(),
        now.into(),
        now.into(),
        0i64.into(),
        owed.test.into(),
        duty.id.to_string().into(),
        duty.kind.as_str().into(),
        duty.role.as_str().into(),
        duty.department.as_ref().map(DepartmentId::as_str).into(),
        duty.state.as_str().into(),
        duty.reason.map(|reason| reason.to_string()).into(),
        duty.state.is_discharged().then_some(now).into(),
        duty.expires_at.map(Timestamp::as_millisecond).into(),
    ]
}

fn add_payloads(tx: &mut Tx<'_>, payloads: &[(DutyId, &Payload)]) -> Result<(), StoreError> {
    let row = |(duty, payload): &(DutyId, &Payload)| {
        [
            duty.to_string().into(),
            payload.owner.to_string().into(),
            payload.purpose.as_str().into(),
            payload.sealed.as_slice().into(),
        ]
    };
    tx.insert(
        Insert::into("payload (duty, owner, purpose, sealed)"),
        &payloads.iter().map(row).collect::<Vec<_>>(),
    )
}
