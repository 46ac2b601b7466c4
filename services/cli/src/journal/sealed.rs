//! Sealing to the journal, and opening what the journal sealed to this process.

use anyhow::Context as _;
use openpgp::{Certificate, Sealing, UnsealKey};
use runtime::Exit;
use serde::Serialize;

use crate::app::{App, unavailable};

/// Seals a value, as JSON, so that the journal alone reads it.
pub(crate) async fn to_journal(app: &App, value: &impl Serialize) -> anyhow::Result<String> {
    let known = app.ledger.journal_certificate().await.map_err(unavailable)?;
    let known = known
        .context("the journal has no key yet: start kvit-journaliser, or kvit up")
        .map_err(Exit::unavailable)?;
    let certificate = Certificate::read(&known, None)
        .map_err(|state| Exit::data(anyhow::anyhow!("the journal's certificate is {}", state.as_str())))?;
    let sealing = Sealing {
        recipients: &[certificate],
        signer: None,
        rfc9580: false,
        now: app.clock.now(),
    };
    let sealed = openpgp::encrypt(&serde_json::to_vec(value)?, &sealing).map_err(Exit::data)?;
    Ok(String::from_utf8(sealed)?)
}

/// A key of a moment: what the journal opens for this process is sealed to it.
pub(crate) struct Ephemeral {
    secret: UnsealKey,
    pub(crate) certificate: String,
}

impl Ephemeral {
    pub(crate) fn new(app: &App) -> anyhow::Result<Self> {
        let (certificate, secret) = openpgp::generate("kvit journal", app.clock.now(), None)?;
        Ok(Self {
            secret: UnsealKey::read(&secret)?,
            certificate: String::from_utf8(certificate)?,
        })
    }

    pub(crate) fn open(&self, sealed: &str) -> anyhow::Result<Vec<u8>> {
        /// As large as an entry with all its versions can be.
        const MOST: usize = 1 << 30;
        Ok(self.secret.open(sealed.as_bytes(), MOST)?)
    }
}
