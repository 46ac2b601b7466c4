//! Nothing lost: whatever happens in whatever order, what arrived is accepted, put aside, a repeat or a draft, and what
//! was accepted is open or deleted.

use domain::lineage::{Order, Verdict, judge};
use domain::quarantine::QuarantineReason;
use domain::submission::Kind;
use domain::{DutyId, DutyKind, DutyState, Reason, Reference, SubmissionId};
use jiff::Timestamp;
use ledger::{
    Arrival, Counter, Decision, DutyFilter, Ledger, NewDuty, NewQuarantined, NewSubmission, Outcome, Payload,
    QuarantineFilter, Recorded, WorkerId,
};
use proptest::prelude::*;

/// One thing that may happen. Numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
enum Step {
    Arrive { person: u8, answers: u8 },
    Draft,
    PutAside { body: u8, redelivered: bool },
    RetryPutAside { person: u8, answers: u8, test: bool },
    DiscardPutAside,
    Claim,
    Settle { which: usize, how: u8 },
    Crash,
    Decide(u8),
    Sweep,
    Later,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4u8, 0..3u8).prop_map(|(person, answers)| Step::Arrive { person, answers }),
        1 => Just(Step::Draft),
        2 => (0..3u8, any::<bool>()).prop_map(|(body, redelivered)| Step::PutAside { body, redelivered }),
        1 => (0..4u8, 0..3u8, any::<bool>())
            .prop_map(|(person, answers, test)| Step::RetryPutAside { person, answers, test }),
        1 => Just(Step::DiscardPutAside),
        4 => Just(Step::Claim),
        4 => (0..8usize, 0..8u8).prop_map(|(which, how)| Step::Settle { which, how }),
        1 => Just(Step::Crash),
        1 => (0..4u8).prop_map(Step::Decide),
        2 => Just(Step::Sweep),
        2 => Just(Step::Later),
    ];
    prop::collection::vec(step, 1..60)
}

/// A ledger, its clock, and the workers that have something in hand.
struct World {
    ledger: Ledger,
    second: i64,
    worker: WorkerId,
    /// What workers, dead ones too, believe to have in hand.
    claimed: Vec<(WorkerId, DutyId)>,
    arrived: i64,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", dir.path().join("kvit.db").display());
        Self {
            ledger: Ledger::new(&url.parse().expect("a url")),
            second: 0,
            worker: WorkerId::new(),
            claimed: Vec::new(),
            arrived: 0,
            _dir: dir,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + self.second).expect("a time")
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Arrive { person, answers } => {
                self.arrived += 1;
                self.arrive(person, answers, arrival(false, None)).await;
            }
            Step::Draft => {
                self.arrived += 1;
                let counted = self
                    .ledger
                    .count(Counter::Drafts, arrival(false, None), None, self.now());
                counted.await.expect("counted");
            }
            Step::PutAside { body, redelivered } => {
                self.arrived += 1;
                self.ledger
                    .quarantine(put_aside(body, redelivered, self.now()))
                    .await
                    .expect("put aside");
            }
            Step::RetryPutAside { person, answers, test } => {
                if let Some(id) = self.waiting().await {
                    self.arrive(person, answers, arrival(test, Some(id))).await;
                }
            }
            Step::DiscardPutAside => self.discard().await,
            Step::Claim => self.claim().await,
            Step::Settle { which, how } => self.settle(which, how).await,
            Step::Crash => self.worker = WorkerId::new(),
            Step::Decide(how) => self.decide(how).await,
            Step::Sweep => self.sweep().await,
            Step::Later => self.second += 15,
        }
    }

    async fn waiting(&self) -> Option<SubmissionId> {
        let filter = QuarantineFilter {
            waiting: true,
            ..QuarantineFilter::default()
        };
        let found = self.ledger.quarantined(filter, 1).await.expect("listed");
        found.first().map(|row| row.id.parse().expect("an id"))
    }

    /// What intake does with a message.
    async fn arrive(&self, person: u8, answers: u8, arrival: Arrival) {
        let (identity, digest) = (vec![person; 32], vec![answers; 32]);
        let lineage = self.ledger.lineage(vec![identity.clone()], vec![digest.clone()]);
        let lineage = lineage.await.expect("a lineage");
        let (version, latest) = match judge(&lineage.known, Order::default()) {
            Verdict::Duplicate => {
                let counted = self
                    .ledger
                    .count(Counter::Duplicates, arrival, lineage.latest, self.now());
                return counted.await.expect("counted");
            }
            Verdict::First => (1, true),
            Verdict::Version { number, latest } => (number, latest),
        };
        let id = SubmissionId::new();
        let reference = Reference::from_random(*id.0.as_bytes().last_chunk().expect("16 bytes"));
        let new = NewSubmission {
            id,
            reference: lineage.reference.unwrap_or(reference),
            arrival,
            kind: Kind::Message,
            department: "teknik".parse().expect("a department"),
            version,
            latest,
            late: false,
            received_at: self.now(),
            alarm_at: self.now(),
            identity: Some(identity.clone()),
            identities: vec![identity],
            answers: digest,
            fields: Vec::new(),
            epoch: 1,
            order: Order::default(),
            known: lineage.known.len(),
            lock: i64::from(person),
            event: None,
            duties: vec![
                duty(DutyKind::DepartmentMail, id),
                duty(DutyKind::Receipt, id),
                duty(DutyKind::Journal, id),
            ],
            brings_files: false,
            notes: Vec::new(),
            mac: Vec::new(),
            receipt: None,
        };
        let recorded = self.ledger.record(new, false, self.now()).await;
        assert_eq!(recorded, Ok(Recorded::Accepted));
    }

    async fn discard(&self) {
        if let Some(id) = self.waiting().await {
            let filter = QuarantineFilter {
                id: Some(id.to_string()),
                ..QuarantineFilter::default()
            };
            let gone = self
                .ledger
                .discard_quarantined(vec![filter], "a test".to_owned(), Some(1), self.now());
            assert_eq!(gone.await, Ok(vec![id]));
        }
    }

    async fn claim(&mut self) {
        let due = self.ledger.due(DutyKind::ALL, self.now(), 1).await.expect("listed");
        let Some(id) = due.first().copied() else { return };
        let until = self.now() + jiff::SignedDuration::from_secs(20);
        let claim = self
            .ledger
            .claim(id, self.worker, self.now(), until)
            .await
            .expect("asked");
        assert!(claim.is_some(), "what is due can be claimed");
        self.claimed.push((self.worker, id));
    }

    async fn settle(&mut self, which: usize, how: u8) {
        if self.claimed.is_empty() {
            return;
        }
        let (worker, id) = self.claimed.remove(which % self.claimed.len());
        let outcome = match how {
            0 => Outcome::Retry {
                at: self.now(),
                reason: Some(Reason::Smtp(451)),
            },
            1 => Outcome::Unknown { at: self.now() },
            2 => Outcome::Hold(Reason::Smtp(550)),
            3 => Outcome::Cancel(Reason::Undeliverable),
            _ => Outcome::Done,
        };
        let settled = self.ledger.settle(id, worker, outcome, None, self.now()).await;
        if let (Some(id), 7) = (settled.expect("settled").deleting, how) {
            self.ledger
                .finish_deletion(vec![id], self.now())
                .await
                .expect("finished");
        }
    }

    async fn decide(&self, how: u8) {
        let decision = match how {
            0 => Decision::Retry,
            1 => Decision::Hold,
            2 => Decision::Release,
            _ => Decision::Discard,
        };
        let rows = self.ledger.duties(DutyFilter::default(), 1).await.expect("listed");
        let filter = DutyFilter {
            id: rows.first().map(|row| row.id.clone()),
            ..DutyFilter::default()
        };
        let decided = self.ledger.decide(vec![filter], decision, None, None, self.now()).await;
        decided.expect("decided");
    }

    async fn sweep(&self) {
        let discharged = self.ledger.discharged(100).await.expect("listed");
        let begun = self.ledger.begin_deletion(discharged, self.now()).await.expect("begun");
        let deleting = self.ledger.deleting(100).await.expect("listed");
        assert!(begun.iter().all(|id| deleting.contains(id)));
        self.ledger
            .finish_deletion(deleting, self.now())
            .await
            .expect("finished");
    }

    /// The equations, and what they do not say: nothing bound is deleted, and every arrival is counted.
    async fn check(&self) {
        let production = self.ledger.figures(false, self.now()).await.expect("figures");
        let tests = self.ledger.figures(true, self.now()).await.expect("figures");
        for figures in [&production, &tests] {
            assert_eq!(figures.arrived_difference(), 0, "{figures:?}");
            assert_eq!(figures.accepted_difference(), 0, "{figures:?}");
        }
        assert_eq!(production.arrived + tests.arrived, self.arrived);
        let all = self
            .ledger
            .submissions(ledger::SubmissionFilter::default(), 1000, self.now());
        for submission in all.await.expect("listed") {
            let binds = |kind: &str| kind != "journal";
            let bound = submission
                .duties
                .iter()
                .any(|duty| binds(&duty.kind) && !["done", "cancelled"].contains(&duty.state.as_str()));
            // D1, D2
            assert_eq!(bound, submission.state == "open", "{submission:?}");
        }
    }
}

fn arrival(test: bool, was_quarantined: Option<SubmissionId>) -> Arrival {
    Arrival {
        site: "eksempel".parse().expect("a site"),
        form: "anmeldelse".parse().expect("a form"),
        test,
        ids: [None, None, None],
        sequence: None,
        was_quarantined,
    }
}

fn duty(kind: DutyKind, owner: SubmissionId) -> NewDuty {
    let purpose = if kind == DutyKind::Journal { "journal" } else { "mail" };
    NewDuty {
        id: DutyId::new(),
        kind,
        role: kind.as_str().to_owned(),
        department: None,
        state: DutyState::Ready,
        reason: None,
        expires_at: None,
        payload: Some(Payload {
            owner: owner.0,
            purpose: purpose.to_owned(),
            sealed: vec![0],
        }),
    }
}

fn put_aside(body: u8, redelivered: bool, now: Timestamp) -> NewQuarantined {
    NewQuarantined {
        id: SubmissionId::new(),
        site: "eksempel".parse().expect("a site"),
        form: None,
        department: None,
        test: false,
        reason: QuarantineReason::Malformed,
        bytes: 1,
        received_at: now,
        body: vec![body; 32],
        bodies: vec![vec![body; 32]],
        epoch: 1,
        redelivered,
        sealed: vec![0],
        ids: [None, None, None],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// D1, D2, P2
    #[test]
    fn every_history_conserves(history in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new();
            for step in history {
                world.take(step).await;
                world.check().await;
            }
        });
    }
}
