//! The journal's side of the ledger: what there is to find an entry by, and never its content.
//!
//! An entry belongs to a case and has versions: a correction adds one, and the old stays (C1). Persons are keyed digests.
//! The content is sealed in the journal's folder, which the journaliser alone writes.

mod copies;
mod handover;
mod retention;
mod view;
mod write;

pub use copies::Marked;
pub use handover::Package;
pub use retention::EndingEntry;
pub use view::{AnnotationRow, Delivered, EntryFilter, EntryRow, FilingRow, VersionRow};
pub use write::{Closed, Journalised, NewCase, NewEntry, NewVersion, Theme};

/// Serialises what writes entries among replicas: "jrnl" in ASCII.
const JOURNAL_LOCK: i64 = 0x6a72_6e6c;
