//! What most commands begin with: the configuration, the ledger, and how to print.

use std::sync::Arc;

use ledger::Ledger;
use runtime::{Clock, ConfigArgs, Exit, Loaded};
use serde::Serialize;

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

/// A store that did not answer is a service that is unavailable (69).
pub(crate) fn unavailable(error: store::StoreError) -> Exit {
    Exit::unavailable(anyhow::Error::new(error).context("asking the ledger"))
}
