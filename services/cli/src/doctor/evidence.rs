//! The signed log on disk against the ledger: whether its head is of this ledger, and how far it has come.

use std::io;

use evidence::{Log, LogKey, Trust};
use jiff::tz::TimeZone;
use ledger::{EvidenceLog, Ledger};
use runtime::{Clock, Config};
use store::StoreError;
use vault::Vault;

use super::Probe;

const CHECK: &str = "evidence";

pub(super) async fn probe(config: &Config, ledger: &Ledger, vault: &Vault, clock: &Clock) -> Vec<Probe> {
    let section = &config.evidence;
    if section.key.is_none() && section.key_file.is_none() {
        let next = "name a key in [evidence] key_file";
        return vec![Probe::warn(
            CHECK,
            "no key is named: nothing that Kvit does can be proved",
            next,
        )];
    }
    // A key that this user may not read is as it should be, where the services run as others.
    let key = section.key().ok().map(LogKey::from_seed);
    match compared(config, (ledger, vault), key.is_some(), clock).await {
        Ok(()) => {}
        Err(error) if caused_by::<StoreError>(&error) => return vec![unread(&error)],
        Err(error) if caused_by::<io::Error>(&error) => {
            let next = "run kvit doctor as the user of the services, which may read the folder";
            return vec![Probe::fail(CHECK, format!("{error:#}"), next)];
        }
        Err(error) => {
            let next = "do not start the services. If the ledger was put back from a backup: kvit restore. If not, keep \
                        both as they are, and look at the folder with kvit evidence verify";
            return vec![Probe::fail(CHECK, format!("{error:#}"), next)];
        }
    }
    let logs = match ledger.evidence_logs().await {
        Ok(logs) => logs,
        Err(error) => return vec![unread(&error.into())],
    };
    if logs.is_empty() {
        return vec![Probe::ok(CHECK, "nothing is recorded yet")];
    }
    let this_year = clock.now().to_zoned(TimeZone::UTC).year();
    let of_log = |log: &EvidenceLog| head(log, &Log::of_year(&section.dir, log.year), key.as_ref(), this_year);
    logs.iter().map(of_log).collect()
}

fn caused_by<E: std::error::Error + 'static>(error: &anyhow::Error) -> bool {
    error.chain().any(<dyn std::error::Error>::is::<E>)
}

/// A store that did not say what it knows of the evidence.
fn unread(error: &anyhow::Error) -> Probe {
    let next = "see what is said of the store; until it answers, the evidence is not compared";
    Probe::fail(CHECK, format!("the ledger could not be asked: {error:#}"), next)
}

/// Whether the ledger has the past that was signed for: what services ask at their start.
async fn compared(
    config: &Config,
    (ledger, vault): (&Ledger, &Vault),
    has_key: bool,
    clock: &Clock,
) -> anyhow::Result<()> {
    if let Some(refusal) = worker::another_past(config, ledger, vault).await? {
        return Err(refusal);
    }
    if has_key {
        kvit_scheduler::compare_with_evidence(config, (ledger, vault), clock).await?;
    }
    Ok(())
}

/// How far the folder's checkpoint has come, beside what the ledger knows to be signed.
fn head(log: &EvidenceLog, folder: &Log, key: Option<&LogKey>, this_year: i16) -> Probe {
    let (origin, size, signed) = (&log.origin, log.size, log.signed);
    let covered = match covered(folder, key) {
        Ok(covered) => covered,
        Err(error) => {
            let next = "run kvit doctor as the user of the services; kvit evidence verify says what is wrong with it";
            return Probe::fail(CHECK, format!("{origin}: {error:#}"), next);
        }
    };
    if covered.is_none() && signed == size && log.year < this_year {
        return Probe::ok(
            CHECK,
            format!("{origin}: all {size} leaves were signed, and the year has been dropped"),
        );
    }
    let covered = covered.unwrap_or(0);
    if covered < signed {
        let dir = folder.dir().display();
        let found = format!("{origin}: {signed} leaves were signed, and the checkpoint in {dir} covers {covered}");
        let next =
            "is [evidence] dir the right folder? If so, start kvit-scheduler: it writes from the ledger what is gone";
        return Probe::warn(CHECK, found, next);
    }
    // The folder was looked at last, and may have grown since the ledger was.
    let size = size.max(covered);
    let believed = if key.is_some() {
        "signed by the configured key"
    } else {
        "its signature compared with the key beside it alone, for this user may not read the configured one"
    };
    Probe::ok(
        CHECK,
        format!("{origin}: {covered} of {size} leaves are in the checkpoint, {believed}"),
    )
}

/// Over how many leaves the folder's checkpoint is signed; `None` where there is none.
fn covered(folder: &Log, key: Option<&LogKey>) -> anyhow::Result<Option<u64>> {
    let signed = match key {
        Some(key) => folder.own_checkpoint(key)?,
        None if folder.note()?.is_none() => None,
        None => folder.checkpoint(&Trust::new(vec![folder.verifier_key()?.parse()?]))?,
    };
    Ok(signed.map(|signed| signed.checkpoint.size))
}

#[cfg(test)]
mod tests {
    use evidence::Checkpoint;

    use super::super::State;
    use super::*;

    const ORIGIN: &str = "eksempel.example/kvit/2025";

    /// A folder with a checkpoint over so many leaves, where there are some, against a log of 5 that were all signed.
    fn judged(covered: Option<u64>, key: Option<&LogKey>, this_year: i16) -> Probe {
        let dir = tempfile::tempdir().unwrap();
        if let Some(size) = covered {
            let signing = LogKey::from_seed([1; 32]);
            let (origin, root) = (ORIGIN.to_owned(), [0; 32]);
            let signed = Checkpoint { origin, size, root }.sign(&signing).unwrap();
            std::fs::write(dir.path().join("checkpoint"), signed.note).unwrap();
            let verifier = signing.verifier(ORIGIN).unwrap().to_string();
            std::fs::write(dir.path().join("verifier.key"), verifier).unwrap();
        }
        let log = EvidenceLog {
            year: 2025,
            origin: ORIGIN.to_owned(),
            size: 5,
            signed: 5,
            mailed: 0,
        };
        head(&log, &Log::at(dir.path()), key, this_year)
    }

    #[test]
    fn a_checkpoint_that_covers_less_than_was_signed_is_worth_a_look() {
        let key = LogKey::from_seed([1; 32]);
        for (covered, state) in [(Some(5), State::Ok), (Some(4), State::Warn), (None, State::Warn)] {
            let probe = judged(covered, Some(&key), 2025);
            assert_eq!(probe.state, state, "{probe:?}");
            assert_eq!(probe.next.is_some(), state != State::Ok, "{probe:?}");
        }
    }

    #[test]
    fn a_checkpoint_of_another_key_is_not_believed() {
        let probe = judged(Some(5), Some(&LogKey::from_seed([2; 32])), 2025);
        assert_eq!(probe.state, State::Fail, "{probe:?}");
    }

    #[test]
    fn it_says_where_the_configured_key_could_not_be_asked() {
        let (with, without) = (
            judged(Some(5), Some(&LogKey::from_seed([1; 32])), 2025),
            judged(Some(5), None, 2025),
        );
        assert!(with.found.ends_with("signed by the configured key"), "{with:?}");
        assert!(without.found.contains("the key beside it alone"), "{without:?}");
    }

    #[test]
    fn a_year_that_was_dropped_whole_is_well() {
        assert_eq!(judged(None, None, 2026).state, State::Ok);
    }
}
