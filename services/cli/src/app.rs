//! What most commands begin with: the configuration, the ledger, and how to print.

use std::sync::Arc;

use ledger::Ledger;
use operate::{Actor, Desk};
use runtime::{Clock, ConfigArgs, Exit, Loaded};
use serde::Serialize;
use serde_json::Value;

pub(crate) use operate::unavailable;

/// A command's surroundings.
pub(crate) struct App {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Clock,
    pub(crate) json: bool,
}

impl App {
    /// Loads the configuration (78) and names the ledger; reads no key.
    pub(crate) fn open(config: &ConfigArgs, json: bool) -> anyhow::Result<Self> {
        let loaded = config.load().map_err(Exit::config)?;
        Ok(Self {
            ledger: worker::ledger(&loaded.config)?,
            loaded: Arc::new(loaded),
            clock: Clock::system(),
            json,
        })
    }

    /// What the shared table of actions works with.
    pub(crate) fn desk(&self) -> Desk {
        Desk {
            loaded: Arc::clone(&self.loaded),
            ledger: self.ledger.clone(),
            clock: self.clock.clone(),
        }
    }

    /// Does an action of the shared table, as whoever runs this command.
    ///
    /// # Errors
    ///
    /// As [`operate::perform`].
    pub(crate) async fn perform(&self, action: &str, args: Value) -> anyhow::Result<Value> {
        operate::perform(&self.desk(), &Actor::of_machine(actor()), action, args).await
    }

    /// Records an act that is in no table, by whoever runs this command, before it is done: what cannot be recorded is not
    /// done.
    ///
    /// # Errors
    ///
    /// Where the ledger is away (69).
    pub(crate) async fn record(&self, act: &'static str, on: String) -> anyhow::Result<()> {
        let recorded = self.ledger.acts(actor(), act, on, self.clock.now()).await;
        Ok(recorded.map_err(unavailable)?)
    }

    /// Prints the value as JSON, or the words.
    pub(crate) fn print(&self, value: &impl Serialize, words: impl FnOnce() -> String) -> anyhow::Result<()> {
        print(self.json, value, words)
    }
}

/// Prints the value as JSON, or the words.
pub(crate) fn print(json: bool, value: &impl Serialize, words: impl FnOnce() -> String) -> anyhow::Result<()> {
    use std::io::Write as _;
    let text = if json {
        serde_json::to_string_pretty(value)?
    } else {
        words()
    };
    let mut out = std::io::stdout().lock();
    // A reader that has seen enough (`| head`) is no fault.
    match writeln!(out, "{}", text.trim_end()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Exit::io(error).into()),
        _ => Ok(()),
    }
}

/// Who runs this command, as the evidence may name a person: an id that means nothing elsewhere.
pub(crate) fn actor() -> String {
    format!("uid:{}", nix::unistd::getuid())
}
