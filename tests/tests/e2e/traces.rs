//! What an OpenTelemetry collector is told. The collector is a stand-in: an HTTP server that keeps what it is given, which
//! the crate of OpenTelemetry's own messages decodes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use kvit_tests::{CASE, Message, Service, TestBed, application, report, until};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// A collector that takes everything, and the bed's configuration naming it.
pub(crate) async fn collector(bed: &TestBed) -> anyhow::Result<MockServer> {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/traces"))
        .and(header("content-type", "application/x-protobuf"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    name(bed, &format!("{}/v1/traces", server.uri()))?;
    Ok(server)
}

fn name(bed: &TestBed, url: &str) -> anyhow::Result<()> {
    bed.configure("[retry]", &format!("[traces]\nurl = \"{url}\"\n[retry]"))
}

/// The bytes that it was given.
pub(crate) async fn exported(collector: &MockServer) -> Vec<Vec<u8>> {
    let requests = collector.received_requests().await.unwrap_or_default();
    requests.into_iter().map(|request| request.body).collect()
}

/// The spans that it was given, each with the service that told it.
pub(crate) async fn spans(collector: &MockServer) -> anyhow::Result<Vec<(String, Span)>> {
    let mut spans = Vec::new();
    for body in exported(collector).await {
        let request = ExportTraceServiceRequest::decode(body.as_slice()).context("what a collector was given")?;
        for of in request.resource_spans {
            let resource = of.resource.unwrap_or_default();
            let service = resource.attributes.iter().find(|of| of.key == "service.name");
            let service = service.map(|of| text(of.value.as_ref().and_then(|any| any.value.as_ref())));
            let service = service.context("a service has a name")?;
            let told = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(told.map(|span| (service.clone(), span)));
        }
    }
    Ok(spans)
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let of = |value: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        text(value.value.as_ref().and_then(|any| any.value.as_ref()))
    };
    span.attributes.iter().map(|one| (one.key.as_str(), of(one))).collect()
}

/// One submission is one trace over every service, and each span's parent is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_one_trace_from_its_arrival_to_its_deletion() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.add_form("ansoegning", CASE)?;
    let collector = collector(&bed).await?;
    let running = bed.run(&Service::ALL).await?;
    bed.post(&application(1, "Jeg har brug for hjælp")).await?;
    bed.post(&application(2, "Jeg har også brug for hjælp")).await?;
    bed.until_deleted(2).await?;
    let told = |name: &'static str, count: usize| {
        let collector = &collector;
        until("the collector has them all", async move || {
            let spans = spans(collector).await?;
            let found = spans.iter().filter(|(_, span)| span.name == name).count();
            Ok((found >= count).then_some(()))
        })
    };
    told("delete", 2).await?;
    told("journalise", 2).await?;
    // Accepted, delivered and deleted, of each.
    told("publish kvit.events", 6).await?;
    running.stop().await?;

    let spans = spans(&collector).await?;
    let mut traces: BTreeMap<&[u8], Vec<&(String, Span)>> = BTreeMap::new();
    for span in &spans {
        traces.entry(&span.1.trace_id).or_default().push(span);
    }
    assert_eq!(traces.len(), 2, "{spans:#?}");
    let submissions: BTreeSet<String> = bed.submissions().await?.into_iter().map(|view| view.id).collect();
    let mut seen = BTreeSet::new();
    for trace in traces.values() {
        let services: BTreeSet<&str> = trace.iter().map(|(service, _)| service.as_str()).collect();
        let expected = ["kvit-intake", "kvit-journaliser", "kvit-mailer", "kvit-scheduler"];
        assert_eq!(services, BTreeSet::from(expected));
        let ids: BTreeSet<&[u8]> = trace.iter().map(|(_, span)| span.span_id.as_slice()).collect();
        assert_eq!(ids.len(), trace.len(), "no two spans have one id");
        let (roots, others): (Vec<&(String, Span)>, Vec<_>) =
            trace.iter().partition(|(_, span)| span.parent_span_id.is_empty());
        assert!(roots.len() == 1 && roots[0].0 == "kvit-intake", "{roots:#?}");
        for (_, span) in others {
            assert_eq!(span.parent_span_id, roots[0].1.span_id, "{span:#?}");
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:#?}");
        }
        let names: BTreeSet<&str> = trace.iter().map(|(_, span)| span.name.as_str()).collect();
        for name in [
            "read",
            "check",
            "compose",
            "seal",
            "commit",
            "send department_mail",
            "journalise",
            "delete",
        ] {
            assert!(names.contains(name), "{name}: {names:?}");
        }
        let root = attributes(&roots[0].1);
        assert_eq!(root["messaging.system"], "rabbitmq");
        assert_eq!(root["messaging.destination.name"], "kvit.submissions.eksempel");
        assert_eq!(root["messaging.operation.type"], "process");
        assert_eq!(root["kvit.form"], "ansoegning");
        seen.insert(root["kvit.submission.id"].clone());
        let mail = trace.iter().find(|(_, span)| span.name == "send department_mail");
        let mail = attributes(&mail.context("a mail")?.1);
        assert_eq!(
            (mail["kvit.outcome"].as_str(), mail["kvit.duty.attempt"].as_str()),
            ("accepted", "1")
        );
    }
    assert_eq!(seen, submissions);
    Ok(())
}

/// A retry belongs to the trace of its submission, and says by a code why it was one.
#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_at_a_mail_is_told_with_what_became_of_it() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let collector = collector(&bed).await?;
    let later = kvit_cli::demo::inbox::Behaviour::Refuse {
        recipients: vec!["teknik@kommune.example".to_owned()],
        code: 451,
        text: "4.7.1 teknik@kommune.example is greylisted".to_owned(),
    };
    bed.inbox.behave(later, kvit_cli::demo::inbox::Times::Next(1));
    let running = bed.run(&Service::ALL).await?;
    bed.post(&Message::json(&report(
        "5b5e4f3e-0000-4000-8000-000000000071",
        &json!({}),
    )))
    .await?;
    bed.until_deleted(1).await?;
    running.stop().await?;
    let spans = spans(&collector).await?;
    let mails: Vec<_> = spans
        .iter()
        .filter(|(_, span)| span.name == "send department_mail")
        .collect();
    let outcomes: Vec<_> = mails
        .iter()
        .map(|(_, span)| attributes(span)["kvit.outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["retried", "accepted"]);
    assert_eq!(attributes(&mails[0].1)["kvit.reason"], "smtp_451");
    assert_eq!(mails[0].1.trace_id, mails[1].1.trace_id);
    for body in exported(&collector).await {
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(!body.contains("teknik@") && !body.contains("greylisted"), "{body}");
    }
    Ok(())
}

/// A collector that is away, or never answers, costs its spans and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn the_work_goes_on_where_no_collector_answers() -> anyhow::Result<()> {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let (mute, gone) = (silent.local_addr()?, closed.local_addr()?);
    drop(closed);
    for address in [mute, gone] {
        let bed = TestBed::prepare().await?;
        name(&bed, &format!("http://{address}/v1/traces"))?;
        let mut mailer = bed.spawn("kvit-mailer").await?;
        mailer.until_ready().await?;
        let running = bed.run(&[Service::Intake, Service::Scheduler]).await?;
        bed.post(&Message::json(&report(
            "5b5e4f3e-0000-4000-8000-000000000072",
            &json!({}),
        )))
        .await?;
        bed.until_deleted(1).await?;
        until("the spans that nobody took are counted", async || {
            let metrics = mailer.probe("/metrics").await?.1;
            let lost = metrics
                .lines()
                .find_map(|line| line.strip_prefix("kvit_spans_lost_total{reason=\"collector\"} "));
            Ok(lost.is_some_and(|count| count != "0").then_some(()))
        })
        .await?;
        running.stop().await?;
        let log = mailer.log();
        assert_eq!(log.matches("the collector takes no traces").count(), 1, "{log}");
    }
    Ok(())
}
