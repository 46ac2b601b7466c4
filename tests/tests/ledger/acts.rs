//! Who did what, and who sees that.

use domain::{DepartmentId, DutyKind, DutyState, Pausable, SubmissionId};
use jiff::tz::TimeZone;
use ledger::{ActFilter, Closed, Concerned, Marked, NewDuty, NewSubmission, Pause, SetEvent};

use crate::bed::{Bed, at, both, duty, message};

const ACTOR: &str = "uid:7";

/// The acts as `event on what by whom`, in the order in which they were done.
async fn acted(bed: &Bed, filter: ActFilter) -> anyhow::Result<Vec<String>> {
    let acts = bed.ledger.acted(filter, 100).await?;
    let words = |act: &ledger::ActRow| format!("{} {} {}", act.event, act.rule.as_deref().unwrap_or("–"), act.actor);
    Ok(acts.iter().rev().map(words).collect())
}

/// A submission with a copy for the journal that waits to be marked.
async fn unmarked(bed: &Bed) -> anyhow::Result<SubmissionId> {
    let mut new = message();
    new.duties = vec![NewDuty {
        role: "embedded".to_owned(),
        state: DutyState::Held,
        ..duty(DutyKind::Journal, new.id)
    }];
    bed.accept(new).await
}

/// What a person does with the journal is an act with its actor, once, and where nothing came of it, none.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_with_the_journal_names_who_did_it() -> anyhow::Result<()> {
    for bed in both()? {
        let (actor, ledger) = (|| ACTOR.to_owned(), &bed.ledger);
        let id = unmarked(&bed).await?;
        for marked in [Marked::Now(1), Marked::Before] {
            assert_eq!(ledger.mark(id, None, actor(), at(1)).await?, marked);
        }
        let to = |to: &str| ("embedded".to_owned(), to.to_owned());
        assert_eq!(ledger.retarget(Some(id), to("elsewhere"), actor(), at(2)).await?, 1);
        assert_eq!(ledger.retarget(Some(id), to("elsewhere"), actor(), at(3)).await?, 0);
        assert_eq!(
            ledger
                .close_case("none".to_owned(), TimeZone::UTC, actor(), at(4))
                .await?,
            Closed::Unknown
        );
        assert!(!ledger.annotate(id.to_string(), vec![1], actor(), at(5)).await?);
        ledger
            .handed_over("P-1".to_owned(), vec![id.to_string()], actor(), at(6))
            .await?;
        for known in ["P-1", "P-1", "P-2"] {
            let package = ledger.acknowledge(known.to_owned(), actor(), at(7)).await?;
            assert_eq!(package.is_some(), known == "P-1");
        }
        assert_eq!(
            acted(&bed, ActFilter::default()).await?,
            [
                format!("journal.mark {id} {ACTOR}"),
                format!("journal.retarget from embedded to elsewhere, matched 1 {ACTOR}"),
                format!("journal.handover P-1 {ACTOR}"),
                format!("journal.acknowledge P-1 {ACTOR}"),
            ]
        );
    }
    Ok(())
}

async fn event(bed: &Bed, form: &str) -> anyhow::Result<String> {
    let id = format!("eksempel/{form}/7");
    let set = SetEvent {
        id: id.clone(),
        site: "eksempel".to_owned(),
        form: form.to_owned(),
        deadline: Some(at(100)),
        held: None,
        cancelled: false,
    };
    bed.ledger.set_event(set, at(0)).await?;
    let row = bed.ledger.event(id).await?.expect("it was set");
    Ok(row.tag.expect("an event that was set has a name"))
}

/// G1: who has some departments sees what is done to theirs, and what that person did.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_of_some_departments_sees_their_acts_alone() -> anyhow::Result<()> {
    let social: DepartmentId = "social".parse()?;
    for bed in both()? {
        let other = message();
        let mut own = NewSubmission {
            department: social.clone(),
            ..message()
        };
        for duty in &mut own.duties {
            duty.department = Some(social.clone());
        }
        let mut seen = Vec::new();
        let (own_event, other_event) = (event(&bed, "fest").await?, event(&bed, "moede").await?);
        for (new, event, name, form, theirs) in [
            (own, own_event, "social", "fest", true),
            (other, other_event, "teknik-miljoe", "moede", false),
        ] {
            let (id, duty) = (new.id, new.duties[0].id);
            bed.accept(new).await?;
            for (act, on) in [
                ("duty.hold", duty.to_string()),
                ("duty.hold", format!("submission {id}, kind receipt, matched 1")),
                ("registration.withdraw", id.to_string()),
                ("event.cancel", event.clone()),
                ("registration.export", format!("{event} to archive")),
                ("key.test", name.to_owned()),
                ("key.add", format!("{name} 0123456789ABCDEF")),
            ] {
                bed.ledger.acts("id-1".to_owned(), act, on.clone(), at(1)).await?;
                if theirs {
                    seen.push(format!("{act} {on} id-1"));
                }
            }
            for (what, name) in [
                (Pausable::Department, name),
                (Pausable::Form, form),
                (Pausable::Queue, "kvit.duties.mail"),
            ] {
                let pause = Pause {
                    what,
                    name: name.to_owned(),
                    why: "a test".to_owned(),
                    actor: Some("id-1".to_owned()),
                    since: at(2),
                    until: None,
                };
                bed.ledger.pause(pause).await?;
                if theirs && what != Pausable::Queue {
                    seen.push(format!("paused {what} {name} id-1"));
                }
            }
        }
        bed.ledger
            .acts("id-2".to_owned(), "duty.retry", "matched 3".to_owned(), at(3))
            .await?;
        seen.push("duty.retry matched 3 id-2".to_owned());
        let of = |forms: &[&str]| {
            Some(Concerned {
                actor: "id-2".to_owned(),
                departments: vec![social.clone()],
                forms: forms
                    .iter()
                    .map(|form| ("eksempel".parse().expect("a site"), form.parse().expect("a form")))
                    .collect(),
            })
        };
        let filter = |forms: &[&str]| ActFilter {
            of: of(forms),
            ..ActFilter::default()
        };
        assert_eq!(acted(&bed, filter(&["fest"])).await?, seen);
        let without_forms = acted(&bed, filter(&[])).await?;
        assert_eq!(without_forms.len(), seen.len() - 3, "{without_forms:?}");
        let last = ActFilter {
            since: Some(at(3)),
            ..filter(&["fest"])
        };
        assert_eq!(acted(&bed, last).await?, ["duty.retry matched 3 id-2"]);
    }
    Ok(())
}
