//! What arrives: versions, repeats, withdrawals, dates, and values that nobody expects.

use anyhow::Context as _;
use domain::event::{Dates, Source};
use domain::submission::Kind;
use domain::{DutyKind, DutyState, SubmissionId};
use futures::future::try_join_all;
use ledger::{Arrival, Counter, EventSaid, Ledger, NewSubmission, ReceiptAddress, Recorded, SubmissionFilter};
use store::StoreError;

use crate::bed::{arrival, at, both, correction_of, discharge, duty, message};

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_another_version_of_the_same_submission() -> anyhow::Result<()> {
    for bed in both()? {
        let first = message();
        bed.accept(first.clone()).await?;
        let second = correction_of(&first, 2);
        bed.accept(second.clone()).await?;

        let lineage = bed
            .ledger
            .lineage(first.identities.clone(), vec![b"answers".to_vec()])
            .await?;
        assert_eq!(lineage.ids, [first.id, second.id]);
        assert_eq!(lineage.latest, Some(second.id));
        assert_eq!(lineage.reference.as_ref(), Some(&first.reference));
        assert_eq!(lineage.fields, Some((24_323, b"fields".to_vec())));
        assert!(lineage.has_receipt);
        let same: Vec<bool> = lineage.known.iter().map(|known| known.same_answers).collect();
        assert_eq!(same, [true, false]);

        let shown = bed
            .ledger
            .show_reference(first.reference.as_str().to_owned(), at(1))
            .await?;
        assert_eq!(shown.context("the latest")?.id, second.id.to_string());
        let old = bed.ledger.show(first.id, at(1)).await?.context("the first")?;
        assert!(old.superseded);
        assert_eq!(old.evidence[0].event, "accepted");
        let all = bed.ledger.submissions(SubmissionFilter::default(), 10, at(1)).await?;
        assert_eq!(all.len(), 2);
        let figures = bed.figures().await?;
        assert_eq!((figures.arrived, figures.accepted, figures.open), (2, 2, 2));
    }
    Ok(())
}

/// P2: the same message at eight replicas at once makes one set of effects.
#[tokio::test(flavor = "multi_thread")]
async fn of_replicas_that_record_the_same_message_at_once_one_does() -> anyhow::Result<()> {
    for bed in both()? {
        let first = message();
        let replicas: Vec<_> = (0..8).map(|_| bed.replica()).collect();
        let tries = (0..100).map(|n| {
            let own = message();
            let again = NewSubmission {
                id: own.id,
                duties: own.duties,
                ..first.clone()
            };
            recorded(&replicas[n % 8], again)
        });
        let recorded = try_join_all(tries).await?;
        let accepted = recorded.iter().filter(|one| **one == Recorded::Accepted).count();
        assert_eq!(accepted, 1);
        assert_eq!(bed.figures().await?.accepted, 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_and_drafts_are_counted_and_the_site_is_told() -> anyhow::Result<()> {
    for bed in both()? {
        let id = bed.accept(message()).await?;
        bed.ledger
            .count(Counter::Duplicates, arrival(), Some(id), at(1))
            .await?;
        bed.ledger.count(Counter::Drafts, arrival(), None, at(1)).await?;
        let test = Arrival {
            test: true,
            ..arrival()
        };
        bed.ledger.count(Counter::Drafts, test, None, at(1)).await?;
        let figures = bed.figures().await?;
        assert_eq!(
            (figures.arrived, figures.duplicates.ignored, figures.drafts_ignored),
            (3, 1, 1)
        );
        assert_eq!(bed.ledger.figures(true, at(1)).await?.drafts_ignored, 1);

        let told = bed.ledger.outgoing("eksempel".to_owned(), 10, false).await?;
        let events: Vec<&str> = told.iter().map(|event| event.event.as_str()).collect();
        assert_eq!(events, ["accepted", "duplicate"]);
        assert_eq!(bed.ledger.outgoing_sites().await?, ["eksempel"]);
        assert_eq!(told[1].data.id.as_deref(), Some(id.to_string().as_str()));
        bed.ledger.told(told).await?;
        assert!(bed.ledger.outgoing("eksempel".to_owned(), 10, false).await?.is_empty());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_news_once_and_a_registration_is_kept_no_more() -> anyhow::Result<()> {
    for bed in both()? {
        let mut new = message();
        new.kind = Kind::Registration;
        new.duties = vec![duty(DutyKind::Extract, new.id)];
        let id = bed.accept(new).await?;
        assert!(!bed.ledger.is_withdrawn(vec![id]).await?);
        assert!(!bed.ledger.reached_department(vec![id]).await?);
        let replicas: Vec<_> = (0..4).map(|_| bed.replica()).collect();
        let said = replicas.iter().map(|replica| {
            let notice = duty(DutyKind::Notice, SubmissionId::new());
            replica.withdraw(arrival(), vec![id], Some(notice), at(1))
        });
        let news = try_join_all(said).await?;
        assert_eq!(news.iter().filter(|news| **news).count(), 1);
        assert!(bed.ledger.is_withdrawn(vec![id]).await?);
        let figures = bed.figures().await?;
        assert_eq!(figures.duplicates.ignored, 4);
        assert_eq!(figures.duties["notice"].ready, 1);
        assert_eq!(figures.duties["extract"].cancelled, 1);
        assert_eq!(bed.ledger.discharged(10).await?, [id]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sites_word_that_its_copy_is_gone_is_recorded_once() -> anyhow::Result<()> {
    for bed in both()? {
        let id = bed.accept(message()).await?;
        for _ in 0..2 {
            bed.ledger.site_copy_gone(arrival(), vec![id], at(1)).await?;
        }
        let shown = bed.ledger.show(id, at(1)).await?.context("shown")?;
        assert_eq!(shown.site_copy, "gone");
        assert_eq!(
            shown
                .evidence
                .iter()
                .filter(|leaf| leaf.event == "site_copy_gone")
                .count(),
            1
        );
        assert_eq!(bed.figures().await?.duplicates.ignored, 2);
    }
    Ok(())
}

/// E4: the first message's dates replace the form's, and later ones only postpone; also when many come at once.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_registrations_at_once_the_latest_date_stands() -> anyhow::Result<()> {
    for bed in both()? {
        let said = |deadline| EventSaid {
            id: "eksempel/anmeldelse/1".to_owned(),
            message: Dates {
                deadline: Some(at(deadline)),
                held: None,
            },
            form: Dates {
                deadline: Some(at(9999)),
                held: Some(at(5000)),
            },
        };
        let registration = |deadline| NewSubmission {
            kind: Kind::Registration,
            event: Some(said(deadline)),
            ..message()
        };
        let replicas: Vec<_> = (0..4).map(|_| bed.replica()).collect();
        let recorded = (0..20).map(|n| recorded(&replicas[n % 4], registration(100 + i64::try_from(n).unwrap())));
        try_join_all(recorded).await?;
        let dates = bed.ledger.event_dates("eksempel/anmeldelse/1".to_owned()).await?;
        assert_eq!(dates.deadline, Some((at(119), Source::Message)));
        assert_eq!(dates.held, Some((at(5000), Source::Form)));
        assert_eq!(bed.ledger.event_dates("another".to_owned()).await?, Dates::default());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_gets_no_more_receipts_than_it_may() -> anyhow::Result<()> {
    for bed in both()? {
        let to = ReceiptAddress {
            digest: b"address".to_vec(),
            digests: vec![b"address".to_vec()],
            lock: 4,
            since: at(-3600),
            most: 3,
        };
        let tries = (0..8).map(|_| {
            let new = NewSubmission {
                receipt: Some(to.clone()),
                ..message()
            };
            bed.ledger.record(new, false, at(0))
        });
        let recorded = try_join_all(tries).await?;
        assert_eq!(recorded.iter().filter(|one| **one == Recorded::Accepted).count(), 3);
        let had = async || anyhow::Ok(bed.ledger.standing(vec![], vec![], Some(to.clone())).await?.1);
        assert_eq!(had().await?, 3);
        bed.ledger.forget_windows(at(1)).await?;
        assert_eq!(had().await?, 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_brings_the_files_discharges_what_waited_for_them() -> anyhow::Result<()> {
    for bed in both()? {
        let mut first = message();
        let mut files = duty(DutyKind::Files, first.id);
        files.state = DutyState::Held;
        files.payload = None;
        first.duties = vec![files];
        bed.accept(first.clone()).await?;
        assert!(bed.ledger.discharged(10).await?.is_empty());
        let mut second = correction_of(&first, 2);
        second.brings_files = true;
        bed.accept(second).await?;
        assert_eq!(bed.ledger.discharged(10).await?, [first.id]);
        assert_eq!(bed.ledger.begin_deletion(vec![first.id], at(1)).await?, [first.id]);
    }
    Ok(())
}

/// A site may say what it likes in its ids and numbers: no value makes a message that can never be taken.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_nobody_expects_are_taken() -> anyhow::Result<()> {
    for bed in both()? {
        for sequence in [1, i64::MAX, i64::MIN, 0, i64::MAX, -1] {
            let mut new = message();
            new.arrival.ids = [
                Some("a\0b".to_owned()),
                Some("'; DROP TABLE duty; --".to_owned()),
                Some("\u{202e}ø$1?1\u{fffd}".to_owned()),
            ];
            new.arrival.sequence = Some(sequence);
            new.order.sequence = Some(sequence);
            let id = bed.accept(new.clone()).await?;
            for duty in &new.duties {
                discharge(&bed.ledger, duty.id).await?;
            }
            bed.ledger.finish_deletion(vec![id], at(3)).await?;
        }
        let told = bed.ledger.outgoing("eksempel".to_owned(), 1, false).await?;
        assert_eq!(told[0].data.uuid.as_deref(), Some("a\u{fffd}b"));
        assert_eq!(bed.figures().await?.deleted, 6);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_and_lateness_are_counted() -> anyhow::Result<()> {
    for bed in both()? {
        bed.ledger.record(message(), true, at(0)).await?;
        assert_eq!(bed.figures().await?.form_drift, 1);
        assert_eq!(bed.ledger.overdue(at(86_399)).await?, 0);
        assert_eq!(bed.ledger.overdue(at(86_401)).await?, 1);
        assert_eq!(bed.figures().await?.oldest_open_seconds, 60);
    }
    Ok(())
}

/// Records, and asks a store again that was busy or out of connections for the moment, as intake does.
async fn recorded(ledger: &Ledger, new: NewSubmission) -> Result<Recorded, StoreError> {
    loop {
        match ledger.record(new.clone(), false, at(0)).await {
            Err(error) if error.is_transient() => {}
            outcome => return outcome,
        }
    }
}
