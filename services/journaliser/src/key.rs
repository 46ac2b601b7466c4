//! The journal's own OpenPGP key: configured, or made at first use in the journal's folder.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use openpgp::{Certificate, UnsealKey};
use runtime::{Config, Exit};

/// Where a key that was made lies, below the journal's folder.
const FILE: &str = "journal.asc";

/// The key that opens the journal, and the certificate that it is sealed to.
#[derive(Clone)]
pub(crate) struct JournalKey {
    pub(crate) secret: UnsealKey,
    pub(crate) certificate: Certificate,
}

impl JournalKey {
    /// The configured key; `None` where none is named, and one lies, or is to be made, in the folder.
    ///
    /// # Errors
    ///
    /// Where it cannot be used (78).
    pub(crate) fn configured(config: &Config) -> anyhow::Result<Option<Self>> {
        let bytes = config.journal.key().map_err(Exit::config)?;
        let key = bytes.map(|bytes| Self::read(&bytes)).transpose();
        key.map_err(Exit::config).context("reading [journal] key")
    }

    /// The key in the folder, made where there is none. Two that make one at once end with the same.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be written, or holds something else under the key's name.
    pub(crate) fn in_folder(folder: &Path, now: Timestamp) -> io::Result<Self> {
        let path = folder.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => return Self::read(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let (_, secret) = openpgp::generate("Kvit journal", now, None).map_err(io::Error::other)?;
        std::fs::create_dir_all(folder)?;
        let draft = folder.join(format!(".{FILE}.{}", uuid::Uuid::now_v7()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(&draft)?;
        let written = file.write_all(&secret).and_then(|()| file.sync_all());
        // A key of a moment ago, made by another, is not replaced: it may have sealed something already.
        let linked = written.and_then(|()| match std::fs::hard_link(&draft, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => std::fs::File::open(folder)?.sync_all(),
        });
        let _ = std::fs::remove_file(&draft);
        linked?;
        Self::read(&std::fs::read(&path)?).map_err(io::Error::other)
    }

    fn read(bytes: &[u8]) -> Result<Self, openpgp::KeyError> {
        let secret = UnsealKey::read(bytes)?;
        Ok(Self {
            certificate: secret.certificate(),
            secret,
        })
    }
}
