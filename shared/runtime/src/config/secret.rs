//! Secrets: given as `x`, or in a file named by `x_file`; read only when asked for, and never shown.
//!
//! Each service calls the accessors of the secrets that it needs, and no other (`docs/configuration.md`). What cannot be
//! judged at load, because it stands in a file, is judged when it is read: an address in plaintext to another machine
//! (P12), a vault that is the store.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::address::{self, Refusal};
use super::parties::{JournalTarget, Oidc, User};
use super::sections::{Broker, Evidence, Intake, Journal, Signing, Smtp, Store, Vault};

/// A secret of the configuration. `Debug` shows nothing, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl schemars::JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// Why a secret cannot be used. Exit status 78.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Neither `x` nor `x_file` is given.
    #[error("{key} is missing: give {key} or {key}_file")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read {path}, which {key}_file names", path = path.display())]
    Unreadable {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        cause: std::io::Error,
    },
    /// Not a key.
    #[error("{key} is not 32 bytes in base64")]
    NoKey {
        /// The key.
        key: &'static str,
    },
    /// An address that is not taken.
    #[error("{key} is refused")]
    Refused {
        /// The key.
        key: &'static str,
        /// Why.
        #[source]
        cause: Refusal,
    },
}

/// Where a secret is, one of two ways.
struct Source<'a> {
    key: &'static str,
    inline: Option<&'a Secret>,
    file: Option<&'a Path>,
}

impl<'a> Source<'a> {
    fn new(key: &'static str, inline: Option<&'a Secret>, file: Option<&'a PathBuf>) -> Self {
        Self {
            key,
            inline,
            file: file.map(PathBuf::as_path),
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, ConfigError> {
        let key = self.key;
        match (self.inline, self.file) {
            (Some(secret), _) => Ok(secret.expose().as_bytes().to_vec()),
            (None, Some(path)) => std::fs::read(path).map_err(|cause| ConfigError::Unreadable {
                key,
                path: path.to_owned(),
                cause,
            }),
            (None, None) => Err(ConfigError::Missing { key }),
        }
    }

    fn optional_bytes(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        match self.bytes() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ConfigError::Missing { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// A text without the blanks around it, such as the line feed that editors put at a file's end.
    fn text(&self) -> Result<String, ConfigError> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| self.refused(Refusal::NoAddress))?;
        Ok(text.trim().to_owned())
    }

    fn key(&self) -> Result<[u8; 32], ConfigError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(&bytes)
            .ok()
            .and_then(key_of)
            .ok_or(ConfigError::NoKey { key: self.key })
    }

    /// Keys, one a line: the current one first, then those before it.
    fn keys(&self) -> Result<Vec<[u8; 32]>, ConfigError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(&bytes)
            .ok()
            .and_then(keys_of)
            .ok_or(ConfigError::NoKey { key: self.key })
    }

    fn refused(&self, cause: Refusal) -> ConfigError {
        ConfigError::Refused { key: self.key, cause }
    }
}

/// The 32 bytes that a text spells in base64.
pub(super) fn key_of(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text.trim()).ok()?.try_into().ok()
}

/// The keys that a text spells in base64, one a line; at least one.
pub(super) fn keys_of(text: &str) -> Option<Vec<[u8; 32]>> {
    let keys: Option<Vec<_>> = text.split_whitespace().map(key_of).collect();
    keys.filter(|keys| !keys.is_empty())
}

impl Broker {
    /// The broker's address, with its credentials.
    ///
    /// # Errors
    ///
    /// Where it is missing, unreadable, no AMQP address, or plaintext to another machine (P12).
    pub fn url(&self) -> Result<String, ConfigError> {
        let source = Source::new("broker.url", self.url.as_ref(), self.url_file.as_ref());
        let text = source.text()?;
        address::amqp(&text).map_err(|refusal| source.refused(refusal))?;
        Ok(text)
    }
}

impl User {
    /// The password's hash, where there is one.
    ///
    /// # Errors
    ///
    /// Where its file cannot be read.
    pub fn password_hash(&self) -> Result<Option<String>, ConfigError> {
        let key = "console.users.password_hash";
        let source = Source::new(key, self.password_hash.as_ref(), self.password_hash_file.as_ref());
        let bytes = source.optional_bytes()?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }
}

impl Oidc {
    /// The secret of the client, where there is one.
    ///
    /// # Errors
    ///
    /// Where its file cannot be read.
    pub fn client_secret(&self) -> Result<Option<String>, ConfigError> {
        let key = "console.oidc.client_secret";
        let source = Source::new(key, self.client_secret.as_ref(), self.client_secret_file.as_ref());
        let bytes = source.optional_bytes()?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }
}

impl Smtp {
    /// The relay's address, with its credentials.
    ///
    /// # Errors
    ///
    /// Where it is missing, unreadable, no SMTP address, or plaintext to another machine (P12).
    pub fn url(&self) -> Result<String, ConfigError> {
        let source = Source::new("smtp.url", self.url.as_ref(), self.url_file.as_ref());
        let text = source.text()?;
        address::smtp(&text).map_err(|refusal| source.refused(refusal))?;
        Ok(text)
    }
}

impl Store {
    /// The store's address; a SQLite file's path is absolute where the configuration was loaded from a file.
    ///
    /// # Errors
    ///
    /// Where it is missing, unreadable, no store's address, or plaintext to another machine (P12).
    pub fn url(&self) -> Result<String, ConfigError> {
        let source = Source::new("store.url", self.url.as_ref(), self.url_file.as_ref());
        store_url(&source, &self.folder)
    }
}

fn store_url(source: &Source<'_>, folder: &Path) -> Result<String, ConfigError> {
    let text = address::resolve_store(&source.text()?, folder);
    address::store(&text).map_err(|refusal| source.refused(refusal))?;
    Ok(text)
}

impl Vault {
    /// The key store's address.
    ///
    /// # Errors
    ///
    /// As the store's, and where it is the store's own file.
    pub fn url(&self) -> Result<String, ConfigError> {
        let source = Source::new("vault.url", self.url.as_ref(), self.url_file.as_ref());
        let text = store_url(&source, &self.store.folder)?;
        match self.store.url() {
            Ok(store) if address::same_store(&store, &text) => Err(source.refused(Refusal::IsTheStore)),
            _ => Ok(text),
        }
    }

    /// Wraps what waits for intake; the current key first, then those before it that may still be needed.
    ///
    /// # Errors
    ///
    /// Where it is missing, unreadable, or not 32 bytes a line.
    pub fn intake_key(&self) -> Result<Vec<[u8; 32]>, ConfigError> {
        Source::new(
            "vault.intake_key",
            self.intake_key.as_ref(),
            self.intake_key_file.as_ref(),
        )
        .keys()
    }

    /// Wraps what the mailer sends.
    ///
    /// # Errors
    ///
    /// Where it is missing, unreadable, or not 32 bytes a line.
    pub fn mail_key(&self) -> Result<Vec<[u8; 32]>, ConfigError> {
        Source::new("vault.mail_key", self.mail_key.as_ref(), self.mail_key_file.as_ref()).keys()
    }

    /// Wraps the journal's copies.
    ///
    /// # Errors
    ///
    /// Where it is missing, unreadable, or not 32 bytes a line.
    pub fn journal_key(&self) -> Result<Vec<[u8; 32]>, ConfigError> {
        Source::new(
            "vault.journal_key",
            self.journal_key.as_ref(),
            self.journal_key_file.as_ref(),
        )
        .keys()
    }

    /// Wraps the registrations.
    ///
    /// # Errors
    ///
    /// Where it is missing, unreadable, or not 32 bytes a line.
    pub fn registration_key(&self) -> Result<Vec<[u8; 32]>, ConfigError> {
        let (inline, file) = (self.registration_key.as_ref(), self.registration_key_file.as_ref());
        Source::new("vault.registration_key", inline, file).keys()
    }

    /// Keys the digests that recognise a repeat.
    ///
    /// # Errors
    ///
    /// Where it is missing, unreadable, or not 32 bytes a line.
    pub fn index_key(&self) -> Result<Vec<[u8; 32]>, ConfigError> {
        Source::new("vault.index_key", self.index_key.as_ref(), self.index_key_file.as_ref()).keys()
    }
}

impl Signing {
    /// The OpenPGP key that signs mails to departments, as its file holds it.
    ///
    /// # Errors
    ///
    /// Where it is missing or unreadable.
    pub fn key(&self) -> Result<Vec<u8>, ConfigError> {
        Source::new("signing.key", self.key.as_ref(), self.key_file.as_ref()).bytes()
    }
}

impl Intake {
    /// The OpenPGP key that sites may seal their messages to, where there is one.
    ///
    /// # Errors
    ///
    /// Where its file is unreadable.
    pub fn unseal_key(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        Source::new(
            "intake.unseal_key",
            self.unseal_key.as_ref(),
            self.unseal_key_file.as_ref(),
        )
        .optional_bytes()
    }
}

impl Evidence {
    /// The Ed25519 seed that signs checkpoints.
    ///
    /// # Errors
    ///
    /// Where it is missing, unreadable, or not 32 bytes.
    pub fn key(&self) -> Result<[u8; 32], ConfigError> {
        Source::new("evidence.key", self.key.as_ref(), self.key_file.as_ref()).key()
    }
}

impl JournalTarget {
    /// Its address, with its credentials.
    ///
    /// # Errors
    ///
    /// Where it is missing, unreadable, no HTTP address, or plaintext to another machine (P12).
    pub fn url(&self) -> Result<String, ConfigError> {
        let source = Source::new("journal_targets.url", self.url.as_ref(), self.url_file.as_ref());
        let text = source.text()?;
        address::http(&text).map_err(|refusal| source.refused(refusal))?;
        Ok(text)
    }
}

impl Journal {
    /// The journal's OpenPGP key, where one is named.
    ///
    /// # Errors
    ///
    /// Where its file is unreadable.
    pub fn key(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        Source::new("journal.key", self.key.as_ref(), self.key_file.as_ref()).optional_bytes()
    }
}
