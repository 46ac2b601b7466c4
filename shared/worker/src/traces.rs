//! One trace a submission, for an OpenTelemetry collector where `[traces]` names one.
//!
//! The ids of a trace and of its root span follow from the submission's own id, so no service hands another anything, and
//! an attempt days later belongs to the same trace. What may be said of a step is the closed list [`Fact`]: ids, Kvit's own
//! words, numbers. A collector that is away costs spans, which are counted, and nothing else: nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use domain::{DutyId, DutyKind, FormId, Reason, SiteId, SubmissionId};
use jiff::Timestamp;
use ledger::{Claim, Outcome};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use runtime::{Config, Exit};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How many spans may wait for the collector.
const WAITING: usize = 4096;
/// How many it is given at once.
const MOST: usize = 512;
/// How long the first of them waits for others.
const GATHERING: Duration = Duration::from_secs(1);
/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take when the service ends.
const PARTING: Duration = Duration::from_secs(2);

/// Where a service tells its steps. Without a collector it is empty, and telling is one comparison.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Teller>>);

struct Teller {
    waiting: mpsc::Sender<SpanData>,
    percent: u64,
    scope: InstrumentationScope,
}

/// Gives the collector what was told.
pub struct Exporting(Option<(SpanExporter, mpsc::Receiver<SpanData>)>);

/// A step of a submission's way.
#[derive(Debug, Clone)]
pub struct Step {
    /// What was done; a name of few, with no id in it.
    pub name: String,
    /// How it stands to the broker.
    pub kind: SpanKind,
    /// When it began, and when it ended.
    pub at: (Timestamp, Timestamp),
    /// Whether it came to something else than it should.
    pub failed: bool,
    /// What else may be known of it.
    pub facts: Vec<Fact>,
}

/// What may be said of a step. None is an answer, an address, a file's name or another program's words.
#[derive(Debug, Clone)]
pub enum Fact {
    /// Which submission it is, as `kvit submission show` takes it.
    Submission(SubmissionId),
    /// Its version.
    Version(u32),
    /// Its site, by its id in the configuration.
    Site(SiteId),
    /// Its form, by its id.
    Form(FormId),
    /// Which duty it is.
    Duty(DutyId),
    /// What is owed.
    Kind(DutyKind),
    /// How often it was tried, this time included.
    Attempt(i64),
    /// What became of it, in one of few words.
    Outcome(&'static str),
    /// Why, by the code that the ledger has.
    Reason(Reason),
    /// A journal, by its name in the configuration.
    Target(String),
    /// The event that a site is told, in the ledger's word.
    Event(String),
    /// The queue or exchange of RabbitMQ, and OpenTelemetry's name and type of what was done there.
    Messaging(String, &'static str, &'static str),
}

impl Fact {
    fn attributes(self) -> Vec<KeyValue> {
        let one = |key: &'static str, value: String| vec![KeyValue::new(key, value)];
        match self {
            Self::Submission(id) => one("kvit.submission.id", id.to_string()),
            Self::Version(number) => vec![KeyValue::new("kvit.submission.version", i64::from(number))],
            Self::Site(site) => one("kvit.site", site.to_string()),
            Self::Form(form) => one("kvit.form", form.to_string()),
            Self::Duty(id) => one("kvit.duty.id", id.to_string()),
            Self::Kind(kind) => one("kvit.duty.kind", kind.as_str().to_owned()),
            Self::Attempt(count) => vec![KeyValue::new("kvit.duty.attempt", count)],
            Self::Outcome(word) => one("kvit.outcome", word.to_owned()),
            Self::Reason(reason) => one("kvit.reason", reason.to_string()),
            Self::Target(name) => one("kvit.journal.target", name),
            Self::Event(word) => one("kvit.event", word),
            Self::Messaging(destination, name, kind) => vec![
                KeyValue::new("messaging.system", "rabbitmq"),
                KeyValue::new("messaging.destination.name", destination),
                KeyValue::new("messaging.operation.name", name),
                KeyValue::new("messaging.operation.type", kind),
            ],
        }
    }
}

/// Where a service tells its steps, and what is to run beside it so that a collector gets them.
///
/// # Errors
///
/// Where `[traces]` cannot be used (78).
pub fn traces(config: &Config, service: &'static str) -> anyhow::Result<(Traces, Exporting)> {
    let Some(url) = &config.traces.url else {
        return Ok((Traces::default(), Exporting(None)));
    };
    // A collector that sends its callers elsewhere is not the one that was named.
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()
        .map_err(Exit::config)?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(url)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(PATIENCE)
        .build();
    let mut exporter = exporter.map_err(Exit::config)?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder_empty()
        .with_service_name(service)
        .with_attribute(version);
    exporter.set_resource(&resource.build());
    for reason in ["queue", "collector"] {
        lost(reason, 0);
    }
    let (waiting, told) = mpsc::channel(WAITING);
    let teller = Teller {
        waiting,
        percent: config.traces.percent.into(),
        scope: InstrumentationScope::builder("kvit").build(),
    };
    Ok((Traces(Some(Arc::new(teller))), Exporting(Some((exporter, told)))))
}

fn lost(reason: &'static str, spans: u64) {
    metrics::counter!("kvit_spans_lost_total", "reason" => reason).increment(spans);
}

impl Traces {
    /// Whether anything is told at all: who would only gather for a trace need not, where nothing is.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Tells a submission's arrival, which is the root of its trace. `step` is asked only where there is a trace.
    pub fn arrival(&self, submission: SubmissionId, step: impl FnOnce() -> Step) {
        self.tell(submission, true, step);
    }

    /// Tells a later step of a submission's way. `step` is asked only where there is a trace.
    pub fn step(&self, submission: SubmissionId, step: impl FnOnce() -> Step) {
        self.tell(submission, false, step);
    }

    /// Tells an attempt at a duty, from its claim to the commit of what became of it. A duty of no one submission has no
    /// trace.
    pub fn attempt(&self, claim: &Claim, outcome: Outcome, begun: Timestamp, now: impl FnOnce() -> Timestamp) {
        let Some(submission) = claim.submission else { return };
        self.step(submission, || {
            let (name, kind) = match claim.kind {
                DutyKind::Journal => ("journalise".to_owned(), SpanKind::Internal),
                mail => (format!("send {}", mail.as_str()), SpanKind::Client),
            };
            let mut facts = vec![
                Fact::Duty(claim.id),
                Fact::Kind(claim.kind),
                Fact::Attempt(claim.attempts),
                Fact::Outcome(outcome.as_str()),
            ];
            facts.extend(outcome.reason().map(Fact::Reason));
            facts.extend((claim.kind == DutyKind::Journal).then(|| Fact::Target(claim.role.clone())));
            Step {
                name,
                kind,
                at: (begun, now()),
                failed: outcome != Outcome::Done,
                facts,
            }
        });
    }

    /// Tells that a submission's keys are destroyed and its tombstone is left.
    pub fn deletion(&self, submission: SubmissionId, begun: Timestamp, now: impl FnOnce() -> Timestamp) {
        self.step(submission, || Step {
            name: "delete".to_owned(),
            kind: SpanKind::Internal,
            at: (begun, now()),
            failed: false,
            facts: Vec::new(),
        });
    }

    fn tell(&self, submission: SubmissionId, is_root: bool, step: impl FnOnce() -> Step) {
        let Some(teller) = &self.0 else { return };
        let place = Place::of(submission);
        if place.draw % 100 >= teller.percent {
            return;
        }
        let span = place.span(step(), is_root, teller.scope.clone());
        if teller.waiting.try_send(span).is_err() {
            lost("queue", 1);
        }
    }
}

/// Where a submission's spans belong.
struct Place {
    trace: TraceId,
    root: SpanId,
    /// The same for every service, so that all of them choose the same submissions.
    draw: u64,
}

impl Place {
    fn of(submission: SubmissionId) -> Self {
        let digest = Sha256::new()
            .chain_update("kvit trace\0")
            .chain_update(submission.0.as_bytes())
            .finalize();
        let word = |at: usize| -> [u8; 8] { std::array::from_fn(|n| digest[at + n]) };
        Self {
            trace: TraceId::from_bytes(std::array::from_fn(|n| digest[n])),
            root: SpanId::from_bytes(word(16)),
            draw: u64::from_be_bytes(word(24)),
        }
    }

    fn span(&self, step: Step, is_root: bool, instrumentation_scope: InstrumentationScope) -> SpanData {
        let random = Uuid::new_v4();
        let own = SpanId::from_bytes(std::array::from_fn(|n| random.as_bytes()[8 + n]));
        let (id, parent) = if is_root {
            (self.root, SpanId::INVALID)
        } else {
            (own, self.root)
        };
        let status = if step.failed { Status::error("") } else { Status::Unset };
        SpanData {
            span_context: SpanContext::new(self.trace, id, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: parent,
            parent_span_is_remote: !is_root,
            span_kind: step.kind,
            name: step.name.into(),
            start_time: step.at.0.into(),
            end_time: step.at.1.into(),
            attributes: step.facts.into_iter().flat_map(Fact::attributes).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope,
        }
    }
}

impl Exporting {
    /// Gives the collector what is told until `ended`, and then what still waits.
    pub async fn serve(self, ended: CancellationToken) {
        let Some((exporter, mut told)) = self.0 else { return };
        let mut exporter = Exporter { exporter, away: false };
        loop {
            let mut batch = Vec::with_capacity(MOST);
            tokio::select! {
                biased;
                () = ended.cancelled() => break,
                _ = told.recv_many(&mut batch, MOST) => {}
            }
            tokio::select! {
                () = ended.cancelled() => {}
                () = sleep(GATHERING) => {}
            }
            fill(&mut batch, &mut told);
            exporter.give(batch, PATIENCE, &ended).await;
        }
        told.close();
        loop {
            let mut batch = Vec::new();
            fill(&mut batch, &mut told);
            if batch.is_empty() {
                return;
            }
            exporter.give(batch, PARTING, &ended).await;
        }
    }
}

fn fill(batch: &mut Vec<SpanData>, told: &mut mpsc::Receiver<SpanData>) {
    while batch.len() < MOST
        && let Ok(span) = told.try_recv()
    {
        batch.push(span);
    }
}

struct Exporter {
    exporter: SpanExporter,
    /// It did not take the last ones.
    away: bool,
}

impl Exporter {
    /// Gives it spans once. Where the service ends meanwhile, it has only [`PARTING`] left, and where it was away then,
    /// nothing more is tried.
    async fn give(&mut self, batch: Vec<SpanData>, patience: Duration, ended: &CancellationToken) {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        if self.away && ended.is_cancelled() {
            return lost("collector", spans);
        }
        let hurried = async {
            ended.cancelled().await;
            sleep(PARTING).await;
        };
        let taken = tokio::select! {
            given = timeout(patience, self.exporter.export(batch)) => matches!(given, Ok(Ok(()))),
            () = hurried => false,
        };
        if !taken {
            lost("collector", spans);
        }
        // Once for each time that it begins and ends: the metric says how much.
        match (self.away, taken) {
            (false, false) => tracing::warn!("the collector takes no traces; they are dropped, and counted"),
            (true, true) => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        self.away = !taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere(percent: u64, room: usize) -> (Traces, mpsc::Receiver<SpanData>) {
        let (waiting, told) = mpsc::channel(room);
        let scope = InstrumentationScope::builder("kvit").build();
        let teller = Teller {
            waiting,
            percent,
            scope,
        };
        (Traces(Some(Arc::new(teller))), told)
    }

    fn step() -> Step {
        Step {
            name: "send receipt".to_owned(),
            kind: SpanKind::Client,
            at: (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH),
            failed: false,
            facts: vec![Fact::Attempt(1)],
        }
    }

    #[test]
    fn without_a_collector_no_step_is_even_made() {
        let off = Traces::default();
        off.step(SubmissionId::new(), || panic!("a step is made for nobody"));
        assert!(!off.is_on());
    }

    #[test]
    fn services_that_know_nothing_of_each_other_tell_one_trace() {
        let (intake, mut first) = nowhere(100, 1);
        let (mailer, mut second) = nowhere(100, 1);
        let id = SubmissionId::new();
        intake.arrival(id, step);
        mailer.step(id, step);
        let (root, later) = (first.try_recv().unwrap(), second.try_recv().unwrap());
        assert_eq!(root.span_context.trace_id(), later.span_context.trace_id());
        assert_eq!(later.parent_span_id, root.span_context.span_id());
        assert_eq!(root.parent_span_id, SpanId::INVALID);
        assert_ne!(later.span_context.span_id(), root.span_context.span_id());
    }

    #[test]
    fn a_share_of_the_submissions_is_the_same_share_for_every_service() {
        let (intake, mut first) = nowhere(25, 1000);
        let (mailer, mut second) = nowhere(25, 1000);
        for _ in 0..1000 {
            let id = SubmissionId::new();
            intake.arrival(id, step);
            mailer.step(id, step);
        }
        let mut count = 0;
        while let Ok(root) = first.try_recv() {
            let later = second.try_recv().expect("the other service told it too");
            assert_eq!(root.span_context.trace_id(), later.span_context.trace_id());
            count += 1;
        }
        assert!((150..350).contains(&count), "{count} of 1000");
        assert!(second.try_recv().is_err());
    }

    #[test]
    fn a_full_queue_holds_nobody_up() {
        let (traces, mut told) = nowhere(100, 1);
        for _ in 0..3 {
            traces.step(SubmissionId::new(), step);
        }
        assert!(told.try_recv().is_ok());
        assert!(told.try_recv().is_err(), "the others are lost, and nobody waited");
    }
}
