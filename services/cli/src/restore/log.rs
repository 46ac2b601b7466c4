//! The signed log as a restore reads it: checked whole, and then leaf by leaf.

use anyhow::{Context as _, anyhow};
use evidence::{Leaf, Log, LogKey, TILE_WIDTH, Tile, Trust, logs_in, verify_log};
use jiff::tz::TimeZone;
use ledger::EvidenceLeaf;
use runtime::{Config, Exit};

/// A year's log whose leaves are those that were signed.
pub(super) struct Signed {
    pub(super) origin: String,
    pub(super) size: u64,
    pub(super) year: i16,
    log: Log,
}

/// The years' logs, oldest first, each signed by the configured key and checked whole; none is older than the copies of
/// its checkpoints.
///
/// # Errors
///
/// Where there is no key (78), or a log is not what was signed (65).
pub(super) fn signed(config: &Config) -> anyhow::Result<Vec<Signed>> {
    let key = LogKey::from_seed(config.evidence.key().map_err(Exit::config)?);
    let mut logs = Vec::new();
    for log in logs_in(&config.evidence.dir).map_err(Exit::data)? {
        logs.extend(checked(log, &key)?);
    }
    if logs.is_empty() {
        return Err(Exit::data(anyhow!(
            "there is no evidence in {}: without it, nobody knows what was deleted since the backup",
            config.evidence.dir.display()
        ))
        .into());
    }
    for kept in config.evidence.copy_dir.iter().map(|dir| logs_in(dir)) {
        for copy in kept.map_err(Exit::data)? {
            let Some(copy) = copy.own_checkpoint(&key).map_err(Exit::data)? else {
                continue;
            };
            let copy = copy.checkpoint;
            if let Some(log) = logs
                .iter()
                .find(|log| log.origin == copy.origin && log.size < copy.size)
            {
                return Err(older(&log.origin, log.size, copy.size).into());
            }
        }
    }
    Ok(logs)
}

/// The refusal of a folder that is itself an old copy.
pub(super) fn older(origin: &str, size: u64, signed: u64) -> Exit {
    Exit::data(anyhow!(
        "the evidence folder is older than what was signed: it has {size} leaves of {origin}, and a checkpoint over \
         {signed} was signed. Give it back the newer folder first: what it lacks cannot be done again"
    ))
}

fn checked(log: Log, key: &LogKey) -> anyhow::Result<Option<Signed>> {
    let Some(own) = log.own_checkpoint(key).map_err(Exit::data)? else {
        return Ok(None);
    };
    let origin = own.checkpoint.origin;
    let trust = Trust::new(vec![key.verifier(&origin).map_err(Exit::data)?]);
    let mut year = None;
    let verified = verify_log(&log, &trust, &[], |_, leaf, _| {
        year.get_or_insert_with(|| leaf.at.to_zoned(TimeZone::UTC).year());
    });
    let verified = verified
        .with_context(|| format!("checking {}", log.dir().display()))
        .map_err(Exit::data)?;
    Ok(year.map(|year| Signed {
        origin,
        size: verified.signed.checkpoint.size,
        year,
        log,
    }))
}

impl Signed {
    /// Leaves from an index on, at most so many.
    pub(super) fn leaves(&self, from: u64, count: u64) -> anyhow::Result<Vec<EvidenceLeaf>> {
        let until = self.size.min(from.saturating_add(count));
        let mut leaves = Vec::new();
        let mut at = from;
        while at < until {
            let bundle = at / TILE_WIDTH;
            let tile = Tile::of(0, bundle, self.size).context("a bundle beyond the log")?;
            let entries = self.log.entries(tile).map_err(Exit::data)?;
            for (index, bytes) in (bundle * TILE_WIDTH..).zip(entries) {
                if (at..until).contains(&index) {
                    leaves.push(row(Leaf::read(&bytes).map_err(Exit::data)?));
                }
            }
            at = (bundle + 1) * TILE_WIDTH;
        }
        Ok(leaves)
    }
}

fn row(leaf: Leaf) -> EvidenceLeaf {
    EvidenceLeaf {
        submission: leaf.id,
        event: leaf.event,
        at: leaf.at,
        rule: leaf.rule,
        actor: leaf.actor,
        mac: leaf.mac,
        duty: leaf.duty,
    }
}
