//! A RabbitMQ node of our own: in its own folder, on free ports of the loopback interface, gone when it is dropped.
//!
//! It disturbs no node that runs already: it has its own name, cookie, data, port mapper (`epmd`) and configuration, and
//! reads nothing below `/etc/rabbitmq`. It needs Debian's `rabbitmq-server` installed, not running, and no particular
//! user. Everything here blocks: call it from a thread that may.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where Debian keeps the scripts that do not change the user.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// Below the ports that the kernel gives to outgoing connections, so that a restart finds its port free.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How long a start may take on a slow and busy machine.
const STARTING: Duration = Duration::from_mins(2);
/// How long an orderly stop may take before it becomes a kill.
const STOPPING: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The first bytes of an AMQP 0-9-1 connection (its section 4.2.2).
const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// A running node; dropping it ends it at once.
#[derive(Debug)]
pub struct PrivateRabbit {
    dir: PathBuf,
    ports: Ports,
    node: Option<Running>,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    amqp: u16,
    distribution: u16,
    mapper: u16,
    /// The first of ten for the command-line tools.
    tools: u16,
}

/// The node and its port mapper, children of this process both.
#[derive(Debug)]
struct Running {
    node: Child,
    mapper: Child,
}

impl PrivateRabbit {
    /// Starts a node that keeps everything in `dir`, and returns when it takes connections.
    ///
    /// # Errors
    /// When RabbitMQ is not installed, or does not take connections within two minutes; the last lines of its log are
    /// in the error.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_reporting(dir, &mut |_| {})
    }

    /// As [`PrivateRabbit::start`], telling about once a second what it waits for.
    ///
    /// # Errors
    /// As [`PrivateRabbit::start`].
    pub fn start_reporting(dir: &Path, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Self> {
        let script = Path::new(SCRIPTS).join("rabbitmq-server");
        ensure!(
            script.exists(),
            "RabbitMQ is not installed: {} is missing",
            script.display()
        );
        fs::create_dir_all(dir).context("the folder of the private RabbitMQ could not be made")?;
        let dir = dir
            .canonicalize()
            .context("the folder of the private RabbitMQ could not be found")?;
        let ports = Ports::free()?;
        let mut rabbit = Self { dir, ports, node: None };
        rabbit.configure()?;
        rabbit.run(progress)?;
        Ok(rabbit)
    }

    /// The URL of its default user, who may do everything and comes from this machine only.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_for("guest", "guest")
    }

    /// The URL of another user (see [`PrivateRabbit::add_user`]); name and password must need no escaping.
    #[must_use]
    pub fn url_for(&self, name: &str, password: &str) -> String {
        format!("amqp://{name}:{password}@127.0.0.1:{}/%2f", self.ports.amqp)
    }

    /// The port where it takes AMQP.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    /// The folder that holds its data and logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The node's process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.node.as_ref().map(|running| running.node.id())
    }

    /// Starts it again on the same ports with the same data, after [`kill`](Self::kill) or [`stop`](Self::stop); a node
    /// that runs is stopped first.
    ///
    /// # Errors
    /// As [`PrivateRabbit::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.run(&mut |_| {})
    }

    /// Ends it with SIGKILL, as a power cut would; what was not on its disk is lost.
    ///
    /// That may be a quorum queue that was declared less than a second ago: RabbitMQ 3.10 then never finds its leader
    /// again, and the queue does not answer. See [`settle`](Self::settle).
    ///
    /// # Errors
    /// When the signal could not be sent.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        match self.node.take() {
            Some(mut running) => running.kill(),
            None => Ok(()),
        }
    }

    /// Makes the node write down which queues it has, which it does by itself only half a second after a declaration.
    ///
    /// # Errors
    /// When the node does not run.
    pub fn settle(&self) -> anyhow::Result<()> {
        self.ctl(&["eval", "[ok = dets:sync(Table) || Table <- dets:all()], ok."])
            .map(drop)
    }

    /// Stops it in good order, by SIGTERM; after half a minute by SIGKILL.
    ///
    /// # Errors
    /// When a signal could not be sent.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut running) = self.node.take() else {
            return Ok(());
        };
        running.terminate()?;
        let deadline = Instant::now() + STOPPING;
        while running
            .node
            .try_wait()
            .context("waiting for RabbitMQ failed")?
            .is_none()
        {
            if Instant::now() > deadline {
                break;
            }
            std::thread::sleep(LOOK);
        }
        running.kill()
    }

    /// Makes a user with these permissions (regular expressions over the names of queues and exchanges).
    ///
    /// # Errors
    /// When the node does not run, or refuses.
    pub fn add_user(&self, name: &str, password: &str, configure: &str, write: &str, read: &str) -> anyhow::Result<()> {
        // The password goes over standard input: arguments can be read by every user of the machine.
        self.control(&["add_user", name], password)?;
        self.control(&["set_permissions", "-p", "/", name, configure, write, read], "")?;
        Ok(())
    }

    /// Runs `rabbitmqctl` against this node and returns what it prints.
    ///
    /// # Errors
    /// When it fails; its own words are in the error.
    pub fn ctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.control(arguments, "")
    }

    fn control(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut tool = self
            .command(&Path::new(SCRIPTS).join("rabbitmqctl"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("rabbitmqctl could not be started")?;
        if let Some(mut stdin) = tool.stdin.take() {
            stdin.write_all(input.as_bytes()).context("rabbitmqctl took no input")?;
        }
        let Output { status, stdout, stderr } = tool.wait_with_output().context("rabbitmqctl did not end")?;
        let verb = arguments.first().unwrap_or(&"");
        ensure!(
            status.success(),
            "rabbitmqctl {verb} failed: {}",
            String::from_utf8_lossy(&stderr).trim()
        );
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    fn configure(&self) -> anyhow::Result<()> {
        let port = self.ports.amqp;
        let configuration = format!(
            "listeners.tcp.local = 127.0.0.1:{port}\n\
             disk_free_limit.absolute = 20MB\n\
             log.console = false\n"
        );
        for (name, content) in [
            ("rabbitmq.conf", configuration.as_str()),
            ("rabbitmq-env.conf", ""),
            ("enabled_plugins", "[].\n"),
        ] {
            fs::write(self.dir.join(name), content).context("the private RabbitMQ could not be configured")?;
        }
        Ok(())
    }

    fn run(&mut self, progress: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        let mapper = self.start_mapper()?;
        let output = File::create(self.dir.join("output.log")).context("RabbitMQ's output file could not be made")?;
        let node = self
            .command(&Path::new(SCRIPTS).join("rabbitmq-server"))
            // The script then becomes the node instead of starting it, so that the child's process id is the node's.
            .env("detached", "yes")
            .stdin(Stdio::null())
            .stdout(
                output
                    .try_clone()
                    .context("RabbitMQ's output file could not be shared")?,
            )
            .stderr(output)
            .spawn()
            .context("RabbitMQ could not be started");
        match node {
            Ok(node) => self.node = Some(Running { node, mapper }),
            Err(error) => {
                end(mapper)?;
                return Err(error);
            }
        }
        self.wait_until_ready(progress)
    }

    /// Starts the port mapper in the foreground and waits for it; the node would start one that outlives it.
    fn start_mapper(&self) -> anyhow::Result<Child> {
        let mut mapper = self
            .command(Path::new("epmd"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("Erlang's port mapper epmd could not be started")?;
        let deadline = Instant::now() + STARTING;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.mapper)).is_err() {
            let ended = mapper.try_wait().context("waiting for epmd failed")?.is_some();
            if ended || Instant::now() > deadline {
                end(mapper)?;
                bail!(
                    "Erlang's port mapper epmd does not listen on port {}",
                    self.ports.mapper
                );
            }
            std::thread::sleep(LOOK / 10);
        }
        Ok(mapper)
    }

    /// A command that knows this node and nothing of any other.
    fn command(&self, program: &Path) -> Command {
        let dir = &self.dir;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let foreign = name
                .to_str()
                .is_some_and(|name| name.starts_with("RABBITMQ_") || name.starts_with("ERL_"));
            if foreign {
                command.env_remove(name);
            }
        }
        command
            .current_dir(dir)
            // A group of its own: Ctrl-C in a terminal is for us, and we end the node.
            .process_group(0)
            .env_remove("NOTIFY_SOCKET")
            .env("HOME", dir)
            .env("ERL_EPMD_PORT", self.ports.mapper.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_FLAGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .env("RABBITMQ_NODENAME", format!("kvit{}@localhost", self.ports.amqp))
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("RABBITMQ_CTL_DIST_PORT_MIN", self.ports.tools.to_string())
            .env("RABBITMQ_CTL_DIST_PORT_MAX", (self.ports.tools + 9).to_string())
            .env("RABBITMQ_CONF_ENV_FILE", dir.join("rabbitmq-env.conf"))
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", dir.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", dir.join("data"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env("RABBITMQ_PID_FILE", dir.join("pid"))
            .env("LC_ALL", "C.UTF-8");
        command
    }

    fn wait_until_ready(&mut self, progress: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut told = 0;
        while !accepts(self.ports.amqp) {
            let node = self.node.as_mut().context("RabbitMQ was not started")?;
            if let Some(status) = node.node.try_wait().context("waiting for RabbitMQ failed")? {
                bail!(
                    "RabbitMQ ended ({status}) before it took connections:\n{}",
                    self.last_words()
                );
            }
            let waited = started.elapsed();
            if waited > STARTING {
                bail!(
                    "RabbitMQ takes no connections after {STARTING:?}:\n{}",
                    self.last_words()
                );
            }
            if waited.as_secs() > told {
                told = waited.as_secs();
                progress(&format!("RabbitMQ is starting ({told} s)"));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The end of what the node printed and logged, for an error.
    fn last_words(&self) -> String {
        let logs = fs::read_dir(self.dir.join("log")).into_iter().flatten().flatten();
        let mut files = vec![self.dir.join("output.log")];
        files.extend(logs.map(|entry| entry.path()).filter(|path| path.is_file()));
        let text: String = files
            .iter()
            .filter_map(|path| fs::read(path).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for PrivateRabbit {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(%error, "the private RabbitMQ could not be ended");
        }
    }
}

impl Running {
    fn terminate(&self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.node.id()).context("a process id is too large")?);
        kill(pid, Signal::SIGTERM).context("RabbitMQ could not be told to stop")
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        for child in [&mut self.node, &mut self.mapper] {
            child.kill().context("RabbitMQ could not be killed")?;
            child.wait().context("waiting for RabbitMQ's end failed")?;
        }
        Ok(())
    }
}

fn end(mut child: Child) -> anyhow::Result<()> {
    child.kill().context("a process could not be killed")?;
    child.wait().context("waiting for a process failed")?;
    Ok(())
}

impl Ports {
    /// Ports that nobody listens on now.
    fn free() -> anyhow::Result<Self> {
        let mut found = Vec::new();
        let span = u32::from(PORTS.end - PORTS.start);
        for _ in 0..1000 {
            let offset = getrandom::u32().context("no randomness for a port")? % span;
            let port = PORTS.start + u16::try_from(offset).context("the span of ports is too large")?;
            if !found.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                found.push(port);
            }
            if let [amqp, distribution, mapper, tools] = found[..] {
                return Ok(Self {
                    amqp,
                    distribution,
                    mapper,
                    tools,
                });
            }
        }
        bail!("no free ports between {} and {}", PORTS.start, PORTS.end)
    }
}

/// Whether AMQP is answered: the server's first frame is a method on channel 0, `connection.start`.
fn accepts(port: u16) -> bool {
    let answered = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(PROTOCOL_HEADER)?;
        let mut first = [0];
        stream.read_exact(&mut first)?;
        Ok(first == [1])
    };
    answered().unwrap_or(false)
}
