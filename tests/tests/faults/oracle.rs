//! Whether a load came through: every message accounted for, every mail sent, and what went out twice the same mail,
//! counted; and no key or payload left that should not be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kvit_cli::demo::inbox::Mail;
use kvit_tests::{Entity, TestBed, within};
use ledger::Figures;

use crate::bed::{Load, address};

/// Waits until the whole load is settled and deleted, and judges. Answers how many mails went out again.
pub(crate) async fn came_through(bed: &TestBed, load: &Load, patience: Duration) -> anyhow::Result<i64> {
    let figures = settled(bed, load, patience).await?;
    let reports = i64::from(load.reports);
    ensure!(
        figures.accepted == reports,
        "{reports} reports, and {} are accepted",
        figures.accepted
    );
    let malformed = i64::from(load.malformed);
    ensure!(
        figures.quarantined == malformed,
        "{malformed} messages could not be taken, and {} are in quarantine",
        figures.quarantined
    );
    let again = mails_are_complete(bed, load, &figures)?;
    nothing_is_left(bed).await?;
    Ok(again)
}

/// Waits until every message is accounted for and every submission deleted.
pub(crate) async fn settled(bed: &TestBed, load: &Load, patience: Duration) -> anyhow::Result<Figures> {
    let (reports, malformed) = (i64::from(load.reports), i64::from(load.malformed));
    let mut last = Figures::default();
    let found = within(patience, "all is sent and deleted", async || {
        let Ok(figures) = bed.figures().await else {
            return Ok(None); // a store that is killed answers again
        };
        last = figures;
        let whole = last.accepted >= reports && last.quarantined >= malformed;
        Ok((whole && last.open == 0).then(|| last.clone()))
    })
    .await;
    found.with_context(|| format!("lost: {reports} reports and {malformed} others were sent: {last:?}"))
}

/// P2: every mail went out; one that went out again is the same to the byte, and counted.
fn mails_are_complete(bed: &TestBed, load: &Load, figures: &Figures) -> anyhow::Result<i64> {
    let mails = reports_mails(bed);
    let by_id = copies(&mails);
    let expected = 2 * usize::try_from(load.reports)?;
    ensure!(
        by_id.len() == expected,
        "lost: {expected} mails are owed, and {} went out",
        by_id.len()
    );
    for same in by_id.values() {
        let first = same.first().context("a mail")?;
        let alike = |mail: &&Mail| mail.data == first.data && mail.recipients == first.recipients;
        ensure!(same.iter().all(alike), "a mail that went out again is another mail");
    }
    let reached: BTreeSet<&str> = mails
        .iter()
        .flat_map(|mail| mail.recipients.iter().map(String::as_str))
        .collect();
    for n in 0..load.reports {
        ensure!(
            reached.contains(address(n).as_str()),
            "lost: citizen {n} got no receipt"
        );
    }
    let again = i64::try_from(mails.len() - by_id.len())?;
    let counted = figures.duplicates.possible_mail;
    ensure!(
        again <= counted,
        "{again} mails went out again, and {counted} are counted as possible duplicates"
    );
    Ok(again)
}

/// Mails by their `Message-ID`, each in the order in which its copies came.
fn copies(mails: &[Mail]) -> BTreeMap<String, Vec<&Mail>> {
    let mut by_id: BTreeMap<String, Vec<&Mail>> = BTreeMap::new();
    for mail in mails {
        let id = Entity::read(&mail.data).header("message-id").to_owned();
        by_id.entry(id).or_default().push(mail);
    }
    by_id
}

/// P2: each mail that went out again did so because a mailer was killed between the relay's answer to the final dot and
/// the mark of it: the connection of the copy before was cut off, by a death that came after that copy and before this
/// one. Answers how many did.
pub(crate) fn each_copy_has_its_kill(bed: &TestBed, deaths: &[Instant]) -> anyhow::Result<i64> {
    let (mails, connections) = (reports_mails(bed), bed.inbox.connections());
    let mut again = 0;
    for (id, same) in copies(&mails) {
        for pair in same.windows(2) {
            let (before, copy) = (pair[0], pair[1]);
            let killed = deaths.iter().any(|death| before.at <= *death && *death <= copy.at);
            ensure!(killed, "{id} went out again, and no mailer was killed between the two");
            let said = &connections[before.connection].transcript;
            let left = said.last().is_some_and(|command| command.eq_ignore_ascii_case("QUIT"));
            ensure!(
                !left,
                "{id} went out again, though its mailer had ended the connection itself"
            );
            again += 1;
        }
    }
    Ok(again)
}

/// The mails of the reports: notices of what could not be taken go to the department too.
fn reports_mails(bed: &TestBed) -> Vec<Mail> {
    let of_a_report = |mail: &Mail| {
        let id = Entity::read(&mail.data).header("message-id").to_owned();
        !id.contains("notice.")
    };
    bed.inbox.mails().into_iter().filter(of_a_report).collect()
}

/// D1: no key of a deleted submission, and no payload that its key does not open.
pub(crate) async fn nothing_is_left(bed: &TestBed) -> anyhow::Result<()> {
    let dir = bed.config();
    let dir = dir.parent().context("a folder")?;
    let stores = bed.stores();
    let texts = |rows: Vec<store::Row>| -> anyhow::Result<BTreeSet<String>> {
        rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
    };
    let deleted = "SELECT id FROM submission WHERE state IN ('deleting', 'deleted')";
    let deleted = texts(stores.ask_ledger(dir, deleted).await?)?;
    let payloads = "SELECT DISTINCT owner FROM payload WHERE purpose <> 'journal'";
    let payloads = texts(stores.ask_ledger(dir, payloads).await?)?;
    let keys = "SELECT DISTINCT owner FROM data_key WHERE purpose <> 'journal'";
    let keys = texts(stores.ask_keys(dir, keys).await?)?;
    let kept: Vec<_> = keys.intersection(&deleted).collect();
    ensure!(kept.is_empty(), "{} deleted submissions still have a key", kept.len());
    let dead: Vec<_> = payloads
        .difference(&keys)
        .filter(|owner| !deleted.contains(*owner))
        .collect();
    ensure!(
        dead.is_empty(),
        "{} payloads have no key and are not counted as deleted",
        dead.len()
    );
    let left: Vec<_> = payloads.intersection(&deleted).collect();
    ensure!(
        left.is_empty(),
        "{} deleted submissions still have a payload",
        left.len()
    );
    Ok(())
}
