//! Workers, runs, requests, certificates, and the order of the evidence.

use anyhow::Context as _;
use futures::future::try_join_all;
use ledger::{Sequenced, WorkerId};

use crate::bed::{at, both, discharge, message};

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_run_is_one_replicas() -> anyhow::Result<()> {
    for bed in both()? {
        let replicas: Vec<_> = (0..8).map(|_| bed.replica()).collect();
        let begun = replicas
            .iter()
            .map(|replica| replica.begin_run("purge", at(0), WorkerId::new(), at(1)));
        let begun = try_join_all(begun).await?;
        assert_eq!(begun.iter().filter(|begun| **begun).count(), 1);
        bed.ledger.end_run("purge", at(0), "2 begun".to_owned(), at(2)).await?;
        let run = bed.ledger.runs("purge".to_owned(), 5).await?.pop().context("a run")?;
        assert_eq!(run.outcome.as_deref(), Some("2 begun"));
        assert_eq!(run.ended_at, Some(at(2)));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_run_is_found_however_many_have_failed_since() -> anyhow::Result<()> {
    const FAILED: &str = "failed: ";
    for bed in both()? {
        let run = async |schedule, planned: i64, outcome: Option<&str>| {
            bed.ledger
                .begin_run(schedule, at(planned), WorkerId::new(), at(planned))
                .await?;
            if let Some(outcome) = outcome {
                let ended = at(planned + 1);
                bed.ledger
                    .end_run(schedule, at(planned), outcome.to_owned(), ended)
                    .await?;
            }
            anyhow::Ok(())
        };
        for planned in 0..3 {
            run("purge", 10 * planned, Some("nothing to do")).await?;
        }
        for planned in 3..103 {
            run("purge", 10 * planned, Some("failed: using the ledger")).await?;
        }
        // The process died in it.
        run("purge", 1030, None).await?;
        run("keys", 40, Some("failed: using the ledger")).await?;
        let purge = bed.ledger.last_good_run("purge", FAILED).await?;
        assert_eq!(purge, Some((at(20), at(21))));
        assert_eq!(bed.ledger.last_good_run("keys", FAILED).await?, None);
        assert_eq!(bed.ledger.first_planned("keys").await?, Some(at(40)));
        assert_eq!(bed.ledger.first_planned("checkpoint").await?, None);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_known_while_they_say_so() -> anyhow::Result<()> {
    for bed in both()? {
        let worker = WorkerId::new();
        bed.ledger.beat(worker, "mailer", at(0)).await?;
        bed.ledger.beat(worker, "mailer", at(10)).await?;
        let known = bed.ledger.workers(at(5)).await?;
        assert_eq!((known[0].started_at, known[0].seen_at), (at(0), at(10)));
        bed.ledger.leave(worker, at(0)).await?;
        assert!(bed.ledger.workers(at(0)).await?.is_empty());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_once() -> anyhow::Result<()> {
    for bed in both()? {
        let id = bed.ledger.ask("retry", "{\"ids\":[]}".to_owned(), at(0)).await?;
        assert!(bed.ledger.asked(&["another"], at(0)).await?.is_empty());
        assert_eq!(bed.ledger.asked(&["retry"], at(0)).await?[0].id, id);
        assert_eq!(bed.ledger.answered(id).await?, None);
        bed.ledger.answer(id, "first".to_owned(), at(1)).await?;
        bed.ledger.answer(id, "second".to_owned(), at(2)).await?;
        assert_eq!(bed.ledger.answered(id).await?.as_deref(), Some("first"));
        bed.ledger.forget_requests(at(1)).await?;
        assert_eq!(bed.ledger.answered(id).await?, None);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_kept_under_its_pin() -> anyhow::Result<()> {
    for bed in both()? {
        for armored in [b"old".to_vec(), b"new".to_vec()] {
            let department = "teknik-miljoe".parse()?;
            bed.ledger
                .add_certificate(department, "AB".to_owned(), armored, at(0))
                .await?;
        }
        let kept = bed.ledger.certificates().await?;
        assert_eq!(kept, [("teknik-miljoe".to_owned(), "AB".to_owned(), b"new".to_vec())]);
    }
    Ok(())
}

/// G2: leaves get their places once, without gaps, from one sequencer at a time.
#[tokio::test(flavor = "multi_thread")]
async fn leaves_are_sequenced_by_one_replica_without_gaps() -> anyhow::Result<()> {
    for bed in both()? {
        for _ in 0..3 {
            let new = message();
            bed.accept(new.clone()).await?;
            discharge(&bed.ledger, new.duties[0].id).await?;
        }
        let replicas: Vec<_> = (0..4).map(|_| bed.replica()).collect();
        let sequenced = replicas
            .iter()
            .map(|replica| replica.sequence(WorkerId::new(), "kvit.example".to_owned(), (at(0), at(30)), 100));
        let sequenced = try_join_all(sequenced).await?;
        assert_eq!(sequenced.iter().filter(|one| **one == Sequenced::Leaves(6)).count(), 1);
        assert_eq!(sequenced.iter().filter(|one| **one == Sequenced::Elsewhere).count(), 3);
        let log = bed.ledger.evidence_logs().await?.pop().context("a log")?;
        assert_eq!((log.size, log.signed), (6, 0));
        assert_eq!(bed.ledger.evidence_leaves(log.year, 0, 100).await?.len(), 6);
        assert!(
            bed.ledger.outgoing("eksempel".to_owned(), 10, true).await?.is_empty(),
            "nothing is signed"
        );
        assert!(bed.ledger.has_unsigned_leaves().await?);
        bed.ledger.checkpoint_signed(log.year, 6).await?;
        bed.ledger.checkpoint_mailed(log.year, 6).await?;
        assert!(!bed.ledger.has_unsigned_leaves().await?);
        assert_eq!(bed.ledger.outgoing("eksempel".to_owned(), 10, true).await?.len(), 3);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequencer_that_stops_lets_another_begin() -> anyhow::Result<()> {
    for bed in both()? {
        let (first, second) = (WorkerId::new(), WorkerId::new());
        let base = || "kvit.example".to_owned();
        bed.ledger.sequence(first, base(), (at(0), at(30)), 10).await?;
        assert_eq!(
            bed.ledger.sequence(second, base(), (at(1), at(31)), 10).await?,
            Sequenced::Elsewhere
        );
        bed.ledger.stop_sequencing(first).await?;
        assert_eq!(
            bed.ledger.sequence(second, base(), (at(2), at(32)), 10).await?,
            Sequenced::Leaves(0)
        );
    }
    Ok(())
}
