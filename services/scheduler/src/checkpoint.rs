//! Schedule `checkpoint`: the evidence log's checkpoint, to the officer and to the second folder. Whoever keeps one can
//! show later that nothing it covers was changed.

use anyhow::{Context as _, ensure};
use evidence::{Log, Signed};
use jiff::tz::TimeZone;
use letter::Notice;

use crate::Scheduler;
use crate::sequence::Sequencer;

pub(crate) async fn run(scheduler: &Scheduler) -> anyhow::Result<String> {
    let Some(sequencer) = &scheduler.sequencer else {
        return Ok("no evidence key is configured: there is no checkpoint".to_owned());
    };
    let now = scheduler.clock.now();
    let this_year = now.to_zoned(TimeZone::UTC).year();
    let mut said = Vec::new();
    for known in scheduler.ledger.evidence_logs().await? {
        // A year's last leaves may have come after its last mail.
        if known.year != this_year && known.mailed >= known.signed {
            continue;
        }
        let log = Log::of_year(&sequencer.dir, known.year);
        let Some(signed) = log.own_checkpoint(&sequencer.key)? else {
            continue;
        };
        keep(scheduler, sequencer, known.year, &signed)?;
        if let Some(officer) = &scheduler.loaded.config.evidence.mail_to {
            let notice = Notice::Checkpoint {
                at: now,
                note: signed.note.clone(),
            };
            let duty = scheduler.notices.to_officer(officer, &notice, now).await?;
            scheduler.ledger.add_notice(duty, now).await?;
        }
        let size = signed.checkpoint.size;
        scheduler.ledger.checkpoint_mailed(known.year, size).await?;
        said.push(format!("{} at {size} leaves", signed.checkpoint.origin));
    }
    Ok(match (said.is_empty(), &scheduler.loaded.config.evidence.mail_to) {
        (true, _) => "nothing is sequenced yet".to_owned(),
        (false, Some(_)) => format!("checkpoint mailed: {}", said.join(", ")),
        (false, None) => format!("checkpoint kept, and mailed to nobody: {}", said.join(", ")),
    })
}

/// Copies the checkpoint to the second folder. One there that covers more is evidence against this one, and stays.
fn keep(scheduler: &Scheduler, sequencer: &Sequencer, year: i16, signed: &Signed) -> anyhow::Result<()> {
    let Some(dir) = &sequencer.copy_dir else { return Ok(()) };
    let kept = Log::of_year(dir, year);
    let size = signed.checkpoint.size;
    if let Some(before) = kept.own_checkpoint(&sequencer.key)? {
        let covered = before.checkpoint.size;
        ensure!(
            covered <= size,
            "the second folder has a checkpoint over {covered} leaves, and the log has only {size}: it was cut off"
        );
    }
    let zone = &scheduler.loaded.config.controller.time_zone;
    let day = scheduler.clock.now().to_zoned(zone.clone()).date().to_string();
    kept.keep(signed, &day).context("copying the checkpoint")
}
