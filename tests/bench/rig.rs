//! Everything that a submission meets, as processes of this machine: a private RabbitMQ, the services, `smtp-sink`, the
//! stores.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kvit_tests::postgres::Server;
use kvit_tests::{Message, Peers, Program, TestBed, until};
use serde::Serialize;
use store::{Journal, Options, Store};

use crate::growth;
use crate::process::{self, Cpu};

/// How many messages wait for their confirms at a time.
const IN_FLIGHT: usize = 64;

/// The engine below ledger and key store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// Two files, `synchronous=FULL`.
    Sqlite,
    /// A private server, `synchronous_commit=on`.
    Postgres,
}

/// How a rig differs from the ordinary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) engine: Engine,
    /// How many processes of intake, and of mailer.
    pub(crate) replicas: usize,
    /// How many submissions the ledger has finished already.
    pub(crate) finished: u64,
}

impl Plan {
    pub(crate) const SQLITE: Self = Self {
        engine: Engine::Sqlite,
        replicas: 1,
        finished: 0,
    };
    pub(crate) const POSTGRES: Self = Self {
        engine: Engine::Postgres,
        ..Self::SQLITE
    };
}

/// An installation whose services can be started.
pub(crate) struct Rig {
    pub(crate) bed: TestBed,
    plan: Plan,
    sink: Sink,
    ledger: Store,
    server: Option<Arc<Server>>,
}

/// The services, running.
pub(crate) struct Services(pub(crate) Vec<(&'static str, Program)>);

/// What each process has cost.
#[derive(Debug, Clone, Default)]
pub(crate) struct Costs(pub(crate) Vec<(&'static str, Cpu)>);

/// Postfix's `smtp-sink`: takes every mail and forgets it.
struct Sink {
    child: Child,
    port: u16,
}

impl Rig {
    /// Sets everything up; no service runs yet.
    pub(crate) async fn prepare(plan: Plan) -> anyhow::Result<Self> {
        let sink = Sink::start()?;
        let bed = TestBed::prepare_with(&Peers {
            relay: Some(sink.port),
            ..Peers::default()
        })
        .await?;
        bed.configure("connections = 4", "connections = 8")?;
        bed.configure("lease = \"PT3S\"\n", "")?;
        let signing = bed.path("secrets/signing.asc");
        let (_, secret) = openpgp::generate("Eksempel <kvit@kommune.example>", bed.clock().now(), None)?;
        std::fs::write(&signing, secret)?;
        bed.configure(
            "[sites.eksempel]",
            "[evidence]\nkey_file = \"secrets/evidence.key\"\n[signing]\nkey_file = \"secrets/signing.asc\"\n[sites.eksempel]",
        )?;
        let (mut url, mut server) = (format!("sqlite:{}", bed.path("kvit.db").display()), None);
        if plan.engine == Engine::Postgres {
            let started = tokio::task::spawn_blocking(Server::start_private).await??;
            url = started.database()?;
            bed.configure("url = \"sqlite:kvit.db\"", &format!("url = \"{url}\""))?;
            bed.configure("url = \"sqlite:kvit-keys.db\"", &format!("url = \"{url}\""))?;
            server = Some(Arc::new(started));
        }
        // The tables are there before anybody looks at them.
        ledger::Ledger::new(&url.parse()?).is_empty().await?;
        let looking = Options {
            schema: "kvit",
            journal: Journal::Wal,
            migrations: &[],
            writers: 1,
            readers: 1,
        };
        let ledger = Store::new(&url.parse()?, looking);
        growth::finish(&ledger, plan.finished, vault::epoch_of(bed.clock().now())).await?;
        Ok(Self {
            bed,
            plan,
            sink,
            ledger,
            server,
        })
    }

    /// Publishes with confirms, many at a time.
    pub(crate) async fn publish(&self, messages: impl Iterator<Item = Message>) -> anyhow::Result<()> {
        let confirmed = stream::iter(messages.map(|message| async move { self.bed.publish(&message).await }));
        confirmed.buffer_unordered(IN_FLIGHT).try_collect().await
    }

    /// Starts the services; returns when all are ready.
    pub(crate) async fn start(&self) -> anyhow::Result<Services> {
        let mut services = Services(Vec::new());
        let replicated = ["kvit-intake", "kvit-mailer"].into_iter();
        let names = replicated.flat_map(|name| std::iter::repeat_n(name, self.plan.replicas));
        for (number, name) in names.chain(["kvit-scheduler"]).enumerate() {
            let log = self.bed.path(&format!("{name}-{number}.log"));
            // As a unit starts it: where the shell asks for backtraces, each of the library's inner errors costs one.
            let environment = [("KVIT_LOG", "info"), ("RUST_BACKTRACE", "0")];
            let program = Program::start_with(name, &self.bed.config(), &log, &environment).await?;
            services.0.push((name, program));
        }
        for (_, program) in &mut services.0 {
            program.until_ready().await?;
        }
        Ok(services)
    }

    /// What every process has cost until now.
    pub(crate) fn costs(&self, services: &Services) -> anyhow::Result<Costs> {
        let mut costs = Vec::new();
        for (name, program) in &services.0 {
            costs.push((*name, process::cpu(program.pid())?));
        }
        let rabbit = self.bed.host.node.rabbit.pid().context("RabbitMQ runs")?;
        costs.push(("rabbitmq", process::cpu(rabbit)?));
        costs.push(("smtp-sink", process::cpu(self.sink.child.id())?));
        if let Some(pid) = self.server.as_ref().and_then(|server| server.pid()) {
            costs.push(("postgres", process::cpu(pid)?));
        }
        Ok(Costs(costs))
    }

    /// When the relay accepted the last mail of each numbered submission, in milliseconds since 1970, by its number.
    pub(crate) async fn accepted_at(&self) -> anyhow::Result<Vec<(i64, i64)>> {
        let last =
            "SELECT submission.sequence, MAX(duty.done_at) FROM submission JOIN duty ON duty.submission = submission.id
                    WHERE submission.sequence IS NOT NULL GROUP BY submission.id, submission.sequence";
        let read = self.ledger.read(move |tx| {
            let rows = tx.query(last, &[])?;
            rows.iter().map(|row| Ok((row.int(0)?, row.int(1)?))).collect()
        });
        let found: Result<Vec<(i64, i64)>, store::StoreError> = read.await;
        Ok(found?)
    }

    /// The relay's port.
    pub(crate) fn relay(&self) -> u16 {
        self.sink.port
    }

    /// What the relay's process has cost until now.
    pub(crate) fn relay_cpu(&self) -> anyhow::Result<Cpu> {
        process::cpu(self.sink.child.id())
    }

    /// What the broker has cost until now.
    pub(crate) fn broker_cpu(&self) -> anyhow::Result<Cpu> {
        process::cpu(self.bed.host.node.rabbit.pid().context("RabbitMQ runs")?)
    }

    /// How many submissions are deleted. The bench reads the table itself: the figures of `kvit status` count duties, too.
    pub(crate) async fn deleted(&self) -> anyhow::Result<u64> {
        let sum = "SELECT CAST(SUM(value) AS BIGINT) FROM counter WHERE name = 'deleted'";
        let read = self.ledger.read(move |tx| {
            let row = tx.one(sum, &[])?;
            row.map_or(Ok(None), |row| row.opt_int(0))
        });
        let deleted: Result<Option<i64>, store::StoreError> = read.await;
        Ok(u64::try_from(deleted?.unwrap_or(0))?)
    }
}

impl Costs {
    /// By process name, since `earlier`; replicas are added up.
    pub(crate) fn since(&self, earlier: &Self) -> Vec<(&'static str, f64)> {
        let mut spent: Vec<(&'static str, f64)> = Vec::new();
        for ((name, now), (_, before)) in self.0.iter().zip(&earlier.0) {
            let Cpu(seconds) = *now - *before;
            match spent.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += seconds,
                None => spent.push((name, seconds)),
            }
        }
        spent
    }
}

impl Sink {
    fn start() -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new("/usr/sbin/smtp-sink");
        if std::fs::metadata("/proc/self")?.uid() == 0 {
            command.args(["-u", "nobody"]); // it refuses to be root
        }
        let child = command
            .args([&format!("127.0.0.1:{port}"), "256"])
            .stdin(Stdio::null())
            .spawn()
            .context("smtp-sink could not be started: is Debian's postfix installed?")?;
        let sink = Self { child, port };
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(std::time::Instant::now() < deadline, "smtp-sink does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(sink)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until so many submissions are deleted, however long that takes as long as it goes on.
pub(crate) async fn until_deleted(rig: &Rig, services: &mut Services, count: u64) -> anyhow::Result<()> {
    let mut reached = rig.deleted().await?;
    while reached < count {
        let before = reached;
        reached = until("more submissions are deleted", async || {
            for (_, program) in &mut services.0 {
                program.ensure_alive()?;
            }
            let now = rig.deleted().await?;
            Ok((now > before).then_some(now))
        })
        .await?;
    }
    Ok(())
}
