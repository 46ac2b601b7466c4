//! What is paused waits, and is neither tried nor given up because of that.

use anyhow::Context as _;
use domain::{DutyKind, Pausable};
use ledger::{NewSubmission, Pause, WorkerId};

use crate::bed::{Bed, at, both, duty, message};

async fn one_mail(bed: &Bed) -> anyhow::Result<NewSubmission> {
    let mut new = message();
    new.duties.truncate(1);
    bed.accept(new.clone()).await?;
    Ok(new)
}

fn pause(what: Pausable, name: &str, since: i64, until: Option<i64>) -> Pause {
    Pause {
        what,
        name: name.to_owned(),
        why: "the relay moves".to_owned(),
        actor: Some("uid:7".to_owned()),
        since: at(since),
        until: until.map(at),
    }
}

async fn resume(bed: &Bed, what: Pausable, name: &str, second: i64) -> anyhow::Result<bool> {
    let by = (Some("uid:7".to_owned()), None);
    Ok(bed.ledger.resume(what, name.to_owned(), by, at(second)).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duty_waits_while_its_department_form_or_queue_is_paused() -> anyhow::Result<()> {
    for bed in both()? {
        for (what, name, another) in [
            (Pausable::Department, "teknik-miljoe", "social"),
            (Pausable::Form, "anmeldelse", "tilmelding"),
            (Pausable::Queue, "kvit.duties.mail", "kvit.duties.journal"),
        ] {
            let (id, worker) = (one_mail(&bed).await?.duties[0].id, WorkerId::new());
            bed.ledger.pause(pause(what, name, 1, None)).await?;
            bed.ledger.pause(pause(what, another, 1, None)).await?;
            assert!(bed.ledger.due(DutyKind::ALL, at(9), 10).await?.is_empty(), "{what}");
            assert!(bed.ledger.claim(id, worker, at(9), at(29)).await?.is_none(), "{what}");

            assert!(resume(&bed, what, name, 10).await?);
            assert!(!resume(&bed, what, name, 10).await?, "it is over");
            assert_eq!(bed.ledger.pauses(at(10)).await?.len(), 1);
            assert_eq!(bed.ledger.due(DutyKind::ALL, at(11), 10).await?, [id], "{what}");
            let claim = bed.ledger.claim(id, worker, at(11), at(31)).await?.context("a claim")?;
            assert_eq!(claim.attempts, 1, "it was not tried meanwhile");
            bed.ledger
                .settle(id, worker, ledger::Outcome::Done, None, at(12))
                .await?;
            assert!(resume(&bed, what, another, 13).await?);
        }
        bed.figures().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_by_itself_and_says_until_then_why_a_submission_is_kept() -> anyhow::Result<()> {
    for bed in both()? {
        let new = one_mail(&bed).await?;
        let paused = pause(Pausable::Department, "teknik-miljoe", 1, Some(100));
        bed.ledger.pause(paused.clone()).await?;
        assert_eq!(bed.ledger.pauses(at(99)).await?, [paused]);
        let shown = bed.ledger.show(new.id, at(99)).await?.context("a submission")?;
        let words = format!(
            "kept because the mail to the department is not yet done; department teknik-miljoe is paused until {}: \
             the relay moves",
            at(100)
        );
        assert_eq!(shown.why, words);

        assert!(bed.ledger.pauses(at(100)).await?.is_empty());
        let shown = bed.ledger.show(new.id, at(100)).await?.context("a submission")?;
        assert!(!shown.why.contains("paused"), "{}", shown.why);
        assert_eq!(bed.ledger.due(DutyKind::ALL, at(100), 10).await?, [new.duties[0].id]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_in_which_a_duty_was_paused_is_known() -> anyhow::Result<()> {
    for bed in both()? {
        let id = one_mail(&bed).await?.duties[0].id;
        let elsewhere = one_mail_to(&bed, "social").await?;
        // Said anew at 20, over at 50 by itself; the form from 40 until it is resumed at 60.
        bed.ledger
            .pause(pause(Pausable::Department, "teknik-miljoe", 10, None))
            .await?;
        bed.ledger
            .pause(pause(Pausable::Department, "teknik-miljoe", 20, Some(50)))
            .await?;
        bed.ledger.pause(pause(Pausable::Form, "anmeldelse", 40, None)).await?;
        for (from, to, seconds) in [(0, 5, 0), (0, 30, 20), (0, 55, 45), (15, 55, 40)] {
            let paused = bed.ledger.paused_within(id, (at(from), at(to))).await?;
            assert_eq!(paused.as_secs(), seconds, "{from} to {to}");
        }
        assert!(resume(&bed, Pausable::Form, "anmeldelse", 60).await?);
        let paused = bed.ledger.paused_within(id, (at(0), at(1000))).await?;
        assert_eq!(paused.as_secs(), 50);
        let other = bed.ledger.paused_within(elsewhere, (at(0), at(1000))).await?;
        assert_eq!(other.as_secs(), 20, "only its form was paused");
    }
    Ok(())
}

async fn one_mail_to(bed: &Bed, department: &str) -> anyhow::Result<domain::DutyId> {
    let mut new = message();
    new.duties = vec![duty(DutyKind::DepartmentMail, new.id)];
    new.duties[0].department = Some(department.parse()?);
    let id = new.duties[0].id;
    bed.accept(new).await?;
    Ok(id)
}

/// Every act of a person is in the evidence log, with who did it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_its_end_are_evidence() -> anyhow::Result<()> {
    for bed in both()? {
        bed.ledger.pause(pause(Pausable::Form, "anmeldelse", 1, None)).await?;
        assert!(resume(&bed, Pausable::Form, "anmeldelse", 2).await?);
        bed.ledger
            .sequence(WorkerId::new(), "kvit".to_owned(), (at(3), at(30)), 10)
            .await?;
        let year = at(3).to_zoned(jiff::tz::TimeZone::UTC).year();
        let leaves = bed.ledger.evidence_leaves(year, 0, 10).await?;
        let said: Vec<_> = leaves
            .iter()
            .map(|leaf| (leaf.event.as_str(), leaf.rule.as_deref(), leaf.actor.as_deref()))
            .collect();
        let (rule, actor) = (Some("form anmeldelse"), Some("uid:7"));
        assert_eq!(said, [("paused", rule, actor), ("resumed", rule, actor)]);
    }
    Ok(())
}
