//! The real programs, as processes.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wait::until;

/// The path of a program of this workspace.
///
/// Cargo names only the programs of a test's own package, so they are looked for where this test itself was built.
/// `make test` builds them first.
///
/// # Errors
///
/// Where it was not built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe().context("a test knows where it is")?;
    let built = test.parent().and_then(Path::parent).context("a test is in deps/")?;
    let path = built.join(name);
    ensure!(path.exists(), "{name} is not built: run cargo build --workspace --bins");
    Ok(path)
}

/// Runs `kvit … --json` and gives the value that it prints.
///
/// # Errors
///
/// Where it fails or prints no JSON.
pub async fn kvit(config: &Path, arguments: &[&str]) -> anyhow::Result<Value> {
    let output = output_of_kvit(config, arguments).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kvit {}: {said}", arguments.join(" "));
    serde_json::from_slice(&output.stdout).with_context(|| format!("kvit {} prints no JSON", arguments.join(" ")))
}

/// As [`kvit()`], with this on standard input.
///
/// # Errors
///
/// As [`kvit()`].
pub async fn kvit_reads(config: &Path, arguments: &[&str], input: &str) -> anyhow::Result<Value> {
    let output = run_kvit(config, arguments, Some(input.to_owned())).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kvit {}: {said}", arguments.join(" "));
    serde_json::from_slice(&output.stdout).with_context(|| format!("kvit {} prints no JSON", arguments.join(" ")))
}

/// Runs `kvit …`, and gives its exit status and what it prints: JSON, also where something is not as it should be.
///
/// # Errors
///
/// Where it is not built, or prints no JSON.
pub async fn kvit_exits(config: &Path, arguments: &[&str]) -> anyhow::Result<(i32, Value)> {
    let output = output_of_kvit(config, arguments).await?;
    let code = output.status.code().context("kvit was killed")?;
    let printed = serde_json::from_slice(&output.stdout);
    let printed = printed.with_context(|| format!("kvit {} prints no JSON", arguments.join(" ")))?;
    Ok((code, printed))
}

/// Runs `kvit …`, which must fail, and gives its exit status and what it says.
///
/// # Errors
///
/// Where it does not fail.
pub async fn kvit_fails(config: &Path, arguments: &[&str]) -> anyhow::Result<(i32, String)> {
    let output = output_of_kvit(config, arguments).await?;
    ensure!(!output.status.success(), "kvit {} did not fail", arguments.join(" "));
    let code = output.status.code().context("kvit was killed")?;
    Ok((code, String::from_utf8_lossy(&output.stderr).into_owned()))
}

async fn output_of_kvit(config: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    run_kvit(config, arguments, None).await
}

async fn run_kvit(config: &Path, arguments: &[&str], input: Option<String>) -> anyhow::Result<Output> {
    let mut command = Command::new(program("kvit")?);
    command.args(arguments).arg("--json").arg("--config").arg(config);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let running = move || {
        let mut child = command.spawn()?;
        if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
            std::io::Write::write_all(&mut pipe, input.as_bytes())?;
        }
        child.wait_with_output()
    };
    tokio::task::spawn_blocking(running)
        .await?
        .context("kvit could not be run")
}

/// A running service of its own process; killed when it is dropped.
pub struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// How much of the log was there before.
    before: u64,
    address: SocketAddr,
}

impl Program {
    /// Starts a service that logs everything it may, and waits until its probes answer.
    ///
    /// # Errors
    ///
    /// Where it is not built, or ends.
    pub async fn start(name: &'static str, config: &Path, log: &Path) -> anyhow::Result<Self> {
        Self::start_with(name, config, log, &[("KVIT_LOG", "trace")]).await
    }

    /// As [`Program::start`], with this in its environment: a level of logging, fail points. What an earlier process has
    /// logged to the same file stays there.
    ///
    /// # Errors
    ///
    /// As [`Program::start`].
    pub async fn start_with(
        name: &'static str,
        config: &Path,
        log: &Path,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.context("a log could not be made")?;
        let before = file.metadata()?.len();
        let mut child = Command::new(program(name)?)
            .arg("--config")
            .arg(config)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        let address = until("a service's probes answer", async || {
            ensure!(child.try_wait()?.is_none(), "{name} ended:\n{}", read(log, before));
            Ok(address_in(&read(log, before)))
        })
        .await?;
        Ok(Self {
            name,
            child,
            log: log.to_owned(),
            before,
            address,
        })
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.log, self.before)
    }

    /// Where its probes answer.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it was ended by SIGKILL; any other end is an error.
    ///
    /// # Errors
    ///
    /// Where it ended otherwise.
    pub fn was_killed(&mut self) -> anyhow::Result<bool> {
        let Some(ended) = self.child.try_wait()? else {
            return Ok(false);
        };
        let killed = ended.signal() == Some(Signal::SIGKILL as i32);
        ensure!(killed, "{} ended ({ended}):\n{}", self.name, self.log());
        Ok(true)
    }

    /// A page of its probes: status and text.
    ///
    /// # Errors
    ///
    /// Where nothing answers.
    pub async fn probe(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: kvit\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let code = answer.split_ascii_whitespace().nth(1).context("an HTTP status")?;
        Ok((code.parse()?, answer))
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// Where it is not within a minute.
    pub async fn until_ready(&mut self) -> anyhow::Result<()> {
        until("a service is ready", async || {
            self.ensure_alive()?;
            Ok((self.probe("/readyz").await?.0 == 200).then_some(()))
        })
        .await
    }

    /// Waits until it says that it is not ready, in these words.
    ///
    /// # Errors
    ///
    /// Where it does not within a minute.
    pub async fn until_not_ready(&mut self, words: &str) -> anyhow::Result<String> {
        let mut said = String::new();
        let found = until("a service says what is missing", async || {
            self.ensure_alive()?;
            let (code, text) = self.probe("/readyz?verbose").await?;
            said.clone_from(&text);
            Ok((code == 503 && text.contains(words)).then_some(text))
        })
        .await;
        found.with_context(|| format!("{}: {words:?} is not in: {said}", self.name))
    }

    /// Its resident memory in bytes, and as much of it as is its own data rather than program text.
    ///
    /// # Errors
    ///
    /// Where it has ended.
    pub fn resident_bytes(&self) -> anyhow::Result<(u64, u64)> {
        Ok((self.memory("VmRSS:")?, self.memory("RssAnon:")?))
    }

    /// The most that it ever had resident, in bytes.
    ///
    /// # Errors
    ///
    /// Where it has ended.
    pub fn peak_bytes(&self) -> anyhow::Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, figure: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(figure));
        let kib = line.and_then(|line| line.split_ascii_whitespace().next());
        Ok(kib.context("no such figure")?.parse::<u64>()? * 1024)
    }

    /// What the system lets it do: a line of its `/proc/…/limits`.
    ///
    /// # Errors
    ///
    /// Where it has ended.
    pub fn limit(&self, name: &str) -> anyhow::Result<String> {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id()))?;
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.context("no such limit")?.trim().to_owned())
    }

    /// Fails where it has ended.
    ///
    /// # Errors
    ///
    /// Where it has ended; the end of its log is in the error.
    pub fn ensure_alive(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "{} ended ({ended:?}):\n{}", self.name, self.log());
        Ok(())
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    ///
    /// Where the signal could not be sent.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it as `abort` does, with leave to write a core file as large as it likes. Answers whether it left one.
    ///
    /// # Errors
    ///
    /// Where the signal could not be sent, or did not end it.
    pub fn abort(&mut self) -> anyhow::Result<bool> {
        let pid = self.child.id().to_string();
        // Its own limit is a hard one: where even root may not lift it, no core file can come of it either.
        let leave = Command::new("prlimit")
            .args(["--core=unlimited", "--pid", &pid])
            .stderr(Stdio::null())
            .status();
        ensure!(leave.is_ok(), "prlimit could not be run");
        kill(Pid::from_raw(pid.parse()?), Signal::SIGABRT)?;
        Ok(self.child.wait()?.core_dumped())
    }

    /// Tells it to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    ///
    /// Where it has not ended within a minute.
    pub async fn terminate(mut self) -> anyhow::Result<ExitStatus> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        until("a service ends", async || Ok(self.child.try_wait()?)).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.kill();
    }
}

fn read(log: &Path, from: u64) -> String {
    let mut bytes = Vec::new();
    // A log that cannot be read has nothing to say.
    let _unread = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)
    });
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The address in the line that says that the service starts.
fn address_in(log: &str) -> Option<SocketAddr> {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find_map(|line| line["listen"].as_str()?.parse().ok())
}
