//! What could not be taken, and what a person decides about it.

use anyhow::Context as _;
use domain::quarantine::QuarantineReason;
use domain::{DutyKind, SubmissionId};
use futures::future::{join_all, try_join_all};
use kvit_tests::ledger_at;
use ledger::{Arrival, Counter, DecideError, NewQuarantined, NewSubmission, QuarantineFilter, Recorded};

use crate::bed::{Bed, arrival, at, both, duty, message, site};

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
        let listed = bed.ledger.quarantined(all(), 10).await?;
        assert_eq!(listed.len(), 2);
        // A list goes on after its last row.
        let further = QuarantineFilter {
            after: Some(listed[0].id.clone()),
            ..all()
        };
        let further = bed.ledger.quarantined(further, 10).await?;
        let ids: Vec<_> = further.iter().map(|row| &row.id).collect();
        assert_eq!(ids, [&listed[1].id]);
        let gone = bed
            .ledger
            .discard_quarantined(vec![all()], "a test".to_owned(), Some(1), at(2))
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

fn waiting() -> QuarantineFilter {
    QuarantineFilter {
        reason: Some("malformed".to_owned()),
        waiting: true,
        ..QuarantineFilter::default()
    }
}

/// Puts so many aside at once, as copies of this one.
async fn copy(bed: &Bed, of: SubmissionId, count: i64) -> anyhow::Result<()> {
    let sql = "WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $2)
        INSERT INTO quarantine (id, site, form, department, test, reason, state, bytes, received_at, body, epoch, sealed)
        SELECT '00000000-0000-7000-8000-' || substr('000000000000' || CAST(i AS TEXT), length(CAST(i AS TEXT)) + 1, 12),
            site, form, department, test, reason, state, bytes, received_at, body, epoch, sealed
        FROM n, quarantine WHERE id = $1";
    let store = ledger_at(&bed.url);
    let copied = store.write(move |tx| tx.execute(sql, &[of.to_string().into(), count.into()]));
    anyhow::ensure!(copied.await? == u64::try_from(count)?);
    Ok(())
}

/// G1: more than a list can show are counted, discarded as counted or not at all, and all tried again.
#[tokio::test(flavor = "multi_thread")]
async fn of_very_many_as_many_go_as_the_person_saw_or_none() -> anyhow::Result<()> {
    for bed in both()? {
        let first = unreadable(b"a digest of it");
        let id = first.id;
        bed.ledger.quarantine(first).await?;
        copy(&bed, id, 10_500).await?;
        assert_eq!(bed.ledger.count_quarantined(waiting()).await?, 10_501);
        let ids = bed.ledger.quarantined_ids(waiting()).await?;
        assert!(ids.len() == 10_501 && ids.contains(&id));

        let discard = async |expected| {
            bed.ledger
                .discard_quarantined(vec![waiting()], "a test".to_owned(), expected, at(2))
                .await
        };
        let (matched, expected) = (10_501, 10_000);
        assert_eq!(
            discard(Some(10_000)).await,
            Err(DecideError::CountChanged { matched, expected })
        );
        assert_eq!(bed.ledger.count_quarantined(waiting()).await?, 10_501);
        assert_eq!(discard(Some(10_501)).await?.len(), 10_501);
        assert_eq!(bed.ledger.count_quarantined(waiting()).await?, 0);
        assert!(discard(None).await?.is_empty());
        let shown = bed.ledger.show(id, at(3)).await?.context("shown")?;
        let leaves = shown
            .evidence
            .iter()
            .filter(|leaf| leaf.event == "quarantine_discarded");
        assert_eq!(leaves.count(), 1, "{:?}", shown.evidence);
    }
    Ok(())
}

/// G1: what comes, or goes, between the count and the act is seen by the act.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_comes_after_the_count_is_not_discarded_with_the_others() -> anyhow::Result<()> {
    for bed in both()? {
        let (first, second, late) = (unreadable(b"first"), unreadable(b"second"), unreadable(b"late"));
        let all = [first.id, second.id, late.id];
        bed.ledger.quarantine(first).await?;
        bed.ledger.quarantine(second).await?;
        let seen = u32::try_from(bed.ledger.count_quarantined(waiting()).await?)?;
        bed.ledger.quarantine(late).await?;
        let one = |id: SubmissionId| QuarantineFilter {
            id: Some(id.to_string()),
            ..waiting()
        };
        let discard = async |filters, expected| {
            bed.ledger
                .discard_quarantined(filters, "a test".to_owned(), Some(expected), at(2))
                .await
        };
        let changed = |matched, expected| Err(DecideError::CountChanged { matched, expected });
        assert_eq!(discard(vec![waiting()], seen).await, changed(3, 2));
        assert_eq!(bed.ledger.count_quarantined(waiting()).await?, 3, "it was undone");
        for id in all {
            let shown = bed.ledger.show(id, at(3)).await?.context("shown")?;
            assert!(
                shown.evidence.iter().all(|leaf| leaf.event == "quarantined"),
                "{:?}",
                shown.evidence
            );
        }
        // The selected are one act, too.
        assert_eq!(discard(vec![one(all[0])], 1).await?, [all[0]]);
        assert_eq!(discard(all.map(one).to_vec(), 3).await, changed(2, 3));
        assert_eq!(bed.ledger.count_quarantined(waiting()).await?, 2);
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
