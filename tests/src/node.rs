//! The RabbitMQ that the tests of one binary share, each in a virtual host of its own.
//!
//! Wake-ups of all services on a broker share one queue, so two Kvits need two virtual hosts. A node takes seconds to
//! start, a virtual host milliseconds, the command-line tool a second: so one node, and hosts made by the dozen.
//!
//! A static value is never dropped, and the node would outlive the tests. So it is held by the tests that run: the last
//! one that ends it ends the node, and one that begins later starts another.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Context as _;
use kvit_cli::demo::rabbit::PrivateRabbit;
use tempfile::TempDir;

/// How many virtual hosts one call makes.
const DOZEN: usize = 16;

/// A RabbitMQ, its folder, and the virtual hosts that nobody has yet.
pub struct Node {
    /// The node.
    pub rabbit: PrivateRabbit,
    hosts: Mutex<(usize, Vec<String>)>,
    _dir: TempDir,
}

/// A virtual host of the shared node.
pub struct VirtualHost {
    /// The node, which lives as long as somebody has this.
    pub node: Arc<Node>,
    /// Its name.
    pub name: String,
}

impl VirtualHost {
    /// Its URL, by this port: the node's own or a proxy's.
    #[must_use]
    pub fn url(&self, port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/{}", self.name)
    }
}

/// A virtual host that nobody else has. Blocks while the node starts.
///
/// # Errors
///
/// Where RabbitMQ does not start.
pub fn virtual_host() -> anyhow::Result<VirtualHost> {
    let node = shared()?;
    let name = node.fresh_host()?;
    Ok(VirtualHost { node, name })
}

fn shared() -> anyhow::Result<Arc<Node>> {
    static SHARED: Mutex<Weak<Node>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(node) = shared.upgrade() {
        return Ok(node);
    }
    let dir = tempfile::tempdir().context("a folder for RabbitMQ could not be made")?;
    let node = Arc::new(Node {
        rabbit: PrivateRabbit::start(dir.path())?,
        hosts: Mutex::default(),
        _dir: dir,
    });
    *shared = Arc::downgrade(&node);
    Ok(node)
}

impl Node {
    /// Empties the queue of mail wake-ups of a virtual host, as a broker does that is started again.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn lose_wake_ups(&self, host: &str) -> anyhow::Result<()> {
        self.rabbit
            .ctl(&["-p", host, "purge_queue", broker::MAIL_DUTIES])
            .map(drop)
    }

    fn fresh_host(&self) -> anyhow::Result<String> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.1.is_empty() {
            let names: Vec<String> = (0..DOZEN).map(|n| format!("bed{}", hosts.0 + n)).collect();
            hosts.0 += DOZEN;
            let list: Vec<String> = names.iter().map(|name| format!("<<\"{name}\">>")).collect();
            let all = "<<\".*\">>";
            let made = format!(
                "[begin ok = rabbit_vhost:add(Host, <<\"kvit\">>), \
                 ok = rabbit_auth_backend_internal:set_permissions(<<\"guest\">>, Host, {all}, {all}, {all}, <<\"kvit\">>) \
                 end || Host <- [{}]], ok.",
                list.join(", ")
            );
            self.rabbit.ctl(&["eval", &made])?;
            hosts.1 = names;
        }
        hosts.1.pop().context("no virtual host was made")
    }
}
