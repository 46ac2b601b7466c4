//! What strangers may put into a message, a header or a name is shown at the console as words, and is nothing else; and a
//! program's session is not begun for another page.

use domain::Pausable;
use kvit_tests::console::{Answer, PASSWORD, Served};
use kvit_tests::{Message, Service, TestBed, report};
use ledger::Pause;
use operate::ACTIONS;
use serde_json::{Value, json};

use crate::canary_console::pages;
use crate::purge::FORM;

/// No blank, so that it can be an id of the site's (128 printable characters).
const HOSTILE: &str = "\"'><img/src=x/onerror=alert(1)><script>alert(2)</script>{{7*7}}";
/// As it stands on a page.
const INERT: &str =
    "&#34;&#39;&#62;&#60;img/src=x/onerror=alert(1)&#62;&#60;script&#62;alert(2)&#60;/script&#62;{{7*7}}";

/// Messages that say it wherever a site may: those that are taken, and those that are put aside.
fn messages() -> Vec<Message> {
    let mut registration = report(HOSTILE, &json!({}));
    for key in [
        "sid",
        "serial",
        "langcode",
        "entity_type",
        "entity_id",
        "token",
        "notes",
        "uri",
    ] {
        registration[key] = json!(HOSTILE);
    }
    registration["webform_id"] = json!("fest");
    registration["data"] = json!({"navn": HOSTILE, "besked": HOSTILE, "e_mail": "a@borger.example"});
    let everywhere = |message: Message| {
        let mut message = message.typed(HOSTILE).with(HOSTILE, HOSTILE);
        for header in [
            "x-kvit-uuid",
            "x-kvit-event",
            "x-kvit-sequence",
            "x-kvit-deadline",
            "x-kvit-held",
        ] {
            message = message.with(header, HOSTILE);
        }
        (message.message_id, message.content_encoding) = (Some(HOSTILE.to_owned()), Some(HOSTILE.to_owned()));
        message
    };
    let mut unknown = report("00000000-0000-4000-8000-00000000bad1", &json!({}));
    unknown["webform_id"] = json!(HOSTILE);
    let mut missing = report(HOSTILE, &json!({"navn": HOSTILE}));
    missing["data"]["beskrivelse"] = json!("");
    vec![
        Message::json(&registration),
        everywhere(Message::bytes(format!("{{\"{HOSTILE}"))),
        everywhere(Message::json(&unknown)),
        everywhere(Message::json(&missing)),
        Message::json(&missing).with("x-kvit-form", HOSTILE),
    ]
}

/// What a page shows of it as more than words: an element, or a quotation mark that ends an attribute.
fn broken(html: &str) -> Option<&'static str> {
    let html = html.to_lowercase();
    ["<img", "<script>", "\"'>", "'>&#60;"]
        .into_iter()
        .find(|part| html.contains(part))
}

fn is_inert(place: &str, answer: &Answer) {
    assert!(answer.status < 500, "{place}: {answer:?}");
    assert_eq!(broken(&answer.text), None, "{place}: {}", answer.text);
}

/// An answer of the API is JSON, and a browser that is led there takes it for nothing else.
fn is_json(place: &str, answer: &Answer) -> anyhow::Result<Value> {
    assert_eq!(answer.headers["content-type"], "application/json", "{place}");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{place}");
    assert!(answer.status < 500, "{place}: {answer:?}");
    answer.json()
}

/// Acts that say it: some are done, the others refused.
fn acts(event: &str, aside: &str) -> Vec<(&'static str, Value)> {
    // An operator's may have blanks.
    let set = format!("eksempel/fest/ {HOSTILE} ");
    let pausing = json!({"what": "department", "name": HOSTILE, "why": HOSTILE});
    vec![
        ("pause", pausing.clone()),
        ("resume", pausing),
        (
            "pause",
            json!({"what": "department", "name": "social", "why": HOSTILE, "until": HOSTILE}),
        ),
        ("pause", json!({"what": "department", "name": "social", "why": HOSTILE})),
        ("event.set", json!({"event": set, "held": "2099-01-20T21:00:00"})),
        ("event.erased", json!({"event": event, "code": HOSTILE})),
        ("event.cancel", json!({"event": event})),
        ("quarantine.discard", json!({"id": aside, "why": HOSTILE})),
        ("quarantine.retry", json!({"reason": HOSTILE})),
        ("duty.retry", json!({"form": HOSTILE, "kind": HOSTILE})),
        ("schedule.run", json!({"name": HOSTILE})),
        ("registration.withdraw", json!({"id": HOSTILE})),
        ("registration.export", json!({"event": event, "to": HOSTILE})),
    ]
}

/// G1: hostile strings in ids, forms, reasons and headers are shown inert, on every page and in the API.
#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_put_into_messages_and_headers_is_shown_as_words() -> anyhow::Result<()> {
    // The control.
    assert!(broken(HOSTILE).is_some() && broken(INERT).is_none());
    let bed = TestBed::prepare().await?;
    bed.add_form("fest", FORM)?;
    let login = toml::Value::String(HOSTILE.to_owned());
    let user = format!("[console.users.op-1]\nlogin = {login}\nrole = \"operator\"\n[console]\n");
    bed.configure(
        "[console]\n",
        &format!("{user}proxies = [\"127.0.0.1\"]\nuser_header = \"x-remote-user\"\n"),
    )?;
    let console = Served::start(&bed).await?;
    let services = bed.run(&[Service::Intake]).await?;
    for message in messages() {
        bed.publish(&message).await?;
    }
    let figures = bed.until_arrived(i64::try_from(messages().len())?).await?;
    assert!(figures.accepted >= 1 && figures.quarantined >= 3, "{figures:?}");
    let pause = Pause {
        what: Pausable::Form,
        name: HOSTILE.to_owned(),
        why: HOSTILE.to_owned(),
        actor: Some(HOSTILE.to_owned()),
        since: bed.clock().now(),
        until: None,
    };
    bed.ledger.pause(pause).await?;

    // Whoever the proxy names is let in where the configuration has that name, and is nobody otherwise.
    let person = [("x-remote-user", HOSTILE), ("accept-language", HOSTILE)];
    let stranger = [("x-remote-user", "<img/src=x>"), ("accept-language", HOSTILE)];
    let nobody = console.ask("/", &stranger, None).await?;
    assert_eq!(nobody.status, 303, "{nobody:?}");
    is_inert("the page to log in", &console.ask("/login", &stranger, None).await?);

    let event = format!("eksempel/fest/{HOSTILE}");
    let aside = bed.quarantine().await?.remove(0).id;
    let mut from_a_page = person.to_vec();
    from_a_page.push(("sec-fetch-site", "same-origin"));
    let token = console.token("operator").await?;
    for (name, args) in &acts(&event, &aside) {
        let fields: Vec<_> = args.as_object().into_iter().flatten().collect();
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
            .collect();
        let body = kvit_tests::console::form(&fields);
        let path = format!("/act/{name}");
        is_inert(&path, &console.ask(&path, &from_a_page, Some(&body)).await?);
        let action = operate::find(name).expect("an action of the table");
        is_json(name, &console.api(&token, action, args).await?)?;
    }

    let shown = pages(&console, &person).await?;
    for (path, answer) in &shown {
        if answer
            .headers
            .get("content-type")
            .is_some_and(|kind| kind == "application/json")
        {
            is_json(path, answer)?;
        } else {
            is_inert(path, answer);
            let is_to_log_in = path == "/login";
            assert_ne!(
                answer.text.contains(&format!("<p>{INERT} ·")),
                is_to_log_in,
                "the login on {path}"
            );
        }
    }
    let of_the_event = shown
        .keys()
        .find(|path| path.starts_with("/events/show?") && path.contains("img"));
    let of_the_event = of_the_event.expect("the page of the event").as_str();
    for (path, times) in [
        ("/events", 2),
        (of_the_event, 4),
        ("/pauses", 3),
        ("/", 3),
        ("/acts", 3),
    ] {
        // The login stands on each.
        let seen = shown[path].text.matches(INERT).count() - 1;
        assert!(seen >= times, "{path} shows it {seen} times: {}", shown[path].text);
    }
    // The site's own id is looked for as it is, and is not shown.
    let id = kvit_tests::console::form(&[("id", &format!("eksempel/{HOSTILE}"))]);
    let found = console.ask(&format!("/submissions/show?{id}"), &person, None).await?;
    assert_eq!(found.status, 200, "{found:?}");
    is_inert("the submission by the site's id", &found);

    for action in ACTIONS.iter().filter(|action| !action.changes) {
        for args in [
            json!({}),
            json!({"id": HOSTILE}),
            json!({"event": event}),
            json!({"form": HOSTILE, "all": "true"}),
        ] {
            is_json(action.name, &console.api(&token, action, &args).await?)?;
        }
    }
    let events = operate::find("event.list").expect("an action of the table");
    let events = is_json("event.list", &console.api(&token, events, &json!({})).await?)?;
    let ids = events.as_array().into_iter().flatten().map(|event| &event["id"]);
    assert!(ids.into_iter().any(|id| id == &json!(event)), "{events}");
    services.stop().await
}

/// G1: another page cannot begin a program's session, not even with the password; a program can.
#[tokio::test(flavor = "multi_thread")]
async fn a_programs_session_is_not_begun_for_another_page() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let body = json!({"login": "operator", "password": PASSWORD}).to_string();
    let json = ("content-type", "application/json");
    let foreign: [&[(&str, &str)]; 6] = [
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("cookie", "kvit=nobody")],
    ];
    for headers in foreign {
        let all: Vec<_> = headers.iter().copied().chain([json]).collect();
        let answer = console.ask("/api/v1/session", &all, Some(&body)).await?;
        assert_eq!(answer.status, 403, "{headers:?} {answer:?}");
        assert!(!answer.text.contains("token"), "{headers:?} {answer:?}");
    }
    // What a form of another page can send without being asked about it is no JSON.
    let plain = [("content-type", "text/plain")];
    let answer = console.ask("/api/v1/session", &plain, Some(&body)).await?;
    assert_eq!(answer.status, 415, "{answer:?}");
    let answer = console.ask("/api/v1/session", &[json], Some(&body)).await?;
    assert!(answer.json()?["token"].is_string(), "{answer:?}");
    Ok(())
}
