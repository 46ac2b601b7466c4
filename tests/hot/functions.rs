//! The functions that are counted, each with what it needs, made once.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use domain::form::UnknownFields;
use domain::lineage::Order;
use domain::submission::Kind;
use domain::{DutyId, DutyKind, DutyState, EmailAddress, Form, Language, Reference, Submission, SubmissionId, Words};
use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use kvit_intake::check::{Checked, check};
use kvit_intake::shapes::{Headers, Incoming, Limits, SiteRules, read};
use kvit_tests::{controller, report};
use ledger::{Arrival, Ledger, NewDuty, NewSubmission, Outcome, Payload, WorkerId};
use letter::{DepartmentInput, Letters, ReceiptInput};
use openpgp::{Certificate, Sealing, SigningKey};
use serde_json::json;

/// What can be counted: reading a message's shape, checking it against its form, the receipt, the department's mail with
/// its sealing, sealing alone, and a duty's claim and settling on SQLite.
pub(crate) const NAMES: [&str; 7] = ["shape", "check", "receipt", "department", "seal", "claim", "settle"];

/// How many duties the ledger has, whether they are claimed or not.
const DUTIES: usize = 32;
/// The size of a mail that is sealed.
const MAIL_BYTES: usize = 8 * 1024;

/// Runs a function so many times.
pub(crate) fn run(function: &str, times: u64) -> anyhow::Result<()> {
    match function {
        "shape" | "check" | "receipt" | "department" | "seal" => Desk::new()?.run(function, times),
        "claim" | "settle" => on_a_ledger(function, usize::try_from(times)?),
        _ => bail!("nothing is named {function}: there are {}", NAMES.join(", ")),
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_795_304_923).expect("a time")
}

/// One report of about 2 KB, on its way from the queue to its mails.
struct Desk {
    body: Vec<u8>,
    form: Arc<Form>,
    incoming: Incoming,
    submission: Submission,
    letters: Letters,
    certificate: Certificate,
    signer: SigningKey,
    department: Words,
    mail: EmailAddress,
    citizen: EmailAddress,
}

impl Desk {
    fn new() -> anyhow::Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/forms/anmeldelse_teknik_miljoe.toml");
        let form: Arc<Form> = Arc::new(toml::from_str(&std::fs::read_to_string(path)?)?);
        let words = "Der er et stort hul i vejen ud for nr. 12. ".repeat(32);
        let body = report("4f4e4f3e-0000-4000-8000-000000000001", &json!({ "beskrivelse": words }));
        let body = body.to_string().into_bytes();
        let incoming = shape(&body, &form)?;
        let Checked { answers, remarks, .. } = checked(&incoming, &form)?;
        let submission = Submission {
            id: SubmissionId::new(),
            reference: Reference::from_random([1, 2, 3, 4, 5]),
            site: "eksempel".parse()?,
            form: form.id.clone(),
            version: 1,
            received_at: now(),
            language: Language::Da,
            answers,
            remarks,
            changed: Vec::new(),
            withdrawn: false,
            late: false,
            test: false,
        };
        let made = |who: &str| openpgp::generate(who, now(), None).context("making a key");
        let (certificate, _) = made("Teknik <teknik@eksempel.example>")?;
        let (_, signer) = made("Kvit <kvit@eksempel.example>")?;
        Ok(Self {
            body,
            form,
            incoming,
            submission,
            letters: Letters::load(controller(), None)?,
            certificate: Certificate::read(&certificate, None)?,
            signer: SigningKey::read(&signer)?,
            department: Words {
                da: Some("Teknik og Miljø".to_owned()),
                en: None,
            },
            mail: EmailAddress::parse("teknik@eksempel.example").context("an address")?,
            citizen: EmailAddress::parse("aase@borger.example").context("an address")?,
        })
    }

    fn run(&self, function: &str, times: u64) -> anyhow::Result<()> {
        let sealing = Sealing {
            recipients: std::slice::from_ref(&self.certificate),
            signer: Some(&self.signer),
            rfc9580: false,
            now: now(),
        };
        let plain = vec![b'x'; MAIL_BYTES];
        openpgp::encrypt(&plain, &sealing)?; // the certificate is warm, as a worker's is
        for _ in 0..times {
            match function {
                "shape" => drop(black_box(shape(&self.body, &self.form)?)),
                "check" => drop(black_box(checked(&self.incoming, &self.form)?)),
                "receipt" => drop(black_box(self.letters.receipt(&self.receipt())?)),
                "department" => {
                    let input = self.department();
                    drop(black_box(self.letters.department(&input, &sealing, 20_000_000)?));
                }
                _ => drop(black_box(openpgp::encrypt(&plain, &sealing)?)),
            }
        }
        Ok(())
    }

    fn receipt(&self) -> ReceiptInput<'_> {
        ReceiptInput {
            submission: &self.submission,
            form: &self.form,
            department: &self.department,
            to: &self.citizen,
            message_id: "1.receipt@kvit.example",
            date: now(),
            sealing: None,
        }
    }

    fn department(&self) -> DepartmentInput<'_> {
        DepartmentInput {
            submission: &self.submission,
            form: &self.form,
            department: &self.department,
            to: &self.mail,
            reply_to: &self.mail,
            message_id: &|role| format!("1.{role}@kvit.example"),
            references: &[],
        }
    }
}

fn shape(body: &[u8], form: &Arc<Form>) -> anyhow::Result<Incoming> {
    let limits = Limits { max_bytes: 16 << 20 };
    let find = |id: &domain::FormId| (*id == form.id).then(|| Arc::clone(form));
    let read = read(body, &Headers::default(), &limits, &SiteRules::default(), &find);
    read.ok().context("the message is refused")
}

fn checked(incoming: &Incoming, form: &Form) -> anyhow::Result<Checked> {
    check(incoming, form, UnknownFields::Deliver)
        .ok()
        .context("the message is refused")
}

/// Claims so many of a ledger's duties, together as the mailer does when it has much to do; or settles them, when all are
/// claimed.
fn on_a_ledger(function: &str, times: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite:{}", folder.path().join("kvit.db").display()).parse()?;
        let (ledger, worker) = (Ledger::new(&url), WorkerId::new());
        let mut duties = Vec::new();
        for _ in 0..DUTIES {
            let new = submission()?;
            duties.push(new.duties[0].id);
            ledger.record(new, false, now()).await?;
        }
        let until = now() + SignedDuration::from_secs(60);
        let claims = if function == "settle" { DUTIES } else { times };
        let claimed = duties[..claims]
            .iter()
            .map(|duty| ledger.claim(*duty, worker, now(), until));
        let claimed: Option<Vec<_>> = try_join_all(claimed).await?.into_iter().collect();
        claimed.context("a claim for each")?;
        if function == "settle" {
            let done = duties[..times]
                .iter()
                .map(|duty| ledger.settle(*duty, worker, Outcome::Done, None, now()));
            try_join_all(done).await?;
        }
        Ok(())
    })
}

/// A submission whose department is mailed.
fn submission() -> anyhow::Result<NewSubmission> {
    let (id, duty) = (SubmissionId::new(), DutyId::new());
    let identity = id.0.as_bytes().to_vec();
    Ok(NewSubmission {
        id,
        reference: Reference::from_random(*identity.last_chunk().context("an id has 16 bytes")?),
        arrival: Arrival {
            site: "eksempel".parse()?,
            form: "anmeldelse_teknik_miljoe".parse()?,
            test: false,
            ids: [None, None, None],
            sequence: None,
            was_quarantined: None,
        },
        kind: Kind::Message,
        department: "teknik-miljoe".parse()?,
        version: 1,
        latest: true,
        late: false,
        received_at: now(),
        alarm_at: now() + SignedDuration::from_hours(24),
        identity: Some(identity.clone()),
        identities: vec![identity.clone()],
        answers: identity.clone(),
        fields: identity.clone(),
        epoch: vault::epoch_of(now()),
        order: Order::default(),
        known: 0,
        lock: i64::from_be_bytes(*identity.last_chunk().context("an id has 16 bytes")?),
        event: None,
        duties: vec![NewDuty {
            id: duty,
            kind: DutyKind::DepartmentMail,
            role: "department".to_owned(),
            department: Some("teknik-miljoe".parse()?),
            state: DutyState::Ready,
            reason: None,
            expires_at: None,
            payload: Some(Payload {
                owner: id.0,
                purpose: "mail".to_owned(),
                sealed: vec![7; MAIL_BYTES],
            }),
        }],
        brings_files: false,
        notes: Vec::new(),
        mac: identity,
        receipt: None,
    })
}
