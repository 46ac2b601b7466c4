//! What many submissions need at the same time is done together, and each is answered as if it were alone.

use domain::{DutyId, SubmissionId};
use futures::future::{join_all, try_join_all};
use ledger::{Arrival, NewSubmission, Outcome, Recorded, WorkerId};
use store::StoreError;

use crate::bed::{Bed, arrival, at, both, correction_of, message};

/// So many at once make several batches, of which the last is not full.
const MANY: usize = 150;

/// Records many messages, all at once.
async fn accept_many(bed: &Bed) -> anyhow::Result<Vec<NewSubmission>> {
    let new: Vec<NewSubmission> = (0..MANY).map(|_| message()).collect();
    try_join_all(new.iter().map(|new| bed.accept(new.clone()))).await?;
    Ok(new)
}

/// P2
#[tokio::test(flavor = "multi_thread")]
async fn of_equals_in_one_batch_one_is_taken() -> anyhow::Result<()> {
    for bed in both()? {
        let first = message();
        let again = (0..MANY).map(|_| NewSubmission {
            reference: message().reference,
            ..correction_of(&first, 1)
        });
        let recorded = try_join_all(again.map(|new| bed.ledger.record(new, false, at(0)))).await?;
        let accepted = recorded.iter().filter(|one| **one == Recorded::Accepted).count();
        assert_eq!(accepted, 1);
        assert_eq!(bed.figures().await?.accepted, 1);
        // Likewise of those that quote one reference.
        let first = message();
        let same = (0..MANY).map(|_| NewSubmission {
            reference: first.reference.clone(),
            ..message()
        });
        let recorded = try_join_all(same.map(|new| bed.ledger.record(new, false, at(0)))).await?;
        let accepted = recorded.iter().filter(|one| **one == Recorded::Accepted).count();
        assert_eq!(accepted, 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_taken_fails_alone() -> anyhow::Result<()> {
    for bed in both()? {
        let taken = message();
        bed.accept(taken.clone()).await?;
        let tries = (0..MANY).map(|number| {
            let mut new = message();
            if number % 50 == 7 {
                new.id = taken.id;
            }
            bed.ledger.record(new, false, at(0))
        });
        let recorded = join_all(tries).await;
        for (number, recorded) in recorded.into_iter().enumerate() {
            let expected = if number % 50 == 7 {
                Err(StoreError::Conflict)
            } else {
                Ok(Recorded::Accepted)
            };
            assert_eq!(recorded, expected, "number {number}");
        }
        assert_eq!(bed.figures().await?.accepted, i64::try_from(MANY)? - 3 + 1);
    }
    Ok(())
}

/// P2, A4: each mail is claimed once and settled once, and one of a submission's two mails begins its deletion.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_mails_that_are_done_together_one_begins_the_deletion() -> anyhow::Result<()> {
    for bed in both()? {
        let replicas: Vec<_> = (0..3).map(|_| bed.replica()).collect();
        let new = accept_many(&bed).await?;
        let ids: Vec<SubmissionId> = new.iter().map(|new| new.id).collect();
        let duties: Vec<DutyId> = new.iter().flat_map(|new| &new.duties).map(|duty| duty.id).collect();
        let worker = WorkerId::new();
        let mut twice: Vec<DutyId> = duties.iter().chain(&duties).copied().collect();
        twice.rotate_left(17);
        let claims = twice.iter().map(|id| bed.ledger.claim(*id, worker, at(1), at(21)));
        let claims: Vec<_> = try_join_all(claims).await?.into_iter().flatten().collect();
        assert_eq!(claims.len(), duties.len());
        assert!(claims.iter().all(|claim| !claim.ambiguous && claim.attempts == 1));
        // Every replica says of every duty that it is done, each in an order of its own.
        let says = replicas.iter().enumerate().flat_map(|(turn, replica)| {
            let mut mine = duties.clone();
            mine.rotate_left(turn * 41);
            let done = move |id| replica.settle(id, worker, Outcome::Done, None, at(2));
            mine.into_iter().map(done)
        });
        let settled = try_join_all(says).await?;
        assert_eq!(settled.iter().filter(|settled| settled.counted).count(), duties.len());
        let mut deleting: Vec<SubmissionId> = settled.iter().filter_map(|settled| settled.deleting).collect();
        deleting.sort_unstable();
        let mut expected = ids.clone();
        expected.sort_unstable();
        assert_eq!(deleting, expected);
        bed.ledger.finish_deletion(ids, at(3)).await?;
        assert_eq!(bed.figures().await?.deleted, i64::try_from(MANY)?);
        let told = bed.ledger.outgoing("eksempel".to_owned(), 1000, false).await?;
        assert_eq!(told.len(), 3 * MANY);
    }
    Ok(())
}

/// A claim whose lease has run out is among those that are due.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_left_is_claimed_among_what_is_due() -> anyhow::Result<()> {
    for bed in both()? {
        let new = accept_many(&bed).await?;
        let duties: Vec<DutyId> = new.iter().flat_map(|new| &new.duties).map(|duty| duty.id).collect();
        let (gone, worker) = (WorkerId::new(), WorkerId::new());
        for id in duties.iter().step_by(3) {
            bed.ledger.claim(*id, gone, at(1), at(21)).await?;
        }
        let claims = duties.iter().map(|id| bed.ledger.claim(*id, worker, at(22), at(42)));
        let claims: Vec<_> = try_join_all(claims).await?.into_iter().flatten().collect();
        assert_eq!(claims.len(), duties.len());
        let ambiguous = claims.iter().filter(|claim| claim.ambiguous).count();
        assert_eq!(ambiguous, duties.len() / 3);
        assert_eq!(
            bed.figures().await?.duplicates.possible_mail,
            i64::try_from(duties.len() / 3)?
        );
    }
    Ok(())
}

/// Gaps in a site's running number are the same however many come together.
#[tokio::test(flavor = "multi_thread")]
async fn running_numbers_that_come_together_are_counted_as_they_came() -> anyhow::Result<()> {
    for bed in both()? {
        let numbered = |sequence: i64| {
            let mut new = message();
            new.arrival.sequence = Some(sequence);
            new
        };
        bed.accept(numbered(1)).await?;
        // Every second up to 300; 150 are missing.
        let tries = (1..=150).map(|n| bed.ledger.record(numbered(2 * n), false, at(0)));
        try_join_all(tries).await?;
        assert_eq!(gaps(&bed).await?, 149);
        let late = (1..=75).map(|n| bed.ledger.record(numbered(2 * n + 1), false, at(0)));
        try_join_all(late).await?;
        assert_eq!(gaps(&bed).await?, 74);
    }
    Ok(())
}

async fn gaps(bed: &Bed) -> anyhow::Result<i64> {
    Ok(bed.ledger.sequence_gaps().await?.iter().map(|(_, gaps)| gaps).sum())
}

/// Counts of several sites and forms, of tests and others, go where they belong.
#[tokio::test(flavor = "multi_thread")]
async fn counts_of_one_batch_go_to_their_own_site_and_form() -> anyhow::Result<()> {
    for bed in both()? {
        let of = |number: usize| NewSubmission {
            arrival: Arrival {
                site: ["eksempel", "andet"][number % 2].parse().expect("a site"),
                test: number.is_multiple_of(3),
                ..arrival()
            },
            ..message()
        };
        let tries = (0..MANY).map(|number| bed.ledger.record(of(number), number.is_multiple_of(5), at(0)));
        try_join_all(tries).await?;
        let production = bed.figures().await?;
        assert_eq!((production.accepted, production.form_drift), (100, 20));
        let tests = bed.ledger.figures(true, at(60)).await?;
        assert_eq!((tests.accepted, tests.form_drift), (50, 10));
    }
    Ok(())
}

/// Each duty is done at its own time, and its submission is late by its own last mail.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_at_different_times_is_recorded_so() -> anyhow::Result<()> {
    for bed in both()? {
        let new = accept_many(&bed).await?;
        let worker = WorkerId::new();
        // Every third was sent much later than it should have been.
        let sent = |number: usize| if number.is_multiple_of(3) { at(86_000) } else { at(2) };
        let done = new.iter().enumerate().flat_map(|(number, new)| {
            let at = sent(number);
            let settle = |id| bed.ledger.settle(id, worker, Outcome::Done, None, at);
            new.duties
                .iter()
                .map(move |duty| duty.id)
                .map(settle)
                .collect::<Vec<_>>()
        });
        try_join_all(done).await?;
        assert_eq!(bed.ledger.backlog(at(90_000)).await?.missed, i64::try_from(MANY / 3)?);
    }
    Ok(())
}
