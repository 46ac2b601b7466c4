//! Claiming, settling, deciding: one worker has a duty, and the first settle counts.

use anyhow::Context as _;
use domain::{DutyId, DutyKind, DutyState, Reason};
use futures::future::try_join_all;
use ledger::{DecideError, Decision, DutyFilter, NewSubmission, Outcome, WorkerId};

use crate::bed::{Bed, at, both, discharge, duty, message};

async fn one_mail(bed: &Bed) -> anyhow::Result<NewSubmission> {
    let mut new = message();
    new.duties.truncate(1);
    bed.accept(new.clone()).await?;
    Ok(new)
}

/// P2
#[tokio::test(flavor = "multi_thread")]
async fn of_workers_that_claim_at_once_one_gets_the_duty() -> anyhow::Result<()> {
    for bed in both()? {
        let replicas: Vec<_> = (0..8).map(|_| bed.replica()).collect();
        for _ in 0..20 {
            let id = one_mail(&bed).await?.duties[0].id;
            let claims = replicas
                .iter()
                .map(|replica| replica.claim(id, WorkerId::new(), at(1), at(21)));
            let claims: Vec<_> = try_join_all(claims).await?.into_iter().flatten().collect();
            assert_eq!(claims.len(), 1);
            assert!(!claims[0].ambiguous);
            assert_eq!(claims[0].attempts, 1);
            // Its worker dies: of those who come afterwards, again one gets it.
            let claims = replicas
                .iter()
                .map(|replica| replica.claim(id, WorkerId::new(), at(22), at(42)));
            let claims: Vec<_> = try_join_all(claims).await?.into_iter().flatten().collect();
            assert_eq!(claims.len(), 1);
            assert!(claims[0].ambiguous);
            assert_eq!(claims[0].attempts, 2);
        }
        assert_eq!(bed.figures().await?.duplicates.possible_mail, 20);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_lasts_as_long_as_its_worker_says() -> anyhow::Result<()> {
    for bed in both()? {
        let new = one_mail(&bed).await?;
        let (id, worker, other) = (new.duties[0].id, WorkerId::new(), WorkerId::new());
        assert!(
            bed.ledger.claim(id, worker, at(-1), at(19)).await?.is_none(),
            "it is not due yet"
        );
        let claim = bed.ledger.claim(id, worker, at(1), at(21)).await?.context("a claim")?;
        assert_eq!(claim.reference.as_deref(), Some(new.reference.as_str()));
        assert_eq!(claim.payload.context("a payload")?.sealed, b"sealed");
        bed.ledger.extend(worker, vec![id], at(60)).await?;
        bed.ledger.extend(other, vec![id], at(9)).await?;
        assert!(bed.ledger.claim(id, other, at(59), at(99)).await?.is_none());
        assert!(bed.ledger.due(DutyKind::ALL, at(59), 10).await?.is_empty());
        assert_eq!(bed.ledger.due(DutyKind::ALL, at(61), 10).await?, [id]);
        assert!(bed.ledger.due(&[DutyKind::Journal], at(61), 10).await?.is_empty());
    }
    Ok(())
}

/// A worker with many duties in hand says which payloads it takes at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_larger_than_asked_for_is_read_by_itself() -> anyhow::Result<()> {
    for bed in both()? {
        for (most, larger) in [(6, None), (5, Some(6)), (0, Some(6))] {
            let id = one_mail(&bed).await?.duties[0].id;
            let claim = bed.ledger.claim_up_to(most, id, WorkerId::new(), at(1), at(21)).await?;
            let claim = claim.context("a claim")?;
            assert_eq!(claim.larger, larger);
            assert_eq!(claim.payload.is_some(), larger.is_none());
            let payload = bed.ledger.payload(id).await?.context("a payload")?;
            assert_eq!(payload.sealed, b"sealed");
        }
        assert!(bed.ledger.payload(DutyId::new()).await?.is_none());
    }
    Ok(())
}

/// D2
#[tokio::test(flavor = "multi_thread")]
async fn what_happened_counts_lease_or_not_and_what_did_not_only_from_its_worker() -> anyhow::Result<()> {
    for bed in both()? {
        let new = one_mail(&bed).await?;
        let (id, slow, quick) = (new.duties[0].id, WorkerId::new(), WorkerId::new());
        bed.ledger.claim(id, slow, at(1), at(21)).await?.context("a claim")?;
        bed.ledger
            .claim(id, quick, at(30), at(50))
            .await?
            .context("a second claim")?;
        let ignored = bed
            .ledger
            .settle(id, slow, Outcome::Hold(Reason::Smtp(550)), None, at(31))
            .await?;
        assert!(!ignored.counted, "another worker has it");
        let counted = bed.ledger.settle(id, slow, Outcome::Done, None, at(32)).await?;
        assert_eq!((counted.counted, counted.deleting), (true, Some(new.id)));
        let late = bed.ledger.settle(id, quick, Outcome::Done, None, at(33)).await?;
        assert!(!late.counted);
        assert!(bed.ledger.claim(id, quick, at(99), at(120)).await?.is_none());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_leaves_the_duty_as_it_says() -> anyhow::Result<()> {
    let outcomes = [
        (Outcome::Done, "done", None),
        (
            Outcome::Retry {
                at: at(99),
                reason: Some(Reason::Smtp(451)),
            },
            "ready",
            Some("smtp_451"),
        ),
        (Outcome::Unknown { at: at(99) }, "ready", None),
        (Outcome::Hold(Reason::Expired), "held", Some("expired")),
        (Outcome::Fail(None), "failed", None),
        (
            Outcome::Cancel(Reason::Undeliverable),
            "cancelled",
            Some("undeliverable"),
        ),
    ];
    for bed in both()? {
        for (outcome, state, reason) in outcomes {
            let new = one_mail(&bed).await?;
            let (id, worker) = (new.duties[0].id, WorkerId::new());
            bed.ledger.claim(id, worker, at(1), at(21)).await?.context("a claim")?;
            let follows = duty(DutyKind::Notice, new.id);
            let settled = bed.ledger.settle(id, worker, outcome, Some(follows), at(2)).await?;
            assert!(settled.counted);
            let filter = DutyFilter {
                id: Some(id.to_string()),
                ..DutyFilter::default()
            };
            let row = bed.ledger.duties(filter, 10).await?.pop().context("the duty")?;
            assert_eq!((row.state.as_str(), row.reason.as_deref()), (state, reason));
        }
        let figures = bed.figures().await?;
        assert_eq!(figures.duplicates.possible_mail, 1);
        assert_eq!(figures.duties["notice"].ready, 6);
    }
    Ok(())
}

/// D1: of the two last duties, settled at the same moment by two workers, one begins the deletion.
#[tokio::test(flavor = "multi_thread")]
async fn two_last_duties_settled_at_once_begin_the_deletion() -> anyhow::Result<()> {
    for bed in both()? {
        let replicas = [bed.replica(), bed.replica()];
        for _ in 0..40 {
            let new = message();
            bed.accept(new.clone()).await?;
            let settled = replicas
                .iter()
                .zip(&new.duties)
                .map(|(replica, duty)| discharge(replica, duty.id));
            let settled = try_join_all(settled).await?;
            assert_eq!(settled.iter().filter_map(|one| one.deleting).count(), 1);
        }
        assert_eq!(bed.ledger.deleting(100).await?.len(), 40);
    }
    Ok(())
}

/// G1: what begins between the count and the act is seen by the act, for all that match and for the selected.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_about_as_many_duties_as_the_person_saw_or_about_none() -> anyhow::Result<()> {
    for bed in both()? {
        let first = one_mail(&bed).await?.duties[0].id;
        let all = || DutyFilter {
            kind: Some("department_mail".to_owned()),
            ..DutyFilter::default()
        };
        let one = |id: DutyId| DutyFilter {
            id: Some(id.to_string()),
            ..DutyFilter::default()
        };
        let seen = u32::try_from(bed.ledger.count_decidable(all(), Decision::Hold).await?)?;
        let late = one_mail(&bed).await?.duties[0].id;
        let hold = async |filters, expected| {
            let held = bed.ledger.decide(filters, Decision::Hold, None, Some(expected), at(2));
            held.await
        };
        let changed = |matched, expected| Err(DecideError::CountChanged { matched, expected });
        assert_eq!(hold(vec![all()], seen).await, changed(2, 1));
        assert_eq!(
            bed.ledger.count_decidable(all(), Decision::Hold).await?,
            2,
            "none is held"
        );

        let worker = WorkerId::new();
        bed.ledger
            .claim(late, worker, at(3), at(23))
            .await?
            .context("a claim")?;
        assert_eq!(hold(vec![one(first), one(late)], 2).await, changed(1, 2));
        assert_eq!(
            bed.ledger.count_decidable(all(), Decision::Hold).await?,
            1,
            "none is held"
        );
        assert_eq!(hold(vec![one(first), one(late)], 1).await, Ok(1));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_decides_over_what_no_worker_has_in_hand() -> anyhow::Result<()> {
    for bed in both()? {
        let (free, taken) = (one_mail(&bed).await?, one_mail(&bed).await?);
        let worker = WorkerId::new();
        bed.ledger
            .claim(taken.duties[0].id, worker, at(1), at(21))
            .await?
            .context("a claim")?;
        let all = || DutyFilter {
            kind: Some("department_mail".to_owned()),
            form: Some("anmeldelse".to_owned()),
            site: Some("eksempel".to_owned()),
            since: Some(at(-1)),
            ..DutyFilter::default()
        };
        assert_eq!(bed.ledger.count_decidable(all(), Decision::Hold).await?, 1);
        let why = || Some("a holiday".to_owned());
        assert_eq!(
            bed.ledger
                .decide(vec![all()], Decision::Hold, why(), Some(1), at(2))
                .await?,
            1
        );
        assert!(
            bed.ledger
                .claim(free.duties[0].id, worker, at(3), at(23))
                .await?
                .is_none()
        );
        assert_eq!(
            bed.ledger
                .decide(vec![all()], Decision::Release, why(), None, at(4))
                .await?,
            1
        );
        assert_eq!(
            bed.ledger
                .decide(vec![all()], Decision::Retry, why(), None, at(5))
                .await?,
            1
        );
        assert_eq!(
            bed.ledger
                .decide(vec![all()], Decision::Discard, why(), None, at(6))
                .await?,
            1
        );
        let shown = bed.ledger.show(free.id, at(7)).await?.context("shown")?;
        assert_eq!(
            (shown.state.as_str(), shown.duties[0].state.as_str()),
            ("deleting", "cancelled")
        );
        let rows = bed.ledger.duties(all(), 10).await?;
        assert_eq!(
            rows.iter()
                .filter(|row| row.why.as_deref() == Some("a holiday"))
                .count(),
            1
        );
        let done = bed
            .ledger
            .settle(taken.duties[0].id, worker, Outcome::Done, None, at(8))
            .await?;
        assert!(done.counted, "the worker's was left alone");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_waits_for_a_certificate_is_composed_once() -> anyhow::Result<()> {
    for bed in both()? {
        let mut new = message();
        new.duties.truncate(1);
        new.duties[0].state = DutyState::Held;
        new.duties[0].reason = Some(Reason::Expired);
        new.duties[0].payload.as_mut().context("a payload")?.purpose = "intake".to_owned();
        let (id, held) = (bed.accept(new.clone()).await?, new.duties[0].id);
        let waiting = bed.ledger.waiting_for_intake().await?;
        assert_eq!(waiting[0].0, held);
        assert_eq!(waiting[0].2, Some(Reason::Expired));
        bed.ledger.held_because(held, Reason::Revoked).await?;
        let claim = bed.ledger.held(held).await?.context("held")?;
        assert_eq!(claim.reason, Some(Reason::Revoked));
        let replicas: Vec<_> = (0..4).map(|_| bed.replica()).collect();
        let composed = replicas
            .iter()
            .map(|replica| replica.composed(held, id, vec![duty(DutyKind::DepartmentMail, id)], at(1)));
        let composed = try_join_all(composed).await?;
        assert_eq!(composed.iter().filter(|one| **one).count(), 1);
        assert!(bed.ledger.held(held).await?.is_none());
        assert_eq!(bed.figures().await?.duties["department_mail"].ready, 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_about_no_single_submission_is_a_duty_like_others() -> anyhow::Result<()> {
    for bed in both()? {
        let notice = duty(DutyKind::Notice, domain::SubmissionId::new());
        let id = notice.id;
        bed.ledger.add_notice(notice, at(0)).await?;
        let settled = discharge(&bed.ledger, id).await?;
        assert_eq!((settled.counted, settled.deleting), (true, None));
    }
    Ok(())
}

/// What the overview and the alarm on the objective count: of each submission whose mails are owed too long, one; a duty
/// that a person began anew is no younger for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_missed_once_while_any_of_its_mails_is_owed_too_long() -> anyhow::Result<()> {
    for bed in both()? {
        let (new, test) = (message(), message());
        bed.accept(new.clone()).await?;
        let test = NewSubmission {
            arrival: ledger::Arrival {
                test: true,
                ..test.arrival
            },
            ..test
        };
        bed.accept(test).await?;
        assert_eq!(bed.ledger.backlog(at(300)).await?.missed, 0);
        let backlog = bed.ledger.backlog(at(301)).await?;
        assert_eq!((backlog.missed, backlog.oldest_duties["receipt"]), (1, 301));
        let all = DutyFilter {
            id: Some(new.duties[0].id.to_string()),
            ..DutyFilter::default()
        };
        assert_eq!(
            bed.ledger
                .decide(vec![all], Decision::Retry, None, None, at(301))
                .await?,
            1
        );
        discharge(&bed.ledger, new.duties[1].id).await?;
        let backlog = bed.ledger.backlog(at(302)).await?;
        assert_eq!((backlog.missed, backlog.oldest_duties["department_mail"]), (1, 1));
        let (id, worker) = (new.duties[0].id, WorkerId::new());
        let claim = bed.ledger.claim(id, worker, at(303), at(323)).await?;
        assert!(claim.is_some(), "it is due");
        bed.ledger.settle(id, worker, Outcome::Done, None, at(304)).await?;
        let backlog = bed.ledger.backlog(at(700)).await?;
        assert_eq!(
            (backlog.missed, backlog.oldest_duties["receipt"]),
            (1, 0),
            "it was done too late"
        );
    }
    Ok(())
}
