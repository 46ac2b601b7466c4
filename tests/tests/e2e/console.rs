//! The console: who may do what, what a browser may be made to do, and that nobody's words run in it.

use std::time::Duration;

use anyhow::Context as _;
use kvit_tests::console::{PEOPLE, Served, form};
use kvit_tests::{Message, Service, TestBed, report, until};
use operate::ACTIONS;
use serde_json::json;
use tokio::time::timeout;

pub(crate) const PAGES: [&str; 9] = [
    "/submissions",
    "/quarantine",
    "/duties",
    "/pauses",
    "/schedules",
    "/events",
    "/keys",
    "/evidence",
    "/acts",
];

/// G1, G7: every role and every action, on the page and in the API. An allowed action is refused for its missing
/// arguments at most.
#[tokio::test(flavor = "multi_thread")]
async fn every_role_may_do_what_the_table_says_and_nothing_else() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    for (login, role, _) in PEOPLE {
        let (cookie, token) = (console.log_in(login).await?, console.token(login).await?);
        for action in ACTIONS {
            let may = action.roles.iter().any(|allowed| allowed.as_str() == role);
            let answer = console.api(&token, action, &json!({})).await?;
            assert_eq!(answer.status != 403, may, "{login}: {} {answer:?}", action.path());
            if action.changes {
                let answer = console.send(&cookie, &format!("/act/{}", action.name), &[]).await?;
                assert_eq!(answer.status != 403, may, "{login}: /act/{} {answer:?}", action.name);
            }
        }
    }
    // The page shows a person only what the person may do.
    let viewer = console.log_in("viewer").await?;
    let pauses = console.page(&viewer, "/pauses").await?;
    assert!(
        pauses.status == 200 && !pauses.text.contains("/act/pause"),
        "{}",
        pauses.text
    );
    let operator = console.log_in("operator").await?;
    assert!(console.page(&operator, "/pauses").await?.text.contains("/act/pause"));
    Ok(())
}

/// G1: nobody is let in unasked, and a password cannot be tried for long.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_the_password_and_few_tries_are_let_happen() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    for action in ACTIONS {
        assert_eq!(
            console.api("Bearer nobody", action, &json!({})).await?.status,
            401,
            "{}",
            action.name
        );
    }
    for path in PAGES.iter().chain(&[
        "/",
        "/submissions/show?id=x",
        "/events/show?event=x",
        "/confirm?do=duty.retry",
    ]) {
        let answer = console.page("kvit=nobody", path).await?;
        assert_eq!(
            (answer.status, &answer.headers["location"]),
            (303, &"/login".parse()?),
            "{path}"
        );
    }
    assert_eq!(console.page("", "/live").await?.status, 401);
    let cookie = console.log_in("viewer").await?;
    assert_eq!(console.page(&cookie, "/").await?.status, 200);
    let out = console.send(&cookie, "/logout", &[]).await?;
    assert_eq!(out.status, 303);
    assert_eq!(console.page(&cookie, "/").await?.status, 303, "the session has ended");

    let try_one = async |login: &str| {
        let body = form(&[("login", login), ("password", "wrong")]);
        let answer = console
            .ask("/login", &[("sec-fetch-site", "same-origin")], Some(&body))
            .await?;
        anyhow::Ok(answer.status)
    };
    for _ in 0..10 {
        assert_eq!(try_one("viewer").await?, 401);
    }
    assert_eq!(try_one("viewer").await?, 429);
    assert!(
        console.log_in("viewer").await.is_err(),
        "the right password does not help then"
    );
    Ok(())
}

/// G1: no other page can make a browser act; every answer says what the browser may do with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_page_sends_is_refused() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let cookie = console.log_in("operator").await?;
    let host = console.url("").replace("http://", "");
    let pause = form(&[("what", "department"), ("name", "social"), ("why", "moved")]);
    let posts = ACTIONS.iter().filter(|action| action.changes);
    let paths = posts.flat_map(|action| [format!("/act/{}", action.name), action.path()]);
    for path in paths.chain(["/logout".to_owned(), "/login".to_owned(), "/language".to_owned()]) {
        let foreign: [&[(&str, &str)]; 5] = [
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[],
        ];
        for headers in foreign {
            let mut all = vec![("cookie", cookie.as_str())];
            all.extend(headers);
            let answer = console.ask(&path, &all, Some(&pause)).await?;
            assert_eq!(answer.status, 403, "{path} {headers:?} {answer:?}");
        }
    }
    assert!(
        bed.ledger.pauses(bed.clock().now()).await?.is_empty(),
        "nothing was done"
    );
    let origin = format!("http://{host}");
    let own = [("cookie", cookie.as_str()), ("origin", origin.as_str())];
    assert_eq!(console.ask("/act/pause", &own, Some(&pause)).await?.status, 200);

    let answer = console.page(&cookie, "/").await?;
    let policy = answer.headers["content-security-policy"].to_str()?;
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!answer.text.contains("<script>") && !answer.text.contains("style=") && !answer.text.contains("onclick"));
    let body = form(&[("login", "operator"), ("password", kvit_tests::console::PASSWORD)]);
    let login = console
        .ask("/login", &[("sec-fetch-site", "same-origin")], Some(&body))
        .await?;
    let set = login.headers["set-cookie"].to_str()?;
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    Ok(())
}

/// G1: words that others chose are shown, and are nothing but words.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_words_are_shown_inert() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let cookie = console.log_in("operator").await?;
    let hostile = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}";
    let paused = console
        .send(
            &cookie,
            "/act/pause",
            &[("what", "department"), ("name", "social"), ("why", hostile)],
        )
        .await?;
    assert_eq!(paused.status, 200, "{}", paused.text);
    let query = form(&[
        ("form", hostile),
        ("site", hostile),
        ("state", hostile),
        ("reason", hostile),
        ("since", hostile),
    ]);
    let id = form(&[("id", hostile), ("event", hostile)]);
    let mut shown = vec![paused];
    for path in PAGES {
        shown.push(console.page(&cookie, path).await?);
        shown.push(console.page(&cookie, &format!("{path}?{query}")).await?);
    }
    for path in [
        "/",
        &format!("/submissions/show?{id}"),
        &format!("/events/show?{id}"),
        &format!("/confirm?do=duty.retry&{id}"),
    ] {
        shown.push(console.page(&cookie, path).await?);
    }
    let login = form(&[("login", hostile), ("password", hostile)]);
    shown.push(
        console
            .ask("/login", &[("sec-fetch-site", "same-origin")], Some(&login))
            .await?,
    );
    for answer in &shown {
        assert!(
            !answer.text.contains("<script>alert") && !answer.text.contains("<img"),
            "{}",
            answer.text
        );
        assert!(answer.status < 500, "{answer:?}");
    }
    assert!(
        shown.iter().filter(|answer| answer.text.contains("alert(1)")).count() > 2,
        "it is shown, escaped"
    );
    Ok(())
}

/// G1: a person of one department sees and changes nothing of another; no page or answer has what a citizen wrote.
#[tokio::test(flavor = "multi_thread")]
async fn another_departments_business_is_not_shown_and_no_answer_of_a_form_ever() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let services = bed.run(&[Service::Intake]).await?;
    let canary = "Kanariefugl";
    let body = report(
        "00000000-0000-4000-8000-00000000c0de",
        &json!({"e_mail": "kanariefugl@borger.example", "navn": canary}),
    );
    bed.publish(&Message::json(&body)).await?;
    bed.publish(&Message::bytes(format!("{{{canary}"))).await?;
    bed.until_arrived(2).await?;
    let id = bed.submissions().await?.remove(0).id;

    let (all, social) = (
        console.log_in("operator").await?,
        console.log_in("social-operator").await?,
    );
    assert!(console.page(&all, "/submissions").await?.text.contains(&id));
    assert!(!console.page(&social, "/submissions").await?.text.contains(&id));
    assert!(!console.page(&social, "/duties").await?.text.contains(&id));
    assert_eq!(
        console
            .page(&social, &format!("/submissions/show?id={id}"))
            .await?
            .status,
        403
    );
    let held = console.send(&social, "/act/duty.hold", &[("submission", &id)]).await?;
    assert!(
        held.status == 200 && bed.duties().await?.iter().all(|duty| duty.state != "held"),
        "{}",
        held.text
    );
    let queue = [("what", "queue"), ("name", "kvit.duties.mail"), ("why", "x")];
    assert_eq!(console.send(&social, "/act/pause", &queue).await?.status, 403);

    let token = console.token("operator").await?;
    let mut seen = Vec::new();
    for path in PAGES
        .iter()
        .copied()
        .chain(["/", "/quarantine?all=true", &format!("/submissions/show?id={id}")])
    {
        seen.push(console.page(&all, path).await?);
    }
    for action in ACTIONS.iter().filter(|action| !action.changes) {
        seen.push(console.api(&token, action, &json!({"id": id})).await?);
        seen.push(console.api(&token, action, &json!({})).await?);
    }
    seen.push(console.page(&all, "/metrics").await?);
    for answer in &seen {
        assert!(!answer.text.to_lowercase().contains("kanariefugl"), "{answer:?}");
    }
    assert!(seen.iter().any(|answer| answer.text.contains(&id)));
    services.stop().await
}

/// G1: of what others let rest and did, a person of one department sees what is that department's; and of a queue, that it
/// rests.
#[tokio::test(flavor = "multi_thread")]
async fn another_departments_pauses_acts_and_certificates_are_not_shown() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let (all, social) = (
        console.log_in("operator").await?,
        console.log_in("social-operator").await?,
    );
    let theirs = "en hemmelighed";
    let pauses = [
        (&all, "queue", "kvit.duties.mail", theirs),
        (&all, "department", "teknik-miljoe", theirs),
        (&all, "form", "anmeldelse_teknik_miljoe", theirs),
        (&social, "department", "social", "vi flytter"),
    ];
    for (who, what, name, why) in pauses {
        let pause = [("what", what), ("name", name), ("why", why)];
        assert_eq!(console.send(who, "/act/pause", &pause).await?.status, 200);
    }
    for (cookie, path, sees_all) in [
        (&all, "/", true),
        (&all, "/pauses", true),
        (&social, "/", false),
        (&social, "/pauses", false),
    ] {
        let shown = console.page(cookie, path).await?.text;
        assert!(
            shown.contains("kvit.duties.mail") && shown.contains("vi flytter"),
            "{shown}"
        );
        assert_eq!(shown.contains(theirs), sees_all, "{path}: {shown}");
    }

    let (all, social) = (
        console.token("operator").await?,
        console.token("social-operator").await?,
    );
    let list = async |token: &str, name: &str, key: &str| {
        let action = operate::find(name).context("an action")?;
        let rows = console.api(token, action, &json!({})).await?.json()?;
        let rows = rows.as_array().cloned().unwrap_or_default();
        let texts = rows.iter().map(|row| row[key].as_str().unwrap_or_default().to_owned());
        anyhow::Ok(texts.collect::<Vec<_>>())
    };
    assert_eq!(list(&all, "pause.list", "name").await?.len(), 4);
    assert_eq!(
        list(&social, "pause.list", "name").await?,
        ["kvit.duties.mail", "social"]
    );
    assert_eq!(list(&all, "act.list", "rule").await?.len(), 4);
    assert_eq!(list(&social, "act.list", "rule").await?, ["department social"]);
    assert_eq!(list(&all, "key.list", "department").await?.len(), 2);
    assert_eq!(list(&social, "key.list", "department").await?, ["social"]);
    let status = operate::find("status").context("an action")?;
    let said = console.api(&social, status, &json!({})).await?.text;
    assert!(said.contains("kvit.duties.mail") && !said.contains(theirs), "{said}");
    Ok(())
}

/// G1: a discard of many is typed, and is refused where another number matches than was shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_discard_of_many_is_counted_typed_and_refused_where_the_count_changed() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let services = bed.run(&[Service::Intake]).await?;
    for n in 0..3 {
        bed.publish(&Message::bytes(format!("{{{n}"))).await?;
    }
    bed.until_arrived(3).await?;
    let cookie = console.log_in("operator").await?;
    let list = console.page(&cookie, "/quarantine?reason=malformed").await?;
    assert!(
        list.text.contains("name=\"all-of\" value=\"quarantine.discard\""),
        "{}",
        list.text
    );
    let confirm = console
        .page(&cookie, "/confirm?all-of=quarantine.discard&reason=malformed")
        .await?;
    assert!(
        confirm.text.contains("<strong id=\"matched\">3</strong>"),
        "{}",
        confirm.text
    );

    let of = |expect: &'static str| [("reason", "malformed"), ("why", "a slip"), ("expect", expect)];
    let path = "/act/quarantine.discard";
    assert_eq!(console.send(&cookie, path, &of("2")).await?.status, 422);
    assert_eq!(console.send(&cookie, path, &of("")).await?.status, 400);
    let waiting = bed.quarantine().await?;
    assert!(waiting.iter().all(|row| row.state == "waiting"), "nothing was done");
    let selected = [
        ("ids", waiting[0].id.as_str()),
        ("ids", &waiting[1].id),
        ("why", "a slip"),
        ("expect", "2"),
    ];
    assert_eq!(console.send(&cookie, path, &selected).await?.status, 200);
    assert_eq!(console.send(&cookie, path, &of("1")).await?.status, 200);
    assert!(bed.quarantine().await?.iter().all(|row| row.state == "discarded"));

    let acts = console.page(&cookie, "/acts").await?;
    assert!(acts.text.contains("reason malformed, matched 1"), "{}", acts.text);
    services.stop().await
}

/// Live updates: a browser is told when something is new, and nothing more than that.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_told_when_something_is_new() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let cookie = console.log_in("viewer").await?;
    let live = reqwest::Client::new().get(console.url("/live"));
    let mut live = live.header("cookie", &cookie).send().await?;
    assert_eq!(live.status(), 200);
    let mut told = async || {
        let chunk = timeout(Duration::from_secs(30), live.chunk()).await??;
        let chunk = String::from_utf8(chunk.context("the stream ended")?.to_vec())?;
        let number = chunk.strip_prefix("event: changed\ndata: ").context(chunk.clone())?;
        anyhow::Ok(number.trim().parse::<u64>()?)
    };
    // Whoever comes is told, for something may have changed since the page was made, and so is the first look.
    let mut last = 0;
    while last == 0 {
        last = told().await?;
    }
    let operator = console.log_in("operator").await?;
    let pause = [("what", "department"), ("name", "social"), ("why", "moved")];
    console.send(&operator, "/act/pause", &pause).await?;
    // The broker may have been looked at for the first time in between.
    until("the page that is told of has the pause", async || {
        let version = told().await?;
        assert!(version > last);
        last = version;
        let page = console.page(&cookie, "/").await?;
        Ok(page.text.contains("moved").then_some(()))
    })
    .await
}
