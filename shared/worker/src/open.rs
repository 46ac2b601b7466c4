//! Opens what the configuration names. Each service asks for the keys that its work needs, and no others are read.

use std::sync::Arc;

use anyhow::Context as _;
use broker::{Link, Options, State};
use ledger::Ledger;
use letter::{Facts, Letters};
use openpgp::{Mailbox, SigningKey};
use runtime::{Check, Config, ConfigError, Exit};
use vault::{Ring, Vault, WrappingKeys};

/// Which wrapping keys a service reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keys {
    /// Quarantined messages, and answers that wait for a certificate.
    pub intake: bool,
    /// Composed mails.
    pub mail: bool,
    /// The journal's copies.
    pub journal: bool,
    /// Registrations.
    pub registration: bool,
    /// Keyed digests.
    pub index: bool,
}

/// The duty ledger.
///
/// # Errors
///
/// Where `[store]` cannot be read (78).
pub fn ledger(config: &Config) -> anyhow::Result<Ledger> {
    let url = config.store.url().map_err(Exit::config)?;
    Ok(Ledger::new(&url.parse().map_err(Exit::config)?))
}

/// The vault, with these wrapping keys, which it reads again where their files change.
///
/// # Errors
///
/// Where `[vault]` or a key of it cannot be read (78).
pub fn vault(config: &Config, keys: Keys) -> anyhow::Result<Vault> {
    let url = config.vault.url().map_err(Exit::config)?;
    let wrapping = wrapping(&config.vault, keys).map_err(Exit::config)?;
    let section = config.vault.clone();
    let vault = Vault::new(&url.parse().map_err(Exit::config)?, wrapping);
    // A file that is being replaced, or that this user may not read any more, changes nothing.
    Ok(vault.reading(move || self::wrapping(&section, keys).ok()))
}

type Read = fn(&runtime::config::Vault) -> Result<Vec<[u8; 32]>, ConfigError>;

fn wrapping(section: &runtime::config::Vault, keys: Keys) -> Result<WrappingKeys, ConfigError> {
    let given = |wanted: bool, read: Read| -> Result<Option<Ring>, ConfigError> {
        Ok(if wanted { Ring::new(read(section)?) } else { None })
    };
    Ok(WrappingKeys {
        intake: given(keys.intake, runtime::config::Vault::intake_key)?,
        mail: given(keys.mail, runtime::config::Vault::mail_key)?,
        journal: given(keys.journal, runtime::config::Vault::journal_key)?,
        registration: given(keys.registration, runtime::config::Vault::registration_key)?,
        index: given(keys.index, runtime::config::Vault::index_key)?,
    })
}

/// The letters, with the operator's own templates where there are some.
///
/// # Errors
///
/// Where a template does not render (78).
pub fn letters(config: &Config) -> anyhow::Result<Letters> {
    let controller = &config.controller;
    let facts = Facts {
        name: controller.name.clone(),
        address: controller.address.clone(),
        dpo: controller.dpo.clone(),
        contact_url: controller.contact_url.clone(),
        privacy_url: controller.privacy_url.clone(),
        complaint: controller.complaint.clone(),
        language: controller.language,
        time_zone: controller.time_zone.clone(),
        from: Mailbox::parse(&config.smtp.from).map_err(Exit::config)?,
    };
    Letters::load(facts, config.templates_dir.as_deref())
        .map_err(Exit::config)
        .context("loading the letters' templates")
}

/// The key that signs mails to departments, where one is configured.
///
/// # Errors
///
/// Where it is configured and cannot be used (78): a mail that should be signed never goes out without.
pub fn signer(config: &Config) -> anyhow::Result<Option<SigningKey>> {
    let Some(section) = &config.signing else {
        return Ok(None);
    };
    let bytes = section.key().map_err(Exit::config)?;
    Ok(Some(
        SigningKey::read(&bytes)
            .map_err(Exit::config)
            .context("reading [signing] key")?,
    ))
}

/// A link to the broker, whose state is the service's check `broker`.
///
/// # Errors
///
/// Where `[broker]` cannot be read (78).
pub fn link(config: &Config, name: &str, check: Check) -> anyhow::Result<Link> {
    let url = config.broker.url().map_err(Exit::config)?;
    let options = Options {
        declare: config.broker.declare,
        name: name.to_owned(),
        on_state: Arc::new(move |state| match state {
            State::Up => check.up(),
            State::Down(why) => check.down(&why),
        }),
    };
    Ok(Link::new(url, options))
}
