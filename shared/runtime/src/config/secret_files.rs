//! The files that hold secrets, and what can be said of them without reading one: for programs that may not.

use std::io::ErrorKind;
use std::path::Path;

use super::findings::Finding;
use super::load::Loaded;
use super::sections::Config;
use domain::form_check::Weight;

/// The length of 32 bytes in base64.
const KEY_LENGTH: u64 = 44;

/// A secret that stands in a file of its own.
#[derive(Debug, Clone, Copy)]
pub struct SecretFile<'a> {
    /// The key that names the file, from the root: `["vault", "mail_key_file"]`.
    pub path: [&'static str; 2],
    /// The file.
    pub file: &'a Path,
    /// Whether it holds 32 bytes in base64.
    is_key: bool,
}

impl SecretFile<'_> {
    /// The key, as people write it: `vault.mail_key_file`.
    #[must_use]
    pub fn key(&self) -> String {
        self.path.join(".")
    }

    /// What is wrong with the file, told by its metadata.
    fn fault(&self) -> Option<(Weight, String)> {
        let refused = |why: String| Some((Weight::Refused, why));
        let data = match self.file.metadata() {
            Ok(data) => data,
            // A folder that this user may not enter is as it should be, where the service runs as another one.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Some((Weight::Warning, "cannot be looked at by this user".to_owned()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return refused("is not there".to_owned()),
            Err(error) => return refused(format!("cannot be looked at: {error}")),
        };
        let shortest = if self.is_key { KEY_LENGTH } else { 1 };
        match data.len() {
            _ if data.is_dir() => refused("is a folder".to_owned()),
            // A pipe or a socket tells no length.
            length if data.is_file() && length < shortest => refused(if self.is_key {
                format!("is not 32 bytes in base64: it holds {length} bytes")
            } else {
                "is empty".to_owned()
            }),
            _ => None,
        }
    }
}

impl Config {
    /// The files of all secrets that are not given in the configuration itself.
    #[must_use]
    pub fn secret_files(&self) -> Vec<SecretFile<'_>> {
        let vault = &self.vault;
        let signing = self.signing.as_ref();
        let all = [
            (["broker", "url_file"], &self.broker.url, &self.broker.url_file, false),
            (["store", "url_file"], &self.store.url, &self.store.url_file, false),
            (["vault", "url_file"], &vault.url, &vault.url_file, false),
            (
                ["vault", "intake_key_file"],
                &vault.intake_key,
                &vault.intake_key_file,
                true,
            ),
            (["vault", "mail_key_file"], &vault.mail_key, &vault.mail_key_file, true),
            (
                ["vault", "journal_key_file"],
                &vault.journal_key,
                &vault.journal_key_file,
                true,
            ),
            (
                ["vault", "registration_key_file"],
                &vault.registration_key,
                &vault.registration_key_file,
                true,
            ),
            (
                ["vault", "index_key_file"],
                &vault.index_key,
                &vault.index_key_file,
                true,
            ),
            (["smtp", "url_file"], &self.smtp.url, &self.smtp.url_file, false),
            (
                ["signing", "key_file"],
                signing.map_or(&None, |signing| &signing.key),
                signing.map_or(&None, |signing| &signing.key_file),
                false,
            ),
            (
                ["intake", "unseal_key_file"],
                &self.intake.unseal_key,
                &self.intake.unseal_key_file,
                false,
            ),
            (
                ["evidence", "key_file"],
                &self.evidence.key,
                &self.evidence.key_file,
                true,
            ),
            (
                ["journal", "key_file"],
                &self.journal.key,
                &self.journal.key_file,
                false,
            ),
        ];
        all.into_iter()
            .filter(|(_, inline, ..)| inline.is_none())
            .filter_map(|(path, _, file, is_key)| {
                let file = file.as_deref()?;
                Some(SecretFile { path, file, is_key })
            })
            .collect()
    }
}

impl Loaded {
    /// What is wrong with the files of the secrets, without reading one: they are there, and could hold what they must.
    #[must_use]
    pub fn look_at_secrets(&self) -> Vec<Finding> {
        let finding = |secret: SecretFile<'_>| {
            let (weight, why) = secret.fault()?;
            let shown = secret.file.strip_prefix(self.folder()).unwrap_or(secret.file);
            let message = format!("the file {} of `{}` {why}", shown.display(), secret.key());
            Some(self.finding(&secret.path, weight, message))
        };
        self.config.secret_files().into_iter().filter_map(finding).collect()
    }
}
