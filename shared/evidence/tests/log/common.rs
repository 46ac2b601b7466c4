//! A log in a temporary folder, as the tests need it.

use std::path::Path;

use evidence::{Checkpoint, FolderError, Leaf, Log, LogKey, Signed, Trust};

pub(crate) const ORIGIN: &str = "kvit.example/2026";

pub(crate) fn key() -> LogKey {
    LogKey::from_seed([42; 32])
}

pub(crate) fn trust() -> Trust {
    Trust::new(vec![key().verifier(ORIGIN).unwrap()])
}

/// The leaf at an index: three for each submission, of which the last says that it was deleted.
pub(crate) fn leaf(index: u64) -> Leaf {
    let (submission, step) = (index / 3, index % 3);
    Leaf {
        actor: None,
        at: jiff::Timestamp::from_millisecond(1_790_000_000_000 + i64::try_from(index).unwrap()).unwrap(),
        duty: None,
        event: ["accepted", "delivered", "deleted"][usize::try_from(step).unwrap()].to_owned(),
        id: Some(format!("submission-{submission}")),
        mac: (step == 0).then(|| vec![u8::try_from(index % 251).unwrap(); 32]),
        rule: (step == 2).then(|| "discharged".to_owned()),
    }
}

/// Grows the log to a size and signs it, as the sequencer does.
pub(crate) fn grow(log: &Log, signed: Option<&Checkpoint>, size: u64) -> Result<Signed, FolderError> {
    let mut appender = log.append(signed)?;
    while appender.size() < size {
        let next = leaf(appender.size()).to_bytes();
        appender.push(next)?;
    }
    appender.sign(ORIGIN, &key())
}

/// A log of this size in `DIR/2026`.
pub(crate) fn log_of(dir: &Path, size: u64) -> (Log, Signed) {
    let log = Log::of_year(dir, 2026);
    let signed = grow(&log, None, size).unwrap();
    (log, signed)
}
