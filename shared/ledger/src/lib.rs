//! The duty ledger: what was taken, what is owed for it, what was done, what is gone. The truth of Kvit.
//!
//! Every statement of the ledger stands here, one function a sentence, with time passed in. A function is one
//! transaction: what it says happened, happened whole.
//!
//! What this crate is not: it holds no key and opens no payload; what it stores of an answer is sealed by the vault
//! before it comes here.

mod act;
mod arrival;
mod backlog;
mod counter;
mod deletion;
mod duty;
mod event;
mod evidence;
mod extract;
mod facts;
mod figures;
mod forecast;
mod intake;
mod journal;
mod lineage;
mod model;
mod outbox;
mod pause;
mod quarantine;
mod read;
mod registration;
pub mod requests;
mod restore;
mod schedule;
mod schema;

use store::{Batch, Store, StoreError, Url};

pub use act::{ActFilter, ActRow, Concerned, DecideError, as_expected};
pub use backlog::{Backlog, IN_TIME};
pub use counter::Counter;
pub use duty::{CertificateEnd, Claim, Decision, DutyFilter, DutyRow, Outcome, Settled, UntoldHeld};
pub use event::{EventRow, SetEvent};
pub use evidence::{EvidenceLeaf, EvidenceLog, Sequenced};
pub use extract::{ExtractRow, KeptRegistration, NewExtract, Registered};
pub use figures::{Duplicates, Figures, StateCounts};
pub use forecast::Forecast;
pub use intake::Recorded;
pub use journal::{
    AnnotationRow, Closed, Delivered, EndingEntry, EntryFilter, EntryRow, FilingRow, Journalised, Marked, NewCase,
    NewEntry, NewVersion, Package, Theme, VersionRow,
};
pub use lineage::Lineage;
pub use model::{Arrival, EventSaid, NewDuty, NewSubmission, Payload, ReceiptAddress, WorkerId};
pub use outbox::{EventData, Outgoing, SiteEvent};
pub use pause::Pause;
pub use quarantine::{NewQuarantined, QuarantineFilter, QuarantineRow, Sealed, Untold};
pub use read::{Because, DutyView, EvidenceView, SubmissionFilter, SubmissionView};
pub use registration::{Address, RegistrationFacts};
pub use restore::Replayed;
pub use schedule::{Request, RunRow, WorkerRow};

/// A handle on the ledger; clones share its threads.
#[derive(Clone)]
pub struct Ledger {
    store: Store,
    batches: Batches,
}

/// What many submissions need at the same time is done for them together.
#[derive(Clone)]
struct Batches {
    standing: Batch<intake::Judging, (Lineage, i64)>,
    record: Batch<intake::Recording, Recorded>,
    claim: Batch<duty::claim::Claiming, Option<Claim>>,
    done: Batch<duty::settle::DoneDuty, Settled>,
}

impl Ledger {
    /// A ledger on the store at this address; nothing is opened before it is needed.
    #[must_use]
    pub fn new(url: &Url) -> Self {
        let store = Store::new(url, schema::OPTIONS);
        let batches = Batches {
            standing: Batch::reading(&store, intake::standing),
            record: Batch::writing(&store, intake::record),
            claim: Batch::writing(&store, duty::claim::claim),
            done: Batch::writing(&store, duty::settle::done),
        };
        Self { store, batches }
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut store::Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.store.write(job).await
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut store::Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.store.read(job).await
    }
}
