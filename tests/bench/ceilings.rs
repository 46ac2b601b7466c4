//! What the irreducible operations cost, each alone and bare: the limit that Kvit is held against.
//!
//! A submission is one message consumed and acknowledged, one mail sealed, two mails given to the relay, and two commits
//! to a store that is on the disk when it says so; and one message is published with a confirm. The *composite limit* is
//! the number of cores divided by the CPU time of these, the broker's and the relay's shares included. Nothing that Kvit
//! adds (checking, deduplicating, a ledger, retries, evidence) is in it; the three events that the contract has a site told
//! of each submission are measured beside it, as bare, and are no part of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use futures::future::try_join_all;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde::Serialize;
use store::{Journal, Migration, Options, Store, StoreError};

use crate::process::{Cpu, cpu};
use crate::rig::{Plan, Rig};
use crate::{load, sealing};

/// A submission by the sizes of what is made of it, in bytes, and how many of it are measured.
pub(crate) struct Shape {
    /// The message.
    body: Vec<u8>,
    /// The department's mail before it is sealed.
    plain: usize,
    /// The sealed department mail, and the receipt.
    mails: [usize; 2],
    /// How many mails, messages and rows are measured.
    count: u64,
    /// How many go together where the operation allows it: confirms, acknowledgements, rows of a commit.
    together: u64,
}

impl Shape {
    /// A submission of the drain.
    pub(crate) fn small() -> Self {
        Self {
            body: load::small(0).body,
            plain: sealing::MAIL_BYTES,
            mails: [9_000, RECEIPT],
            count: 10_000,
            together: 64,
        }
    }

    /// A submission with attachments: they are in the message in base64, in the mail in lines of it (RFC 2045), and in the
    /// sealed mail in such lines once more.
    pub(crate) fn large() -> Self {
        let body = load::large(0).body;
        let plain = body.len() * 78 / 76;
        Self {
            plain,
            mails: [plain * 4 / 3 * 66 / 64, RECEIPT],
            body,
            count: 48,
            together: 4,
        }
    }
}

/// How long sealing is measured.
const SEALING: Duration = Duration::from_secs(3);
/// The size of a receipt.
const RECEIPT: usize = 6_500;
/// The size of an event to a site.
const EVENT: usize = 430;
/// How many events a site is told of a submission: accepted, delivered, deleted.
const EVENTS: f64 = 3.0;
/// The queue of the messages.
const QUEUE: &str = "bench";
/// The exchange of the events, and the queue that it puts them in. Nobody takes them, as nobody takes those of a drain.
const TOLD: &str = "bench-events";

/// One operation.
#[derive(Debug, Serialize)]
pub(crate) struct Ceiling {
    pub(crate) operation: &'static str,
    /// Operations a second, alone on the machine.
    pub(crate) per_second: f64,
    /// Microseconds of CPU each, broker and relay included.
    pub(crate) cpu_us: f64,
    /// How often a submission needs it.
    pub(crate) times: f64,
}

/// All of them, and what follows.
#[derive(Debug, Serialize)]
pub(crate) struct Ceilings {
    pub(crate) cores: usize,
    pub(crate) operations: Vec<Ceiling>,
    /// Submissions a second.
    pub(crate) composite: f64,
    /// An event told to a site: no part of the composite limit.
    pub(crate) event: Ceiling,
    /// Submissions a second, were the events a part of the limit.
    pub(crate) with_events: f64,
}

/// Measures each operation.
#[expect(clippy::cast_precision_loss, reason = "a number of cores")]
pub(crate) async fn run(shape: &Shape) -> anyhow::Result<Ceilings> {
    let rig = Rig::prepare(Plan::SQLITE).await?;
    let cores = std::thread::available_parallelism()?.get();
    let plain = shape.plain;
    let mut operations = vec![tokio::task::spawn_blocking(move || seal(cores, plain)).await??];
    operations.push(smtp(&rig, shape)?);
    let (of_message, event) = amqp(&rig, shape).await?;
    operations.extend(of_message);
    operations.push(commits(&rig, shape).await?);
    let micros: f64 = operations.iter().map(|one| one.cpu_us * one.times).sum();
    let limit = |micros| cores as f64 * 1e6 / micros;
    Ok(Ceilings {
        cores,
        operations,
        composite: limit(micros),
        with_events: limit(micros + event.cpu_us * event.times),
        event,
    })
}

/// What was done in a time, at what cost.
#[expect(clippy::cast_precision_loss, reason = "a number of operations")]
fn ceiling(operation: &'static str, times: f64, count: u64, took: Duration, spent: f64) -> Ceiling {
    Ceiling {
        operation,
        per_second: count as f64 / took.as_secs_f64(),
        cpu_us: spent * 1e6 / count as f64,
        times,
    }
}

fn own() -> anyhow::Result<Cpu> {
    cpu(std::process::id())
}

fn seal(cores: usize, bytes: usize) -> anyhow::Result<Ceiling> {
    let (bare, mail) = (sealing::Bare::curve25519()?, sealing::plaintext(bytes));
    let (start, before) = (Instant::now(), own()?);
    let count = std::thread::scope(|scope| {
        let loops: Vec<_> = (0..cores)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0u64;
                    while start.elapsed() < SEALING {
                        std::hint::black_box(bare.encrypt(&mail)?);
                        count += 1;
                    }
                    anyhow::Ok(count)
                })
            })
            .collect();
        loops.into_iter().try_fold(0, |sum, one| {
            anyhow::Ok(sum + one.join().map_err(|_| anyhow::anyhow!("sealing panicked"))??)
        })
    })?;
    let Cpu(spent) = own()? - before;
    Ok(ceiling("mail signed and sealed", 1.0, count, start.elapsed(), spent))
}

/// Mails to the sink by as many connections as Kvit has, each command with its answer, pipelined as RFC 2920 allows.
fn smtp(rig: &Rig, shape: &Shape) -> anyhow::Result<Ceiling> {
    let (port, mails) = (rig.relay(), shape.count / 4);
    let (start, before, relay) = (Instant::now(), own()?, rig.relay_cpu()?);
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..4)
            .map(|_| scope.spawn(move || converse(port, shape.mails, mails)))
            .collect();
        lanes
            .into_iter()
            .try_for_each(|lane| lane.join().map_err(|_| anyhow::anyhow!("a lane panicked"))?)
    })?;
    let took = start.elapsed();
    let (Cpu(own), Cpu(relay)) = (own()? - before, rig.relay_cpu()? - relay);
    Ok(ceiling("mail given to the relay", 2.0, 4 * mails, took, own + relay))
}

fn converse(port: u16, bytes: [usize; 2], mails: u64) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    answer(&mut answers, "220")?;
    stream.write_all(b"EHLO bench.example\r\n")?;
    answer(&mut answers, "250")?;
    let bodies = bytes.map(|bytes| {
        let line = [b"x".repeat(76), b"\r\n".to_vec()].concat();
        [line.repeat(bytes / 78), b".\r\n".to_vec()].concat()
    });
    for mail in 0..mails {
        stream.write_all(b"MAIL FROM:<bounce@kommune.example>\r\nRCPT TO:<borger@post.example>\r\nDATA\r\n")?;
        for code in ["250", "250", "354"] {
            answer(&mut answers, code)?;
        }
        stream.write_all(&bodies[usize::from(mail % 2 == 1)])?;
        answer(&mut answers, "250")?;
    }
    stream.write_all(b"QUIT\r\n")?;
    Ok(())
}

fn answer(answers: &mut BufReader<TcpStream>, code: &str) -> anyhow::Result<()> {
    loop {
        let mut line = String::new();
        answers.read_line(&mut line)?;
        ensure!(line.starts_with(code), "the relay answers {line:?}");
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

/// Quorum queues: publishing messages and events with confirms, then consuming the messages with acknowledgements, many of
/// either together.
async fn amqp(rig: &Rig, shape: &Shape) -> anyhow::Result<([Ceiling; 2], Ceiling)> {
    let (together, count) = (shape.together, shape.count / shape.together * shape.together);
    let url = rig.bed.host.url(rig.bed.host.node.rabbit.port());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    declare(&channel).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let publish = async |operation, times, address, body: &[u8]| {
        let (start, before, broker) = (Instant::now(), own()?, rig.broker_cpu()?);
        for _ in 0..count / together {
            publish(&channel, address, body, together).await?;
        }
        let took = start.elapsed();
        let (Cpu(mine), Cpu(theirs)) = (own()? - before, rig.broker_cpu()? - broker);
        anyhow::Ok(ceiling(operation, times, count, took, mine + theirs))
    };
    let published = publish("message published, confirmed", 1.0, ["", QUEUE], &shape.body).await?;
    let address = [TOLD, "eksempel.form.accepted"];
    let event = publish("event published, confirmed", EVENTS, address, &[b'x'; EVENT]).await?;

    let (start, before, broker) = (Instant::now(), own()?, rig.broker_cpu()?);
    channel
        .basic_qos(u16::try_from(2 * together)?, BasicQosOptions::default())
        .await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume(QUEUE.into(), QUEUE.into(), options, FieldTable::default())
        .await?;
    for number in 1..=count {
        let delivery = consumer.next().await.context("a message")??;
        if number % together == 0 {
            delivery.acker.ack(BasicAckOptions { multiple: true }).await?;
        }
    }
    let took = start.elapsed();
    let (Cpu(mine), Cpu(theirs)) = (own()? - before, rig.broker_cpu()? - broker);
    let consumed = ceiling("message consumed, acknowledged", 1.0, count, took, mine + theirs);
    connection.close(200, "OK".into()).await?;
    Ok(([published, consumed], event))
}

/// The two queues, and the exchange that the events come by.
async fn declare(channel: &Channel) -> anyhow::Result<()> {
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    for queue in [QUEUE, TOLD] {
        channel.queue_declare(queue.into(), durable, quorum.clone()).await?;
    }
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default();
    channel
        .exchange_declare(TOLD.into(), ExchangeKind::Topic, durable, none.clone())
        .await?;
    let options = QueueBindOptions::default();
    channel
        .queue_bind(TOLD.into(), TOLD.into(), "eksempel.#".into(), options, none)
        .await?;
    Ok(())
}

/// Publishes so many messages together, as cheaply as the library can: they share their way to the socket.
async fn publish(channel: &Channel, [exchange, key]: [&str; 2], body: &[u8], together: u64) -> anyhow::Result<()> {
    let one = |_| {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        channel.basic_publish(exchange.into(), key.into(), options, body, persistent)
    };
    let confirms = try_join_all((0..together).map(one)).await?;
    for confirm in try_join_all(confirms).await? {
        ensure!(confirm.is_ack(), "a message was refused");
    }
    Ok(())
}

/// A row of two sealed mails and a row of a key: written, and deleted, in a store each.
async fn commits(rig: &Rig, shape: &Shape) -> anyhow::Result<Ceiling> {
    let (groups, together) = (shape.count / shape.together, i64::try_from(shape.together)?);
    let row = shape.mails.iter().sum();
    let options = |journal| Options {
        schema: "bench",
        journal,
        migrations: &[Migration {
            sql: "CREATE TABLE kept (id BIGINT PRIMARY KEY, sealed {bytes} NOT NULL)",
        }],
        writers: 1,
        readers: 1,
    };
    let open = |name: &str, journal| {
        let url = format!("sqlite:{}", rig.bed.path(name).display());
        anyhow::Ok(Store::new(&url.parse()?, options(journal)))
    };
    let (data, keys) = (
        open("bench.db", Journal::Wal)?,
        open("bench-keys.db", Journal::Truncate)?,
    );
    let (start, before) = (Instant::now(), own()?);
    for group in 0..i64::try_from(groups)? {
        let group = group * together..(group + 1) * together;
        for (store, bytes) in [(&keys, 72), (&data, row)] {
            let (group, sealed) = (group.clone(), vec![7; bytes]);
            let wrote: Result<(), StoreError> = store
                .write(move |tx| {
                    for id in group {
                        tx.execute(
                            "INSERT INTO kept (id, sealed) VALUES ($1, $2)",
                            &[id.into(), sealed.as_slice().into()],
                        )?;
                    }
                    Ok(())
                })
                .await;
            wrote?;
        }
        for store in [&data, &keys] {
            let group = group.clone();
            let deleted: Result<(), StoreError> = store
                .write(move |tx| {
                    for id in group {
                        tx.execute("DELETE FROM kept WHERE id = $1", &[id.into()])?;
                    }
                    Ok(())
                })
                .await;
            deleted?;
        }
    }
    let Cpu(spent) = own()? - before;
    Ok(ceiling(
        "kept and deleted in both stores",
        1.0,
        groups * shape.together,
        start.elapsed(),
        spent,
    ))
}
