//! What programs without keys ask of the journaliser: to find entries by a person, to open them for an export, to add what
//! a caseworker saved, to correct.
//!
//! What is personal comes sealed to the journal's certificate, and what is opened goes back sealed to the asker's: the
//! ledger holds neither in the clear.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::{Reason, Submission, SubmissionId};
use jiff::SignedDuration;
use ledger::{Delivered, EntryFilter, Journalised, NewCase, NewVersion, Request};
use openpgp::{Certificate, Sealing};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bag::Bag;
use crate::describe::{self, Event};
use crate::entry::{Entry, party_digest};
use crate::story::{Failure, Journaliser, new_entry};
use crate::targets::Answer;

/// Finds entries by a party.
pub const FIND: &str = "journal_find";
/// Opens an entry.
pub const EXPORT: &str = "journal_export";
/// Adds what was saved from the department's mail.
pub const ADD: &str = "journal_add";
/// Adds a corrected version.
pub const CORRECT: &str = "journal_correct";

/// How often requests are looked for: a person waits for the answer.
const LOOK: Duration = Duration::from_millis(20);
/// Requests older than this have nobody waiting for them.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// The largest content of a request.
const MOST_BYTES: usize = 1 << 28;

/// Something sealed to the journal's certificate.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sealed {
    /// The OpenPGP message, armored.
    pub sealed: String,
}

/// Which entries: those with a party.
#[derive(Debug, Serialize, Deserialize)]
pub struct Find {
    /// A [`Party`], sealed.
    pub sealed: String,
    /// At most so many.
    pub limit: u32,
}

/// What identifies a person.
#[derive(Serialize, Deserialize)]
pub struct Party {
    /// A CPR or CVR number, an address.
    pub text: String,
}

/// An annotation (C2).
#[derive(Serialize, Deserialize)]
pub struct Annotation {
    /// The words.
    pub text: String,
}

/// Which entry, and for whom.
#[derive(Debug, Serialize, Deserialize)]
pub struct Export {
    /// The entry's id.
    pub entry: String,
    /// The asker's certificate, armored.
    pub certificate: String,
}

/// An opened bag.
#[derive(Serialize, Deserialize)]
pub struct Opened {
    /// Each file's path in the bag, and its content in base64.
    pub files: Vec<(String, String)>,
}

/// A corrected version of an entry.
#[derive(Debug, Serialize, Deserialize)]
pub struct Correct {
    /// The entry's id.
    pub entry: String,
    /// A [`Content`], sealed.
    pub sealed: String,
}

/// What a caseworker saved or corrected, held against its form.
#[derive(Serialize, Deserialize)]
pub struct Content {
    /// The submission.
    pub submission: Submission,
    /// The canonical bytes of its answers, in base64: what intake's digest was taken over.
    pub canonical: String,
    /// The number and title of the case that it goes into.
    pub case: Option<(String, Option<String>)>,
}

/// A new package's id.
#[must_use]
pub fn package_id() -> String {
    format!("P-{}", Uuid::now_v7().simple())
}

/// Serves requests until `ended`.
pub(crate) async fn serve(journaliser: Arc<Journaliser>, ended: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let since = journaliser.clock.now() - FRESH;
        let Ok(requests) = journaliser.ledger.asked(&[FIND, EXPORT, ADD, CORRECT], since).await else {
            continue;
        };
        for request in requests {
            let answer = journaliser.answer(&request).await.unwrap_or_else(|error| {
                tracing::warn!(request.id = %request.id, error = format!("{error:#}"), "a request was not served");
                json!({"error": error.to_string()})
            });
            let now = journaliser.clock.now();
            if let Err(error) = journaliser.ledger.answer(request.id, answer.to_string(), now).await {
                tracing::warn!(request.id = %request.id, %error, "a request's answer cannot be recorded");
            }
        }
    }
}

impl Journaliser {
    /// Serves one request. An error's own words say why without any value.
    async fn answer(&self, request: &Request) -> anyhow::Result<Value> {
        match request.kind.as_str() {
            FIND => self.find(serde_json::from_str(&request.args)?).await,
            EXPORT => self.export(serde_json::from_str(&request.args)?).await,
            ADD => self.add(serde_json::from_str(&request.args)?).await,
            _ => self.correct(request.id, serde_json::from_str(&request.args)?).await,
        }
    }

    fn unseal<T: DeserializeOwned>(&self, sealed: &str) -> anyhow::Result<T> {
        let key = self.targets.embedded().key()?;
        let opened = key.secret.open(sealed.as_bytes(), MOST_BYTES);
        let opened = opened.map_err(|_| anyhow::anyhow!("the request is not sealed to the journal's key"))?;
        serde_json::from_slice(&opened).map_err(|_| anyhow::anyhow!("the request's content cannot be read"))
    }

    async fn find(&self, asked: Find) -> anyhow::Result<Value> {
        let party: Party = self.unseal(&asked.sealed)?;
        let index = self.vault.index(self.clock.now()).await?;
        let filter = EntryFilter {
            party: Some(party_digest(&index, &party.text)),
            ..EntryFilter::default()
        };
        let entries = self.ledger.journal_entries(filter, asked.limit).await?;
        Ok(json!({"entries": entries}))
    }

    /// All versions of an entry in one bag, with what happened to it and what was annotated.
    async fn export(&self, asked: Export) -> anyhow::Result<Value> {
        let now = self.clock.now();
        let certificate = Certificate::read(asked.certificate.as_bytes(), None)
            .map_err(|state| anyhow::anyhow!("the asker's certificate is {}", state.as_str()))?;
        let entry = self
            .ledger
            .journal_entry(asked.entry.clone())
            .await?
            .context("no such entry")?;
        let mut bag = Bag::new();
        bag.note("Source-Organization", &self.loaded.config.controller.name);
        bag.note("External-Identifier", &entry.reference);
        bag.note("Internal-Sender-Identifier", &entry.id);
        bag.note("External-Description", &entry.theme);
        bag.note("Bag-Group-Identifier", &entry.case);
        bag.note("Bagging-Date", &now.strftime("%Y-%m-%d").to_string());
        for version in self.ledger.journal_versions(entry.id.clone()).await? {
            let journal = self.targets.embedded().clone();
            let file = version.file.clone();
            let files = tokio::task::spawn_blocking(move || journal.open(&file)).await??;
            for (path, content) in files {
                if let Some(path) = path.strip_prefix("data/") {
                    bag.add(format!("{}/{path}", version.number), content);
                } else if let Some(path) = path.strip_prefix("metadata/") {
                    bag.tag(format!("metadata/{}/{path}", version.number), content);
                }
            }
        }
        let mut annotations = Vec::new();
        for annotation in self.ledger.journal_annotations(entry.id.clone()).await? {
            let words: Annotation = self.unseal(std::str::from_utf8(&annotation.sealed)?)?;
            annotations.push(json!({"at": annotation.at, "text": words.text}));
        }
        bag.add("annotations.json", serde_json::to_vec_pretty(&annotations)?);
        let submission: SubmissionId = entry.id.parse()?;
        let shown = self.ledger.show(submission, now).await?;
        let leaves = shown.map(|shown| shown.evidence).unwrap_or_default();
        let mut events: Vec<Event> = leaves.iter().map(Event::of_evidence).collect();
        events.push(Event::new("dissemination", now));
        bag.tag("metadata/premis.xml", describe::events(&events)?);
        let opened = Opened {
            files: bag
                .into_files()
                .into_iter()
                .map(|(path, content)| (path, base64(&content)))
                .collect(),
        };
        let sealing = Sealing {
            recipients: &[certificate],
            signer: None,
            rfc9580: false,
            now,
        };
        let sealed = openpgp::encrypt(&serde_json::to_vec(&opened)?, &sealing)?;
        Ok(json!({"sealed": String::from_utf8(sealed)?}))
    }

    /// J1: later, from the mail itself.
    async fn add(&self, asked: Sealed) -> anyhow::Result<Value> {
        let now = self.clock.now();
        let mut content: Content = self.unseal(&asked.sealed)?;
        let delivered = self.ledger.delivered(content.submission.reference.to_string()).await?;
        let (whose, checked) = self.recognise(&content, &delivered).await?;
        content.submission.id = whose.id;
        content.submission.version = whose.version;
        content.submission.received_at = whose.received_at;
        let entry = self.described(content.submission, whose.id.0, now).await?;
        let version = self.put_down(Arc::clone(&entry)).await?;
        let index = self.vault.index(now).await?;
        let mut new = new_entry(&entry, version, &index);
        new.case = content.case.map(|(number, title)| NewCase { number, title });
        let zone = self.loaded.config.controller.time_zone.clone();
        let done = self.ledger.journalise(None, new, zone, now).await?;
        Ok(json!({"entry": entry.id, "checked": checked, "news": matches!(done, Journalised::Written { .. })}))
    }

    /// Which version of a reference was given, by the digest of its answers; unchecked where no digest lives any more.
    async fn recognise(&self, content: &Content, delivered: &[Delivered]) -> anyhow::Result<(Delivered, bool)> {
        let canonical = unbase64(&content.canonical)?;
        let index = self.vault.index(self.clock.now()).await?;
        let site = content.submission.site.as_str().as_bytes();
        let digests = index.digests(
            "answers",
            &[site, content.submission.form.as_str().as_bytes(), &canonical],
        );
        let same = |one: &&Delivered| {
            let answers = one.answers.as_ref();
            answers.is_some_and(|(epoch, bytes)| {
                digests
                    .iter()
                    .any(|digest| digest.epoch == *epoch && digest.bytes == *bytes)
            })
        };
        if let Some(found) = delivered.iter().find(same) {
            return Ok((found.clone(), true));
        }
        let latest = delivered.last().context("no such reference")?;
        let forgotten = delivered.iter().all(|one| one.answers.is_none());
        anyhow::ensure!(forgotten, "this is not what was delivered under the reference");
        Ok((latest.clone(), false))
    }

    async fn correct(&self, request: Uuid, asked: Correct) -> anyhow::Result<Value> {
        let now = self.clock.now();
        let content: Content = self.unseal(&asked.sealed)?;
        let row = self
            .ledger
            .journal_entry(asked.entry.clone())
            .await?
            .context("no such entry")?;
        let entry = self.described(content.submission, request, now).await?;
        let version = self.put_down(Arc::clone(&entry)).await?;
        let file = version.file.clone();
        match self.ledger.correct(row.id.clone(), version, now).await? {
            Journalised::Written { number, .. } => {
                Ok(json!({"entry": row.id, "version": number, "told": row.department}))
            }
            Journalised::Known => Ok(json!({"entry": row.id, "version": row.versions, "told": row.department})),
            Journalised::Unwanted => {
                let _ = self.targets.embedded().remove(&[file]);
                anyhow::bail!("the entry's content is gone")
            }
        }
    }

    async fn described(&self, submission: Submission, id: Uuid, now: jiff::Timestamp) -> anyhow::Result<Arc<Entry>> {
        match self.entry_of(submission, id, "mail", now).await {
            Ok(entry) => Ok(Arc::new(entry)),
            Err(Failure::Held(Reason::ThemeMissing)) => anyhow::bail!("the form names no theme: journal.theme"),
            Err(Failure::Held(_)) => anyhow::bail!("the form is not configured, or has no rule for the journal"),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Writes an entry's version into the embedded journal.
    async fn put_down(&self, entry: Arc<Entry>) -> anyhow::Result<NewVersion> {
        let target = self
            .targets
            .get(domain::form::EMBEDDED)
            .context("no embedded journal")?;
        match target.put(None, entry).await {
            Answer::Done(receipt) | Answer::Exists(receipt) => receipt.version.context("no version was written"),
            Answer::Away(reason, _) => {
                let reason = reason.map_or_else(|| "away".to_owned(), |reason| reason.to_string());
                anyhow::bail!("the journal cannot be written to now ({reason})")
            }
            Answer::Pending => anyhow::bail!("the journal has only a part of it"),
            Answer::Refused(reason) => anyhow::bail!("the journal refuses it ({reason})"),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn unbase64(text: &str) -> anyhow::Result<Vec<u8>> {
    use ::base64::Engine as _;
    let decoded = ::base64::engine::general_purpose::STANDARD.decode(text);
    decoded.map_err(|_| anyhow::anyhow!("the request's content cannot be read"))
}
