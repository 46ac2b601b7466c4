//! What must never be seen: values of fields in logs, metrics, traces, names, wake-ups, and what people are shown.

use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::{EVENTS, JOURNAL_DUTIES, MAIL_DUTIES};
use futures::StreamExt as _;
use kvit_tests::console::{Served, add_people};
use kvit_tests::{CASE, CPR, DEADLINE, Message, Program, TestBed, kvit, kvit_exits, kvit_reads, report, seen, until};
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};

use crate::operations::ALL as SERVICES;
use crate::{canary_console, traces};

/// Everything that is sent to an exchange from now on, as `exchange: body`.
pub(crate) async fn listen(bed: &TestBed, exchange: &str, key: &str) -> anyhow::Result<Arc<Mutex<Vec<Vec<u8>>>>> {
    let url = bed.host.url(bed.host.node.rabbit.port());
    let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await?;
    // The exchange is there soon after its service says that it is ready.
    let (channel, mut consumer) = until("the exchange is there", async || {
        let channel = connection.create_channel().await?;
        Ok(bound(&channel, exchange, key)
            .await
            .ok()
            .map(|consumer| (channel, consumer)))
    })
    .await?;
    let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let notes = Arc::clone(&heard);
    tokio::spawn(async move {
        let _held = (connection, channel);
        while let Some(Ok(delivery)) = consumer.next().await {
            notes.lock().expect("no listener panics").push(delivery.data.clone());
        }
    });
    Ok(heard)
}

async fn bound(channel: &lapin::Channel, exchange: &str, key: &str) -> lapin::Result<lapin::Consumer> {
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
    let (name, none) = (queue.name().clone(), FieldTable::default());
    channel
        .queue_bind(
            name.clone(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            none,
        )
        .await?;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    channel
        .basic_consume(name, "listener".into(), options, FieldTable::default())
        .await
}

/// What no place may hold, as text, as programs print bytes, and in every other way in which a message may be written. The
/// canaries are letters and digits, which a page and an address leave as they are.
pub(crate) fn sightings(place: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lower = text.to_lowercase();
    let canaries = CANARIES.map(str::to_owned);
    let written = seen(text.as_bytes(), &canaries);
    for canary in CANARIES {
        let decimal: Vec<String> = canary.bytes().map(|byte| byte.to_string()).collect();
        let hex = canary
            .bytes()
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        if lower.contains(&canary.to_lowercase())
            || text.contains(&decimal.join(", "))
            || text.contains(&decimal.join(","))
            || lower.contains(&hex)
            || written.contains(&canary)
        {
            found.push(format!("{canary} in {place}"));
        }
    }
    found
}

/// One value for each place that a citizen fills in, and for what the site says of the citizen.
const CANARIES: [&str; 16] = [
    "kanarienavn",
    "kanariemail",
    "4711556677",
    "kanariegade",
    "kanariepost",
    "kanarieby",
    "kanariekategori",
    "kanarietekst",
    "kanariefil",
    "kanarieindhold",
    "kanarieukendt",
    "kanariedata",
    "kanarietoken",
    "ca4a41e0-0000",
    CPR,
    "0101901234",
];

/// An event of the registrations.
pub(crate) const EVENT: &str = "eksempel/tilmelding_borgermoede/7";
/// Whose mails the relay refuses for ever.
const REFUSED: &str = "social@kommune.example";

fn uuid(n: u32) -> String {
    format!("ca4a41e0-0000-4000-8000-{n:012}")
}

fn full_of_canaries(n: u32) -> Value {
    let mut body = report(&uuid(n), &json!({}));
    let data = body["data"].take();
    body.as_object_mut().expect("an object").remove("data");
    for (key, value) in data.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    for (key, value) in json!({
        "navn": "kanarienavn", "e_mail": format!("kanariemail{n}@borger.example"), "telefon": "4711556677",
        "adresse": {"address": "kanariegade 1, 0101901234", "postal_code": "kanariepost", "city": "kanarieby"},
        "kategori": "kanariekategori", "beskrivelse": format!("kanarietekst {CPR}"), "billede": 7,
        "_billede": {"id": 7, "name": "kanariefil.png", "uri": "x", "mime": "image/png", "uuid": "x", "data": "a2FuYXJpZWluZGhvbGQ="},
        "kanarieukendt": "kanariedata", "token": "kanarietoken-kanarietoken-kanarietoken-kana"
    })
    .as_object()
    .into_iter()
    .flatten()
    {
        body[key] = value.clone();
    }
    body
}

/// Messages that take every way through the services: taken, refused, repeated, corrected, without a receipt, broken.
fn messages() -> Vec<Message> {
    let strange = |n: u32, change: fn(&mut Value)| {
        let mut body = full_of_canaries(n);
        change(&mut body);
        Message::json(&body)
    };
    let broken = full_of_canaries(6)
        .to_string()
        .replace("\"navn\"", "\"navn\":1,\"navn\"");
    vec![
        strange(1, |_| {}),
        strange(1, |_| {}),
        strange(1, |body| {
            body["beskrivelse"] = json!("kanarietekst igen");
            body["changed"] = json!(1_795_304_999);
        }),
        strange(2, |body| body["webform_id"] = json!("kanarieukendt")),
        strange(3, |body| body["e_mail"] = json!("kanariemail uden adresse")),
        strange(4, |body| body["navn"] = json!({"kanarieukendt": ["kanarienavn"]})),
        strange(5, |body| body["e_mail"] = json!("kanariemail5@afvist.example")),
        Message::bytes(broken),
        Message::bytes(full_of_canaries(7).to_string().split_off(40)),
        Message::bytes("kanarienavn=kanarietekst"),
        strange(8, |_| {})
            .with("x-kvit-form", "kanarieukendt")
            .with("x-kvit-event", "kanariedata"),
        strange(9, |_| {})
            .with("kanarieukendt", "kanariedata")
            .typed("kanarie/kanariedata"),
        strange(10, |_| {}).typed("application/pgp-encrypted"),
    ]
}

/// Messages of which something stays: a case that goes into the journal while the relay refuses its department's mail,
/// registrations for an event, and a test.
fn lasting() -> Vec<Message> {
    let file = json!({"id": 7, "name": "kanariefil 0101901234.png", "uri": "x", "mime": "image/png", "uuid": "x",
        "data": "a2FuYXJpZWluZGhvbGQ="});
    let case = json!({"webform_id": "ansoegning", "uuid": uuid(20), "navn": "kanarienavn", "cpr": CPR,
        "besked": "kanarietekst", "bilag": 7, "_bilag": file});
    let registration = |n: u32| {
        let mut body = report(&uuid(n), &json!({}));
        body["webform_id"] = json!("tilmelding_borgermoede");
        (body["entity_type"], body["entity_id"]) = (json!("node"), json!("7"));
        body["data"] = json!({"navn": "kanarienavn", "e_mail": format!("kanariemail{n}@borger.example"), "antal": 1,
            "deltagere": [{"deltager_navn": "kanarienavn"}], "samtykke": "1"});
        Message::json(&body)
    };
    vec![
        Message::json(&case),
        registration(21),
        registration(22),
        Message::json(&full_of_canaries(23)).with("x-kvit-test", "1"),
    ]
}

/// The console works at no submission, and tells of none.
const TRACED: usize = 4;

/// Starts everything, with a collector of traces and people at the console.
async fn start(bed: &TestBed) -> anyhow::Result<(wiremock::MockServer, Vec<Program>)> {
    let refuse = kvit_cli::demo::inbox::Behaviour::Refuse {
        recipients: vec!["kanariemail5@afvist.example".to_owned(), REFUSED.to_owned()],
        code: 550,
        text: "5.1.1 kanariemail5@afvist.example kanarienavn".to_owned(),
    };
    bed.inbox.behave(refuse, kvit_cli::demo::inbox::Times::All);
    bed.add_form("ansoegning", CASE)?;
    let site = "[sites.eksempel]\n";
    bed.configure(site, &format!("{site}test_mail = \"test@kommune.example\"\n"))?;
    add_people(bed)?;
    let collector = traces::collector(bed).await?;
    let mut programs: Vec<Program> = Vec::new();
    for name in SERVICES {
        programs.push(bed.spawn(name).await?);
    }
    for program in &mut programs {
        program.until_ready().await?;
    }
    Ok((collector, programs))
}

/// Publishes all of it, and waits until something of each kind is there.
async fn everything_comes(bed: &TestBed) -> anyhow::Result<()> {
    for message in messages() {
        bed.publish(&message).await?;
    }
    let figures = bed.until_deleted(i64::try_from(messages().len())?).await?;
    assert!(
        figures.accepted >= 5 && figures.quarantined >= 4 && figures.duplicates.ignored >= 1,
        "{figures:?}"
    );
    bed.inbox.wait_for(8, DEADLINE).await?;
    for message in lasting() {
        bed.publish(&message).await?;
    }
    let mut last = String::new();
    let there = until("what stays is there", async || {
        let duties = bed.duties().await?;
        let tests = bed.ledger.figures(true, bed.clock().now()).await?;
        let count = |kind: &str, state: &str| {
            let of_kind = duties.iter().filter(|duty| duty.kind == kind);
            of_kind.filter(|duty| duty.state == state).count()
        };
        last = format!("{tests:?} {duties:?}");
        // The mail waits for a person, and so the notice of that, which the relay refuses too, is given up.
        let all = count("department_mail", "held") == 1
            && count("notice", "failed") == 1
            && count("journal", "done") == 1
            && count("extract", "held") == 2
            && tests.deleted == 1;
        Ok(all.then_some(()))
    })
    .await;
    there.with_context(|| last)
}

/// What the operator's commands say that only look.
async fn said_by_the_commands(bed: &TestBed) -> anyhow::Result<Vec<String>> {
    let submissions = bed.submissions().await?;
    let quarantined = bed.quarantine().await?;
    let entries = kvit(&bed.config(), &["journal", "list"]).await?;
    let entry = entries[0]["id"].as_str().unwrap_or_default();
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["status"],
        vec!["submission", "list"],
        vec!["quarantine", "list", "--all"],
        vec!["duty", "list"],
        vec!["event", "list"],
        vec!["event", "show", EVENT],
        vec!["schedule", "list"],
        vec!["schedule", "run", "purge", "--dry-run"],
        vec!["schedule", "run", "extract", "--dry-run"],
        vec!["key", "list"],
        vec!["journal", "list"],
        vec!["journal", "show", entry],
        vec!["journal", "explain", entry],
    ];
    commands.extend(
        submissions
            .iter()
            .map(|view| vec!["submission", "show", view.id.as_str()]),
    );
    commands.extend(
        quarantined
            .iter()
            .map(|row| vec!["quarantine", "show", row.id.as_str()]),
    );
    let mut found = Vec::new();
    for command in commands {
        let said = kvit(&bed.config(), &command).await?;
        found.extend(sightings(&format!("kvit {}", command.join(" ")), &said.to_string()));
    }
    let by_party = kvit_reads(&bed.config(), &["journal", "list", "--party"], CPR).await?;
    assert_eq!(by_party[0]["id"], entry, "the entry of the case");
    found.extend(sightings("kvit journal list --party", &by_party.to_string()));
    let (_, said) = kvit_exits(&bed.config(), &["doctor"]).await?;
    found.extend(sightings("kvit doctor", &said.to_string()));
    Ok(found)
}

/// D1, P4: nothing that a citizen wrote is in a log at any level, lapin's own included, or where people look: commands,
/// pages, the API.
#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_any_field_is_seen_in_logs_metrics_traces_wake_ups_or_what_people_are_shown() -> anyhow::Result<()>
{
    let bed = TestBed::prepare().await?;
    let (collector, programs) = start(&bed).await?;
    let wake_ups = [
        listen(&bed, "kvit.duties", MAIL_DUTIES).await?,
        listen(&bed, "kvit.duties", JOURNAL_DUTIES).await?,
    ];
    everything_comes(&bed).await?;

    // The control: where a canary is, it is seen, as text, as bytes are printed, and in base64; the file's is in base64.
    let sent = full_of_canaries(1).to_string();
    assert_eq!(sightings("a message", &sent).len(), CANARIES.len());
    assert!(!sightings("bytes", &format!("{:?}", sent.as_bytes())).is_empty());
    assert_eq!(sightings("base64", &STANDARD.encode(&sent)).len(), CANARIES.len() - 1);

    let console = Served::of(&programs[TRACED])?;
    let mut found = said_by_the_commands(&bed).await?;
    found.extend(canary_console::scan(&bed, &console).await?);
    for (program, name) in programs.iter().zip(SERVICES) {
        let log = program.log();
        let word = if name == "kvit-console" {
            "kvit-console"
        } else {
            "broker up"
        };
        assert!(log.contains(word), "a log that says nothing proves nothing: {log}");
        found.extend(sightings(&format!("the log of {name}"), &log));
        for page in ["/metrics", "/readyz?verbose"] {
            found.extend(sightings(&format!("{page} of {name}"), &program.probe(page).await?.1));
        }
    }
    for heard in &wake_ups {
        let heard = heard.lock().expect("no listener panics").clone();
        assert!(!heard.is_empty(), "no wake-up was heard");
        for body in heard {
            found.extend(sightings("a wake-up", &String::from_utf8_lossy(&body)));
        }
    }
    let queues =
        tokio::task::block_in_place(|| bed.host.node.rabbit.ctl(&["-p", &bed.host.name, "list_queues", "name"]))?;
    assert!(queues.contains("kvit.submissions.eksempel"), "{queues}");
    found.extend(sightings("a queue's name", &queues));
    // A service that is told to end leaves for its next start what it has not begun, so it is waited for until it has
    // told something; what still waits for the collector then goes to it as the services end.
    until("a span of each service", async || {
        let told = traces::spans(&collector).await?;
        let of = |service: &str| told.iter().any(|(name, _)| name == service);
        Ok(SERVICES[..TRACED].iter().all(|service| of(service)).then_some(()))
    })
    .await?;
    for program in programs {
        program.terminate().await?;
    }
    for body in traces::exported(&collector).await {
        found.extend(sightings("a trace", &String::from_utf8_lossy(&body)));
    }
    assert!(found.is_empty(), "{found:#?}");
    Ok(())
}

/// D1: the site is told, so that its own copy goes.
#[tokio::test(flavor = "multi_thread")]
async fn the_site_is_told_of_each_step_as_cloud_events() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let events = listen(&bed, EVENTS, "eksempel.#").await?;
    let uuid = "5b5e4f3e-0000-4000-8000-000000000004";
    bed.post(&Message::json(&report(uuid, &json!({})))).await?;
    bed.until_deleted(1).await?;
    bed.post(&Message::json(&report(uuid, &json!({})))).await?;
    bed.post(&Message::bytes("{")).await?;
    let told: Vec<Value> = until("five events", async || {
        let heard = events.lock().expect("no listener panics").clone();
        let read: Result<Vec<Value>, _> = heard.iter().map(|body| serde_json::from_slice(body)).collect();
        let read = read?;
        Ok((read.len() >= 5).then_some(read))
    })
    .await?;
    let types: Vec<_> = told.iter().filter_map(|event| event["type"].as_str()).collect();
    let expected = ["accepted", "delivered", "deleted", "duplicate", "quarantined"]
        .map(|word| format!("dk.kvit.submission.{word}"));
    assert_eq!(types, expected);
    let submission = bed.only_submission().await?;
    for event in &told[..3] {
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["data"]["uuid"], uuid);
        assert_eq!(event["data"]["id"], json!(submission.id));
        assert_eq!(event["data"]["reference"], json!(submission.reference));
        let text = event.to_string();
        for answer in ["Åse", "aase@", "hul"] {
            assert!(!text.contains(answer), "{text}");
        }
    }
    running.stop().await
}
