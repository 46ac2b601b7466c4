//! A ledger on each engine, and what to put in it.

use std::sync::Arc;

use anyhow::Context as _;
use domain::lineage::Order;
use domain::submission::Kind;
use domain::{DutyId, DutyKind, DutyState, Reference, SiteId, SubmissionId};
use jiff::Timestamp;
use kvit_tests::postgres::{Server, shared};
use ledger::{Arrival, Figures, Ledger, NewDuty, NewSubmission, Payload, Recorded, WorkerId};
use store::Url;
use tempfile::TempDir;

/// A ledger, and what must live as long as it.
pub(crate) struct Bed {
    pub(crate) ledger: Ledger,
    pub(crate) url: Url,
    /// Where a second store lives: the keys'.
    pub(crate) keys: Url,
    _dir: TempDir,
    _server: Option<Arc<Server>>,
}

impl Bed {
    fn on(url: Url, keys: Url, dir: TempDir, server: Option<Arc<Server>>) -> Self {
        Self {
            ledger: Ledger::new(&url),
            url,
            keys,
            _dir: dir,
            _server: server,
        }
    }

    /// Another process's handle on the same ledger.
    pub(crate) fn replica(&self) -> Ledger {
        Ledger::new(&self.url)
    }

    /// Records a submission; it must be accepted.
    pub(crate) async fn accept(&self, new: NewSubmission) -> anyhow::Result<SubmissionId> {
        let id = new.id;
        let recorded = self.ledger.record(new, false, at(0)).await.context("recording")?;
        anyhow::ensure!(recorded == Recorded::Accepted, "it was overtaken");
        Ok(id)
    }

    /// The figures of production, which must add up.
    pub(crate) async fn figures(&self) -> anyhow::Result<Figures> {
        let figures = self.ledger.figures(false, at(60)).await?;
        anyhow::ensure!(
            figures.arrived_difference() == 0,
            "arrived does not add up: {figures:?}"
        );
        anyhow::ensure!(
            figures.accepted_difference() == 0,
            "accepted does not add up: {figures:?}"
        );
        Ok(figures)
    }
}

/// An empty ledger on a SQLite file.
pub(crate) fn sqlite() -> anyhow::Result<Bed> {
    let dir = tempfile::tempdir()?;
    let url = format!("sqlite:{}", dir.path().join("kvit.db").display()).parse()?;
    let keys = format!("sqlite:{}", dir.path().join("keys.db").display()).parse()?;
    Ok(Bed::on(url, keys, dir, None))
}

/// An empty ledger in a PostgreSQL database.
pub(crate) fn postgres() -> anyhow::Result<Bed> {
    let (server, url) = tokio::task::block_in_place(|| {
        let server = shared()?;
        let url = server.database()?;
        anyhow::Ok((server, url))
    })?;
    let url: Url = url.parse()?;
    Ok(Bed::on(url.clone(), url, tempfile::tempdir()?, Some(server)))
}

/// Both engines.
pub(crate) fn both() -> anyhow::Result<[Bed; 2]> {
    Ok([sqlite()?, postgres()?])
}

/// A time, in seconds of the test.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

pub(crate) fn site() -> SiteId {
    "eksempel".parse().expect("a site")
}

/// An arrival of the form `anmeldelse` at the site.
pub(crate) fn arrival() -> Arrival {
    Arrival {
        site: site(),
        form: "anmeldelse".parse().expect("a form"),
        test: false,
        ids: [Some("uuid-1".to_owned()), Some("17".to_owned()), None],
        sequence: None,
        was_quarantined: None,
    }
}

/// A duty to be done now, with a payload under its owner's mail key.
pub(crate) fn duty(kind: DutyKind, owner: SubmissionId) -> NewDuty {
    NewDuty {
        id: DutyId::new(),
        kind,
        role: kind.as_str().to_owned(),
        department: Some("teknik-miljoe".parse().expect("a department")),
        state: DutyState::Ready,
        reason: None,
        expires_at: None,
        payload: Some(Payload {
            owner: owner.0,
            purpose: "mail".to_owned(),
            sealed: b"sealed".to_vec(),
        }),
    }
}

/// A message nobody has seen before, with a mail and a receipt.
pub(crate) fn message() -> NewSubmission {
    let id = SubmissionId::new();
    let identity = id.0.as_bytes().to_vec();
    let tail = identity.last_chunk().expect("an id has 16 bytes");
    NewSubmission {
        id,
        reference: Reference::from_random(*tail),
        arrival: arrival(),
        kind: Kind::Message,
        department: "teknik-miljoe".parse().expect("a department"),
        version: 1,
        latest: true,
        late: false,
        received_at: at(0),
        alarm_at: at(86_400),
        identity: Some(identity.clone()),
        identities: vec![identity],
        answers: b"answers".to_vec(),
        fields: b"fields".to_vec(),
        epoch: 24_323,
        order: Order::default(),
        known: 0,
        lock: i64::from_be_bytes(*id.0.as_bytes().last_chunk().expect("eight bytes")),
        event: None,
        duties: vec![duty(DutyKind::DepartmentMail, id), duty(DutyKind::Receipt, id)],
        brings_files: false,
        notes: Vec::new(),
        mac: b"mac".to_vec(),
        receipt: None,
    }
}

/// A correction of an earlier message.
pub(crate) fn correction_of(first: &NewSubmission, version: u32) -> NewSubmission {
    NewSubmission {
        reference: first.reference.clone(),
        identity: first.identity.clone(),
        identities: first.identities.clone(),
        lock: first.lock,
        answers: format!("answers {version}").into_bytes(),
        version,
        known: usize::try_from(version - 1).expect("a version"),
        ..message()
    }
}

/// Claims a duty and settles it as done.
pub(crate) async fn discharge(ledger: &Ledger, id: DutyId) -> anyhow::Result<ledger::Settled> {
    let worker = WorkerId::new();
    ledger.claim(id, worker, at(1), at(21)).await?.context("a claim")?;
    Ok(ledger.settle(id, worker, ledger::Outcome::Done, None, at(2)).await?)
}
