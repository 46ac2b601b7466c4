//! The sequencer on a ledger and a folder of its own.

use std::fs;
use std::path::Path;

use domain::SubmissionId;
use domain::quarantine::QuarantineReason;
use evidence::{Trust, verify_folder};
use jiff::Timestamp;
use ledger::NewQuarantined;
use tempfile::TempDir;

use super::*;

/// A ledger, an evidence folder, and the time.
struct Bed {
    dir: TempDir,
    clock: Clock,
}

impl Bed {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: Clock::fixed("2026-11-22T10:00:00Z".parse().unwrap()),
        }
    }

    fn ledger(&self, name: &str) -> Ledger {
        let path = self.dir.path().join(name);
        Ledger::new(&format!("sqlite:{}", path.display()).parse().unwrap())
    }

    fn vault(&self) -> Vault {
        let path = self.dir.path().join("keys.db");
        let url = format!("sqlite:{}", path.display()).parse().unwrap();
        Vault::new(&url, vault::WrappingKeys::default())
    }

    /// A replica's sequencer on this ledger.
    fn sequencer(&self, ledger: &Ledger) -> Sequencer {
        Sequencer {
            ledger: ledger.clone(),
            vault: self.vault(),
            worker: WorkerId::new(),
            clock: self.clock.clone(),
            dir: self.dir.path().join("evidence"),
            copy_dir: Some(self.dir.path().join("copy")),
            key: key(),
            base: "kvit.example".to_owned(),
        }
    }

    /// Verifies the folder as anybody can, and answers the sizes of its logs.
    fn verified(&self) -> Vec<u64> {
        let trust = Trust::new(vec![key().verifier("kvit.example/2026").unwrap()]);
        let logs = verify_folder(&self.dir.path().join("evidence"), &trust, &[]).unwrap();
        logs.iter().map(|log| log.signed.checkpoint.size).collect()
    }

    fn note(&self, year: &str) -> String {
        fs::read_to_string(self.dir.path().join("evidence").join(year).join("checkpoint")).unwrap()
    }
}

fn key() -> LogKey {
    LogKey::from_seed([5; 32])
}

/// Records something that has a leaf and an event.
async fn happen(ledger: &Ledger, count: u8, at: Timestamp) {
    for number in 0..count {
        let new = NewQuarantined {
            id: SubmissionId::new(),
            site: "eksempel".parse().unwrap(),
            form: None,
            department: None,
            test: false,
            reason: QuarantineReason::Malformed,
            bytes: 1,
            received_at: at,
            body: vec![number],
            bodies: Vec::new(),
            epoch: 1,
            redelivered: false,
            sealed: vec![1],
            ids: [None, None, None],
        };
        ledger.quarantine(new).await.unwrap();
    }
}

async fn told(ledger: &Ledger) -> Vec<Option<i64>> {
    let events = ledger.outgoing("eksempel".to_owned(), 100, true).await.unwrap();
    events.iter().map(|event| event.evidence).collect()
}

async fn sequence(sequencer: &Sequencer) {
    sequencer.sequence(true, &CancellationToken::new()).await.unwrap();
}

/// G2
#[tokio::test]
async fn what_happened_is_signed_and_told_in_order() {
    let bed = Bed::new();
    let ledger = bed.ledger("kvit.db");
    let sequencer = bed.sequencer(&ledger);
    happen(&ledger, 3, bed.clock.now()).await;
    assert_eq!(told(&ledger).await, [], "a site is told nothing that is not signed");
    sequence(&sequencer).await;
    assert_eq!(told(&ledger).await, [Some(0), Some(1), Some(2)]);
    assert_eq!(bed.verified(), [3]);

    happen(&ledger, 255, bed.clock.now()).await;
    assert_eq!(told(&ledger).await.len(), 3);
    sequencer.sequence(false, &CancellationToken::new()).await.unwrap();
    assert_eq!(bed.verified(), [258]);
    assert!(!ledger.has_unsigned_leaves().await.unwrap());
}

#[tokio::test]
async fn each_year_has_a_log_of_its_own_and_an_old_one_may_go() {
    let bed = Bed::new();
    let ledger = bed.ledger("kvit.db");
    happen(&ledger, 2, "2025-12-31T23:59:59.999Z".parse().unwrap()).await;
    happen(&ledger, 1, "2026-01-01T00:00:00Z".parse().unwrap()).await;
    let sequencer = bed.sequencer(&ledger);
    sequence(&sequencer).await;
    assert_eq!(bed.verified(), [2, 1]);
    fs::remove_dir_all(sequencer.dir.join("2025")).unwrap();
    sequence(&sequencer).await;
    sequencer.refuse_another_past(&CancellationToken::new()).await.unwrap();
    assert_eq!(bed.verified(), [1], "what was dropped whole stays away");
}

#[tokio::test]
async fn a_crash_after_any_step_is_made_good() {
    let bed = Bed::new();
    let ledger = bed.ledger("kvit.db");
    let sequencer = bed.sequencer(&ledger);
    happen(&ledger, 2, bed.clock.now()).await;

    // After the places were given.
    let now = bed.clock.now();
    let placed = ledger
        .sequence(sequencer.worker, sequencer.base.clone(), (now, now), BATCH)
        .await;
    assert_eq!(placed.unwrap(), Sequenced::Leaves(2));
    sequence(&bed.sequencer(&ledger)).await;
    assert_eq!(bed.verified(), [2]);

    // After the tiles were written, and after the checkpoint was, before the ledger knew.
    for after_checkpoint in [false, true] {
        happen(&ledger, 2, bed.clock.now()).await;
        bed.clock.advance(TURN);
        let sequencer = bed.sequencer(&ledger);
        let now = bed.clock.now();
        ledger
            .sequence(sequencer.worker, sequencer.base.clone(), (now, now), BATCH)
            .await
            .unwrap();
        let known = ledger.evidence_logs().await.unwrap().remove(0);
        let log = Log::of_year(&sequencer.dir, 2026);
        let signed = log.own_checkpoint(&sequencer.key).unwrap().unwrap().checkpoint;
        let grown = sequencer.grow(&log, Some(&signed), &known).await.unwrap();
        if after_checkpoint {
            grown.sign(&known.origin, &sequencer.key).unwrap();
        }
        let before = told(&ledger).await.len();
        sequence(&bed.sequencer(&ledger)).await;
        assert_eq!(told(&ledger).await.len(), before + 2);
    }
    assert_eq!(bed.verified(), [6]);
}

#[tokio::test]
async fn one_replica_sequences_and_another_takes_over() {
    let bed = Bed::new();
    let ledger = bed.ledger("kvit.db");
    let (first, second) = (bed.sequencer(&ledger), bed.sequencer(&ledger));
    happen(&ledger, 1, bed.clock.now()).await;
    sequence(&first).await;
    happen(&ledger, 1, bed.clock.now()).await;
    sequence(&second).await;
    assert_eq!(bed.verified(), [1], "the first has its turn");
    bed.clock.advance(TURN);
    sequence(&second).await;
    assert_eq!(bed.verified(), [2]);
    second.ledger.stop_sequencing(second.worker).await.unwrap();
    happen(&ledger, 1, bed.clock.now()).await;
    sequence(&first).await;
    assert_eq!(bed.verified(), [3], "who ends leaves the turn at once");
}

#[tokio::test]
async fn a_folder_that_was_lost_or_damaged_is_written_again_from_the_ledger() {
    let bed = Bed::new();
    let ledger = bed.ledger("kvit.db");
    let sequencer = bed.sequencer(&ledger);
    happen(&ledger, 200, bed.clock.now()).await;
    happen(&ledger, 100, bed.clock.now()).await;
    sequence(&sequencer).await;
    let note = bed.note("2026");
    fs::remove_dir_all(&sequencer.dir).unwrap();
    sequence(&sequencer).await;
    assert_eq!((bed.note("2026"), bed.verified()), (note, vec![300]));

    for broken in ["tile/1/000.p/1", "tile/entries/000"] {
        fs::remove_file(sequencer.dir.join("2026").join(broken)).unwrap();
        fs::write(sequencer.dir.join("2026/tile/0/000"), "damaged").unwrap();
        sequencer.refuse_another_past(&CancellationToken::new()).await.unwrap();
        happen(&ledger, 1, bed.clock.now()).await;
        if broken.contains("entries") {
            fs::remove_file(sequencer.dir.join("2026/tile/1/000.p/1")).unwrap();
        }
        sequence(&sequencer).await;
    }
    assert_eq!(bed.verified(), [302]);
}

async fn refusal(sequencer: &Sequencer) -> Option<(u8, String)> {
    let outcome = sequencer.refuse_another_past(&CancellationToken::new()).await;
    outcome
        .err()
        .map(|error| (runtime::exit::code_of(&error), format!("{error:#}")))
}

/// The "a restored ledger that is behind a known checkpoint refuses to start (78)".
#[tokio::test]
async fn a_ledger_that_is_behind_its_evidence_is_refused() {
    let bed = Bed::new();
    let (ledger, restored) = (bed.ledger("kvit.db"), bed.ledger("restored.db"));
    happen(&ledger, 5, bed.clock.now()).await;
    let sequencer = bed.sequencer(&ledger);
    sequence(&sequencer).await;
    assert_eq!(refusal(&sequencer).await, None);

    happen(&restored, 2, bed.clock.now()).await;
    let sequencer = bed.sequencer(&restored);
    let (code, words) = refusal(&sequencer).await.expect("it is behind");
    assert_eq!(code, 78);
    assert!(words.contains("kvit restore"), "{words}");
    // It does not go on either, were it started all the same.
    let refused = sequencer.sequence(true, &CancellationToken::new()).await;
    assert!(refused.unwrap_err().to_string().contains("behind"), "it must not sign");
    assert_eq!(bed.verified(), [5]);

    // Nor when it has grown past what was signed, with another past.
    sequencer.ledger.stop_sequencing(sequencer.worker).await.unwrap();
    happen(&restored, 9, bed.clock.now()).await;
    let now = bed.clock.now();
    restored
        .sequence(sequencer.worker, sequencer.base.clone(), (now, now), BATCH)
        .await
        .unwrap();
    let (code, words) = refusal(&sequencer).await.expect("it has another past");
    assert_eq!(code, 78, "{words}");
    assert!(sequencer.sequence(true, &CancellationToken::new()).await.is_err());
    assert_eq!(bed.verified(), [5]);
}

#[tokio::test]
async fn the_second_folder_alone_is_enough_to_refuse() {
    let bed = Bed::new();
    let ledger = bed.ledger("kvit.db");
    let sequencer = bed.sequencer(&ledger);
    happen(&ledger, 3, bed.clock.now()).await;
    sequence(&sequencer).await;
    let log = Log::of_year(&sequencer.dir, 2026);
    let signed = log.own_checkpoint(&key()).unwrap().unwrap();
    let copy = Log::of_year(sequencer.copy_dir.as_deref().unwrap_or(Path::new("")), 2026);
    copy.keep(&signed, "2026-11-22").unwrap();
    // An older state of the same log is no fault, with the folder and without it.
    happen(&ledger, 3, bed.clock.now()).await;
    sequence(&sequencer).await;
    assert_eq!(refusal(&sequencer).await, None);
    fs::remove_dir_all(&sequencer.dir).unwrap();
    assert_eq!(refusal(&sequencer).await, None);

    let restored = bed.ledger("restored.db");
    happen(&restored, 4, bed.clock.now()).await;
    let sequencer = bed.sequencer(&restored);
    assert_eq!(refusal(&sequencer).await.map(|(code, _)| code), Some(78));
}

#[tokio::test]
async fn evidence_that_another_key_signed_is_refused() {
    let bed = Bed::new();
    let ledger = bed.ledger("kvit.db");
    happen(&ledger, 1, bed.clock.now()).await;
    sequence(&bed.sequencer(&ledger)).await;
    let other = Sequencer {
        key: LogKey::from_seed([6; 32]),
        ..bed.sequencer(&ledger)
    };
    assert_eq!(refusal(&other).await.map(|(code, _)| code), Some(78));
}
