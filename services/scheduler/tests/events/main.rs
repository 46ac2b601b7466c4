//! Events and their registrations, from the deadline to the department's word that it has deleted its copies.

mod bed;
mod warnings;

use domain::State;
use jiff::SignedDuration;
use kvit_scheduler::cron::Job;
use ledger::SetEvent;
use serde_json::json;

use crate::bed::{Bed, EVENT, Registration, registration};

const BEFORE: &str = "2026-11-22T12:00:00Z";
const CLOSED: &str = "2026-12-01T23:00:00Z";

fn set(deadline: Option<&str>, held: Option<&str>, cancelled: bool) -> SetEvent {
    let time = |text: Option<&str>| text.map(|text| text.parse().expect("a time"));
    SetEvent {
        id: EVENT.to_owned(),
        site: "eksempel".to_owned(),
        form: "fest".to_owned(),
        deadline: time(deadline),
        held: time(held),
        cancelled,
    }
}

/// E1: deadline passed or not, extracted or not: one of the four deletes.
#[tokio::test]
async fn a_registration_goes_once_the_deadline_has_passed_and_its_list_is_confirmed() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "code")?;
    let id = bed.register(registration("=Åse", 1)).await?;
    bed.run(Job::Extract).await?;
    bed.run(Job::Purge).await?;
    assert!(bed.mails().await?.is_empty(), "nothing is sent before the deadline");
    assert_eq!(bed.state(id).await?, State::Open);

    bed.until(CLOSED)?;
    bed.run(Job::Extract).await?;
    let mails = bed.mails().await?;
    let [list] = mails.as_slice() else {
        panic!("{} mails", mails.len())
    };
    assert_eq!(list.role, "department");
    assert!(
        list.subject.starts_with("Sommerfest · E-") && list.subject.ends_with("· 1 tilmelding"),
        "{}",
        list.subject
    );
    let rows = list.file("tilmeldinger.csv");
    assert!(
        rows.starts_with("\u{feff}Reference,Modtaget,Udgave,Navn,E-mail\r\n"),
        "{rows}"
    );
    assert!(
        rows.contains("K-0000-0001,2026-11-22 13:00,1,'=Åse,aase@borger.example"),
        "{rows}"
    );
    assert_eq!(list.files.len(), 3);
    bed.run(Job::Purge).await?;
    assert_eq!(bed.state(id).await?, State::Open, "no confirmed extract covers it");

    assert!(!bed.confirm("0000-0000").await?);
    assert!(bed.confirm(&list.code().expect("a code")).await?);
    bed.run(Job::Purge).await?;
    assert_eq!(bed.state(id).await?, State::Deleted);
    assert!(!bed.has_key(id).await?);
    let figures = bed.ledger.figures(false, bed.now()).await?;
    assert_eq!(
        (
            figures.arrived_difference(),
            figures.accepted_difference(),
            figures.deleted
        ),
        (0, 0, 1)
    );
    Ok(())
}

/// E2
#[tokio::test]
async fn what_was_processed_after_the_list_makes_a_supplement_of_its_own() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "code")?;
    let first = bed.register(registration("Åse", 1)).await?;
    bed.until(CLOSED)?;
    bed.run(Job::Extract).await?;
    let lists = bed.mails().await?;
    let late = bed.register(registration("Bo", 2)).await?;
    bed.run(Job::Extract).await?;
    bed.run(Job::Extract).await?;
    let supplements = bed.mails().await?;
    let [supplement] = supplements.as_slice() else {
        panic!("{} mails", supplements.len())
    };
    assert!(supplement.subject.ends_with("(supplement)"), "{}", supplement.subject);
    let rows = supplement.file("tilmeldinger.csv");
    assert!(rows.contains("Bo") && !rows.contains("Åse"), "{rows}");

    bed.confirm(&lists[0].code().expect("a code")).await?;
    bed.run(Job::Purge).await?;
    assert_eq!(
        (bed.state(first).await?, bed.state(late).await?),
        (State::Deleted, State::Open)
    );
    Ok(())
}

/// E2: of several versions the valid one is listed, and the others go with it.
#[tokio::test]
async fn a_corrected_registration_is_listed_once() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "code")?;
    let first = bed.register(registration("Aase", 1)).await?;
    let second = bed
        .register(Registration {
            version: 2,
            ..registration("Åse", 1)
        })
        .await?;
    bed.until(CLOSED)?;
    bed.run(Job::Extract).await?;
    let lists = bed.mails().await?;
    let rows = lists[0].file("tilmeldinger.csv");
    assert!(rows.contains("Åse") && !rows.contains("Aase"), "{rows}");
    bed.confirm(&lists[0].code().expect("a code")).await?;
    bed.run(Job::Extract).await?;
    bed.run(Job::Purge).await?;
    assert_eq!(
        (bed.state(first).await?, bed.state(second).await?),
        (State::Deleted, State::Deleted)
    );
    assert!(bed.mails().await?.is_empty());
    Ok(())
}

/// E3: until then reference and address are kept; never extracted, it goes all the same.
#[tokio::test]
async fn nothing_of_a_registration_is_left_when_its_event_has_been_held() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "code")?;
    let extracted = bed.register(registration("Åse", 1)).await?;
    bed.until(CLOSED)?;
    bed.run(Job::Extract).await?;
    let code = bed.mails().await?[0].code().expect("a code");
    bed.confirm(&code).await?;
    bed.run(Job::Purge).await?;
    assert_eq!(bed.ledger.addresses(EVENT.to_owned()).await?.len(), 1);
    let owner = bed.ledger.addresses(EVENT.to_owned()).await?[0].payload.owner;
    let never = bed.register(registration("Bo", 2)).await?;

    bed.until("2026-12-08T20:00:00Z")?;
    bed.run(Job::Purge).await?;
    assert_eq!(
        (bed.state(extracted).await?, bed.state(never).await?),
        (State::Deleted, State::Deleted)
    );
    assert!(bed.ledger.addresses(EVENT.to_owned()).await?.is_empty());
    assert!(bed.vault.key(owner, vault::Purpose::Registration).await?.is_none());
    let shown = bed.ledger.show(never, bed.now()).await?.expect("a tombstone");
    assert!(shown.why.contains("has been held"), "{}", shown.why);
    Ok(())
}

/// E4
#[tokio::test]
async fn an_operators_dates_postpone_and_a_cancellation_extracts_at_once() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "code")?;
    let id = bed.register(registration("Åse", 1)).await?;
    bed.ledger
        .set_event(set(Some("2026-12-03T12:00:00Z"), None, false), bed.now())
        .await?;
    bed.until(CLOSED)?;
    bed.run(Job::Extract).await?;
    assert!(bed.mails().await?.is_empty(), "postponed");

    let cancel = set(Some(CLOSED), Some("2026-12-15T23:00:00Z"), true);
    bed.ledger.set_event(cancel, bed.now()).await?;
    bed.run(Job::Extract).await?;
    let code = bed.mails().await?[0].code().expect("a code");
    bed.confirm(&code).await?;
    bed.run(Job::Purge).await?;
    assert_eq!(bed.state(id).await?, State::Deleted);
    assert_eq!(
        bed.ledger.addresses(EVENT.to_owned()).await?.len(),
        1,
        "a cancellation can reach them"
    );
    // A message's date does not move what an operator set.
    bed.register(registration("Bo", 2)).await?;
    let event = bed.ledger.event(EVENT.to_owned()).await?.expect("the event");
    assert_eq!(event.deadline, Some(CLOSED.parse()?));
    Ok(())
}

/// E1: reminded after 1, 3 and 7 days, and once each.
#[tokio::test]
async fn a_list_without_its_code_is_reminded_of() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "code")?;
    bed.register(Registration {
        held: None,
        ..registration("Åse", 1)
    })
    .await?;
    bed.until(CLOSED)?;
    bed.run(Job::Extract).await?;
    bed.mails().await?;
    let mut reminders = Vec::new();
    for day in 0..10 {
        bed.run(Job::Extract).await?;
        bed.run(Job::Extract).await?;
        for mail in bed.mails().await? {
            assert!(
                mail.subject.contains("E-") && !mail.text.contains("Sommerfest"),
                "{}",
                mail.text
            );
            reminders.push(day);
        }
        bed.until(&(bed.now() + SignedDuration::from_hours(24)).to_string())?;
    }
    assert_eq!(reminders, [1, 3, 7]);
    Ok(())
}

/// E1
#[tokio::test]
async fn with_confirm_mail_the_mails_acceptance_confirms() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "mail")?;
    let id = bed.register(registration("Åse", 1)).await?;
    bed.until(CLOSED)?;
    bed.run(Job::Extract).await?;
    bed.run(Job::Extract).await?;
    bed.run(Job::Purge).await?;
    assert_eq!(bed.state(id).await?, State::Open, "the relay has not accepted it");
    let lists = bed.mails().await?;
    assert_eq!(lists[0].code(), None);
    bed.run(Job::Extract).await?;
    bed.run(Job::Purge).await?;
    assert_eq!(bed.state(id).await?, State::Deleted);
    Ok(())
}

/// E4: on the day after, in Copenhagen, and not before.
#[tokio::test]
async fn the_day_after_the_department_is_told_to_delete_once() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "mail")?;
    bed.register(registration("Åse", 1)).await?;
    bed.until(CLOSED)?;
    bed.run(Job::Extract).await?;
    bed.mails().await?;
    bed.until("2026-12-08T22:59:00Z")?;
    bed.run(Job::Extract).await?;
    assert!(bed.mails().await?.is_empty(), "it is still the day of the event");
    bed.until("2026-12-08T23:01:00Z")?;
    bed.run(Job::Extract).await?;
    bed.run(Job::Extract).await?;
    let notices = bed.mails().await?;
    let [notice] = notices.as_slice() else {
        panic!("{} mails", notices.len())
    };
    let code = vault::Code::read(&notice.code().expect("a code"))?;
    let event = bed.ledger.event(EVENT.to_owned()).await?.expect("the event");
    assert_eq!(event.erase_code, Some(code.digest(EVENT)));
    assert!(bed.ledger.event_erased(EVENT.to_owned(), bed.now()).await?);
    assert!(!bed.ledger.event_erased(EVENT.to_owned(), bed.now()).await?);
    Ok(())
}

/// E4
#[tokio::test]
async fn a_withdrawn_registration_is_not_listed_and_goes() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "code")?;
    let withdrawn = bed.register(registration("Åse", 1)).await?;
    bed.register(registration("Bo", 2)).await?;
    assert!(
        bed.ledger
            .withdraw_registration(vec![withdrawn], None, bed.now())
            .await?
    );
    bed.until(CLOSED)?;
    bed.run(Job::Extract).await?;
    let rows = bed.mails().await?[0].file("tilmeldinger.csv");
    assert!(rows.contains("Bo") && !rows.contains("Åse"), "{rows}");
    let waiting = bed.ledger.discharged(10).await?;
    assert_eq!(waiting, [withdrawn], "the sweep lets it go");
    Ok(())
}

fn asked(kind: &str, args: &serde_json::Value) -> ledger::Request {
    ledger::Request {
        id: uuid::Uuid::now_v7(),
        kind: kind.to_owned(),
        args: args.to_string(),
        result: None,
    }
}

/// E1, E2: an export before the deadline confirms nothing; one after it, to the same department, is the list again.
#[tokio::test]
async fn an_export_is_encrypted_recorded_and_confirms_only_after_the_deadline() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "code")?;
    let id = bed.register(registration("Åse", 1)).await?;
    let shutdown = tokio_util::sync::CancellationToken::new();
    let export = asked("registration_export", &json!({"event": EVENT, "to": "kultur"}));
    let answer = bed.scheduler.answer(&export, &shutdown).await?;
    assert_eq!(
        (&answer["registrations"], &answer["confirm"]),
        (&json!(1), &json!("none"))
    );
    let early = bed.mails().await?;
    assert_eq!((early[0].role.as_str(), early[0].code()), ("department", None));
    assert!(early[0].file("tilmeldinger.csv").contains("Åse"));

    bed.until(CLOSED)?;
    bed.run(Job::Extract).await?;
    assert_eq!(bed.mails().await?.len(), 1, "an export does not stand for the list");
    let again = bed.scheduler.answer(&export, &shutdown).await?;
    assert_eq!(again["confirm"], "code");
    let code = bed.mails().await?[0].code().expect("a code");
    assert!(bed.confirm(&code).await?);
    bed.run(Job::Purge).await?;
    assert_eq!(bed.state(id).await?, State::Deleted);
    let after = bed.scheduler.answer(&export, &shutdown).await?;
    assert_eq!((&after["registrations"], &after["addresses"]), (&json!(0), &json!(1)));
    let addresses = bed.mails().await?[0].file("tilmeldinger-slettede-tilmeldinger.csv");
    assert!(addresses.contains("K-0000-0001,aase@borger.example"), "{addresses}");
    Ok(())
}

/// E4: told only where the department has it already.
#[tokio::test]
async fn an_operator_withdraws_a_registration_and_the_department_is_told_if_it_was_extracted() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "code")?;
    let (early, late) = (
        bed.register(registration("Åse", 1)).await?,
        bed.register(registration("Bo", 2)).await?,
    );
    let shutdown = tokio_util::sync::CancellationToken::new();
    let withdraw = |id: domain::SubmissionId| asked("registration_withdraw", &json!({"id": id}));
    let answer = bed.scheduler.answer(&withdraw(early), &shutdown).await?;
    assert_eq!(
        (&answer["withdrawn"], &answer["department_told"]),
        (&json!(true), &json!(false))
    );
    bed.until(CLOSED)?;
    bed.run(Job::Extract).await?;
    let code = bed.mails().await?[0].code().expect("a code");
    bed.confirm(&code).await?;
    let answer = bed.scheduler.answer(&withdraw(late), &shutdown).await?;
    assert_eq!(answer["department_told"], true);
    assert!(bed.mails().await?[0].text.contains("K-0000-0002"));
    bed.run(Job::Purge).await?;
    assert!(
        bed.ledger.addresses(EVENT.to_owned()).await?.is_empty(),
        "nothing of it is kept"
    );
    Ok(())
}

/// E1, E3: the dry run says what the purge then does.
#[tokio::test]
async fn the_dry_run_foretells_the_purge() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "code")?;
    let id = bed.register(registration("Åse", 1)).await?;
    let foretold = async || anyhow::Ok(bed.ledger.forecast(None, bed.now(), 10).await?.remove(0));
    let before = foretold().await?;
    assert_eq!((before.goes, before.at), (false, Some("2026-12-08T20:00:00Z".parse()?)));
    bed.until("2026-12-08T20:00:00Z")?;
    let after = foretold().await?;
    assert!(after.goes && after.why.contains("has been held"), "{}", after.why);
    bed.run(Job::Purge).await?;
    assert_eq!(bed.state(id).await?, State::Deleted);
    Ok(())
}

/// A schedule that nothing ran for days is made good once when its service is back, and no more; two replicas that find
/// it so share that one run.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_while_down_is_run_once_on_return() -> anyhow::Result<()> {
    let bed = Bed::start(BEFORE, "code")?;
    let schedules = kvit_scheduler::cron::schedules(&bed.loaded.config)?;
    let schedule = schedules
        .into_iter()
        .find(|one| one.name == "purge")
        .expect("a schedule");
    // A replica that is told to stop looks once, and does what is due.
    let stopping = tokio_util::sync::CancellationToken::new();
    stopping.cancel();
    let look = || {
        let (scheduler, schedule) = (std::sync::Arc::clone(&bed.scheduler), schedule.clone());
        kvit_scheduler::engine::run(scheduler, schedule, stopping.clone())
    };
    let planned = async || -> anyhow::Result<Vec<String>> {
        let runs = bed.ledger.runs("purge".to_owned(), 10_000).await?;
        anyhow::ensure!(runs.iter().all(|run| run.ended_at.is_some()), "one did not end");
        Ok(runs.iter().rev().map(|run| run.planned_at.to_string()).collect())
    };
    look().await;
    assert!(planned().await?.is_empty(), "nothing was planned before it began");
    let first = BEFORE.parse()?;
    assert!(
        bed.ledger
            .begin_run("purge", first, ledger::WorkerId::new(), first)
            .await?
    );
    bed.ledger.end_run("purge", first, "done".to_owned(), first).await?;
    bed.until("2026-11-22T12:05:00Z")?;
    look().await;
    assert_eq!(planned().await?, [BEFORE, "2026-11-22T12:05:00Z"]);

    bed.until("2026-11-25T03:02:00Z")?;
    tokio::join!(tokio::spawn(look()), tokio::spawn(look()), tokio::spawn(look())).0?;
    look().await;
    let missed = "2026-11-25T03:00:00Z";
    assert_eq!(planned().await?, [BEFORE, "2026-11-22T12:05:00Z", missed]);
    bed.until("2026-11-25T03:05:00Z")?;
    look().await;
    assert_eq!(
        planned().await?.last().map(String::as_str),
        Some("2026-11-25T03:05:00Z")
    );
    Ok(())
}
