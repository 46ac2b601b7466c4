//! What goes into the ledger.

use domain::event::Dates;
use domain::lineage::Order;
use domain::submission::Kind;
use domain::{DepartmentId, DutyId, DutyKind, DutyState, FormId, Reason, Reference, SiteId, SubmissionId};
use jiff::Timestamp;
use uuid::Uuid;

/// A running process of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerId(pub Uuid);

impl WorkerId {
    /// A new worker's id.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for WorkerId {
    fn default() -> Self {
        Self::new()
    }
}

/// A sealed payload, and whose data key opens it.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// The owner of the data key: a submission, or a notice's own duty.
    pub owner: Uuid,
    /// The purpose whose wrapping key opens the data key.
    pub purpose: String,
    /// The bytes, sealed.
    pub sealed: Vec<u8>,
}

/// A duty to be recorded.
#[derive(Clone)]
pub struct NewDuty {
    /// Its id.
    pub id: DutyId,
    /// What is owed.
    pub kind: DutyKind,
    /// Which mail of its kind it is: `department`, `department-2`, `receipt`, …
    pub role: String,
    /// The department that it concerns.
    pub department: Option<DepartmentId>,
    /// Usually ready; held or cancelled from the start where it must be.
    pub state: DutyState,
    /// Why it is held or cancelled.
    pub reason: Option<Reason>,
    /// What is to be sent or kept.
    pub payload: Option<Payload>,
    /// When a copy that waits to be marked for the journal is given up.
    pub expires_at: Option<Timestamp>,
}

/// A message's arrival: whose it is, and what its site calls it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The producer.
    pub site: SiteId,
    /// The form.
    pub form: FormId,
    /// Counted apart.
    pub test: bool,
    /// The site's uuid, sid and serial.
    pub ids: [Option<String>; 3],
    /// The site's own running number of its messages, where it gives one: a gap is counted.
    pub sequence: Option<i64>,
    /// The quarantined message that this one was, when it is tried again: it arrived when it was put aside.
    pub was_quarantined: Option<SubmissionId>,
}

/// The event that a registration is for, and what the message and the form say of its dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSaid {
    /// `site/form/entity_id` or `site/form`.
    pub id: String,
    /// What the message says.
    pub message: Dates<Timestamp>,
    /// What the form says.
    pub form: Dates<Timestamp>,
}

/// A submission to be recorded, with everything that is owed for it.
#[derive(Clone)]
pub struct NewSubmission {
    /// Its id.
    pub id: SubmissionId,
    /// What the citizen quotes.
    pub reference: Reference,
    /// Whose it is.
    pub arrival: Arrival,
    /// What the form is for.
    pub kind: Kind,
    /// The department that acts on it.
    pub department: DepartmentId,
    /// Its number among the versions.
    pub version: u32,
    /// Whether it is the one that reference and `SITE/UUID` show.
    pub latest: bool,
    /// Sent after the deadline: not kept for the event.
    pub late: bool,
    /// When it came.
    pub received_at: Timestamp,
    /// When an undelivered mail of it raises an alarm.
    pub alarm_at: Timestamp,
    /// The keyed digest of what identifies it, where anything does; and under every live epoch, to look for.
    pub identity: Option<Vec<u8>>,
    /// The same under every live epoch.
    pub identities: Vec<Vec<u8>>,
    /// The keyed digest of its answers.
    pub answers: Vec<u8>,
    /// Keyed digests of its fields, for finding what a correction changes.
    pub fields: Vec<u8>,
    /// The epoch of the three.
    pub epoch: i64,
    /// The site's order.
    pub order: Order,
    /// How many versions were known when it was judged: another number now means to judge again.
    pub known: usize,
    /// What serialises those of one identity among replicas.
    pub lock: i64,
    /// The event that it registers for.
    pub event: Option<EventSaid>,
    /// What is owed.
    pub duties: Vec<NewDuty>,
    /// Whether it brings the content of its files, and so what earlier versions wait for.
    pub brings_files: bool,
    /// What else its timeline says, each an event's word.
    pub notes: Vec<&'static str>,
    /// A digest of the content under the submission's own key.
    pub mac: Vec<u8>,
    /// The receipt's address, where there is a receipt, counted against its limit.
    pub receipt: Option<ReceiptAddress>,
}

/// A receipt's address by its keyed digests, and how many receipts it may get.
#[derive(Clone)]
pub struct ReceiptAddress {
    /// Under the current epoch; what is stored.
    pub digest: Vec<u8>,
    /// Under every live epoch.
    pub digests: Vec<Vec<u8>>,
    /// What serialises those of one address among replicas.
    pub lock: i64,
    /// Receipts since this time count.
    pub since: Timestamp,
    /// So many are sent.
    pub most: i64,
}
