//! The real Drupal's payloads, hostile ones, and a real PHP, through a real broker.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kvit_cli::demo::inbox::Connection;
use kvit_tests::{Message, Service, TestBed, kvit, payload, report};
use serde_json::{Value, json};

/// How long a message may take from the publisher's confirm to its place in the figures. The promise is one second; two
/// busy cores and a debug build get more.
const SOON: Duration = Duration::from_secs(5);

/// The form of each case of the payloads, by the case's first letter.
const CASES: [(char, &str); 6] = [
    ('a', "anmeldelse_teknik_miljoe"),
    ('b', "tilmelding_borgermoede"),
    ('c', "byggesag_bilag"),
    ('d', "ansoegning_foreningstilskud"),
    ('e', "skyggefelter"),
    ('g', "anmeldelse_teknik_miljoe"),
];

/// Number, case, shape and form of every payload.
fn all() -> Vec<(String, String, String, &'static str)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/drupal");
    let names = std::fs::read_dir(dir).expect("the payloads").flatten();
    let mut all: Vec<_> = names
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let stem = name.strip_suffix(".body")?.to_owned();
            let (number, rest) = stem.split_once('-')?;
            let (case, shape) = rest.strip_prefix("r-").unwrap_or(rest).rsplit_once('-')?;
            let form = CASES.iter().find(|(letter, _)| case.starts_with(*letter))?.1;
            Some((number.to_owned(), case.to_owned(), shape.to_owned(), form))
        })
        .collect();
    all.sort();
    all
}

/// What index.md says of a shape: accepted, draft, or quarantined with a reason.
fn expected(case: &str, shape: &str, empty: bool, header: bool) -> &'static str {
    // The drafts are told by their envelope; without one only the header x-kvit-event could tell.
    let draft = case.contains("kladde");
    match shape {
        "toArray_plain_reloaded" | "urlencoded_default" | "urlencoded_full" | "queue_row" => "malformed",
        "data_only" | "remote_post_json_default_excluded" => match (header, empty) {
            (true, _) => "accepted",
            (false, true) => "malformed",
            (false, false) => "unknown_form",
        },
        _ if draft => "draft",
        _ => "accepted",
    }
}

/// P2, P3
#[tokio::test(flavor = "multi_thread")]
async fn every_payload_of_the_real_drupal_is_taken_or_refused_as_its_shape_says() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let running = bed.run(&[Service::Intake]).await?;
    let mut wrong = Vec::new();
    for (number, case, shape, form) in all() {
        for header in [true, false] {
            let body = payload(&number);
            let empty = body == b"[]" || body == b"{}";
            let uuid = uuid::Uuid::from_u128(number.parse::<u128>()? * 2 + u128::from(header));
            let mut message = Message::bytes(body).with("x-kvit-uuid", uuid.to_string());
            if header {
                message = message.with("x-kvit-form", form);
            }
            let before = bed.figures().await?;
            bed.post(&message).await?;
            let after = bed.figures().await?;
            let outcome = if after.accepted > before.accepted {
                "accepted".to_owned()
            } else if after.drafts_ignored > before.drafts_ignored {
                "draft".to_owned()
            } else if after.quarantined > before.quarantined {
                bed.quarantine().await?.pop().map(|row| row.reason).unwrap_or_default()
            } else {
                "duplicate".to_owned()
            };
            let expected = expected(&case, &shape, empty, header);
            if outcome != expected {
                wrong.push(format!(
                    "{number}-{case}-{shape}, header {header}: {outcome}, not {expected}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(bed.figures().await?.arrived, 2 * 77);
    running.stop().await
}

/// P2: what a site sends in the saving request and what it sends again later are the same submission.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_submission_reloaded_or_cast_is_a_duplicate() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let pairs = [
        ("013", "017"),
        ("074", "082"),
        ("069", "073"),
        ("045", "052"),
        ("022", "033"),
    ];
    for (n, (first, again)) in (1..).zip(pairs) {
        bed.post(&Message::bytes(payload(first))).await?;
        bed.post(&Message::bytes(payload(again))).await?;
        let figures = bed.figures().await?;
        assert_eq!(
            (figures.accepted, figures.duplicates.ignored),
            (n, n),
            "{first} {again}"
        );
    }
    running.stop().await
}

/// The whole way by the PHP that Debian has, as Drupal's module `rabbitmq` publishes.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_published_by_php_is_processed() -> anyhow::Result<()> {
    const SCRIPT: &str = r"
        require 'PhpAmqpLib/autoload.php';
        [$_, $port, $vhost, $file] = $argv;
        $connection = new PhpAmqpLib\Connection\AMQPStreamConnection('127.0.0.1', (int) $port, 'guest', 'guest', $vhost);
        $channel = $connection->channel();
        $message = new PhpAmqpLib\Message\AMQPMessage(file_get_contents($file), ['delivery_mode' => 2]);
        $channel->basic_publish($message, '', 'kvit.submissions.eksempel');
        $channel->close();
        $connection->close();
    ";
    let (bed, running) = TestBed::start().await?;
    let file = bed.path("body.json");
    std::fs::write(&file, payload("009"))?;
    let port = bed.host.node.rabbit.port().to_string();
    let mut php = Command::new("php");
    php.args(["-r", SCRIPT, "--", &port, &bed.host.name]).arg(&file);
    let output = tokio::task::spawn_blocking(move || php.output()).await??;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    bed.until_deleted(1).await?;

    let addresses: Vec<_> = bed.inbox.mails().into_iter().flat_map(|mail| mail.recipients).collect();
    assert_eq!(addresses.len(), 2);
    assert!(
        addresses.contains(&"aase@example.com".to_owned()) && addresses.contains(&"teknik@kommune.example".to_owned())
    );
    running.stop().await
}

/// What is wrong with a message, the message, and the reason of its quarantine, or `accepted`.
fn bad() -> Vec<(&'static str, Message, &'static str)> {
    let report = |n: u32, answers: Value| report(&format!("5b5e4f3e-0000-4000-8000-0000000001{n:02}"), &answers);
    let nested = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let doubled = report(1, json!({}))
        .to_string()
        .replacen(r#""data":{"#, r#""data":{"navn":"en","#, 1);
    let surrogate = report(2, json!({"navn": "NAVN"}))
        .to_string()
        .replace("NAVN", r"\ud83d");
    let mut unknown = report(3, json!({}));
    unknown["webform_id"] = json!("findes_ikke");
    let mut gzip = Message::bytes(
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00".to_vec(),
    );
    gzip.content_encoding = Some("gzip".to_owned());
    vec![
        ("not JSON", Message::bytes("navn=Åse&kategori=andet"), "malformed"),
        ("nothing", Message::bytes(""), "malformed"),
        (
            "not UTF-8",
            Message::bytes(b"{\"navn\":\"\xff\xfe\"}".to_vec()),
            "malformed",
        ),
        ("100,000 nested brackets", Message::bytes(nested), "malformed"),
        ("duplicate keys", Message::bytes(doubled), "malformed"),
        ("a lone surrogate", Message::bytes(surrogate), "malformed"),
        ("17 MiB", Message::bytes(vec![b' '; 17 << 20]), "too_large"),
        ("an unknown form", Message::json(&unknown), "unknown_form"),
        ("an empty object", Message::bytes("{}"), "malformed"),
        ("an array", Message::bytes("[1,2,3]"), "malformed"),
        ("a number", Message::bytes("17"), "malformed"),
        ("gzip", gzip, "malformed"),
        (
            "wrong types",
            Message::json(&report(
                4,
                json!({"navn": {"a": [1]}, "e_mail": 7, "kopi": "måske", "kategori": [true]}),
            )),
            "accepted",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_put_aside_with_its_reason_at_once_and_the_next_message_is_processed() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let mut wrong = Vec::new();
    for (n, (what, message, expected)) in bad().into_iter().enumerate() {
        let before = bed.figures().await?;
        bed.publish(&message).await?;
        let published = Instant::now();
        let after = bed.until_arrived(before.arrived + 1).await?;
        let took = published.elapsed();
        println!("{what}: {expected} after {} ms", took.as_millis());
        let outcome = if after.accepted > before.accepted {
            "accepted".to_owned()
        } else {
            bed.quarantine().await?.pop().map(|row| row.reason).unwrap_or_default()
        };
        if outcome != expected || took > SOON {
            wrong.push(format!("{what}: {outcome} after {took:?}, not {expected}"));
        }
        let next = report(
            &uuid::Uuid::from_u128(0xbad0 + n as u128).to_string(),
            &json!({"e_mail": format!("c{n}@borger.example")}),
        );
        bed.post(&Message::json(&next)).await?;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let figures = bed.until_deleted(26).await?;
    assert_eq!((figures.accepted, figures.quarantined), (14, 12));
    running.stop().await
}

/// Every field that could reach a header: the form's fields, the files' names, the envelope, the AMQP properties.
#[tokio::test(flavor = "multi_thread")]
async fn line_breaks_and_nul_in_any_field_reach_no_header_and_no_smtp_command() -> anyhow::Result<()> {
    let (bed, running) = TestBed::start().await?;
    let mut messages = 0;
    for (n, evil) in [
        "\r\nBcc: ond@ond.example",
        "\nRCPT TO:<ond@ond.example>\n",
        "\0",
        "\r\n.\r\nMAIL FROM:<ond@ond.example>\r\n",
    ]
    .iter()
    .enumerate()
    {
        for (m, field) in [
            "navn",
            "e_mail",
            "telefon",
            "kategori",
            "beskrivelse",
            "nyt_felt",
            "langcode",
            "serial",
            "sid",
            "uri",
        ]
        .iter()
        .enumerate()
        {
            let uuid = uuid::Uuid::from_u128((n * 100 + m) as u128).to_string();
            let mut body = report(&uuid, &json!({"e_mail": format!("b{n}{m}@borger.example")}));
            let place = if body["data"].get(*field).is_some() || *field == "nyt_felt" {
                &mut body["data"]
            } else {
                &mut body
            };
            place[*field] = json!(format!("x@y.example{evil}"));
            bed.publish(&Message::json(&body)).await?;
            messages += 1;
        }
        let uuid = uuid::Uuid::from_u128(9000 + n as u128).to_string();
        let file = json!({"billede": 7, "_billede": {"id": 7, "name": format!("a{evil}.png"), "mime": format!("image/png{evil}"),
            "uuid": "x", "uri": "x", "data": "aGVq"}});
        let mut flat = report(&uuid, &json!({}));
        let data = flat["data"].take();
        for (key, value) in data.as_object().into_iter().chain(file.as_object()).flatten() {
            flat[key] = value.clone();
        }
        flat.as_object_mut().expect("an object").remove("data");
        flat["e_mail"] = json!(format!("f{n}@borger.example"));
        let headers = [
            "x-kvit-sequence",
            "x-kvit-deadline",
            "x-kvit-held",
            "x-kvit-event",
            "x-kvit-test",
        ];
        let mut message = headers.iter().fold(Message::json(&flat), |message, header| {
            message.with(header, format!("1{evil}"))
        });
        message.message_id = Some(format!("m{evil}"));
        bed.publish(&message).await?;
        messages += 1;
    }
    let figures = bed.until_deleted(messages).await?;
    assert_eq!(figures.quarantined, 0, "{:?}", bed.quarantine().await?);
    let duties = bed.duties().await?;
    let sent = duties.iter().filter(|duty| duty.state == "done").count();
    let mails = bed.inbox.wait_for(sent, kvit_tests::DEADLINE).await?;

    let said = bed.inbox.connections();
    let count = |verb: &str| {
        said.iter()
            .flat_map(|one: &Connection| &one.transcript)
            .filter(|line| line.to_ascii_uppercase().starts_with(verb))
            .count()
    };
    assert_eq!([count("MAIL FROM"), count("RCPT TO"), count("DATA")], [mails.len(); 3]);
    for mail in &mails {
        assert!(!mail.recipients.iter().any(|to| to.contains("ond.example")));
        let head = String::from_utf8_lossy(&mail.data);
        let head = head.split("\r\n\r\n").next().unwrap_or_default();
        assert!(!head.contains("ond.example") && !head.contains('\0'), "{head}");
    }
    running.stop().await
}

/// What the operator is told about a message beforehand is what becomes of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_operators_check_says_what_intake_does() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let file = bed.path("one.json");
    std::fs::write(&file, payload("009"))?;
    let said = kvit(
        &bed.config(),
        &[
            "submission",
            "check",
            "--form",
            "anmeldelse_teknik_miljoe",
            &file.to_string_lossy(),
        ],
    )
    .await?;
    assert_eq!(said["outcome"], "accepted");
    std::fs::write(&file, "{")?;
    let (code, _) = kvit_tests::kvit_fails(
        &bed.config(),
        &[
            "submission",
            "check",
            "--form",
            "anmeldelse_teknik_miljoe",
            &file.to_string_lossy(),
        ],
    )
    .await?;
    assert_eq!(code, 65);
    Ok(())
}
