//! Sequences the evidence: gives the leaves their places, writes the tiles, signs the checkpoint, in that order.
//!
//! Places are given in the ledger, by one worker at a time. Tiles and checkpoint follow from the rows alone, so that
//! whoever died between two steps is made good by doing the same again.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use evidence::{Appender, Checkpoint, FolderError, Leaf, Log, LogKey};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use ledger::{EvidenceLeaf, EvidenceLog, Ledger, Sequenced, WorkerId};
use runtime::{Check, Clock, Config, Exit};
use store::StoreError;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use vault::Vault;

/// How often unsequenced leaves are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How long after a fault it is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// How many leaves get their place in one transaction, and are signed for at once.
const BATCH: u32 = 1000;
/// How long a sequencer that is not heard of keeps others out.
const TURN: SignedDuration = SignedDuration::from_secs(10);

/// The one that sequences, among all replicas: what it needs, and where it writes.
pub(crate) struct Sequencer {
    pub(crate) ledger: Ledger,
    /// Where it is noted how far the evidence has come.
    pub(crate) vault: Vault,
    pub(crate) worker: WorkerId,
    pub(crate) clock: Clock,
    /// The folder of the years' logs.
    pub(crate) dir: PathBuf,
    /// The second folder, which gets the checkpoints.
    pub(crate) copy_dir: Option<PathBuf>,
    /// What signs the checkpoints.
    pub(crate) key: LogKey,
    /// What the origin of a new year's log begins with.
    pub(crate) base: String,
}

impl Sequencer {
    /// As configured; `None` without a key.
    ///
    /// # Errors
    ///
    /// Where a key is configured and cannot be read (78).
    pub(crate) fn open(
        config: &Config,
        (ledger, vault): (&Ledger, &Vault),
        worker: WorkerId,
        clock: &Clock,
    ) -> anyhow::Result<Option<Self>> {
        let section = &config.evidence;
        if section.key.is_none() && section.key_file.is_none() {
            tracing::warn!(
                "no evidence key is configured: nothing that Kvit does can be proved. See [evidence] key_file"
            );
            return Ok(None);
        }
        let from = openpgp::Mailbox::parse(&config.smtp.from).map_err(Exit::config)?;
        Ok(Some(Self {
            ledger: ledger.clone(),
            vault: vault.clone(),
            worker,
            clock: clock.clone(),
            dir: section.dir.clone(),
            copy_dir: section.copy_dir.clone(),
            key: LogKey::from_seed(section.key().map_err(Exit::config)?),
            base: format!("{}/kvit", from.address.domain()),
        }))
    }

    /// Refuses a ledger that is behind a checkpoint that was ever signed for it, or has another past: one that was
    /// restored from a backup would do again what was done since, and deny what was recorded. A store that does not
    /// answer is asked again until shutdown.
    ///
    /// # Errors
    ///
    /// Where it is (78), or a folder cannot be read (74).
    pub(crate) async fn refuse_another_past(&self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        loop {
            match self.compare_all().await {
                Err(error) if comes_of::<StoreError>(&error) => {
                    tracing::warn!(%error, "the ledger cannot be compared with its evidence; trying again");
                }
                outcome => return outcome,
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn compare_all(&self) -> anyhow::Result<()> {
        for dir in [Some(&self.dir), self.copy_dir.as_ref()].into_iter().flatten() {
            for log in evidence::logs_in(dir)? {
                if let Err(error) = self.compare(&log).await {
                    // What could not be read is not judged.
                    if comes_of::<StoreError>(&error) || comes_of::<io::Error>(&error) {
                        return Err(error);
                    }
                    let place = format!("comparing the ledger with {}", log.dir().display());
                    return Err(Exit::config(error.context(place)).into());
                }
            }
        }
        Ok(())
    }

    /// Whether the ledger's leaves are those that a folder's checkpoint was signed for.
    async fn compare(&self, place: &Log) -> anyhow::Result<()> {
        let Some(signed) = place.own_checkpoint(&self.key)? else {
            return Ok(());
        };
        let checkpoint = &signed.checkpoint;
        let logs = self.ledger.evidence_logs().await?;
        let known = logs.into_iter().find(|log| log.origin == checkpoint.origin);
        let size = known.as_ref().map_or(0, |log| log.size);
        let Some(known) = known.filter(|log| log.size >= checkpoint.size) else {
            return Err(worker::behind(&checkpoint.origin, size, checkpoint.size));
        };
        let log = Log::of_year(&self.dir, known.year);
        let whole = log.own_checkpoint(&self.key)?;
        let quick = match whole {
            // Its last leaves are enough: the tiles hold the rest.
            Some(whole) if whole == signed => match log.compare(checkpoint) {
                Ok(comparing) => self.matches(comparing, known.year, checkpoint.size).await?,
                Err(_) => false,
            },
            // An earlier state of the folder's log: the tiles say whether.
            Some(whole) if whole.checkpoint.size > checkpoint.size => {
                let root = evidence::proof::root(checkpoint.size, &mut log.nodes(whole.checkpoint.size));
                root.is_ok_and(|root| root == checkpoint.root)
            }
            _ => false,
        };
        if quick {
            return Ok(());
        }
        // Tiles may be missing or damaged: the leaves themselves decide.
        let comparing = log.rebuild(Some(checkpoint), false)?;
        self.feed(comparing, known.year, checkpoint.size).await?.finish()?;
        Ok(())
    }

    async fn matches(&self, comparing: Appender, year: i16, size: u64) -> Result<bool, StoreError> {
        match self.feed(comparing, year, size).await {
            Ok(compared) => Ok(compared.finish().is_ok()),
            Err(Unfed::Store(error)) => Err(error),
            Err(Unfed::Folder(_) | Unfed::Ended(_)) => Ok(false),
        }
    }

    /// Sequences until shutdown; `check` is down while it cannot.
    pub(crate) async fn run(&self, check: Check, shutdown: CancellationToken) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first look mends what an earlier process left half done.
        let mut mend = true;
        let mut failed = None;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => {}
            }
            match self.sequence(mend, &shutdown).await {
                Ok(()) => {
                    check.up();
                    (mend, failed) = (false, None);
                }
                Err(error) => {
                    let words = format!("{error:#}");
                    if failed.as_ref() != Some(&words) {
                        tracing::error!(
                            error = words,
                            "the evidence cannot be sequenced; sites are told nothing"
                        );
                    }
                    check.down(&words);
                    (mend, failed) = (true, Some(words));
                    ticks.reset_after(AGAIN);
                }
            }
        }
        // Where the store is gone, the turn ends by itself.
        let _ = self.ledger.stop_sequencing(self.worker).await;
    }

    /// Sequences and signs all there is. Nothing where another replica does.
    pub(crate) async fn sequence(&self, mend: bool, shutdown: &CancellationToken) -> anyhow::Result<()> {
        if !mend && !self.ledger.has_unsigned_leaves().await? {
            return Ok(());
        }
        loop {
            let now = self.clock.now();
            let sequenced = self
                .ledger
                .sequence(self.worker, self.base.clone(), (now, now + TURN), BATCH);
            let Sequenced::Leaves(count) = sequenced.await? else {
                return Ok(());
            };
            failpoint::reached("scheduler.sequenced").await;
            for log in self.ledger.evidence_logs().await? {
                if log.signed < log.size || mend {
                    self.sign(log.year).await?;
                }
            }
            if count < BATCH as usize || shutdown.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Writes what the folder of a year's log lacks, and signs.
    pub(crate) async fn sign(&self, year: i16) -> anyhow::Result<()> {
        let log = Log::of_year(&self.dir, year);
        // The folder first: the ledger is never behind what it showed before.
        let signed = log.own_checkpoint(&self.key)?.map(|signed| signed.checkpoint);
        let logs = self.ledger.evidence_logs().await?;
        let Some(known) = logs.into_iter().find(|known| known.year == year) else {
            return Ok(());
        };
        let covered = signed.as_ref().map_or(0, |signed| signed.size);
        if covered > known.size {
            return Err(worker::behind(&known.origin, known.size, covered));
        }
        let this_year = self.clock.now().to_zoned(TimeZone::UTC).year();
        if signed.is_none() && known.signed == known.size && year < this_year {
            return Ok(()); // it was signed whole, and then dropped whole
        }
        if covered < known.size {
            let grown = self.grow(&log, signed.as_ref(), &known).await?;
            failpoint::reached("scheduler.tiles_written").await;
            let (origin, key) = (known.origin.clone(), self.key.clone());
            spawn_blocking(move || grown.sign(&origin, &key)).await??;
        }
        failpoint::reached("scheduler.signed").await;
        self.vault.note_evidence(known.origin, known.size).await?;
        self.ledger.checkpoint_signed(year, known.size).await?;
        Ok(())
    }

    /// Writes tiles from where the folder ends; from the first leaf where not all are there.
    async fn grow(&self, log: &Log, signed: Option<&Checkpoint>, known: &EvidenceLog) -> anyhow::Result<Appender> {
        let (year, size) = (known.year, known.size);
        let grown = match log.append(signed) {
            Ok(appender) => self.feed(appender, year, size).await,
            Err(error) => Err(Unfed::Folder(error)),
        };
        match grown {
            Err(Unfed::Folder(
                FolderError::Missing { .. } | FolderError::Damaged { .. } | FolderError::Forked { .. },
            )) => {}
            grown => return Ok(grown?),
        }
        // First all leaves are compared with what was signed: never is evidence replaced by another past.
        let compared = self.feed(log.rebuild(signed, false)?, year, size).await?;
        compared.finish()?;
        tracing::warn!(folder = %log.dir().display(), "the evidence log's files are written again from the ledger");
        Ok(self.feed(log.rebuild(signed, true)?, year, size).await?)
    }

    /// Gives the appender the leaves that it wants, up to this size.
    async fn feed(&self, mut appender: Appender, year: i16, size: u64) -> Result<Appender, Unfed> {
        while appender.size() < size {
            let wanted = u32::try_from(size - appender.size()).unwrap_or(BATCH).min(BATCH);
            let leaves = self.ledger.evidence_leaves(year, appender.size(), wanted).await?;
            if leaves.is_empty() {
                break; // fewer than were signed for: finishing says so
            }
            let pushed = spawn_blocking(move || {
                for leaf in leaves {
                    appender.push(written(leaf).to_bytes())?;
                }
                Ok::<_, FolderError>(appender)
            });
            appender = pushed.await??;
        }
        Ok(appender)
    }
}

/// Whether the ledger's leaves are those that the checkpoints in the evidence folders were signed for, as the scheduler asks
/// before it works: for `kvit doctor`. It looks at the ends of the logs; at every leaf only where files of theirs are
/// missing or damaged. Nothing is written.
///
/// # Errors
///
/// Where they are not (78), or a folder or the ledger cannot be read.
pub async fn compare_with_evidence(
    config: &Config,
    (ledger, vault): (&Ledger, &Vault),
    clock: &Clock,
) -> anyhow::Result<()> {
    match Sequencer::open(config, (ledger, vault), WorkerId::new(), clock)? {
        Some(sequencer) => sequencer.compare_all().await,
        None => Ok(()),
    }
}

/// Why leaves did not come into a log.
#[derive(Debug, thiserror::Error)]
enum Unfed {
    #[error("reading the evidence leaves")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("adding leaves to the evidence log")]
    Ended(#[from] tokio::task::JoinError),
}

fn comes_of<E: Error + Send + Sync + 'static>(error: &anyhow::Error) -> bool {
    error.chain().any(<dyn Error>::is::<E>)
}

fn written(leaf: EvidenceLeaf) -> Leaf {
    Leaf {
        actor: leaf.actor,
        at: leaf.at,
        duty: leaf.duty,
        event: leaf.event,
        id: leaf.submission,
        mac: leaf.mac,
        rule: leaf.rule,
    }
}

#[cfg(test)]
mod tests;
