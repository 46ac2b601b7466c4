//! Every fail point: where it stands, and what makes a service come by it.

use std::collections::BTreeSet;
use std::path::Path;

/// What must happen for a service to come by a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Any report.
    Report,
    /// A message that cannot be taken.
    Malformed,
    /// A mailer that is not there, so that duties stay due.
    NoMailer,
    /// A mailer that died when it had settled a submission's last duty.
    HalfDeleted,
    /// A registration, its event and its end: `events.rs`.
    Event,
    /// A message that cannot be taken, and whose department is told: `windows.rs`.
    Notice,
    /// A department without a certificate, and then with one: `windows.rs`.
    Certificate,
    /// A submission that belongs in the journal: `tests/e2e/journal_kills.rs`.
    Journal,
    /// A ledger from a backup: `tests/e2e/restore.rs`.
    Restore,
}

/// A point, the service that comes by it, and how.
pub(crate) const POINTS: [(&str, &str, Way); 40] = [
    ("intake.delivered", "kvit-intake", Way::Report),
    ("intake.composed", "kvit-intake", Way::Report),
    ("intake.key_committed", "kvit-intake", Way::Report),
    ("intake.recorded", "kvit-intake", Way::Report),
    ("intake.taken", "kvit-intake", Way::Report),
    ("intake.aside_key_committed", "kvit-intake", Way::Malformed),
    ("intake.held_composed", "kvit-intake", Way::Certificate),
    ("broker.acked", "kvit-intake", Way::Report),
    ("mailer.claimed", "kvit-mailer", Way::Report),
    ("mailer.data", "kvit-mailer", Way::Report),
    ("mailer.answered", "kvit-mailer", Way::Report),
    ("mailer.settled", "kvit-mailer", Way::Report),
    ("mailer.deletion_begun", "kvit-mailer", Way::Report),
    ("mailer.key_destroyed", "kvit-mailer", Way::Report),
    ("scheduler.woken", "kvit-scheduler", Way::NoMailer),
    ("scheduler.deletion_begun", "kvit-scheduler", Way::HalfDeleted),
    ("scheduler.key_destroyed", "kvit-scheduler", Way::HalfDeleted),
    ("scheduler.sequenced", "kvit-scheduler", Way::Report),
    ("scheduler.tiles_written", "kvit-scheduler", Way::Report),
    ("scheduler.signed", "kvit-scheduler", Way::Report),
    ("scheduler.told", "kvit-scheduler", Way::Report),
    ("notice.key_committed", "kvit-scheduler", Way::Notice),
    ("scheduler.extract_key_committed", "kvit-scheduler", Way::Event),
    ("scheduler.extract_recorded", "kvit-scheduler", Way::Event),
    ("scheduler.run_begun", "kvit-scheduler", Way::Event),
    ("scheduler.run_done", "kvit-scheduler", Way::Event),
    ("scheduler.purge_begun", "kvit-scheduler", Way::Event),
    ("scheduler.registration_begun", "kvit-scheduler", Way::Event),
    ("scheduler.registration_key_destroyed", "kvit-scheduler", Way::Event),
    ("scheduler.end_key_committed", "kvit-scheduler", Way::Event),
    ("journaliser.claimed", "kvit-journaliser", Way::Journal),
    ("journaliser.drafted", "kvit-journaliser", Way::Journal),
    ("journaliser.written", "kvit-journaliser", Way::Journal),
    ("journaliser.recorded", "kvit-journaliser", Way::Journal),
    ("journaliser.key_destroyed", "kvit-journaliser", Way::Journal),
    ("restore.replayed", "kvit", Way::Restore),
    ("restore.keys_destroyed", "kvit", Way::Restore),
    ("restore.recorded", "kvit", Way::Restore),
    ("restore.doubted", "kvit", Way::Restore),
    ("restore.adopted", "kvit", Way::Restore),
];

/// Every name that the services give to [`failpoint::reached`].
fn in_the_code() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![root.join("services"), root.join("shared")];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the workspace").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs")
                || path.to_string_lossy().contains("failpoint")
            {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            let names = text.split("failpoint::reached(\"").skip(1);
            found.extend(names.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
    found
}

/// Issue 4: every point is tried, and said in `docs/reliability.md`.
#[test]
fn every_fail_point_is_listed_and_documented() {
    let listed: BTreeSet<String> = POINTS.iter().map(|(point, _, _)| (*point).to_owned()).collect();
    assert_eq!(listed, in_the_code());
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reliability.md");
    let page = std::fs::read_to_string(page).expect("docs/reliability.md");
    let missing: Vec<_> = listed
        .iter()
        .filter(|point| !page.contains(&format!("`{point}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/reliability.md: {missing:?}");
}
