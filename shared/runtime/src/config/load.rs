//! Loads a configuration: file, environment and flags, forms; every fault at once.

use std::path::{Path, PathBuf};

use super::check;
use super::document;
use super::findings::{Finding, Findings, Place};
use super::layers::Layers;
use super::schema;
use super::secret::ConfigError;
use super::sections::Config;
use super::shape::{Places, Shaped, shape};
use crate::forms::Forms;
use domain::form_check::Weight;

/// Where the configuration is where nothing says otherwise.
pub const DEFAULT_PATH: &str = "/etc/kvit/kvit.toml";

/// A configuration without a fault, with its forms.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What `kvit.toml` says; every path in it is absolute.
    pub config: Config,
    /// The forms.
    pub forms: Forms,
    /// The file, absolute.
    pub path: PathBuf,
    /// What is worth a look, and does not refuse.
    pub warnings: Findings,
    places: Places,
}

impl Loaded {
    /// Loads a file, with the environment of this process over it.
    ///
    /// # Errors
    ///
    /// Every fault, and the warnings too.
    pub fn load(path: &Path) -> Result<Self, Findings> {
        Self::load_with(path, &Layers::from_environment())
    }

    /// Loads a file with these layers over it.
    ///
    /// # Errors
    ///
    /// Every fault, and the warnings too.
    pub fn load_with(path: &Path, layers: &Layers) -> Result<Self, Findings> {
        match Self::examine(path, layers) {
            (Some(loaded), findings) if !findings.has_errors() => Ok(Self {
                warnings: findings,
                ..loaded
            }),
            (_, findings) => Err(findings),
        }
    }

    /// What can be read of a file, with every fault and warning: for `kvit check`, which goes on after the first faults.
    #[must_use]
    pub fn examine(path: &Path, layers: &Layers) -> (Option<Self>, Findings) {
        let mut findings = Vec::new();
        let loaded = read(path, layers, &mut findings);
        let mut all = Findings::default();
        all.extend(findings);
        (loaded, all)
    }

    /// The folder of the configuration file.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// A finding about a key, with its file and line: for what only another program can judge, such as a certificate.
    ///
    /// The path has the keys from the root, and places in lists:
    /// `["departments", "teknik-miljoe", "certificates", "0", "file"]`.
    #[must_use]
    pub fn finding(&self, path: &[&str], weight: Weight, message: impl Into<String>) -> Finding {
        let path: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
        Finding {
            weight,
            ..Finding::error(self.places.of(&path), message)
        }
    }

    /// Reads every secret and reports those that cannot be used: for `kvit doctor`, which may read them all; `kvit check`
    /// [looks at their files](Self::look_at_secrets).
    #[must_use]
    pub fn check_secrets(&self) -> Findings {
        let (config, vault) = (&self.config, &self.config.vault);
        let done = |result: Result<[u8; 32], ConfigError>| result.err();
        let checks: [(&[&str], Option<ConfigError>); 13] = [
            (&["broker", "url"], config.broker.url().err()),
            (&["store", "url"], config.store.url().err()),
            (&["vault", "url"], vault.url().err()),
            (&["vault", "intake_key_file"], vault.intake_key().err()),
            (&["vault", "mail_key_file"], vault.mail_key().err()),
            (&["vault", "journal_key_file"], vault.journal_key().err()),
            (&["vault", "registration_key_file"], vault.registration_key().err()),
            (&["vault", "index_key_file"], vault.index_key().err()),
            (&["smtp", "url"], config.smtp.url().err()),
            (
                &["signing", "key_file"],
                config.signing.as_ref().and_then(|signing| signing.key().err()),
            ),
            (&["intake", "unseal_key_file"], config.intake.unseal_key().err()),
            (&["evidence", "key_file"], done(config.evidence.key())),
            (&["journal", "key_file"], config.journal.key().err()),
        ];
        let mut findings = Findings::default();
        for (path, error) in checks {
            if let Some(error) = error {
                let weight = weight(&error);
                let words = format!("{:#}", anyhow::Error::from(error));
                findings.push(self.finding(path, weight, words));
            }
        }
        findings
    }
}

/// A secret that this user may not read is as it should be, where the service runs as another one.
fn weight(error: &ConfigError) -> Weight {
    match error {
        ConfigError::Unreadable { cause, .. } if cause.kind() == std::io::ErrorKind::PermissionDenied => {
            Weight::Warning
        }
        _ => Weight::Refused,
    }
}

fn read(path: &Path, layers: &Layers, findings: &mut Vec<Finding>) -> Option<Loaded> {
    let whole = |message: String| {
        let place = Place::File {
            file: path.into(),
            line: 0,
        };
        Finding::error(place, message)
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            findings.push(whole(format!("cannot read the configuration: {error}")));
            return None;
        }
    };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let mut document = match document::read(&text, &path.into()) {
        Ok(document) => document,
        Err(faults) => {
            findings.extend(faults);
            return None;
        }
    };
    layers.apply(&mut document, schema::config(), findings);
    let shaped = shape(&document, schema::config(), folder, findings);
    let config = match typed(&shaped, folder) {
        Ok(config) => config,
        Err(error) => {
            findings.push(whole(format!("the configuration cannot be read: {error}")));
            return None;
        }
    };
    findings.extend(shaped.findings(check::check(&config)));
    findings.sort_by_key(Finding::line);
    let shown = path
        .parent()
        .unwrap_or(Path::new(""))
        .join(forms_shown(&config, folder));
    let forms = Forms::load(&config, &shown, findings);
    Some(Loaded {
        config,
        forms,
        path: absolute,
        warnings: Findings::default(),
        places: shaped.places,
    })
}

fn typed(shaped: &Shaped, folder: &Path) -> Result<Config, serde_json::Error> {
    let mut config: Config = serde_json::from_value(shaped.json.clone())?;
    folder.clone_into(&mut config.store.folder);
    config.vault.store = config.store.clone();
    Ok(config)
}

/// The folder of the forms as messages name it: as it stands in the file, where it is below the configuration's.
fn forms_shown(config: &Config, folder: &Path) -> PathBuf {
    config
        .forms_dir
        .strip_prefix(folder)
        .unwrap_or(&config.forms_dir)
        .to_owned()
}
