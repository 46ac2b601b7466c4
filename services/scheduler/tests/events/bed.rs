//! A scheduler on a SQLite store with a clock that the test moves, and registrations as intake records them.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::event::Dates;
use domain::lineage::Order;
use domain::submission::Kept;
use domain::{Answers, DutyId, DutyKind, DutyState, Kind, Language, Reference, State, Submission, SubmissionId, Value};
use jiff::{SignedDuration, Timestamp};
use kvit_scheduler::Scheduler;
use kvit_scheduler::cron::Job;
use ledger::{Arrival, EventSaid, Ledger, NewDuty, NewSubmission, Outcome, Payload, Recorded, WorkerId};
use letter::Parcel;
use mail_parser::{MessageParser, MimeHeaders as _};
use openpgp::UnsealKey;
use runtime::config::Layers;
use runtime::{Clock, Context, Health, Loaded};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use vault::{Purpose, Vault};
use worker::Keys;

/// The event of the form.
pub(crate) const EVENT: &str = "eksempel/fest";

pub(crate) struct Bed {
    pub(crate) ledger: Ledger,
    pub(crate) vault: Vault,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) loaded: Arc<Loaded>,
    clock: Clock,
    key: UnsealKey,
    _dir: TempDir,
}

/// The last line of an encrypted message.
const END: &str = "-----END PGP MESSAGE-----";

/// A registration to be made.
pub(crate) struct Registration {
    pub(crate) name: &'static str,
    pub(crate) reference: u8,
    pub(crate) version: u32,
    pub(crate) deadline: Option<&'static str>,
    pub(crate) held: Option<&'static str>,
}

pub(crate) fn registration(name: &'static str, reference: u8) -> Registration {
    Registration {
        name,
        reference,
        version: 1,
        deadline: Some("2026-12-01T22:59:00Z"),
        held: Some("2026-12-08T20:00:00Z"),
    }
}

/// A mail as its reader sees it.
pub(crate) struct Read {
    pub(crate) role: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl Read {
    pub(crate) fn file(&self, name: &str) -> String {
        let found = self.files.iter().find(|(file, _)| file == name);
        found.map_or_else(String::new, |(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The code in its text: two groups of four.
    pub(crate) fn code(&self) -> Option<String> {
        let words = self.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let is_code = |word: &&str| word.len() == 9 && word.as_bytes()[4] == b'-' && vault::Code::read(word).is_ok();
        words.filter(is_code).map(str::to_owned).next()
    }
}

impl Bed {
    pub(crate) fn start(now: &str, confirm: &str) -> anyhow::Result<Self> {
        Self::start_with_key_for(now, confirm, None)
    }

    /// With a department's certificate that lives so long.
    pub(crate) fn start_with_key_for(now: &str, confirm: &str, life: Option<SignedDuration>) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let clock = Clock::fixed(now.parse()?);
        let key = configure(dir.path(), &clock, confirm, life)?;
        let loaded = Loaded::load_with(&dir.path().join("kvit.toml"), &Layers::default())
            .map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
        let loaded = Arc::new(loaded);
        let context = Context {
            shutdown: CancellationToken::new(),
            health: Health::new(),
            clock: clock.clone(),
        };
        let keys = Keys {
            mail: true,
            registration: true,
            ..Keys::default()
        };
        Ok(Self {
            ledger: worker::ledger(&loaded.config)?,
            vault: worker::vault(&loaded.config, keys)?,
            scheduler: Arc::new(Scheduler::open(&loaded, &context)?),
            loaded,
            clock,
            key,
            _dir: dir,
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves the clock to a later time.
    pub(crate) fn until(&self, time: &str) -> anyhow::Result<()> {
        let ahead = time.parse::<Timestamp>()?.duration_since(self.now());
        anyhow::ensure!(ahead >= SignedDuration::ZERO, "time does not go back");
        self.clock.advance(ahead);
        Ok(())
    }

    pub(crate) async fn run(&self, job: Job) -> anyhow::Result<String> {
        self.scheduler.run_job(job, &CancellationToken::new()).await
    }

    /// Records a registration as intake does.
    pub(crate) async fn register(&self, given: Registration) -> anyhow::Result<SubmissionId> {
        let (id, now) = (SubmissionId::new(), self.now());
        let keys = self.vault.create(id.0, &[Purpose::Registration], now).await?;
        let reference = Reference::from_random([0, 0, 0, 0, given.reference]);
        let kept = Kept {
            submission: submission(id, reference.clone(), &given, now),
            references: Vec::new(),
        };
        let duty = DutyId::new();
        let extract = NewDuty {
            id: duty,
            kind: DutyKind::Extract,
            role: "extract".to_owned(),
            department: Some("kultur".parse()?),
            state: DutyState::Held,
            reason: None,
            expires_at: None,
            payload: Some(Payload {
                owner: id.0,
                purpose: Purpose::Registration.as_str().to_owned(),
                sealed: keys[0].seal(duty.0.as_bytes(), &kept.encode())?,
            }),
        };
        let new = new_submission(id, reference, &given, extract, now)?;
        let recorded = self.ledger.record(new, false, now).await?;
        anyhow::ensure!(recorded == Recorded::Accepted, "it was overtaken");
        Ok(id)
    }

    /// The mails that are due, opened by their reader and accepted by a relay.
    pub(crate) async fn mails(&self) -> anyhow::Result<Vec<Read>> {
        let (now, worker) = (self.now(), WorkerId::new());
        let mut mails = Vec::new();
        for id in self.ledger.due(&[DutyKind::Notice], now, 100).await? {
            let claim = self
                .ledger
                .claim(id, worker, now, now + SignedDuration::from_secs(20))
                .await?;
            let payload = claim.and_then(|claim| claim.payload).context("a payload")?;
            let key = self.vault.key(payload.owner, Purpose::Mail).await?.context("a key")?;
            let parcel = Parcel::decode(&key.open(id.0.as_bytes(), &payload.sealed)?)?;
            mails.push(self.read(&parcel)?);
            self.ledger.settle(id, worker, Outcome::Done, None, now).await?;
        }
        Ok(mails)
    }

    fn read(&self, parcel: &Parcel) -> anyhow::Result<Read> {
        let outside = parcel.mail.as_bytes().to_vec();
        let inside = if parcel.mail.is_sealed() {
            let text = String::from_utf8(outside)?;
            let begin = text.find("-----BEGIN PGP MESSAGE-----").context("a message")?;
            let end = text.find(END).context("the message's end")? + END.len();
            self.key.open(&text.as_bytes()[begin..end], 50_000_000)?
        } else {
            outside
        };
        let mail = MessageParser::default().parse(&inside).context("a mail")?;
        let files = mail.attachments().map(|part| {
            let name = part.attachment_name().unwrap_or_default().to_owned();
            (name, part.contents().to_vec())
        });
        Ok(Read {
            role: parcel.role.clone(),
            subject: mail.subject().unwrap_or_default().to_owned(),
            text: mail.body_text(0).unwrap_or_default().into_owned(),
            files: files.collect(),
        })
    }

    pub(crate) async fn state(&self, id: SubmissionId) -> anyhow::Result<State> {
        let shown = self.ledger.show(id, self.now()).await?.context("a submission")?;
        Ok(shown.state.parse()?)
    }

    /// Gives a code back, as `kvit registration confirm` does.
    pub(crate) async fn confirm(&self, code: &str) -> anyhow::Result<bool> {
        let code = vault::Code::read(code)?;
        for extract in self.ledger.extracts(Some(EVENT.to_owned())).await? {
            if extract.code == Some(code.digest(&extract.id)) {
                let news = self.ledger.confirm_extract(extract.id, "code", self.now()).await?;
                return Ok(news.is_some());
            }
        }
        Ok(false)
    }

    /// Whether a key opens anything of this submission.
    pub(crate) async fn has_key(&self, id: SubmissionId) -> anyhow::Result<bool> {
        Ok(self.vault.key(id.0, Purpose::Registration).await?.is_some())
    }
}

fn configure(dir: &Path, clock: &Clock, confirm: &str, life: Option<SignedDuration>) -> anyhow::Result<UnsealKey> {
    for folder in ["keys", "secrets", "forms"] {
        std::fs::create_dir_all(dir.join(folder))?;
    }
    let (certificate, secret) = openpgp::generate("kultur <kultur@kommune.example>", clock.now(), life)?;
    std::fs::write(dir.join("keys/kultur.asc"), &certificate)?;
    let key = UnsealKey::read(&secret)?;
    for (number, purpose) in (1..).zip(["intake", "mail", "journal", "registration", "index", "evidence"]) {
        std::fs::write(
            dir.join(format!("secrets/{purpose}.key")),
            STANDARD.encode([number; 32]),
        )?;
    }
    let config = include_str!("kvit.toml").replace("FINGERPRINT", &key.fingerprint());
    std::fs::write(dir.join("kvit.toml"), config)?;
    let form = include_str!("fest.toml").replace("CONFIRM", confirm);
    std::fs::write(dir.join("forms/fest.toml"), form)?;
    Ok(key)
}

fn submission(id: SubmissionId, reference: Reference, given: &Registration, now: Timestamp) -> Submission {
    let text = |text: &str| Value::Text(text.to_owned());
    Submission {
        id,
        reference,
        site: "eksempel".parse().expect("a site"),
        form: "fest".parse().expect("a form"),
        version: given.version,
        received_at: now,
        language: Language::Da,
        answers: Answers {
            declared: vec![
                ("navn".to_owned(), text(given.name)),
                ("e_mail".to_owned(), text("aase@borger.example")),
            ],
            ..Answers::default()
        },
        remarks: Vec::new(),
        changed: Vec::new(),
        withdrawn: false,
        late: false,
        test: false,
    }
}

fn new_submission(
    id: SubmissionId,
    reference: Reference,
    given: &Registration,
    extract: NewDuty,
    now: Timestamp,
) -> anyhow::Result<NewSubmission> {
    let date = |text: Option<&str>| text.map(str::parse::<Timestamp>).transpose();
    let identity = vec![given.reference; 32];
    Ok(NewSubmission {
        id,
        reference,
        arrival: Arrival {
            site: "eksempel".parse()?,
            form: "fest".parse()?,
            test: false,
            ids: [None, None, None],
            sequence: None,
            was_quarantined: None,
        },
        kind: Kind::Registration,
        department: "kultur".parse()?,
        version: given.version,
        latest: true,
        late: false,
        received_at: now,
        alarm_at: now,
        identity: Some(identity.clone()),
        identities: vec![identity],
        answers: b"answers".to_vec(),
        fields: b"fields".to_vec(),
        epoch: 24_323,
        order: Order::default(),
        known: usize::try_from(given.version - 1)?,
        lock: i64::from(given.reference),
        event: Some(EventSaid {
            id: EVENT.to_owned(),
            message: Dates::default(),
            form: Dates {
                deadline: date(given.deadline)?,
                held: date(given.held)?,
            },
        }),
        duties: vec![extract],
        brings_files: false,
        notes: Vec::new(),
        mac: b"mac".to_vec(),
        receipt: None,
    })
}
