//! Deletion in three steps, and what is finished after an end between any two of them.

use anyhow::Context as _;
use domain::event::Dates;
use domain::submission::Kind;
use domain::{DutyKind, SubmissionId};
use futures::future::try_join_all;
use ledger::{EventSaid, NewSubmission, Sequenced, WorkerId};
use vault::{Purpose, Vault, WrappingKeys};

use crate::bed::{Bed, at, both, discharge, duty, message};

fn vault(bed: &Bed) -> Vault {
    let keys = WrappingKeys {
        mail: Some([1; 32].into()),
        journal: Some([2; 32].into()),
        ..WrappingKeys::default()
    };
    Vault::new(&bed.keys, keys)
}

/// A submission with keys whose last duty is done: the first step, in the settle's own transaction.
async fn deleting(bed: &Bed, vault: &Vault) -> anyhow::Result<SubmissionId> {
    let new = message();
    vault
        .create(new.id.0, &[Purpose::Mail, Purpose::Journal], at(0))
        .await?;
    let mut journal = duty(DutyKind::Journal, new.id);
    "journal".clone_into(&mut journal.payload.as_mut().context("a payload")?.purpose);
    let duties = [new.duties.clone(), vec![journal]].concat();
    bed.accept(NewSubmission {
        duties: duties.clone(),
        ..new
    })
    .await?;
    for duty in &duties[..2] {
        discharge(&bed.ledger, duty.id).await?;
    }
    Ok(new.id)
}

/// What the scheduler's sweep does.
async fn sweep(bed: &Bed, vault: &Vault) -> anyhow::Result<()> {
    let discharged = bed.ledger.discharged(10).await?;
    bed.ledger.begin_deletion(discharged, at(5)).await?;
    let deleting = bed.ledger.deleting(10).await?;
    vault.destroy(deleting.iter().map(|id| id.0).collect()).await?;
    Ok(bed.ledger.finish_deletion(deleting, at(6)).await?)
}

async fn is_gone(bed: &Bed, vault: &Vault, id: SubmissionId) -> anyhow::Result<()> {
    let shown = bed.ledger.show(id, at(9)).await?.context("shown")?;
    assert_eq!(shown.state, "deleted");
    assert!(vault.key(id.0, Purpose::Mail).await?.is_none());
    assert!(
        vault.key(id.0, Purpose::Journal).await?.is_some(),
        "the journal's copy lives on"
    );
    let figures = bed.figures().await?;
    assert_eq!(
        (figures.open, figures.deleted, figures.duties["journal"].ready),
        (0, 1, 1)
    );
    Ok(())
}

/// D1, D2: an end after the payloads are gone, after the keys are gone, and after everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_ended_after_any_step_is_finished() -> anyhow::Result<()> {
    for steps in 1..=3 {
        for bed in both()? {
            let vault = vault(&bed);
            let id = deleting(&bed, &vault).await?;
            assert_eq!(bed.ledger.show(id, at(4)).await?.context("shown")?.state, "deleting");
            if steps > 1 {
                vault.destroy(vec![id.0]).await?;
            }
            if steps > 2 {
                bed.ledger.finish_deletion(vec![id], at(4)).await?;
            }
            for _ in 0..2 {
                sweep(&bed, &vault).await?;
                is_gone(&bed, &vault, id).await?;
            }
        }
    }
    Ok(())
}

/// D1, D2: many ends at once, by two who have a part of them both, are each counted, told and proven once.
#[tokio::test(flavor = "multi_thread")]
async fn many_ends_at_once_are_each_counted_and_told_once() -> anyhow::Result<()> {
    const MANY: usize = 75;
    for bed in both()? {
        let vault = vault(&bed);
        let begun = (0..MANY).map(|_| deleting(&bed, &vault));
        let mut ids = try_join_all(begun).await?;
        bed.ledger.finish_deletion(vec![ids[0]], at(5)).await?;
        let halves = [ids[..60].to_vec(), ids[20..].to_vec()];
        try_join_all(halves.map(|half| async {
            let replica = bed.replica();
            vault.destroy(half.iter().map(|id| id.0).collect()).await?;
            anyhow::Ok(replica.finish_deletion(half, at(6)).await?)
        }))
        .await?;
        let figures = bed.figures().await?;
        assert_eq!((figures.open, figures.deleted), (0, i64::try_from(MANY)?));
        for id in &ids {
            assert!(vault.key(id.0, Purpose::Mail).await?.is_none());
            assert!(vault.key(id.0, Purpose::Journal).await?.is_some());
        }

        let worker = WorkerId::new();
        let sequenced = bed
            .ledger
            .sequence(worker, "kvit.example".to_owned(), (at(7), at(9)), 1000);
        assert_eq!(sequenced.await?, Sequenced::Leaves(5 * MANY));
        let log = bed.ledger.evidence_logs().await?.remove(0);
        bed.ledger.checkpoint_signed(log.year, log.size).await?;
        let leaves = bed.ledger.evidence_leaves(log.year, 0, 1000).await?;
        let told = bed.ledger.outgoing("eksempel".to_owned(), 1000, true).await?;
        let mut ended = Vec::new();
        for event in told.iter().filter(|event| event.event == "deleted") {
            let leaf = &leaves[usize::try_from(event.evidence.context("a place")?)?];
            assert_eq!((leaf.event.as_str(), &leaf.submission), ("deleted", &event.data.id));
            ended.push(event.data.id.as_deref().context("an id")?.parse::<SubmissionId>()?);
        }
        ids.sort_unstable();
        ended.sort_unstable();
        assert_eq!(ended, ids);

        bed.ledger.told(told).await?;
        assert!(
            bed.ledger
                .outgoing("eksempel".to_owned(), 1000, false)
                .await?
                .is_empty()
        );
    }
    Ok(())
}

/// An end between the keys' commit and the data's, at intake.
#[tokio::test(flavor = "multi_thread")]
async fn keys_whose_data_never_came_are_found() -> anyhow::Result<()> {
    for bed in both()? {
        let vault = vault(&bed);
        let orphan = SubmissionId::new();
        vault
            .create(orphan.0, &[Purpose::Mail, Purpose::Journal], at(0))
            .await?;
        let kept = deleting(&bed, &vault).await?;
        sweep(&bed, &vault).await?;
        let owners = vault.owners_since_before(at(100), None, 10).await?;
        assert_eq!(owners.len(), 2);
        let idle = bed.ledger.without_payload(owners.clone()).await?;
        assert_eq!(idle, [orphan.0], "the journal's copy of {kept} is still to be opened");
        vault.destroy_all(idle).await?;
        assert_eq!(vault.owners_since_before(at(100), None, 10).await?, [kept.0]);
        assert!(vault.owners_since_before(at(100), Some(kept.0), 10).await?.is_empty());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_site_was_told_of_a_deletion_takes_its_ids_with_it() -> anyhow::Result<()> {
    for bed in both()? {
        let vault = vault(&bed);
        let id = deleting(&bed, &vault).await?;
        sweep(&bed, &vault).await?;
        let told = bed.ledger.outgoing("eksempel".to_owned(), 10, false).await?;
        let events: Vec<&str> = told.iter().map(|event| event.event.as_str()).collect();
        assert_eq!(events, ["accepted", "delivered", "deleted"]);
        bed.ledger.told(told).await?;
        bed.ledger
            .site_copy_gone(crate::bed::arrival(), vec![id], at(9))
            .await?;
        assert!(bed.ledger.outgoing("eksempel".to_owned(), 10, false).await?.is_empty());
    }
    Ok(())
}

/// Retention: with an epoch over, a tombstone links to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn the_digests_of_an_epoch_that_is_over_are_forgotten() -> anyhow::Result<()> {
    for bed in both()? {
        let new = message();
        let identities = new.identities.clone();
        bed.accept(new.clone()).await?;
        assert_eq!(bed.ledger.oldest_needed_epoch(at(0)).await?, Some(24_323));
        bed.ledger.forget_epochs(Vec::new()).await?;
        bed.ledger.forget_epochs(vec![24_323, 24_324]).await?;
        assert_eq!(bed.ledger.lineage(identities.clone(), Vec::new()).await?.ids, [new.id]);
        bed.ledger.forget_epochs(vec![24_324]).await?;
        assert!(bed.ledger.lineage(identities, Vec::new()).await?.ids.is_empty());
        assert_eq!(bed.ledger.oldest_needed_epoch(at(0)).await?, None);
        let reference = new.reference.as_str().to_owned();
        assert!(bed.ledger.show_reference(reference, at(1)).await?.is_some());
    }
    Ok(())
}

/// E1: a registration goes when the deadline has passed and its extract is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_registration_waits_for_its_deadline_and_its_extract() -> anyhow::Result<()> {
    for bed in both()? {
        let mut new = message();
        new.kind = Kind::Registration;
        new.event = Some(EventSaid {
            id: "eksempel/anmeldelse".to_owned(),
            message: Dates::default(),
            form: Dates {
                deadline: Some(at(100)),
                held: Some(at(1000)),
            },
        });
        let extract = duty(DutyKind::Extract, new.id);
        new.duties = vec![extract.clone()];
        let id = bed.accept(new).await?;
        assert!(bed.ledger.discharged(10).await?.is_empty());
        assert!(bed.ledger.past_their_time(None, at(99), 10).await?.is_empty());
        assert_eq!(bed.ledger.past_their_time(None, at(100), 10).await?, [id]);
        let there = async |now: i64| {
            let (alarm, metric) = (
                bed.ledger.past_and_there(at(now)).await?,
                bed.ledger.backlog(at(now)).await?,
            );
            anyhow::ensure!(
                alarm == metric.registrations_past_their_time,
                "the alarm counts as the metric does"
            );
            Ok(alarm)
        };
        assert_eq!(
            (there(100).await?, there(1000).await?),
            (0, 1),
            "only the event's end lets an unextracted one go"
        );
        assert!(bed.ledger.past_their_time(Some(id), at(100), 10).await?.is_empty());
        assert!(
            bed.ledger.begin_deletion(vec![id], at(100)).await?.is_empty(),
            "it is not extracted"
        );
        assert_eq!(
            discharge(&bed.ledger, extract.id).await?.deleting,
            None,
            "it is before the deadline"
        );
        assert_eq!(
            (there(99).await?, there(100).await?),
            (0, 1),
            "extracted, and the deadline has passed"
        );
        assert!(bed.ledger.begin_deletion(vec![id], at(99)).await?.is_empty());
        assert_eq!(bed.ledger.begin_deletion(vec![id], at(100)).await?, [id]);
        let why = bed.ledger.show(id, at(101)).await?.context("shown")?.why;
        assert!(why.contains("deadline"), "{why}");
    }
    Ok(())
}
