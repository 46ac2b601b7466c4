//! A Kvit of one's own.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::{Link, Options, PublishError, submissions_queue};
use domain::SiteId;
use kvit_cli::demo::inbox::{Inbox, Mail};
use kvit_cli::demo::read_apart;
use ledger::{DutyFilter, DutyRow, Figures, Ledger, QuarantineFilter, QuarantineRow, SubmissionFilter, SubmissionView};
use openpgp::{Certificate, UnsealKey};
use runtime::{Clock, Context, Loaded};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::node::{VirtualHost, virtual_host};
use crate::postgres::Server;
use crate::program::Program;
use crate::site::Message;
use crate::stores::{Engine, Stores};
use crate::wait::until;

/// The departments of a bed.
const DEPARTMENTS: [&str; 2] = ["teknik-miljoe", "social"];

/// A service that can run in the test's own process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `kvit-intake`
    Intake,
    /// `kvit-mailer`
    Mailer,
    /// `kvit-journaliser`
    Journaliser,
    /// `kvit-scheduler`
    Scheduler,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Intake, Self::Mailer, Self::Journaliser, Self::Scheduler];
}

/// Where the services find their peers; by default the node and the inbox themselves.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// The port of the broker, or of a proxy before it.
    pub broker: Option<u16>,
    /// The URL of a broker that is not the shared node, for the services and the site.
    pub own_broker: Option<String>,
    /// The relay's port.
    pub relay: Option<u16>,
    /// What the ledger and the keys are kept in.
    pub engine: Engine,
    /// A PostgreSQL of the test's own, which it may kill.
    pub server: Option<Arc<Server>>,
    /// What time it is for the services that run in the test's process; the machine's by default.
    pub clock: Clock,
}

/// One Kvit: configuration, keys, store, virtual host, inbox.
pub struct TestBed {
    /// The SMTP peer.
    pub inbox: Inbox,
    /// Its ledger, as an operator's command reads it.
    pub ledger: Ledger,
    /// Where it lives on the broker.
    pub host: VirtualHost,
    stores: Stores,
    clock: Clock,
    dir: TempDir,
    keys: BTreeMap<&'static str, UnsealKey>,
    intake: Certificate,
    link: Link,
    site: SiteId,
}

/// Services that run in the test's process until this is stopped or dropped.
pub struct Running {
    context: Context,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Running {
    /// Waits until a check of this name is down, and gives its words.
    ///
    /// # Errors
    ///
    /// Where none is within a minute.
    pub async fn until_down(&self, check: &str) -> anyhow::Result<String> {
        until("a check is down", async || {
            let checks = self.context.health.list();
            let found = checks
                .into_iter()
                .find(|(name, why)| name.ends_with(check) && why.is_some());
            Ok(found.and_then(|(_, why)| why).filter(|why| why != "starting"))
        })
        .await
    }

    /// Tells them to stop and waits until they have.
    ///
    /// # Errors
    ///
    /// Where one failed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.context.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.context.shutdown.cancel();
    }
}

impl TestBed {
    /// A bed in which all services run.
    ///
    /// # Errors
    ///
    /// Where something cannot be started.
    pub async fn start() -> anyhow::Result<(Self, Running)> {
        let bed = Self::prepare().await?;
        let running = bed.run(&Service::ALL).await?;
        Ok((bed, running))
    }

    /// A bed in which nothing runs yet.
    ///
    /// # Errors
    ///
    /// Where something cannot be made.
    pub async fn prepare() -> anyhow::Result<Self> {
        Self::prepare_with(&Peers::default()).await
    }

    /// As [`TestBed::prepare`], with other peers.
    ///
    /// # Errors
    ///
    /// As [`TestBed::prepare`].
    pub async fn prepare_with(peers: &Peers) -> anyhow::Result<Self> {
        let host = tokio::task::spawn_blocking(virtual_host).await??;
        let inbox = Inbox::start().await?;
        let dir = tempfile::tempdir()?;
        let clock = peers.clock.clone();
        let mut keys = BTreeMap::new();
        let mut fingerprints = BTreeMap::new();
        std::fs::create_dir_all(dir.path().join("keys"))?;
        for department in DEPARTMENTS {
            let (key, fingerprint) = make_key(&clock, dir.path(), department)?;
            keys.insert(department, key);
            fingerprints.insert(department, fingerprint);
        }
        let intake = make_secrets(&clock, dir.path())?;
        copy_forms(dir.path())?;
        let own = peers.own_broker.clone();
        let here = own.clone().unwrap_or_else(|| host.url(host.node.rabbit.port()));
        let broker = match peers.broker {
            Some(port) => host.url(port),
            None => here.clone(),
        };
        let (engine, server) = (peers.engine, peers.server.clone());
        let stores = tokio::task::spawn_blocking(move || Stores::make(engine, server)).await??;
        let relay = peers.relay.unwrap_or(inbox.address().port());
        std::fs::write(
            dir.path().join("kvit.toml"),
            configuration(&broker, &stores, relay, &fingerprints),
        )?;
        let site: SiteId = "eksempel".parse()?;
        let options = Options {
            declare: true,
            name: "a site".to_owned(),
            on_state: Arc::new(|_| {}),
        };
        let link = Link::new(here, options);
        Ok(Self {
            ledger: Ledger::new(&stores.ledger(dir.path())?),
            stores,
            inbox,
            host,
            clock,
            dir,
            keys,
            intake,
            link,
            site,
        })
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("kvit.toml")
    }

    /// A file of its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Gives what is run in this process from now on another clock.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Changes the configuration of what is started from now on.
    ///
    /// # Errors
    ///
    /// Where `from` is not in it.
    pub fn configure(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(self.config())?;
        ensure!(text.contains(from), "{from:?} is not in the configuration");
        std::fs::write(self.config(), text.replacen(from, to, 1))?;
        Ok(())
    }

    /// Adds a form file.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn add_form(&self, id: &str, toml: &str) -> anyhow::Result<()> {
        std::fs::write(self.path(&format!("forms/{id}.toml")), toml)?;
        Ok(())
    }

    /// Runs services in this process, and returns when they are ready.
    ///
    /// # Errors
    ///
    /// Where one fails.
    pub async fn run(&self, services: &[Service]) -> anyhow::Result<Running> {
        let mut running = self.run_unready(services)?;
        until("the services are ready", async || {
            if let Some(ended) = running.tasks.try_join_next() {
                ended??;
                anyhow::bail!("a service ended");
            }
            let checks = running.context.health.list();
            Ok((checks.len() >= services.len() && running.context.health.is_ready()).then_some(()))
        })
        .await?;
        Ok(running)
    }

    /// Runs services in this process, and returns at once: for those whose peers are away.
    ///
    /// # Errors
    ///
    /// Where the configuration cannot be used.
    pub fn run_unready(&self, services: &[Service]) -> anyhow::Result<Running> {
        let loaded = Loaded::load(&self.config()).map_err(|findings| anyhow::anyhow!("{findings}"))?;
        let loaded = Arc::new(loaded);
        let context = Context {
            clock: self.clock.clone(),
            ..Context::new()
        };
        let mut tasks = JoinSet::new();
        for service in services {
            let loaded = Arc::clone(&loaded);
            match service {
                Service::Intake => tasks.spawn(kvit_intake::run(loaded, context.scoped("intake"))),
                Service::Mailer => tasks.spawn(kvit_mailer::run(loaded, context.scoped("mailer"))),
                Service::Journaliser => tasks.spawn(kvit_journaliser::run(loaded, context.scoped("journaliser"))),
                Service::Scheduler => tasks.spawn(kvit_scheduler::run(loaded, context.scoped("scheduler"))),
            };
        }
        Ok(Running { context, tasks })
    }

    /// Starts a service as a process of its own; its log is `NAME.log` in the bed's folder.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub async fn spawn(&self, name: &'static str) -> anyhow::Result<Program> {
        Program::start(name, &self.config(), &self.path(&format!("{name}.log"))).await
    }

    /// As [`TestBed::spawn`], logging in moderation, with fail points or the like in its environment.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub async fn spawn_with(&self, name: &'static str, environment: &[(&str, &str)]) -> anyhow::Result<Program> {
        let mut all = vec![("KVIT_LOG", "info")];
        all.extend(environment);
        Program::start_with(name, &self.config(), &self.path(&format!("{name}.log")), &all).await
    }

    /// Where the ledger and the keys are kept.
    #[must_use]
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Publishes to the site's queue as Drupal does, and returns when the broker has it.
    ///
    /// # Errors
    ///
    /// Where the broker does not take it.
    pub async fn publish(&self, message: &Message) -> anyhow::Result<()> {
        self.link.declare_site(&self.site);
        let queue = submissions_queue(&self.site);
        // A quorum queue that was declared this moment may have no leader yet, and then refuses.
        until("the broker takes the message", async || {
            let sent = self
                .link
                .publish("", &queue, &message.body, &message.properties())
                .await;
            match sent {
                Ok(()) => Ok(Some(())),
                Err(PublishError::Refused) => Ok(None),
                Err(error) => Err(error).context("publishing to the site's queue"),
            }
        })
        .await
    }

    /// Publishes, and waits until the message has been counted.
    ///
    /// # Errors
    ///
    /// Where it was not within a minute.
    pub async fn post(&self, message: &Message) -> anyhow::Result<()> {
        let before = self.figures().await?.arrived;
        self.publish(message).await?;
        self.until_arrived(before + 1).await.map(drop)
    }

    /// Waits until so many messages have arrived in all.
    ///
    /// # Errors
    ///
    /// Where they have not within a minute.
    pub async fn until_arrived(&self, count: i64) -> anyhow::Result<Figures> {
        until("the messages have arrived", async || {
            let figures = self.figures().await?;
            Ok((figures.arrived >= count).then_some(figures))
        })
        .await
    }

    /// Waits until so many messages have arrived and every submission of them is deleted.
    ///
    /// # Errors
    ///
    /// Where they are not within a minute.
    pub async fn until_deleted(&self, count: i64) -> anyhow::Result<Figures> {
        let mut last = Figures::default();
        let found = until("all is sent and deleted", async || {
            last = self.figures().await?;
            Ok((last.arrived >= count && last.open == 0).then(|| last.clone()))
        })
        .await;
        found.with_context(|| format!("{last:?}"))
    }

    /// The conservation figures, whose equations must hold whenever one looks.
    ///
    /// # Errors
    ///
    /// Where they do not hold.
    pub async fn figures(&self) -> anyhow::Result<Figures> {
        let figures = self.ledger.figures(false, self.clock.now()).await?;
        let off = (figures.arrived_difference(), figures.accepted_difference());
        ensure!(off == (0, 0), "the figures are off by {off:?}: {figures:?}");
        Ok(figures)
    }

    /// Every submission with its evidence, the oldest first.
    ///
    /// # Errors
    ///
    /// Where the ledger fails.
    pub async fn submissions(&self) -> anyhow::Result<Vec<SubmissionView>> {
        let now = self.clock.now();
        let listed = self
            .ledger
            .submissions(SubmissionFilter::default(), 10_000, now)
            .await?;
        let mut whole = Vec::with_capacity(listed.len());
        for view in listed.into_iter().rev() {
            let shown = self.ledger.show(view.id.parse()?, now).await?;
            whole.push(shown.context("a listed submission")?);
        }
        Ok(whole)
    }

    /// The only submission.
    ///
    /// # Errors
    ///
    /// Where there is none, or another.
    pub async fn only_submission(&self) -> anyhow::Result<SubmissionView> {
        let mut all = self.submissions().await?;
        ensure!(all.len() == 1, "{} submissions", all.len());
        all.pop().context("one submission")
    }

    /// Every duty, the newest first.
    ///
    /// # Errors
    ///
    /// Where the ledger fails.
    pub async fn duties(&self) -> anyhow::Result<Vec<DutyRow>> {
        Ok(self.ledger.duties(DutyFilter::default(), 10_000).await?)
    }

    /// Waits until a duty of this kind is in this state, and gives it.
    ///
    /// # Errors
    ///
    /// Where none is within a minute.
    pub async fn until_duty(&self, kind: &str, state: &str) -> anyhow::Result<DutyRow> {
        let mut seen = String::new();
        let found = until("a duty is in a state", async || {
            let duties = self.duties().await?;
            seen = format!("{duties:?}");
            Ok(duties.into_iter().find(|duty| duty.kind == kind && duty.state == state))
        })
        .await;
        found.with_context(|| format!("no {kind} is {state}: {seen}"))
    }

    /// Every message that was ever put aside, the oldest first.
    ///
    /// # Errors
    ///
    /// Where the ledger fails.
    pub async fn quarantine(&self) -> anyhow::Result<Vec<QuarantineRow>> {
        Ok(self.ledger.quarantined(QuarantineFilter::default(), 10_000).await?)
    }

    /// The mails that were accepted for an address.
    #[must_use]
    pub fn mails_to(&self, address: &str) -> Vec<Mail> {
        let to = |mail: &Mail| mail.recipients.iter().any(|recipient| recipient == address);
        self.inbox.mails().into_iter().filter(to).collect()
    }

    /// How many owners have a data key.
    ///
    /// # Errors
    ///
    /// Where the key store cannot be read.
    pub async fn data_keys(&self) -> anyhow::Result<usize> {
        let rows = self
            .stores
            .ask_keys(self.dir.path(), "SELECT DISTINCT owner FROM data_key")
            .await?;
        Ok(rows.len())
    }

    /// The key that opens a department's mails.
    ///
    /// # Panics
    ///
    /// Where there is no such department.
    #[must_use]
    pub fn key(&self, department: &str) -> &UnsealKey {
        self.keys.get(department).expect("a department of the bed")
    }

    /// The certificate that a site seals its messages to.
    #[must_use]
    pub fn intake_certificate(&self) -> &Certificate {
        &self.intake
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Every file below its folder that holds one of these words, and which.
    ///
    /// # Errors
    ///
    /// Where a folder cannot be read.
    pub fn files_with(&self, words: &[&str]) -> anyhow::Result<Vec<String>> {
        self.files_that(|bytes| {
            let held = words.iter().filter(|word| holds(bytes, word.as_bytes()));
            held.map(|word| (*word).to_owned()).collect()
        })
    }

    /// Every file below its folder of whose bytes `shows` says something, and what.
    ///
    /// # Errors
    ///
    /// Where a folder cannot be read.
    pub fn files_that(&self, shows: impl Fn(&[u8]) -> Vec<String>) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                // A journal may go away while one looks.
                let bytes = read_apart(&path).unwrap_or_default();
                let said = shows(&bytes).into_iter();
                found.extend(said.map(|what| format!("{}: {what}", path.display())));
            }
        }
        Ok(found)
    }
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// Makes a department's key; gives its fingerprint, too.
fn make_key(clock: &Clock, dir: &Path, department: &str) -> anyhow::Result<(UnsealKey, String)> {
    let user_id = format!("{department} <{department}@kommune.example>");
    let (certificate, secret) = openpgp::generate(&user_id, clock.now(), None)?;
    std::fs::write(dir.join(format!("keys/{department}.asc")), &certificate)?;
    let key = UnsealKey::read(&secret)?;
    let fingerprint = key.fingerprint();
    Ok((key, fingerprint))
}

/// Makes the wrapping keys, and intake's own key, whose certificate it gives.
fn make_secrets(clock: &Clock, dir: &Path) -> anyhow::Result<Certificate> {
    let secrets = dir.join("secrets");
    std::fs::create_dir_all(&secrets)?;
    for purpose in ["intake", "mail", "journal", "registration", "index", "evidence"] {
        let mut key = [0; 32];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
        std::fs::write(secrets.join(format!("{purpose}.key")), STANDARD.encode(key))?;
    }
    let (_, secret) = openpgp::generate("intake <intake@kommune.example>", clock.now(), None)?;
    std::fs::write(secrets.join("intake.asc"), &secret)?;
    Ok(UnsealKey::read(&secret)?.certificate())
}

fn copy_forms(dir: &Path) -> anyhow::Result<()> {
    let forms = dir.join("forms");
    std::fs::create_dir_all(&forms)?;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/forms");
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        std::fs::copy(entry.path(), forms.join(entry.file_name()))?;
    }
    Ok(())
}

/// The contract's example, with short times and free ports.
fn configuration(broker: &str, stores: &Stores, relay: u16, fingerprints: &BTreeMap<&str, String>) -> String {
    let (store, vault) = stores.urls();
    let (technical, social) = (&fingerprints["teknik-miljoe"], &fingerprints["social"]);
    format!(
        r#"
[controller]
name = "Eksempel Kommune"
address = "Rådhuspladsen 1, 9999 Eksempel"
dpo = "https://dpo.kommune.example"
contact_url = "https://kommune.example/digital-post"
privacy_url = "https://kommune.example/databeskyttelse"
complaint = "Datatilsynet, www.datatilsynet.dk"
[broker]
url = "{broker}"
[store]
url = "{store}"
[vault]
url = "{vault}"
[smtp]
url = "smtp://127.0.0.1:{relay}"
from = "Eksempel Kommune <kvittering@kommune.example>"
bounce = "bounce@kommune.example"
connections = 4
[intake]
unseal_key_file = "secrets/intake.asc"
listen = "127.0.0.1:0"
[mailer]
listen = "127.0.0.1:0"
lease = "PT3S"
[journaliser]
listen = "127.0.0.1:0"
lease = "PT3S"
[scheduler]
listen = "127.0.0.1:0"
[console]
listen = "127.0.0.1:0"
[retry]
first = "PT0.2S"
most = "PT1S"
[sites.eksempel]
require_sealed = false
custom_data = ["kommune", "form_class", "form_title", "sid_int", "is_test"]
[departments.teknik-miljoe]
name = {{ da = "Teknik & Miljø", en = "Roads and Environment" }}
mail = "teknik@kommune.example"
certificates = [{{ file = "keys/teknik-miljoe.asc", fingerprint = "{technical}" }}]
[departments.social]
name = {{ da = "Social", en = "Social Services" }}
mail = "social@kommune.example"
certificates = [{{ file = "keys/social.asc", fingerprint = "{social}" }}]
"#
    )
}
