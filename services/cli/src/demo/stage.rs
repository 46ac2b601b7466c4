//! What the demonstration needs around it: a folder's configuration, a broker, an inbox, and all services.

use std::fs::{DirBuilder, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use broker::Link;
use ledger::Ledger;
use openpgp::Certificate;
use runtime::{Clock, Context, Exit, Health, Layers, Loaded, logging};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use toml_edit::{DocumentMut, value};

use super::gpg::Gpg;
use super::guard::Guard;
use super::inbox::Inbox;
use super::page::Page;
use super::rabbit::PrivateRabbit;
use crate::init::{self, Created};
use crate::up;

/// The services' log, in the folder.
pub(crate) const LOG: &str = "services.log";
/// The department's encrypted mails, in the folder.
const MAILS: &str = "mails";
/// The broker's data and logs, in the folder.
const BROKER: &str = "rabbitmq";
/// How often a condition is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
/// How long the services may take until they are ready.
const STARTING: Duration = Duration::from_mins(1);
/// The services, as their checks are named.
const SERVICES: [&str; 4] = ["intake", "mailer", "journaliser", "scheduler"];

/// A second form, beside the one that `kvit init` makes.
const FORM: &str = include_str!("../../../../tests/data/forms/ansoegning_foreningstilskud.toml");

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) folder: PathBuf,
    pub(crate) created: Created,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Clock,
    pub(crate) inbox: Inbox,
    pub(crate) gpg: Gpg,
    /// As a site is linked to the broker.
    pub(crate) link: Link,
    /// What the site seals its messages to.
    pub(crate) intake: Certificate,
    rabbit: PrivateRabbit,
    guard: Guard,
}

impl Stage {
    /// Sets up; `None` where it was interrupted.
    pub(crate) async fn set(
        page: &mut Page,
        folder: &Path,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<(Self, Services)>> {
        page.item(
            "folder",
            &format!("{} (yours alone; removed at the end)", folder.display()),
        );
        let (created, gpg) = configure(page, folder)?;
        let guard = Guard::over(folder)?;
        let rabbit = start_broker(page, &folder.join(BROKER), stop).await?;
        if stop.is_cancelled() {
            spawn_blocking(move || drop((rabbit, guard))).await?;
            return Ok(None);
        }
        let inbox = Inbox::start().await?;
        page.item("inbox", &format!("SMTP at {}", inbox.address()));
        point(&created.config, &rabbit, &inbox)?;
        let loaded = Arc::new(Loaded::load_with(&created.config, &Layers::none()).map_err(Exit::config)?);
        DirBuilder::new().create(folder.join(MAILS)).map_err(Exit::io)?;
        let log = File::create(folder.join(LOG))
            .map_err(Exit::io)
            .context("making the log")?;
        logging::init_into(log);
        let services = Services::start(page, &loaded).await?;
        page.item("their log", &folder.join(LOG).display().to_string());
        let intake = std::fs::read(&created.intake_certificate).map_err(Exit::io)?;
        let intake = Certificate::read(&intake, None);
        let stage = Self {
            folder: folder.to_owned(),
            ledger: worker::ledger(&loaded.config)?,
            link: worker::link(&loaded.config, "a Drupal site", Health::new().check("broker"))?,
            intake: intake.map_err(|state| anyhow!("intake's certificate is {}", state.as_str()))?,
            clock: Clock::system(),
            created,
            loaded,
            inbox,
            gpg,
            rabbit,
            guard,
        };
        Ok(Some((stage, services)))
    }

    /// The broker's folder.
    pub(crate) fn broker_folder(&self) -> &Path {
        self.rabbit.dir()
    }

    /// Where the department's mails are kept, as they came: encrypted.
    pub(crate) fn mails(&self) -> PathBuf {
        self.folder.join(MAILS)
    }

    /// Takes everything down, in order.
    pub(crate) async fn strike(self) -> anyhow::Result<()> {
        drop(self.link);
        self.inbox.stop().await?;
        let (rabbit, gpg, guard) = (self.rabbit, self.gpg, self.guard);
        spawn_blocking(move || drop((rabbit, gpg, guard))).await?;
        Ok(())
    }
}

/// All services, as `kvit up` runs them.
pub(crate) struct Services {
    shutdown: CancellationToken,
    /// None when they have ended.
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Services {
    async fn start(page: &mut Page, loaded: &Arc<Loaded>) -> anyhow::Result<Self> {
        let context = Context::new();
        let mut services = Self {
            shutdown: context.shutdown.clone(),
            running: Some(tokio::spawn(up::serve(Arc::clone(loaded), context.clone()))),
        };
        let started = Instant::now();
        while !ready(&context.health) {
            if services.running.as_ref().is_none_or(JoinHandle::is_finished) {
                return Err(services.end().await);
            }
            if started.elapsed() > STARTING {
                bail!(
                    "the services are not ready after {STARTING:?}: {:?}",
                    context.health.list()
                );
            }
            if started.elapsed() > Duration::from_secs(1) {
                page.progress(&format!(
                    "the services are starting ({} s)",
                    started.elapsed().as_secs()
                ));
            }
            sleep(LOOK).await;
        }
        let took = started.elapsed().as_secs_f32();
        page.item("services", &format!("{} are ready ({took:.1} s)", SERVICES.join(", ")));
        Ok(services)
    }

    /// Waits for their end, which is a failure as long as nobody asked for it.
    pub(crate) async fn end(&mut self) -> anyhow::Error {
        let Some(running) = &mut self.running else {
            return anyhow!("the services do not run");
        };
        let ended = running.await;
        self.running = None;
        match ended {
            Ok(Ok(())) => anyhow!("the services ended by themselves"),
            Ok(Err(error)) => error.context("the services ended"),
            Err(error) => error.into(),
        }
    }

    /// Lets them finish what is in hand, and ends them.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        if self.running.is_some() {
            // How they ended is in their log, and was told where it mattered.
            let _ended = self.end().await;
        }
    }
}

/// `kvit init`, one more form, and the department's reader with its secret key.
fn configure(page: &mut Page, folder: &Path) -> anyhow::Result<(Created, Gpg)> {
    let started = Instant::now();
    let created = init::create(&folder.join("kvit"))?;
    let form = created.form.with_file_name("ansoegning_foreningstilskud.toml");
    std::fs::write(form, FORM).map_err(Exit::io).context("writing a form")?;
    let gpg = Gpg::new(&folder.join("gnupg"))?;
    gpg.import(&created.department_secret)?;
    gpg.import(&created.signing_certificate)?;
    let took = started.elapsed().as_secs_f32();
    page.item(
        "configuration",
        &format!("kvit init: new keys, a department, its forms ({took:.1} s)"),
    );
    Ok((created, gpg))
}

async fn start_broker(page: &mut Page, dir: &Path, stop: &CancellationToken) -> anyhow::Result<PrivateRabbit> {
    let started = Instant::now();
    let (tell, mut told) = unbounded_channel();
    let dir = dir.to_owned();
    let mut starting = spawn_blocking(move || {
        // Nobody listens any more where the demonstration ended.
        PrivateRabbit::start_reporting(&dir, &mut |words| drop(tell.send(words.to_owned())))
    });
    page.progress("a private RabbitMQ is starting");
    let rabbit = loop {
        tokio::select! {
            started = &mut starting => break started?,
            Some(words) = told.recv() => {
                let stopping = if stop.is_cancelled() { "; then everything stops" } else { "" };
                page.progress(&format!("{words}{stopping}"));
            }
        }
    };
    let rabbit = rabbit
        .map_err(Exit::unavailable)
        .context("starting a private RabbitMQ (Debian: apt-get install rabbitmq-server)")?;
    let took = started.elapsed().as_secs_f32();
    let port = rabbit.port();
    page.item(
        "broker",
        &format!("a private RabbitMQ at 127.0.0.1:{port} ({took:.1} s)"),
    );
    Ok(rabbit)
}

/// Writes where broker and inbox are into the configuration, so that every `kvit --config` finds them.
fn point(config: &Path, rabbit: &PrivateRabbit, inbox: &Inbox) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(config).map_err(Exit::io)?;
    let mut document: DocumentMut = text.parse().map_err(Exit::config)?;
    document["broker"]["url"] = value(rabbit.url());
    document["smtp"]["url"] = value(inbox.url());
    document["console"]["listen"] = value(format!("127.0.0.1:{}", free_port()?));
    std::fs::write(config, document.to_string())
        .map_err(Exit::io)
        .context("writing the configuration")?;
    Ok(())
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Exit::io)?;
    Ok(listener.local_addr().map_err(Exit::io)?.port())
}

/// Whether every service has said what it needs, and has it.
fn ready(health: &Health) -> bool {
    let checks = health.list();
    let has_spoken = |service: &str| checks.iter().any(|(name, _)| name.starts_with(service));
    health.is_ready() && SERVICES.iter().all(|service| has_spoken(service))
}
