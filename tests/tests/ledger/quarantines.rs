//! What could not be taken, and what a person decides about it.

use anyhow::Context as _;
use domain::quarantine::QuarantineReason;
use domain::{DutyKind, SubmissionId};
use futures::future::{join_all, try_join_all};
use ledger::{Arrival, Counter, NewQuarantined, NewSubmission, QuarantineFilter, Recorded};

use crate::bed::{arrival, at, both, duty, message, site};

fn unreadable(body: &[u8]) -> NewQuarantined {
    NewQuarantined {
        id: SubmissionId::new(),
        site: site(),
        form: Some("anmeldelse".parse().expect("a form")),
        department: Some("teknik-miljoe".parse().expect("a department")),
        test: false,
        reason: QuarantineReason::Malformed,
        bytes: 17,
        received_at: at(0),
        body: body.to_vec(),
        bodies: vec![body.to_vec()],
        epoch: 24_323,
        redelivered: false,
        sealed: b"sealed".to_vec(),
        ids: [None, None, None],
    }
}

fn retried(id: SubmissionId, test: bool) -> Arrival {
    Arrival {
        test,
        was_quarantined: Some(id),
        ..arrival()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_of_what_was_put_aside_is_put_aside_once() -> anyhow::Result<()> {
    for bed in both()? {
        let replicas: Vec<_> = (0..4).map(|_| bed.replica()).collect();
        let again = replicas.iter().map(|replica| {
            replica.quarantine(NewQuarantined {
                redelivered: true,
                ..unreadable(b"the digest of it")
            })
        });
        let put_aside = try_join_all(again).await?;
        assert_eq!(put_aside.iter().filter(|one| **one).count(), 1);
        let figures = bed.figures().await?;
        assert_eq!((figures.quarantined, figures.duplicates.ignored), (1, 3));
    }
    Ok(())
}

/// A message that was tried again is counted as what it became, once, also where it became a test.
#[tokio::test(flavor = "multi_thread")]
async fn of_replicas_that_try_it_again_at_once_one_takes_it() -> anyhow::Result<()> {
    for bed in both()? {
        for test in [false, true] {
            let put_aside = unreadable(b"a digest of it");
            let id = put_aside.id;
            bed.ledger.quarantine(put_aside).await?;
            assert_eq!(
                bed.ledger.quarantined_content(id).await?.context("its content")?.sealed,
                b"sealed"
            );
            bed.ledger.quarantined_again(id, QuarantineReason::Internal).await?;
            let replicas: Vec<_> = (0..4).map(|_| bed.replica()).collect();
            let taken = replicas.iter().map(|replica| {
                let new = NewSubmission {
                    arrival: retried(id, test),
                    ..message()
                };
                replica.record(new, false, at(1))
            });
            let taken = join_all(taken).await;
            assert_eq!(
                taken.iter().filter(|one| matches!(one, Ok(Recorded::Accepted))).count(),
                1
            );
            assert!(bed.ledger.quarantined_content(id).await?.is_none());
            let figures = bed.ledger.figures(test, at(1)).await?;
            assert_eq!((figures.arrived, figures.accepted, figures.quarantined), (1, 1, 0));
            assert_eq!(bed.figures().await?.arrived, 1);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turns_out_to_be_known_leaves_quarantine() -> anyhow::Result<()> {
    for bed in both()? {
        let put_aside = unreadable(b"a digest of it");
        let id = put_aside.id;
        bed.ledger.quarantine(put_aside).await?;
        bed.ledger
            .count(Counter::Duplicates, retried(id, false), None, at(1))
            .await?;
        let twice = bed
            .ledger
            .count(Counter::Duplicates, retried(id, false), None, at(1))
            .await;
        assert!(twice.is_err());
        let figures = bed.figures().await?;
        assert_eq!((figures.quarantined, figures.duplicates.ignored), (0, 1));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_discards_what_waits_and_it_stays_counted() -> anyhow::Result<()> {
    for bed in both()? {
        let (first, second) = (unreadable(b"the first digest"), unreadable(b"the second digest"));
        let (discarded, taken) = (first.id, second.id);
        bed.ledger.quarantine(first).await?;
        bed.ledger.quarantine(second).await?;
        bed.ledger
            .count(Counter::Drafts, retried(taken, false), None, at(1))
            .await?;
        let all = || QuarantineFilter {
            form: Some("anmeldelse".to_owned()),
            site: Some("eksempel".to_owned()),
            reason: Some("malformed".to_owned()),
            since: Some(at(0)),
            ..QuarantineFilter::default()
        };
        assert_eq!(bed.ledger.quarantined(all(), 10).await?.len(), 2);
        let gone = bed
            .ledger
            .discard_quarantined(all(), "a test".to_owned(), at(2))
            .await?;
        assert_eq!(gone, [discarded]);
        let shown = bed.ledger.show(discarded, at(3)).await?.context("shown")?;
        assert_eq!(shown.state, "quarantined");
        assert!(
            bed.ledger
                .without_payload(vec![discarded.0])
                .await?
                .contains(&discarded.0)
        );
        assert_eq!(bed.figures().await?.quarantined, 1);
        bed.ledger.forget_epochs(vec![24_324]).await?;
        let waiting = QuarantineFilter {
            waiting: true,
            ..QuarantineFilter::default()
        };
        assert!(bed.ledger.quarantined(waiting, 10).await?.is_empty());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_department_is_told_once_of_all_that_waits() -> anyhow::Result<()> {
    for bed in both()? {
        let first = unreadable(b"the first digest");
        let oldest = first.id;
        bed.ledger.quarantine(first).await?;
        bed.ledger.quarantine(unreadable(b"the second digest")).await?;
        let untold = bed.ledger.untold_quarantine(at(-1)).await?;
        assert_eq!((untold.len(), untold[0].id), (1, oldest));
        for first in [true, false] {
            let notice = duty(DutyKind::Notice, SubmissionId::new());
            let kept = bed.ledger.tell_of_quarantine(untold[0].clone(), notice, at(1)).await?;
            assert_eq!(kept, first, "the second replica's notice is not kept");
        }
        assert_eq!(bed.figures().await?.duties["notice"].ready, 1);
        bed.ledger.quarantine(unreadable(b"the third digest")).await?;
        assert!(
            bed.ledger.untold_quarantine(at(0)).await?.is_empty(),
            "it was told just now"
        );
        assert_eq!(bed.ledger.untold_quarantine(at(1)).await?.len(), 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ends_its_service_is_counted() -> anyhow::Result<()> {
    for bed in both()? {
        let body = || b"digest".to_vec();
        assert_eq!(bed.ledger.came_alone(body(), at(0)).await?, 1);
        assert_eq!(bed.ledger.came_alone(body(), at(1)).await?, 2);
        bed.ledger.finished_alone(body()).await?;
        assert_eq!(bed.ledger.came_alone(body(), at(2)).await?, 1);
        bed.ledger.forget_windows(at(3)).await?;
        assert_eq!(bed.ledger.came_alone(body(), at(4)).await?, 1);
    }
    Ok(())
}
