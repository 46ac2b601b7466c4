//! Disposal in the ledger against a model: 10,000 histories of submissions whose mails succeed, fail and are given up in
//! any order, whose events are postponed, brought forward and held, and whose lists are confirmed or never made.
//!
//! A hundred at a time share a ledger and a clock, and after each step one purge, as in real life; every other time all of them are looked at. The model is told what
//! happened and knows two sentences: a message goes when nothing that binds is owed; a registration when, besides, its
//! deadline has passed or its event was held, whose end owes no list any more.

use std::collections::BTreeMap;

use domain::event::Dates;
use domain::lineage::Order;
use domain::submission::Kind;
use domain::{DutyId, DutyKind, DutyState, Reason, Reference, SubmissionId};
use jiff::{SignedDuration, Timestamp};
use ledger::{
    Arrival, Decision, DutyFilter, EventSaid, Ledger, NewDuty, NewExtract, NewSubmission, Outcome, Recorded, SetEvent,
    WorkerId,
};
use proptest::prelude::*;
use uuid::Uuid;

/// So many histories share a ledger, and so many ledgers there are.
const TOGETHER: usize = 100;
const CASES: u32 = 100;
/// So many things happen to each.
const ROUNDS: usize = 6;
/// More than everything that one purge looks at.
const ALL: u32 = 10_000;

const BINDING: [DutyKind; 4] = [
    DutyKind::DepartmentMail,
    DutyKind::Receipt,
    DutyKind::Files,
    DutyKind::Extract,
];

/// One thing that may happen to a submission.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A worker has it in hand: `how` it ends.
    Work {
        kind: DutyKind,
        how: u8,
    },
    /// A person gives it up.
    Discard(DutyKind),
    /// A list that covers it is confirmed.
    Extract,
    /// An operator sets the dates, so many hours from now.
    Dates {
        deadline: i8,
        held: i8,
    },
    Nothing,
}

/// What a submission begins with, and what happens to it.
#[derive(Debug, Clone)]
struct History {
    registration: bool,
    late: bool,
    owes: Vec<DutyKind>,
    deadline: Option<i8>,
    held: Option<i8>,
    steps: Vec<Step>,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = || prop::sample::select(DutyKind::ALL.to_vec());
    prop_oneof![
        6 => (kind(), 0..9u8).prop_map(|(kind, how)| Step::Work { kind, how }),
        2 => kind().prop_map(Step::Discard),
        2 => Just(Step::Extract),
        1 => (-20..20i8, -20..20i8).prop_map(|(deadline, held)| Step::Dates { deadline, held }),
        1 => Just(Step::Nothing),
    ]
}

fn history() -> impl Strategy<Value = History> {
    let duties = prop::sample::subsequence(
        vec![
            DutyKind::DepartmentMail,
            DutyKind::Receipt,
            DutyKind::Files,
            DutyKind::Journal,
            DutyKind::Notice,
        ],
        1..=5,
    );
    let date = || prop::option::weighted(0.8, -10..30i8);
    (
        any::<bool>(),
        prop::bool::weighted(0.1),
        duties,
        date(),
        date(),
        prop::collection::vec(step(), ROUNDS),
    )
        .prop_map(|(registration, late, mut owes, deadline, held, steps)| {
            if registration {
                owes.push(DutyKind::Extract);
            }
            History {
                registration,
                late,
                owes,
                deadline,
                held,
                steps,
            }
        })
}

/// A submission as the model sees it.
struct Model {
    id: SubmissionId,
    duties: BTreeMap<DutyKind, (DutyId, DutyState)>,
    waits_for_event: bool,
    deadline: Option<Timestamp>,
    held: Option<Timestamp>,
    deleted: bool,
}

impl Model {
    fn event(&self) -> String {
        format!("eksempel/fest/{}", self.id)
    }

    fn set(&mut self, kind: DutyKind, state: DutyState) {
        if let Some((_, now)) = self.duties.get_mut(&kind)
            && !self.deleted
            && !matches!(now, DutyState::Done | DutyState::Cancelled)
        {
            *now = state;
        }
    }

    fn is_owed(&self, kind: DutyKind) -> bool {
        let over = |state: &DutyState| matches!(state, DutyState::Done | DutyState::Cancelled);
        self.duties.get(&kind).is_some_and(|(_, state)| !over(state))
    }

    /// Time has come to this, and a purge has run.
    fn purged(&mut self, now: Timestamp) {
        let passed = |time: Option<Timestamp>| time.is_some_and(|time| time <= now);
        if passed(self.held) {
            self.set(DutyKind::Extract, DutyState::Cancelled);
        }
        let in_time = !self.waits_for_event || passed(self.deadline) || passed(self.held);
        self.deleted |= in_time && !BINDING.iter().any(|kind| self.is_owed(*kind));
    }
}

struct World {
    ledger: Ledger,
    worker: WorkerId,
    now: Timestamp,
}

impl World {
    async fn begin(&self, number: usize, history: &History) -> Model {
        let id = SubmissionId::new();
        let ahead = |hours: Option<i8>| hours.map(|hours| self.now + SignedDuration::from_hours(hours.into()));
        let (deadline, held) = (ahead(history.deadline), ahead(history.held));
        let state = |kind: DutyKind| match kind {
            DutyKind::Files | DutyKind::Extract => DutyState::Held,
            _ => DutyState::Ready,
        };
        let owed = |kind: DutyKind| (kind, (DutyId::new(), state(kind)));
        let model = Model {
            id,
            duties: history.owes.iter().copied().map(owed).collect(),
            waits_for_event: history.registration && !history.late,
            deadline: deadline.filter(|_| history.registration),
            held: held.filter(|_| history.registration),
            deleted: false,
        };
        let recorded = self
            .ledger
            .record(new(&model, number, history, self.now), false, self.now)
            .await;
        assert_eq!(recorded, Ok(Recorded::Accepted));
        model
    }

    async fn take(&self, model: &mut Model, step: Step) {
        match step {
            Step::Work { kind, how } => self.work(model, kind, how).await,
            Step::Discard(kind) => {
                let Some((id, _)) = model.duties.get(&kind) else { return };
                let filter = DutyFilter {
                    id: Some(id.to_string()),
                    ..DutyFilter::default()
                };
                let decided = self
                    .ledger
                    .decide(vec![filter], Decision::Discard, None, None, self.now);
                decided.await.expect("decided");
                model.set(kind, DutyState::Cancelled);
            }
            Step::Extract => self.extract(model).await,
            Step::Dates { deadline, held } => {
                let ahead = |hours: i8| Some(self.now + SignedDuration::from_hours(hours.into()));
                let set = SetEvent {
                    id: model.event(),
                    site: "eksempel".to_owned(),
                    form: "fest".to_owned(),
                    deadline: ahead(deadline),
                    held: ahead(held),
                    cancelled: false,
                };
                (model.deadline, model.held) = (set.deadline, set.held);
                self.ledger.set_event(set, self.now).await.expect("set");
            }
            Step::Nothing => {}
        }
    }

    async fn work(&self, model: &mut Model, kind: DutyKind, how: u8) {
        let Some((id, _)) = model.duties.get(&kind) else { return };
        let until = self.now + SignedDuration::from_secs(20);
        let claimed = self.ledger.claim(*id, self.worker, self.now, until).await;
        if claimed.expect("asked").is_none() {
            return; // held, failed, or over
        }
        let (outcome, state) = match how {
            0 => (
                Outcome::Retry {
                    at: self.now,
                    reason: Some(Reason::Smtp(451)),
                },
                DutyState::Ready,
            ),
            1 => (Outcome::Hold(Reason::Smtp(550)), DutyState::Held),
            2 => (Outcome::Fail(None), DutyState::Failed),
            3 => (Outcome::Cancel(Reason::Undeliverable), DutyState::Cancelled),
            _ => (Outcome::Done, DutyState::Done),
        };
        let settled = self.ledger.settle(*id, self.worker, outcome, None, self.now).await;
        settled.expect("settled");
        model.set(kind, state);
    }

    async fn extract(&self, model: &mut Model) {
        if !model.is_owed(DutyKind::Extract) || model.deleted {
            return;
        }
        let id = Uuid::now_v7();
        let list = NewExtract {
            id,
            event: model.event(),
            department: "kultur".parse().expect("a department"),
            test: false,
            confirm: "code",
            code: None,
            mail: owed(DutyId::new(), DutyKind::Notice, DutyState::Done),
            covers: vec![model.id],
            kept: Vec::new(),
            alone: false,
        };
        assert_eq!(self.ledger.record_extract(list, self.now).await, Ok(true));
        let confirmed = self.ledger.confirm_extract(id.to_string(), "code", self.now).await;
        assert_eq!(confirmed, Ok(Some(1)));
        model.set(DutyKind::Extract, DutyState::Done);
    }

    /// What the scheduler does: the purge, and the sweep.
    async fn purge(&self) {
        let past = self.ledger.past_their_time(None, self.now, ALL).await.expect("listed");
        self.ledger.begin_deletion(past, self.now).await.expect("begun");
        let discharged = self.ledger.discharged(ALL).await.expect("listed");
        self.ledger.begin_deletion(discharged, self.now).await.expect("begun");
        let deleting = self.ledger.deleting(ALL).await.expect("listed");
        self.ledger.finish_deletion(deleting, self.now).await.expect("finished");
    }

    async fn check(&self, models: &[Model], histories: &[History]) {
        let listed = self
            .ledger
            .submissions(ledger::SubmissionFilter::default(), ALL, self.now)
            .await;
        let listed: BTreeMap<_, _> = listed
            .expect("listed")
            .into_iter()
            .map(|one| (one.id.clone(), one))
            .collect();
        for (model, history) in models.iter().zip(histories) {
            let state = &listed[&model.id.to_string()].state;
            assert_eq!(state == "deleted", model.deleted, "{state}: {history:?}");
        }
    }
}

fn owed(id: DutyId, kind: DutyKind, state: DutyState) -> NewDuty {
    NewDuty {
        id,
        kind,
        role: kind.as_str().to_owned(),
        department: None,
        state,
        reason: None,
        expires_at: None,
        payload: None,
    }
}

fn new(model: &Model, number: usize, history: &History, now: Timestamp) -> NewSubmission {
    let identity = model.id.0.as_bytes().repeat(2);
    let number = u8::try_from(number).expect("few");
    let dates = Dates {
        deadline: model.deadline,
        held: model.held,
    };
    NewSubmission {
        id: model.id,
        reference: Reference::from_random([1, 0, 0, 0, number]),
        arrival: Arrival {
            site: "eksempel".parse().expect("a site"),
            form: "fest".parse().expect("a form"),
            test: false,
            ids: [None, None, None],
            sequence: None,
            was_quarantined: None,
        },
        kind: if history.registration {
            Kind::Registration
        } else {
            Kind::Message
        },
        department: "kultur".parse().expect("a department"),
        version: 1,
        latest: true,
        late: history.late,
        received_at: now,
        alarm_at: now,
        identity: Some(identity.clone()),
        identities: vec![identity],
        answers: vec![number; 32],
        fields: Vec::new(),
        epoch: 1,
        order: Order::default(),
        known: 0,
        lock: i64::from(number),
        event: history.registration.then(|| EventSaid {
            id: model.event(),
            message: Dates::default(),
            form: dates,
        }),
        duties: model
            .duties
            .iter()
            .map(|(kind, (id, state))| owed(*id, *kind, *state))
            .collect(),
        brings_files: false,
        notes: Vec::new(),
        mac: Vec::new(),
        receipt: None,
    }
}

async fn live(histories: &[History], hours: &[i64]) {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", dir.path().join("kvit.db").display());
    let mut world = World {
        ledger: Ledger::new(&url.parse().expect("a url")),
        worker: WorkerId::new(),
        now: Timestamp::from_second(1_800_000_000).expect("a time"),
    };
    // At once, so that the store commits them together.
    let begun = histories
        .iter()
        .enumerate()
        .map(|(number, history)| world.begin(number, history));
    let mut models = futures::future::join_all(begun).await;
    for (round, ahead) in hours.iter().enumerate() {
        world.now += SignedDuration::from_hours(*ahead);
        let steps = models
            .iter_mut()
            .zip(histories)
            .map(|(model, history)| world.take(model, history.steps[round]));
        futures::future::join_all(steps).await;
        world.purge().await;
        for model in &mut models {
            model.purged(world.now);
        }
        if round % 2 == 1 {
            world.check(&models, histories).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    /// D1, D2, E1, E3: deleted exactly when the model says so, at three moments of 10,000 histories.
    #[test]
    fn disposal_does_what_its_model_says(
        histories in prop::collection::vec(history(), TOGETHER),
        hours in prop::collection::vec(0..9i64, ROUNDS),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(live(&histories, &hours));
    }
}
