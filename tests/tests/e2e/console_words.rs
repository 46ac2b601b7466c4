//! The words of the pages: in the language that a person reads, and true of what came of an action.

use std::collections::BTreeSet;

use anyhow::Context as _;
use jiff::SignedDuration;
use kvit_tests::console::{Served, form};
use kvit_tests::{Message, Service, TestBed, report, until};
use ledger::{Decision, DutyFilter, WorkerId};
use operate::find;
use serde_json::{Value, json};

/// G1: what is kept, why, and what refuses an action stand in the language that a person reads, with what to do next.
#[tokio::test(flavor = "multi_thread")]
async fn reasons_and_refusals_stand_in_the_language_of_the_page() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let services = bed.run(&[Service::Intake]).await?;
    let body = report(
        "00000000-0000-4000-8000-0000000000da",
        &json!({"e_mail": "b@borger.example"}),
    );
    bed.publish(&Message::json(&body)).await?;
    bed.publish(&Message::bytes("{")).await?;
    bed.until_arrived(2).await?;
    let id = bed.only_submission().await?.id;
    let cookie = console.log_in("operator").await?;
    for (language, kept, aside, refused) in [
        (
            "da",
            "Bevares, indtil denne pligt er løst: mail til afdeling (klar).",
            "spørg webstedet, og kassér den",
            "Ingen pligt med det id er i en tilstand, hvor det kan gøres: se listen over pligter.",
        ),
        (
            "en",
            "Kept until this duty is discharged: department mail (ready).",
            "ask the site, then discard it",
            "No duty with that id is in a state for this: see the list of duties.",
        ),
    ] {
        let cookie = format!("{cookie}; lang={language}");
        for (path, words) in [
            ("/submissions", kept),
            (&format!("/submissions/show?id={id}"), kept),
            ("/quarantine", aside),
        ] {
            let page = console.page(&cookie, path).await?;
            assert!(page.text.contains(words), "{path} {}", page.text);
        }
        let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
        let nothing = form(&[("id", "00000000-0000-4000-8000-000000000000")]);
        let answer = console.ask("/act/duty.release", &headers, Some(&nothing)).await?;
        assert!(answer.status == 422 && answer.text.contains(refused), "{}", answer.text);
    }
    services.stop().await
}

/// G1: what a schedule does, and how it went, stands in the language of the page; a dry run says that it did nothing.
#[tokio::test(flavor = "multi_thread")]
async fn schedules_and_their_runs_stand_in_the_language_of_the_page() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let services = bed.run(&[Service::Intake, Service::Scheduler]).await?;
    let body = report(
        "00000000-0000-4000-8000-0000000000db",
        &json!({"e_mail": "b@borger.example"}),
    );
    bed.publish(&Message::json(&body)).await?;
    bed.until_arrived(1).await?;
    let cookie = console.log_in("operator").await?;
    let ran = console.send(&cookie, "/act/schedule.run", &[("name", "keys")]).await?;
    assert_eq!(ran.status, 200, "{}", ran.text);
    for (language, daily, went, nothing, kept) in [
        (
            "da",
            "Kl. 06:00.",
            "kørt",
            "Kun en prøve: intet er gjort.",
            "Bevares, indtil denne pligt er løst",
        ),
        (
            "en",
            "At 06:00.",
            "done",
            "Only a dry run: nothing was done.",
            "Kept until this duty is discharged",
        ),
    ] {
        let cookie = format!("{cookie}; lang={language}");
        let list = console.page(&cookie, "/schedules").await?.text;
        let one = console.page(&cookie, "/schedules/show?name=keys").await?.text;
        for page in [&list, &one] {
            assert!(
                page.contains(daily) && page.contains(&format!(">{went}<small>")),
                "{page}"
            );
        }
        assert!(list.contains("href=\"/schedules/show?name=keys\""), "{list}");
        assert!(
            one.contains("certificates usable") && one.contains("/act/schedule.run"),
            "{one}"
        );
        let dry = [("name", "purge"), ("dry_run", "true")];
        let dry = console.send(&cookie, "/act/schedule.run", &dry).await?.text;
        assert!(dry.contains(nothing) && dry.contains(kept), "{dry}");
        assert!(!dry.contains("class=\"good\"") && !dry.contains(">false<"), "{dry}");
    }
    let unknown = console.page(&cookie, "/schedules/show?name=nightly").await?;
    assert_eq!(unknown.status, 400, "{}", unknown.text);
    services.stop().await
}

/// G1: a test mail that a person held meanwhile was not sent, and the page says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_test_mail_that_was_not_sent_is_a_failure_on_the_page() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let services = bed.run(&[Service::Intake]).await?;
    let cookie = format!("{}; lang=en", console.log_in("key-admin").await?);
    let hold = async {
        let row = until("the test mail's duty", async || Ok(bed.duties().await?.pop())).await?;
        let filter = DutyFilter {
            id: Some(row.id),
            ..DutyFilter::default()
        };
        let now = bed.clock().now();
        Ok(bed.ledger.decide(vec![filter], Decision::Hold, None, None, now).await?)
    };
    let department = [("department", "social")];
    let (answer, held) = tokio::try_join!(console.send(&cookie, "/act/key.test", &department), hold)?;
    assert_eq!((answer.status, held), (200, 1), "{}", answer.text);
    let why = "The test mail was not sent (held). A person decided it: release it or discard it.";
    assert!(answer.text.contains(why), "{}", answer.text);
    assert!(!answer.text.contains("class=\"good\""), "{}", answer.text);
    services.stop().await
}

/// G1: a message in quarantine can be decided about where it is shown, by whoever may; its list is not among submissions.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_quarantine_is_decided_about_on_its_page() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let services = bed.run(&[Service::Intake]).await?;
    bed.publish(&Message::bytes("{")).await?;
    bed.until_arrived(1).await?;
    let id = bed.quarantine().await?.pop().context("a message")?.id;
    let path = format!("/submissions/show?id={id}");
    let operator = format!("{}; lang=en", console.log_in("operator").await?);
    let viewer = format!("{}; lang=en", console.log_in("viewer").await?);
    let offers = format!("<input type=\"hidden\" name=\"ids\" value=\"{id}\">");
    let page = console.page(&operator, &path).await?.text;
    for words in [
        &offers,
        "quarantine.retry",
        "quarantine.discard",
        "ask the site, then discard it",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let page = console.page(&viewer, &path).await?.text;
    assert!(!page.contains("name=\"do\"") && page.contains("malformed"), "{page}");

    let again = console
        .send(&operator, "/act/quarantine.retry", &[("ids", &id)])
        .await?
        .text;
    assert!(
        again.contains("Not all were taken") && again.contains("refused again: malformed"),
        "{again}"
    );
    let confirm = console
        .page(&operator, &format!("/confirm?do=quarantine.discard&ids={id}"))
        .await?;
    assert!(confirm.text.contains("name=\"why\""), "{}", confirm.text);
    let given = [("ids", id.as_str()), ("why", "the site knows"), ("expect", "1")];
    assert_eq!(
        console.send(&operator, "/act/quarantine.discard", &given).await?.status,
        200
    );
    let page = console.page(&operator, &path).await?.text;
    assert!(page.contains("the site knows") && !page.contains(&offers), "{page}");
    let list = console.page(&operator, "/submissions").await?.text;
    assert!(
        list.contains("value=\"open\"") && !list.contains("value=\"quarantined\""),
        "{list}"
    );
    services.stop().await
}

/// G1: a list goes on where its page ends, with nothing twice and nothing left out; who did what is found by whom and what.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_where_its_page_ends() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let services = bed.run(&[Service::Intake]).await?;
    for n in 0..3 {
        let uuid = uuid::Uuid::from_u128(0xc000 + n).to_string();
        bed.publish(&Message::json(&report(&uuid, &json!({"e_mail": "b@borger.example"}))))
            .await?;
    }
    for n in 0..101 {
        bed.publish(&Message::bytes(format!("{{{n}"))).await?;
    }
    bed.until_arrived(104).await?;
    let operator = console.log_in("operator").await?;
    for until in ["2099-01-01T10:00", "2099-01-02T10:00"] {
        let pause = [
            ("what", "department"),
            ("name", "social"),
            ("why", "tried"),
            ("until", until),
        ];
        assert_eq!(console.send(&operator, "/act/pause", &pause).await?.status, 200);
    }
    let resume = [("what", "department"), ("name", "social")];
    assert_eq!(console.send(&operator, "/act/resume", &resume).await?.status, 200);

    let token = console.token("operator").await?;
    for (name, key, all) in [
        ("submission.list", "id", 3),
        ("duty.list", "id", 6),
        ("quarantine.list", "id", 101),
        ("act.list", "seq", 3),
    ] {
        let action = find(name).context("an action")?;
        let (mut seen, mut args) = (Vec::new(), json!({"limit": "2"}));
        loop {
            let rows = console.api(&token, action, &args).await?.json()?;
            let rows = rows.as_array().context("a list")?;
            let Some(last) = rows.last() else { break };
            args["after"] = last[key].to_string().trim_matches('"').into();
            seen.extend(rows.iter().map(|row| row[key].to_string()));
            assert!(seen.len() <= all, "{name} comes to no end: {seen:?}");
        }
        let whole = console.api(&token, action, &json!({})).await?.json()?;
        let whole: Vec<_> = whole
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| row[key].to_string())
            .collect();
        assert_eq!(seen.len(), all, "{name}");
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), all, "{name}");
        assert_eq!(seen, whole, "{name}");
    }

    let page = console.page(&operator, "/quarantine?reason=malformed").await?.text;
    let next = page
        .split("href=\"")
        .find(|rest| rest.contains("rel=\"next\""))
        .unwrap_or_default();
    let next = next.split('"').next().unwrap_or_default().replace("&#38;", "&");
    assert!(next.starts_with("/quarantine?reason=malformed&after="), "{next} {page}");
    let rest = console.page(&operator, &next).await?.text;
    assert_eq!(rest.matches("name=\"ids\"").count(), 1, "{rest}");
    assert!(
        rest.contains("href=\"/quarantine?reason=malformed\"") && !rest.contains("rel=\"next\""),
        "{rest}"
    );

    let acts = find("act.list").context("an action")?;
    for (args, many) in [
        (json!({"actor": "id-of-operator"}), 3),
        (json!({"actor": "id-of-viewer"}), 0),
        (json!({"event": "resumed"}), 1),
    ] {
        let found = console.api(&token, acts, &args).await?.json()?;
        assert_eq!(found.as_array().map(Vec::len), Some(many), "{args}: {found}");
    }
    // A person is found by the login that the page shows.
    let page = console
        .page(&operator, "/acts?actor=operator&event=resumed")
        .await?
        .text;
    assert_eq!(page.matches("<tr>").count(), 2, "{page}");
    services.stop().await
}

/// The overview has the numbers of the account, and a worker that fell silent.
#[tokio::test(flavor = "multi_thread")]
async fn the_overview_shows_the_account_and_who_fell_silent() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let services = bed.run(&[Service::Intake]).await?;
    bed.publish(&Message::bytes("{")).await?;
    bed.until_arrived(1).await?;
    let now = bed.clock().now();
    let (dead, forgotten) = (now - SignedDuration::from_mins(5), now - SignedDuration::from_hours(25));
    bed.ledger.beat(WorkerId::new(), "mailer", dead).await?;
    bed.ledger.beat(WorkerId::new(), "journaliser", forgotten).await?;
    let cookie = format!("{}; lang=en", console.log_in("viewer").await?);
    let page = console.page(&cookie, "/").await?.text;
    let account = "Arrived 1 = accepted 0 + in quarantine 1 + duplicates 0 + drafts 0";
    assert!(
        page.contains(account) && page.contains("Accepted 0 = open 0 + deleted 0"),
        "{page}"
    );
    assert_eq!(page.matches("Not heard of since").count(), 1, "{page}");
    assert!(page.contains(">mailer<") && !page.contains(">journaliser<"), "{page}");
    let status = console
        .api(
            &console.token("viewer").await?,
            find("status").context("an action")?,
            &json!({}),
        )
        .await?;
    let status: Value = status.json()?;
    let services_of = |rows: &Value| -> Vec<String> {
        let rows = rows.as_array().into_iter().flatten();
        rows.map(|row| row["service"].to_string()).collect()
    };
    assert_eq!(services_of(&status["workers"]), ["\"intake\""], "{status}");
    assert_eq!(services_of(&status["silent"]), ["\"mailer\""], "{status}");
    services.stop().await?;
    // One that stops properly leaves no trace.
    let page = console
        .api(
            &console.token("viewer").await?,
            find("status").context("an action")?,
            &json!({}),
        )
        .await?;
    assert_eq!(services_of(&page.json()?["silent"]), ["\"mailer\""], "{}", page.text);
    Ok(())
}
