//! The messages of the demonstration, one after the other, and what becomes of each, as it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use broker::Properties;
use jiff::Timestamp;
use ledger::{Figures, SubmissionView};
use openpgp::Sealing;
use runtime::Exit;
use tokio::time::sleep;

use super::page::{Page, size};
use super::stage::{LOOK, Stage};
use super::traces::Answers;
use crate::app::unavailable;

/// Where the messages come from.
pub(crate) const SITE: &str = "eksempel";
/// How long one message may take, however slow the machine is.
const PATIENCE: Duration = Duration::from_mins(1);
/// What takes longer has its progress shown.
const LONG: Duration = Duration::from_secs(1);

/// What is to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Accepted, mailed and deleted.
    Mailed {
        /// Whether the citizen gets a receipt, too.
        receipt: bool,
    },
    /// Known already: counted.
    Duplicate,
    /// A draft: counted.
    Draft,
    /// Put aside for this reason.
    Quarantined(&'static str),
}

/// A message, as a real Drupal sent it.
struct Message {
    title: &'static str,
    about: &'static str,
    body: &'static [u8],
    /// Whether the site seals it to intake's certificate.
    sealed: bool,
    fate: Fate,
}

macro_rules! payload {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/data/drupal/", $name, ".body"))
    };
}

/// A submission without anything of its envelope, to be sent by hand as often as one likes.
pub(crate) const BY_HAND: &[u8] = payload!("012-a2-minimum-data_only");
/// The form that it answers.
pub(crate) const BY_HAND_FORM: &str = "anmeldelse_teknik_miljoe";

const MESSAGES: [Message; 8] = [
    Message {
        title: "A pothole, with a picture",
        about: "Remote Post as JSON",
        body: payload!("002-a1-fuld-remote_post_json"),
        sealed: false,
        fate: Fate::Mailed { receipt: true },
    },
    Message {
        title: "The same again: the site was not sure",
        about: "the very same message",
        body: payload!("002-a1-fuld-remote_post_json"),
        sealed: false,
        fate: Fate::Duplicate,
    },
    Message {
        title: "A caseworker corrects it on the site",
        about: "Remote Post: the same submission with other answers is a new version",
        body: payload!("098-g1-medarbejder-retter-remote_post_json"),
        sealed: false,
        fate: Fate::Mailed { receipt: false },
    },
    Message {
        title: "The least that the form takes",
        about: "toArray(TRUE), as the rabbitmq module posts it",
        body: payload!("009-a2-minimum-toArray"),
        sealed: false,
        fate: Fate::Mailed { receipt: true },
    },
    Message {
        title: "Hostile text",
        about: "a script, a formula, “Bcc:”, a lone dot, a token, text turned around",
        body: payload!("014-a3-vanskelig-tekst-remote_post_json"),
        sealed: false,
        fate: Fate::Mailed { receipt: true },
    },
    Message {
        title: "A message that is no JSON",
        about: "Remote Post, form-encoded",
        body: payload!("006-a1-fuld-urlencoded_default"),
        sealed: false,
        fate: Fate::Quarantined("malformed"),
    },
    Message {
        title: "An application for a grant, as a draft",
        about: "Remote Post as JSON",
        body: payload!("060-d1-kladde-oprettet-remote_post_json"),
        sealed: false,
        fate: Fate::Draft,
    },
    Message {
        title: "The application, finished, and sealed by the site",
        about: "Remote Post as JSON with a file, encrypted to intake's certificate",
        body: payload!("070-d3-faerdig-remote_post_json"),
        sealed: true,
        fate: Fate::Mailed { receipt: false },
    },
];

/// What was posted.
#[derive(Default)]
pub(crate) struct Posted {
    /// The answers that the broker saw.
    pub(crate) open: Answers,
    /// The answers that only sealed messages hold.
    pub(crate) sealed: Answers,
    /// The tokens that open the submissions on the site.
    pub(crate) tokens: Answers,
    /// The messages themselves, as the site had them.
    pub(crate) bodies: Vec<&'static [u8]>,
    /// How many submissions are to be deleted by now.
    pub(crate) accepted: i64,
    /// How many receipts are to have gone out.
    pub(crate) receipts: usize,
}

impl Posted {
    /// All answers.
    pub(crate) fn answers(&self) -> Answers {
        self.open.with(&self.sealed)
    }
}

/// Posts every message, and follows it to its end.
///
/// # Errors
///
/// Where the broker or the store is away.
pub(crate) async fn tell(page: &mut Page, stage: &Stage) -> anyhow::Result<Posted> {
    page.heading("Eight messages");
    let mut posted = Posted::default();
    for (number, message) in MESSAGES.iter().enumerate() {
        page.line("");
        page.line(&format!("  {}. {}", number + 1, message.title));
        page.line(&format!("     {}, {}", message.about, size(message.body.len() as u64)));
        let answers = if message.sealed {
            &mut posted.sealed
        } else {
            &mut posted.open
        };
        answers.add(message.body);
        posted.tokens.add_token(message.body);
        posted.bodies.push(message.body);
        if let Fate::Mailed { receipt } = message.fate {
            posted.accepted += 1;
            posted.receipts += usize::from(receipt);
        }
        Following::post(page, stage, message)
            .await?
            .follow(page, stage, message)
            .await?;
    }
    posted.sealed = posted.sealed.without(&posted.open);
    Ok(posted)
}

/// A message on its way.
struct Following {
    known: BTreeSet<String>,
    before: Figures,
    began: Timestamp,
    timeline: Timeline,
}

impl Following {
    async fn post(page: &mut Page, stage: &Stage, message: &Message) -> anyhow::Result<Self> {
        let began = stage.clock.now();
        let following = Self {
            known: views(stage).await?.into_iter().map(|view| view.id).collect(),
            before: figures(stage).await?,
            began,
            timeline: Timeline::default(),
        };
        let site = SITE.parse().map_err(Exit::config)?;
        let queue = broker::submissions_queue(&site);
        let (body, properties) = written(stage, message)?;
        stage
            .link
            .publish("", &queue, &body, &properties)
            .await
            .map_err(Exit::unavailable)
            .context("publishing a message")?;
        let zone = &stage.loaded.config.controller.time_zone;
        page.event(began, zone, &format!("posted to {queue}"));
        Ok(following)
    }

    /// Tells what happens until the message has met its fate.
    async fn follow(mut self, page: &mut Page, stage: &Stage, message: &Message) -> anyhow::Result<()> {
        let waiting = Instant::now();
        loop {
            if self.look(page, stage, message.fate).await? {
                return Ok(());
            }
            if waiting.elapsed() > PATIENCE {
                page.held(false, &format!("“{}” met its fate within {PATIENCE:?}", message.title));
                return Ok(());
            }
            if waiting.elapsed() > LONG {
                page.progress(&format!(
                    "waiting for what happens next ({} s)",
                    waiting.elapsed().as_secs()
                ));
            }
            sleep(LOOK).await;
        }
    }

    async fn look(&mut self, page: &mut Page, stage: &Stage, fate: Fate) -> anyhow::Result<bool> {
        let new = views(stage)
            .await?
            .into_iter()
            .find(|view| !self.known.contains(&view.id));
        if let Some(view) = new {
            self.timeline.tell(page, stage, &view);
            let Some(deleted) = view.deleted_at else {
                return Ok(false);
            };
            let receipt = view.duties.iter().any(|duty| duty.kind == "receipt");
            let took = deleted.duration_since(self.began).as_millis();
            page.held(
                fate == Fate::Mailed { receipt },
                &format!("gone {took} ms after it was posted"),
            );
            return Ok(true);
        }
        let now = figures(stage).await?;
        if now.arrived == self.before.arrived {
            return Ok(false);
        }
        let at = stage.clock.now();
        let zone = &stage.loaded.config.controller.time_zone;
        let (was, words) = if now.duplicates.ignored > self.before.duplicates.ignored {
            (Fate::Duplicate, "known already: counted, nothing sent".to_owned())
        } else if now.drafts_ignored > self.before.drafts_ignored {
            (Fate::Draft, "a draft: counted, nothing kept or sent".to_owned())
        } else if now.quarantined > self.before.quarantined {
            let reason = quarantined(stage).await?;
            let words = format!("in quarantine as {reason}: sealed, until a person decides");
            (reason_of(fate, &reason), words)
        } else {
            return Ok(false);
        };
        page.event(at, zone, &words);
        let took = at.duration_since(self.began).as_millis();
        page.held(was == fate, &format!("recorded {took} ms after it was posted"));
        Ok(true)
    }
}

/// The fate of a quarantined message, where the reason is the expected one.
fn reason_of(expected: Fate, reason: &str) -> Fate {
    match expected {
        Fate::Quarantined(wanted) if wanted == reason => expected,
        _ => Fate::Quarantined("another reason"),
    }
}

/// What has been told of one submission.
#[derive(Default)]
pub(crate) struct Timeline {
    told: BTreeSet<String>,
}

impl Timeline {
    /// Tells what is new.
    pub(crate) fn tell(&mut self, page: &mut Page, stage: &Stage, view: &SubmissionView) {
        let config = &stage.loaded.config;
        let mut news: BTreeMap<(Timestamp, usize), (String, String)> = BTreeMap::new();
        let reference = view.reference.as_deref().unwrap_or("–");
        let version = if view.version > 1 {
            format!(", version {}", view.version)
        } else {
            String::new()
        };
        news.insert(
            (view.received_at, 0),
            (
                "accepted".into(),
                format!("accepted as {reference}{version}: checked, encrypted, sealed"),
            ),
        );
        for (order, duty) in view.duties.iter().enumerate() {
            let Some(at) = duty.done_at else { continue };
            let words = match (duty.kind.as_str(), duty.state.as_str()) {
                ("department_mail", "done") => "the relay took the department's encrypted mail".to_owned(),
                ("receipt", "done") => "the relay took the citizen's receipt".to_owned(),
                (kind, state) => format!("{kind} {state} {}", duty.reason.as_deref().unwrap_or_default()),
            };
            news.insert((at, order + 1), (duty.id.clone(), words));
        }
        if let Some(at) = view.deleted_at {
            let words = "deleted: the payloads removed, their key destroyed".to_owned();
            news.insert((at, usize::MAX), ("deleted".into(), words));
        }
        for ((at, _), (what, words)) in news {
            if self.told.insert(what) {
                page.event(at, &config.controller.time_zone, &words);
            }
        }
    }
}

/// The message as the site publishes it: bare JSON, or sealed to intake's certificate.
fn written(stage: &Stage, message: &Message) -> anyhow::Result<(Vec<u8>, Properties)> {
    if !message.sealed {
        return Ok((message.body.to_owned(), Properties::default()));
    }
    let sealing = Sealing {
        recipients: std::slice::from_ref(&stage.intake),
        signer: None,
        rfc9580: false,
        now: stage.clock.now(),
    };
    let properties = Properties {
        content_type: Some("application/pgp-encrypted".to_owned()),
        ..Properties::default()
    };
    Ok((openpgp::encrypt(message.body, &sealing)?, properties))
}

/// Every submission there is.
pub(crate) async fn views(stage: &Stage) -> anyhow::Result<Vec<SubmissionView>> {
    let found = stage
        .ledger
        .submissions(ledger::SubmissionFilter::default(), 1000, stage.clock.now());
    Ok(found.await.map_err(unavailable)?)
}

/// The conservation figures.
pub(crate) async fn figures(stage: &Stage) -> anyhow::Result<Figures> {
    Ok(stage
        .ledger
        .figures(false, stage.clock.now())
        .await
        .map_err(unavailable)?)
}

async fn quarantined(stage: &Stage) -> anyhow::Result<String> {
    let found = stage.ledger.quarantined(ledger::QuarantineFilter::default(), 1000);
    let mut rows = found.await.map_err(unavailable)?;
    rows.sort_by_key(|row| row.received_at);
    Ok(rows.pop().map(|row| row.reason).unwrap_or_default())
}
