//! The journal inside Kvit: one sealed bag a version, written once and never changed.
//!
//! A file is whole under its name or not there: it is written under another name, synced, and linked. One that is there
//! already is of an attempt whose end was never recorded, and is adopted when the journal's key opens it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use domain::Reason;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ledger::NewVersion;
use openpgp::{CertificateState, Sealing};
use runtime::{Clock, Config};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{Answer, Receipt};
use crate::bag::{pack, unpack};
use crate::describe;
use crate::entry::Entry;
use crate::key::JournalKey;
use crate::story::Journaliser;

/// The largest version that is opened again; intake takes no message that could become larger.
const MOST_BYTES: usize = 1 << 30;
/// What a probe writes: a disk without room for so much has none for an entry.
const PROBE_BYTES: usize = 64 * 1024;
/// How a version's file ends, after its id.
const SUFFIX: &str = ".tar.asc";
/// A draft that is as old is in nobody's hand.
const FORGOTTEN: Duration = Duration::from_hours(1);

/// The files of a bag, by their paths in it.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// The journal inside Kvit. Clones are the same.
#[derive(Clone)]
pub(crate) struct Embedded {
    dir: PathBuf,
    configured: Option<JournalKey>,
    /// The key that lies in the folder, once it was read or made.
    made: Arc<RwLock<Option<JournalKey>>>,
    clock: Clock,
}

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("the folder cannot be used")]
    Folder(#[from] io::Error),
    #[error("the journal's key cannot be used: {}", .0.as_str())]
    Key(CertificateState),
    #[error("an entry cannot be described or sealed")]
    Unsealed,
    #[error("a file of the journal cannot be opened by its key")]
    Unreadable,
}

impl Trouble {
    /// What it means for what waits, and in words.
    fn consequence(self) -> Answer {
        match self {
            Self::Folder(error) => Answer::Away(reason_of(&error), words(&error)),
            Self::Key(state) => Answer::Away(
                Some(Reason::CertificateRefused),
                format!("its key is {}", state.as_str()),
            ),
            Self::Unsealed | Self::Unreadable => Answer::Refused(Reason::Unreadable),
        }
    }
}

fn reason_of(error: &io::Error) -> Option<Reason> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Reason::DiskFull),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Some(Reason::ReadOnly),
        _ => None,
    }
}

fn words(error: &io::Error) -> String {
    match reason_of(error) {
        Some(Reason::DiskFull) => "its disk is full".to_owned(),
        Some(_) => "its folder is read-only".to_owned(),
        None => format!("its folder cannot be used ({})", error.kind()),
    }
}

impl Embedded {
    pub(crate) fn new(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        Ok(Self {
            dir: config.journal.dir.clone(),
            configured: JournalKey::configured(config).context("opening the journal")?,
            made: Arc::default(),
            clock,
        })
    }

    /// The journal's key, made where there is none yet.
    pub(crate) fn key(&self) -> Result<JournalKey, Trouble> {
        if let Some(key) = &self.configured {
            return Ok(key.clone());
        }
        if let Some(key) = self.made.read().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(key);
        }
        let key = JournalKey::in_folder(&self.dir, self.clock.now())?;
        *self.made.write().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        Ok(key)
    }

    /// Writes an entry's version: whole under another name first, and then under its own.
    pub(super) async fn put(&self, entry: Arc<Entry>) -> Answer {
        let written = self.write(entry).await;
        written.unwrap_or_else(|trouble| {
            tracing::debug!(error = %trouble, "an entry was not written");
            trouble.consequence()
        })
    }

    async fn write(&self, entry: Arc<Entry>) -> Result<Answer, Trouble> {
        let (journal, id) = (self.clone(), entry.id);
        let drafted = in_the_background(move || journal.draft(&entry)).await?;
        let draft = match drafted {
            Drafted::There(version) => return Ok(Answer::Exists(receipt(version))),
            Drafted::New(draft) => draft,
        };
        failpoint::reached("journaliser.drafted").await;
        let journal = self.clone();
        in_the_background(move || journal.place(id, draft)).await
    }

    /// Whether the folder can be written to, and the key used; makes both where they are not there, and tells the ledger
    /// the key's public half.
    pub(super) async fn probe(&self, journaliser: &Journaliser) -> Result<(), (Option<Reason>, String)> {
        let journal = self.clone();
        let key = in_the_background(move || journal.try_out()).await;
        let key = key.map_err(|trouble| match trouble.consequence() {
            Answer::Away(reason, why) => (reason, why),
            _ => (Some(Reason::Unreadable), "its key cannot be read".to_owned()),
        })?;
        let store = |error: store::StoreError| (None, format!("the store failed: {error}"));
        let armored = key
            .certificate
            .armored()
            .map_err(|_| (None, "its key cannot be read".to_owned()))?;
        let known = journaliser.ledger.journal_certificate().await.map_err(store)?;
        if known.as_deref() != Some(armored.as_slice()) {
            let (fingerprint, now) = (key.certificate.fingerprint(), self.clock.now());
            let set = journaliser.ledger.set_journal_key(fingerprint, armored, now).await;
            set.map_err(store)?;
        }
        Ok(())
    }

    fn try_out(&self) -> Result<JournalKey, Trouble> {
        folder(&self.dir)?;
        let probe = self.dir.join(format!(".probe.{}", Uuid::now_v7()));
        let tried = write_synced(&probe, &vec![0; PROBE_BYTES]);
        let _ = std::fs::remove_file(&probe);
        tried?;
        let key = self.key()?;
        match key.certificate.state(self.clock.now()) {
            CertificateState::Usable => Ok(key),
            state => Err(Trouble::Key(state)),
        }
    }

    /// Makes a version under another name, unless it is there already.
    fn draft(&self, entry: &Entry) -> Result<Drafted, Trouble> {
        let file = path_of(entry.id, entry.submission.received_at);
        let path = self.dir.join(&file);
        let parent = path.parent().ok_or(Trouble::Unsealed)?;
        if let Some(version) = self.adopt(entry.id, &file)? {
            // Of an attempt that was ended between giving the draft its name and taking the other away.
            remove_drafts(parent, &entry.id.to_string());
            return Ok(Drafted::There(version));
        }
        let files = describe::bag(entry).map_err(|_| Trouble::Unsealed)?.into_files();
        let packed = pack(&entry.id.to_string(), &files, entry.now).map_err(|_| Trouble::Unsealed)?;
        let sealed = self.seal(&packed, entry.now)?;
        folder(parent)?;
        let draft = parent.join(format!(".{}.{}", entry.id, Uuid::now_v7()));
        if let Err(error) = write_synced(&draft, &sealed) {
            let _ = std::fs::remove_file(&draft);
            return Err(error.into());
        }
        Ok(Drafted::New(Draft {
            at: draft,
            version: version(entry.id, file, &sealed),
        }))
    }

    /// Gives a draft its name, where no other attempt was faster.
    fn place(&self, id: Uuid, draft: Draft) -> Result<Answer, Trouble> {
        let path = self.dir.join(&draft.version.file);
        let parent = path.parent().ok_or(Trouble::Unsealed)?;
        let linked = std::fs::hard_link(&draft.at, &path);
        let _ = std::fs::remove_file(&draft.at);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let version = self.adopt(id, &draft.version.file)?.ok_or(Trouble::Unreadable)?;
                return Ok(Answer::Exists(receipt(version)));
            }
            linked => linked?,
        }
        sync(parent)?;
        remove_drafts(parent, &id.to_string());
        Ok(Answer::Done(receipt(draft.version)))
    }

    fn seal(&self, packed: &[u8], now: Timestamp) -> Result<Vec<u8>, Trouble> {
        let key = self.key()?;
        let sealing = Sealing {
            recipients: std::slice::from_ref(&key.certificate),
            signer: None,
            rfc9580: false,
            now,
        };
        openpgp::encrypt(packed, &sealing).map_err(|error| match error {
            openpgp::SealError::Certificate { state, .. } => Trouble::Key(state),
            _ => Trouble::Unsealed,
        })
    }

    /// What an earlier attempt wrote, where it did.
    fn adopt(&self, id: Uuid, file: &str) -> Result<Option<NewVersion>, Trouble> {
        let sealed = match std::fs::read(self.dir.join(file)) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        self.key()?
            .secret
            .open(&sealed, MOST_BYTES)
            .map_err(|_| Trouble::Unreadable)?;
        Ok(Some(version(id, file.to_owned(), &sealed)))
    }

    /// The bag in a file of the journal, opened in memory.
    pub(crate) fn open(&self, file: &str) -> Result<Files, Trouble> {
        let sealed = std::fs::read(self.dir.join(file))?;
        let packed = self
            .key()?
            .secret
            .open(&sealed, MOST_BYTES)
            .map_err(|_| Trouble::Unreadable)?;
        unpack(&packed).map_err(|_| Trouble::Unreadable)
    }

    /// Removes files for good, with what attempts left beside them; one that is gone already is no fault.
    pub(crate) fn remove(&self, files: &[String]) -> io::Result<()> {
        for file in files {
            let path = self.dir.join(file);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let Some(parent) = path.parent().filter(|parent| parent.exists()) else {
                continue;
            };
            if let Some(id) = id_of(file) {
                remove_drafts(parent, id);
            }
            sync(parent)?;
        }
        Ok(())
    }

    /// Removes the drafts of attempts that were ended and never made again, as where a person gave the copy up meanwhile.
    /// Answers how many there were.
    pub(crate) fn remove_forgotten_drafts(&self) -> io::Result<usize> {
        let mut removed = 0;
        for year in folders(&self.dir.join("entries"))? {
            for folder in folders(&year)? {
                for entry in std::fs::read_dir(&folder)? {
                    let entry = entry?;
                    if !entry.file_name().to_string_lossy().starts_with('.') {
                        continue;
                    }
                    // One that is gone by now was in somebody's hand.
                    let written = entry.metadata().and_then(|about| about.modified());
                    let age = written.ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
                    if age > FORGOTTEN && std::fs::remove_file(entry.path()).is_ok() {
                        removed += 1;
                    }
                }
            }
        }
        Ok(removed)
    }
}

/// A version under another name.
struct Draft {
    at: PathBuf,
    version: NewVersion,
}

enum Drafted {
    /// An earlier attempt's.
    There(NewVersion),
    New(Draft),
}

async fn in_the_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    spawn_blocking(work).await.unwrap_or(Err(Trouble::Unsealed))
}

fn receipt(version: NewVersion) -> Receipt {
    Receipt {
        reference: version.file.clone(),
        version: Some(version),
    }
}

/// Where a version lies: by the year of receipt, and spread over folders by the random end of its id.
fn path_of(id: Uuid, received: Timestamp) -> String {
    let year = received.to_zoned(TimeZone::UTC).year();
    format!("entries/{year}/{:02x}/{id}{SUFFIX}", id.as_bytes()[15])
}

fn version(id: Uuid, file: String, sealed: &[u8]) -> NewVersion {
    NewVersion {
        id,
        file,
        bytes: sealed.len() as u64,
        sha256: Sha256::digest(sealed).to_vec(),
    }
}

/// Makes a folder that its user alone may enter, and syncs what is new above it.
fn folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for above in path.ancestors().skip(1).take(3).filter(|above| above.is_dir()) {
        sync(above)?;
    }
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The id of the version that lies there: see [`path_of`].
fn id_of(file: &str) -> Option<&str> {
    Path::new(file).file_name()?.to_str()?.strip_suffix(SUFFIX)
}

/// The folders in a folder; none where it is not there.
fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

/// What attempts that were cut off left beside the file.
fn remove_drafts(folder: &Path, id: &str) {
    let prefix = format!(".{id}.");
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
