//! A broker user for each service, with what it needs and nothing else: those of `deploy/rabbitmq/definitions.json`, which
//! `docs/reliability.md` and `deploy/rabbitmq/README.md` have as a table.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use broker::{EVENTS, JOURNAL_DUTIES, Link, Looker, MAIL_DUTIES, Options};
use kvit_tests::{TestBed, until, within};
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::Value;
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::bed::{SERVICES, numbered};

/// What a user may write to and read from; none may configure anything. A service that comes later adds its row.
struct Rights {
    user: &'static str,
    writes: &'static [&'static str],
    reads: &'static [&'static str],
}

const RIGHTS: [Rights; 7] = [
    Rights {
        user: "kvit-intake",
        writes: &["kvit.duties"],
        reads: &["kvit.submissions.eksempel", "kvit.dead.eksempel"],
    },
    Rights {
        user: "kvit-mailer",
        writes: &[],
        reads: &[MAIL_DUTIES],
    },
    Rights {
        user: "kvit-journaliser",
        writes: &[],
        reads: &[JOURNAL_DUTIES],
    },
    Rights {
        user: "kvit-scheduler",
        writes: &["kvit.duties", EVENTS],
        reads: &[],
    },
    // It looks at how deep the queues are, which RabbitMQ lets whoever may log in.
    Rights {
        user: "kvit-console",
        writes: &[],
        reads: &[],
    },
    // For `kvit submission send`.
    Rights {
        user: "kvit-operator",
        writes: &[""],
        reads: &[],
    },
    Rights {
        user: "site-eksempel",
        writes: &[""],
        reads: &["kvit.events.eksempel"],
    },
];

/// The rights as the definitions have them, as RabbitMQ's regular expressions: user, configure, write, read.
fn defined() -> anyhow::Result<Vec<[String; 4]>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rabbitmq/definitions.json");
    let all: Value =
        serde_json::from_slice(&std::fs::read(&path)?).context("reading deploy/rabbitmq/definitions.json")?;
    let permissions = all["permissions"].as_array().context("permissions")?;
    let text = |of: &Value, key: &str| {
        of[key]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("{of} has no {key}"))
    };
    let keys = ["user", "configure", "write", "read"];
    permissions
        .iter()
        .map(|of| {
            let [user, configure, write, read] = keys.map(|key| text(of, key));
            Ok([user?, configure?, write?, read?])
        })
        .collect()
}

/// The default exchange has no name; RabbitMQ's permissions call it `amq.default`.
const EXCHANGES: [&str; 4] = ["", "kvit.duties", EVENTS, "kvit.dead"];
const QUEUES: [&str; 5] = [
    "kvit.submissions.eksempel",
    "kvit.dead.eksempel",
    "kvit.events.eksempel",
    MAIL_DUTIES,
    JOURNAL_DUTIES,
];

/// Declares everything, as an operator does where the services may not, and makes their users.
async fn a_host_with_users(bed: &TestBed) -> anyhow::Result<()> {
    let rabbit = &bed.host.node.rabbit;
    let options = Options {
        declare: true,
        name: "an operator".to_owned(),
        on_state: Arc::new(|_| {}),
    };
    let link = Link::new(bed.host.url(rabbit.port()), options);
    let site = "eksempel".parse()?;
    link.declare_site(&site);
    link.declare_duties();
    link.declare_events(&site);
    for [user, configure, write, read] in defined()? {
        let user = format!("{}-{user}", bed.host.name);
        block_in_place(|| {
            rabbit.add_user(&user, "pw", "^$", "^$", "^$")?;
            let host = bed.host.name.as_str();
            rabbit.ctl(&["set_permissions", "-p", host, &user, &configure, &write, &read])
        })?;
    }
    until("everything is declared", async || {
        let listed = block_in_place(|| rabbit.ctl(&["-p", &bed.host.name, "list_queues", "--quiet", "name"]))?;
        Ok(QUEUES
            .iter()
            .all(|queue| listed.contains(queue))
            .then_some(link.clone()))
    })
    .await
    .map(drop)
}

fn url(bed: &TestBed, service: &str) -> String {
    let (port, host) = (bed.host.node.rabbit.port(), &bed.host.name);
    format!("amqp://{host}-{service}:pw@127.0.0.1:{port}/{host}")
}

/// Whether the broker lets a user do something: a refusal closes the channel with `ACCESS_REFUSED`.
async fn is_let<T>(
    connection: &Connection,
    verb: impl AsyncFnOnce(&Channel) -> lapin::Result<T>,
) -> anyhow::Result<bool> {
    let channel = connection.create_channel().await?;
    let done = timeout(Duration::from_secs(20), verb(&channel))
        .await
        .context("the broker does not answer")?;
    match done {
        Ok(_) => Ok(true),
        Err(error) if error.to_string().contains("ACCESS_REFUSED") => Ok(false),
        Err(error) => Err(error).context("neither let nor refused"),
    }
}

async fn publish(channel: &Channel, exchange: &str) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties = BasicProperties::default();
    let sent = channel.basic_publish(
        exchange.into(),
        "nobody reads this".into(),
        BasicPublishOptions::default(),
        b"x",
        properties,
    );
    sent.await?.await.map(drop)
}

/// Issue 4: each service's user, and every verb that it has no need of.
#[tokio::test(flavor = "multi_thread")]
async fn a_services_user_may_do_what_it_needs_and_nothing_else() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let users: BTreeSet<String> = defined()?.into_iter().map(|[user, ..]| user).collect();
    ensure!(
        users == RIGHTS.iter().map(|rights| rights.user.to_owned()).collect(),
        "{users:?}"
    );
    a_host_with_users(&bed).await?;
    for rights in &RIGHTS {
        let service = rights.user;
        let connection = Connection::connect(&url(&bed, service), ConnectionProperties::default()).await?;
        let none = FieldTable::default;
        for exchange in EXCHANGES {
            let may = is_let(&connection, async |channel| publish(channel, exchange).await).await?;
            let should = rights.writes.contains(&exchange);
            ensure!(may == should, "{service} may publish to {exchange:?}: {may}");
            if !exchange.is_empty() {
                let options = ExchangeDeleteOptions::default();
                let may = is_let(&connection, async |channel| {
                    channel.exchange_delete(exchange.into(), options).await
                });
                ensure!(!may.await?, "{service} may delete the exchange {exchange}");
            }
        }
        for queue in QUEUES {
            let may = is_let(&connection, async |channel| {
                channel.basic_get(queue.into(), BasicGetOptions::default()).await
            });
            let should = rights.reads.contains(&queue);
            let may = may.await?;
            ensure!(may == should, "{service} may read {queue}: {may}");
            let may = is_let(&connection, async |channel| {
                let options = QueueBindOptions::default();
                channel
                    .queue_bind(queue.into(), EVENTS.into(), "#".into(), options, none())
                    .await
            });
            ensure!(!may.await?, "{service} may bind {queue} to the events");
            let may = is_let(&connection, async |channel| {
                channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await
            });
            ensure!(!may.await?, "{service} may delete {queue}");
        }
        let may = is_let(&connection, async |channel| {
            channel
                .queue_declare("kvit.own".into(), QueueDeclareOptions::default(), none())
                .await
        });
        ensure!(!may.await?, "{service} may declare a queue");
    }
    bed.publish(&numbered(0)).await?;
    let (console, queues) = (
        Looker::new(&url(&bed, "kvit-console"), "a test"),
        QUEUES.map(str::to_owned),
    );
    until("the console sees how deep each queue is", async || {
        let seen = console.look(&queues).await.map_err(anyhow::Error::msg)?;
        let seen: Result<Vec<_>, _> = seen.into_iter().collect();
        let depths: Vec<_> = seen
            .map_err(anyhow::Error::msg)?
            .iter()
            .map(|depth| depth.messages)
            .collect();
        Ok((depths == [1, 0, 0, 0, 0]).then_some(()))
    })
    .await
}

/// The services do their work as these users, and declare nothing (`--no-declare`).
#[tokio::test(flavor = "multi_thread")]
async fn the_services_do_their_work_with_the_least_rights() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    a_host_with_users(&bed).await?;
    let mut programs = Vec::new();
    for service in SERVICES {
        let url = url(&bed, service);
        let environment = [("KVIT_BROKER__URL", url.as_str()), ("KVIT_BROKER__DECLARE", "false")];
        programs.push(bed.spawn_with(service, &environment).await?);
    }
    for program in &mut programs {
        program.until_ready().await?;
    }
    bed.publish(&numbered(0)).await?;
    bed.until_deleted(1).await?;
    ensure!(bed.inbox.count() == 2, "{} mails", bed.inbox.count());
    let rabbit = &bed.host.node.rabbit;
    within(Duration::from_mins(1), "the site is told", async || {
        let listed =
            block_in_place(|| rabbit.ctl(&["-p", &bed.host.name, "list_queues", "--quiet", "name", "messages"]))?;
        let told = listed.lines().any(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next() == Some("kvit.events.eksempel") && words.next().is_some_and(|count| count != "0")
        });
        Ok(told.then_some(()))
    })
    .await
}
