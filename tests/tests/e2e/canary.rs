//! What must never be seen: values of fields in logs, metrics, names, wake-ups and the operators' output.

use std::sync::{Arc, Mutex};

use broker::{EVENTS, MAIL_DUTIES};
use futures::StreamExt as _;
use kvit_tests::{DEADLINE, Message, Program, TestBed, kvit, report, until};
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};

use crate::traces;

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

/// What no place may hold, as text, and as programs print bytes.
fn sightings(place: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for canary in CANARIES {
        let decimal: Vec<String> = canary.bytes().map(|byte| byte.to_string()).collect();
        let hex = canary
            .bytes()
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let lower = text.to_lowercase();
        if lower.contains(&canary.to_lowercase())
            || text.contains(&decimal.join(", "))
            || text.contains(&decimal.join(","))
            || lower.contains(&hex)
        {
            found.push(format!("{canary} in {place}"));
        }
    }
    found
}

/// One value for each place that a citizen fills in, and for what the site says of the citizen.
const CANARIES: [&str; 14] = [
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
];

fn full_of_canaries(n: u32) -> Value {
    let mut body = report(&format!("ca4a41e0-0000-4000-8000-{n:012}"), &json!({}));
    let data = body["data"].take();
    body.as_object_mut().expect("an object").remove("data");
    for (key, value) in data.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    for (key, value) in json!({
        "navn": "kanarienavn", "e_mail": format!("kanariemail{n}@borger.example"), "telefon": "4711556677",
        "adresse": {"address": "kanariegade 1", "postal_code": "kanariepost", "city": "kanarieby"},
        "kategori": "kanariekategori", "beskrivelse": "kanarietekst 010203-0000", "billede": 7,
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

const SERVICES: [&str; 3] = ["kvit-intake", "kvit-mailer", "kvit-scheduler"];

/// D1, P4: nothing that a citizen wrote is in a log at any level, lapin's own included, or where operators look.
#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_any_field_is_seen_in_logs_metrics_traces_wake_ups_or_the_operators_output() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let refuse = kvit_cli::demo::inbox::Behaviour::Refuse {
        recipients: vec!["kanariemail5@afvist.example".to_owned()],
        code: 550,
        text: "5.1.1 kanariemail5@afvist.example kanarienavn".to_owned(),
    };
    bed.inbox.behave(refuse, kvit_cli::demo::inbox::Times::All);
    let collector = traces::collector(&bed).await?;
    let mut programs: Vec<Program> = Vec::new();
    for name in SERVICES {
        programs.push(bed.spawn(name).await?);
    }
    for program in &mut programs {
        program.until_ready().await?;
    }
    let wake_ups = listen(&bed, "kvit.duties", MAIL_DUTIES).await?;
    let count = messages().len();
    for message in messages() {
        bed.publish(&message).await?;
    }
    let figures = bed.until_deleted(i64::try_from(count)?).await?;
    assert!(
        figures.accepted >= 5 && figures.quarantined >= 4 && figures.duplicates.ignored >= 1,
        "{figures:?}"
    );
    bed.inbox.wait_for(8, DEADLINE).await?;

    // The control: where a canary is, it is seen, as text and as bytes are printed.
    let sent = full_of_canaries(1).to_string();
    assert_eq!(sightings("a message", &sent).len(), CANARIES.len() - 1);
    assert!(!sightings("bytes", &format!("{:?}", sent.as_bytes())).is_empty());

    let mut found = Vec::new();
    for program in &programs {
        let log = program.log();
        assert!(
            log.contains("broker up"),
            "a log that says nothing proves nothing: {log}"
        );
        found.extend(sightings("a log", &log));
        found.extend(sightings("/metrics", &program.probe("/metrics").await?.1));
        found.extend(sightings("/readyz", &program.probe("/readyz?verbose").await?.1));
    }
    let heard = wake_ups.lock().expect("no listener panics").clone();
    assert!(!heard.is_empty(), "no wake-up was heard");
    for body in heard {
        found.extend(sightings("a wake-up", &String::from_utf8_lossy(&body)));
    }
    let submissions = bed.submissions().await?;
    let quarantined = bed.quarantine().await?;
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["status"],
        vec!["submission", "list"],
        vec!["quarantine", "list", "--all"],
        vec!["duty", "list"],
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
    for command in commands {
        let said = kvit(&bed.config(), &command).await?;
        found.extend(sightings(&format!("kvit {}", command.join(" ")), &said.to_string()));
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
        Ok(SERVICES.iter().all(|service| of(service)).then_some(()))
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
