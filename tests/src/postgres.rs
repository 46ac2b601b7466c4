//! A PostgreSQL server of our own: in a temporary folder, on a free port of the loopback interface, gone when dropped.
//!
//! It disturbs no server that runs already, and needs Debian's `postgresql-15` installed, not running. Its server refuses
//! to be root, so root lends it the user `nobody`. `KVIT_TEST_POSTGRES_URL` names a server to use instead: then every
//! [`Server::database`] is a new database there, and [`Server::restart`] is not possible. Everything here blocks: call
//! it from a thread that may.

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The server to use instead of a private one.
const VARIABLE: &str = "KVIT_TEST_POSTGRES_URL";
/// Where Debian keeps the programs, newest first.
const PROGRAMS: [&str; 4] = ["17", "16", "15", "14"];
/// How long a start or a stop may take on a slow and busy machine.
const DEADLINE: Duration = Duration::from_mins(1);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A server; dropping it ends it at once.
#[derive(Debug)]
pub struct Server {
    url: String,
    private: Option<Private>,
    databases: AtomicU32,
}

#[derive(Debug)]
struct Private {
    programs: PathBuf,
    dir: TempDir,
    port: u16,
    /// Whether it waits for the disk, as one in service does.
    durable: bool,
    /// Whom it runs as, where that is not ourselves.
    user: Option<(u32, u32)>,
    running: Mutex<Option<Child>>,
}

/// One server for the tests that run at the same time in this process; the last that holds it ends it.
///
/// # Errors
/// As [`Server::start`].
pub fn shared() -> anyhow::Result<Arc<Server>> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Ok(server);
    }
    let server = Arc::new(Server::start()?);
    *shared = Arc::downgrade(&server);
    Ok(server)
}

impl Server {
    /// Starts a private server, or takes the one that `KVIT_TEST_POSTGRES_URL` names.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not take connections within a minute; the end of its log is in the error.
    pub fn start() -> anyhow::Result<Self> {
        match std::env::var(VARIABLE) {
            Ok(url) if !url.is_empty() => Ok(Self {
                url,
                private: None,
                databases: AtomicU32::new(0),
            }),
            _ => Self::run_private(false),
        }
    }

    /// Starts a private server whatever the environment says: one that may be killed and restarted.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_private() -> anyhow::Result<Self> {
        Self::run_private(true)
    }

    fn run_private(durable: bool) -> anyhow::Result<Self> {
        let private = Private::prepare(durable)?;
        private.run()?;
        Ok(Self {
            url: format!("postgres://kvit@127.0.0.1:{}/postgres", private.port),
            private: Some(private),
            databases: AtomicU32::new(0),
        })
    }

    /// The process id of the private server, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let running = self.private.as_ref()?.running();
        running.as_ref().map(Child::id)
    }

    /// The server's own database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A new, empty database, by its URL.
    ///
    /// # Errors
    /// When the server cannot be reached or does not allow it.
    pub fn database(&self) -> anyhow::Result<String> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("kvit_test_{}_{number}", std::process::id());
        let tool = match &self.private {
            Some(private) => private.programs.join("psql"),
            None => programs()?.join("psql"),
        };
        let made = Command::new(tool)
            .args(["--no-psqlrc", "--quiet", "--command"])
            .arg(format!("CREATE DATABASE {name}"))
            .arg(&self.url)
            .stdin(Stdio::null())
            .output()
            .context("psql could not be started")?;
        ensure!(
            made.status.success(),
            "a database could not be made: {}",
            String::from_utf8_lossy(&made.stderr).trim()
        );
        let (base, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let (host, _) = base.rsplit_once('/').context("the server's URL names a database")?;
        Ok(if query.is_empty() {
            format!("{host}/{name}")
        } else {
            format!("{host}/{name}?{query}")
        })
    }

    /// Ends a private server with SIGKILL, as a power cut would.
    ///
    /// # Errors
    /// When it is not a private one, or the signal could not be sent.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.private()?.end(Signal::SIGKILL)
    }

    /// Stops a private server at once but in good order, breaking its connections (`pg_ctl stop -m fast`).
    ///
    /// # Errors
    /// As [`Server::kill`].
    pub fn stop(&self) -> anyhow::Result<()> {
        self.private()?.end(Signal::SIGINT)
    }

    /// Starts a private server again, on the same port with the same data.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn restart(&self) -> anyhow::Result<()> {
        let private = self.private()?;
        private.end(Signal::SIGINT)?;
        private.run()
    }

    /// The folder of a private server: data, write-ahead log, log.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        self.private.as_ref().map(|private| private.dir.path().to_owned())
    }

    fn private(&self) -> anyhow::Result<&Private> {
        self.private
            .as_ref()
            .with_context(|| format!("the server of {VARIABLE} is not ours to stop"))
    }
}

/// The numbers of the user that owns nothing.
fn nobody() -> anyhow::Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").context("reading the users")?;
    let mut line = users.lines().filter_map(|line| line.strip_prefix("nobody:"));
    let line = line
        .next()
        .context("there is no user nobody, and PostgreSQL refuses root")?;
    let mut numbers = line.split(':').skip(1).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok((user, group)),
        _ => bail!("the user nobody has no numbers"),
    }
}

/// The folder of the newest PostgreSQL that is installed.
fn programs() -> anyhow::Result<PathBuf> {
    PROGRAMS
        .iter()
        .map(|version| Path::new("/usr/lib/postgresql").join(version).join("bin"))
        .find(|programs| programs.join("initdb").exists())
        .context("PostgreSQL is not installed: Debian's postgresql-15 is missing")
}

impl Private {
    fn prepare(durable: bool) -> anyhow::Result<Self> {
        let programs = programs()?;
        let dir = tempfile::tempdir().context("no temporary folder")?;
        let ourselves = dir.path().metadata().context("whose folder")?.uid();
        let user = if ourselves == 0 { Some(nobody()?) } else { None };
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid)).context("lending the folder")?;
            fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).context("lending the folder")?;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        let port = listener.local_addr().context("no free port")?.port();
        let private = Self {
            programs,
            dir,
            port,
            durable,
            user,
            running: Mutex::new(None),
        };
        let made = private
            .command("initdb")
            .args(["--username=kvit", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
            .arg("--no-sync")
            .arg("--pgdata")
            .arg(private.data())
            .output()
            .context("initdb could not be started")?;
        ensure!(
            made.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&made.stderr).trim()
        );
        Ok(private)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir("/").stdin(Stdio::null()).env_remove("PGPORT");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Starts it and waits until it takes connections. After a SIGKILL its orphans may hold its memory for a moment.
    fn run(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.spawn()?;
            if self.is_ready(deadline)? {
                return Ok(());
            }
            let words = self.last_words();
            if !words.contains("still in use") || Instant::now() > deadline {
                bail!("PostgreSQL does not take connections: {words}");
            }
            sleep(LOOK);
        }
    }

    fn spawn(&self) -> anyhow::Result<()> {
        let log = File::create(self.log()).context("the log")?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        for setting in [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", self.dir.path().display()),
            "max_connections=600".to_owned(),
            // What a killed server has written is in the kernel's hands; only the machine's own end would lose it.
            format!("fsync={}", if self.durable { "on" } else { "off" }),
            // Little where many servers run beside each other; PostgreSQL's own default where one is measured.
            format!("shared_buffers={}", if self.durable { "128MB" } else { "32MB" }),
        ] {
            command.arg("-c").arg(setting);
        }
        // A group of its own: an interrupt of the terminal is not meant for it.
        let child = command
            .process_group(0)
            .stdout(log.try_clone().context("the log")?)
            .stderr(log)
            .spawn()
            .context("postgres could not be started")?;
        *self.running() = Some(child);
        Ok(())
    }

    fn is_ready(&self, deadline: Instant) -> anyhow::Result<bool> {
        loop {
            let status = self
                .command("pg_isready")
                .args(["--quiet", "--host=127.0.0.1", "--username=kvit", "--dbname=postgres"])
                .arg(format!("--port={}", self.port))
                .status()
                .context("pg_isready could not be started")?;
            if status.success() {
                return Ok(true);
            }
            let ended = match self.running().as_mut() {
                Some(child) => child.try_wait().context("waiting for postgres failed")?,
                None => None,
            };
            if ended.is_some() || Instant::now() > deadline {
                return Ok(false);
            }
            sleep(LOOK);
        }
    }

    fn end(&self, signal: Signal) -> anyhow::Result<()> {
        let Some(mut child) = self.running().take() else {
            return Ok(());
        };
        let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id")?);
        kill(pid, signal).context("postgres could not be signalled")?;
        let deadline = Instant::now() + DEADLINE;
        while child.try_wait().context("waiting for postgres failed")?.is_none() {
            if Instant::now() > deadline {
                child.kill().context("postgres could not be killed")?;
            }
            sleep(LOOK);
        }
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // SIGQUIT: at once, but taking its children with it.
        if let Err(error) = self.end(Signal::SIGQUIT) {
            eprintln!("a private PostgreSQL may still run: {error:#}");
        }
    }
}
