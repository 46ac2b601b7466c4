//! Events, extracts and what is kept of registrations, on both engines.

use domain::event::Dates;
use domain::submission::Kind;
use domain::{DutyId, DutyKind, DutyState, SubmissionId};
use ledger::{EventSaid, KeptRegistration, NewDuty, NewExtract, NewSubmission, Payload, SetEvent};
use uuid::Uuid;

use crate::bed::{at, both, duty, message};

const EVENT: &str = "eksempel/anmeldelse";

fn registration() -> NewSubmission {
    let new = message();
    let extract = NewDuty {
        id: DutyId::new(),
        state: DutyState::Held,
        ..duty(DutyKind::Extract, new.id)
    };
    NewSubmission {
        kind: Kind::Registration,
        event: Some(EventSaid {
            id: EVENT.to_owned(),
            message: Dates::default(),
            form: Dates {
                deadline: Some(at(10)),
                held: Some(at(100)),
            },
        }),
        duties: vec![extract],
        ..new
    }
}

fn extract(covers: SubmissionId) -> NewExtract {
    let owner = Uuid::now_v7();
    NewExtract {
        id: Uuid::now_v7(),
        event: EVENT.to_owned(),
        department: "teknik-miljoe".parse().expect("a department"),
        test: false,
        confirm: "code",
        code: Some(b"digest".to_vec()),
        mail: duty(DutyKind::Notice, SubmissionId::new()),
        covers: vec![covers],
        kept: vec![KeptRegistration {
            submission: covers,
            payload: Payload {
                owner,
                purpose: "registration".to_owned(),
                sealed: b"sealed".to_vec(),
            },
        }],
        alone: true,
    }
}

/// E1, E2, E3
#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_extracted_confirmed_and_ended() -> anyhow::Result<()> {
    for bed in both()? {
        let ledger = &bed.ledger;
        let first = bed.accept(registration()).await?;
        let never = bed.accept(registration()).await?;
        assert!(ledger.to_extract(at(9)).await?.is_empty());
        assert_eq!(ledger.to_extract(at(10)).await?.len(), 1);
        assert_eq!(ledger.registered(EVENT.to_owned(), true).await?.len(), 2);
        assert!(ledger.record_extract(extract(first), at(11)).await?);
        assert!(!ledger.record_extract(extract(first), at(11)).await?, "it is covered");
        assert_eq!(ledger.registered(EVENT.to_owned(), true).await?.len(), 1);

        let made = ledger.extracts(None).await?;
        assert!(made.len() == 1 && made[0].awaited);
        let notice = duty(DutyKind::Notice, SubmissionId::new());
        ledger.reminded(made[0].id.clone(), 1, notice, at(12)).await?;
        assert_eq!(
            ledger.confirm_extract(made[0].id.clone(), "code", at(12)).await?,
            Some(1)
        );
        assert_eq!(ledger.confirm_extract(made[0].id.clone(), "code", at(12)).await?, None);
        assert_eq!(ledger.discharge_superseded(at(12)).await?, 0);
        assert_eq!(ledger.begin_deletion(vec![first, never], at(13)).await?, [first]);
        ledger.finish_deletion(vec![first], at(13)).await?;
        assert_eq!(ledger.addresses(EVENT.to_owned()).await?.len(), 1);
        let event = ledger.event(EVENT.to_owned()).await?.expect("the event");
        assert_eq!((event.open, event.unextracted, event.kept), (1, 1, 1));

        assert!(!ledger.forecast(None, at(99), 10).await?[0].goes);
        assert!(ledger.forecast(None, at(100), 10).await?[0].goes);
        assert!(ledger.begin_deletion(vec![never], at(99)).await?.is_empty());
        assert_eq!(ledger.begin_deletion(vec![never], at(100)).await?, [never]);
        let shown = ledger.show(never, at(100)).await?.expect("it is being deleted");
        assert!(shown.evidence.iter().any(|leaf| leaf.event == "extract_cancelled"));
        let ended = ledger.end_registrations(None, at(100), 10).await?;
        assert_eq!(ended.len(), 1);
        ledger.registrations_ended(ended, at(100)).await?;
        let shown = ledger.show(first, at(101)).await?.expect("a tombstone");
        assert_eq!(shown.registration, Some("deleted"));
        assert!(shown.evidence.iter().any(|leaf| leaf.event == "registration_deleted"));
    }
    Ok(())
}

/// E4
#[tokio::test(flavor = "multi_thread")]
async fn an_events_dates_and_end_are_recorded() -> anyhow::Result<()> {
    for bed in both()? {
        let ledger = &bed.ledger;
        let id = bed.accept(registration()).await?;
        let set = |held, cancelled| SetEvent {
            id: EVENT.to_owned(),
            site: "eksempel".to_owned(),
            form: "anmeldelse".to_owned(),
            deadline: None,
            held,
            cancelled,
        };
        ledger.set_event(set(Some(at(50)), false), at(1)).await?;
        ledger.set_event(set(None, true), at(2)).await?;
        let events = ledger.events().await?;
        assert_eq!((events[0].held, events[0].deadline), (Some(at(50)), Some(at(10))));
        assert_eq!(events[0].held_source.as_deref(), Some("operator"));
        assert_eq!(events[0].deadline_source.as_deref(), Some("form"));
        assert!(events[0].tag.is_some() && events[0].cancelled_at == Some(at(2)));
        assert!(ledger.held_and_untold(at(49)).await?.is_empty());
        assert_eq!(ledger.held_and_untold(at(50)).await?.len(), 1);
        assert!(!ledger.sent_of_event(EVENT.to_owned(), false).await?.0);
        let notice = duty(DutyKind::Notice, SubmissionId::new());
        ledger
            .told_of_end(EVENT.to_owned(), vec![notice], Some(b"code".to_vec()), at(51))
            .await?;
        assert!(ledger.held_and_untold(at(52)).await?.is_empty());
        assert!(ledger.event_erased(EVENT.to_owned(), at(52)).await?);
        let (versions, facts) = ledger.versions_of_registration(id).await?.expect("a registration");
        assert_eq!((versions, facts.test), (vec![id], false));
        assert!(ledger.withdraw_registration(vec![id], None, at(53)).await?);
        assert!(!ledger.withdraw_registration(vec![id], None, at(53)).await?);
    }
    Ok(())
}
