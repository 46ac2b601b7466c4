//! `kvit init`: a complete configuration in a folder, with secrets of its own and an example to try out.
//!
//! What is made passes `kvit check` at once, and works with a broker and a relay on this machine. Nothing that exists is
//! overwritten: a new key in the place of an old one would lose what the old one wraps.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use openpgp::Certificate;
use runtime::{Clock, Exit, exit};
use serde::Serialize;

use crate::app::print;
use crate::args::InitArgs;

const CONFIG: &str = include_str!("init/kvit.toml");
const FORM: &str = include_str!("init/anmeldelse_teknik_miljoe.toml");

/// The keys of 32 random bytes, one a purpose.
const KEYS: [&str; 6] = ["intake", "mail", "journal", "registration", "index", "evidence"];

/// What would be overwritten, or would belong to other keys.
const TAKEN: [&str; 6] = ["kvit.toml", "secrets", "keys", "forms", "kvit.db", "kvit-keys.db"];

/// How long the example department's certificate can be used.
const EXAMPLE_LASTS: SignedDuration = SignedDuration::from_hours(3 * 365 * 24);

/// What was made.
#[derive(Debug, Serialize)]
pub(crate) struct Created {
    /// `kvit.toml`.
    pub(crate) config: PathBuf,
    /// The example department's certificate.
    pub(crate) department_certificate: PathBuf,
    /// Its secret key, for trying out: a real department keeps its own.
    pub(crate) department_secret: PathBuf,
    /// Its fingerprint.
    pub(crate) department_fingerprint: String,
    /// The certificate that sites may seal their messages to.
    pub(crate) intake_certificate: PathBuf,
    /// The certificate that departments verify their mails with.
    pub(crate) signing_certificate: PathBuf,
    /// The example form.
    pub(crate) form: PathBuf,
    /// Every file, in the order in which they were made.
    pub(crate) files: Vec<PathBuf>,
}

pub(crate) fn run(args: &InitArgs, json: bool) -> anyhow::Result<u8> {
    let created = create_with(&args.dir, args.state.as_deref())?;
    print(json, &created, || words(&created))?;
    Ok(exit::OK)
}

/// Makes a complete configuration in a folder, which is made where it does not exist.
///
/// # Errors
///
/// Where something of it is there already (64), or cannot be written (74).
pub(crate) fn create(dir: &Path) -> anyhow::Result<Created> {
    create_with(dir, None)
}

/// As [`create`], with everything that changes while Kvit runs in the folder `state`, which is not made.
fn create_with(dir: &Path, state: Option<&Path>) -> anyhow::Result<Created> {
    refuse_to_overwrite(dir)?;
    let dir = &std::path::absolute(dir).map_err(Exit::io)?;
    let now = Clock::system().now();
    folder(dir, 0o755)?;
    folder(&dir.join("secrets"), 0o700)?;
    folder(&dir.join("keys"), 0o755)?;
    folder(&dir.join("forms"), 0o755)?;

    let mut files = Files::default();
    for name in KEYS {
        files.secret(&dir.join(format!("secrets/{name}.key")), &random_key()?)?;
    }
    let (intake_certificate, _) = files.pair(dir, "intake", "Kvit (Eksempel Kommune)", None, now)?;
    let mailbox = "Eksempel Kommune <kvittering@eksempel.example>";
    let (signing_certificate, _) = files.pair(dir, "signing", mailbox, None, now)?;
    files.pair(dir, "journal", "Kvit journal (Eksempel Kommune)", None, now)?;
    let mailbox = "Teknik & Miljø <teknik@eksempel.example>";
    let (department_certificate, department_fingerprint) =
        files.pair(dir, "teknik-miljoe", mailbox, Some(EXAMPLE_LASTS), now)?;
    let form = dir.join("forms/anmeldelse_teknik_miljoe.toml");
    files.public(&form, FORM.as_bytes())?;
    // Last, so that a configuration that is there is whole.
    let config = dir.join("kvit.toml");
    let mut text = CONFIG.replace("@FINGERPRINT@", &department_fingerprint);
    if let Some(state) = state {
        text = keeping_state_in(&std::path::absolute(state).map_err(Exit::io)?, &text);
    }
    files.public(&config, text.as_bytes())?;
    Ok(Created {
        config,
        department_certificate,
        department_secret: dir.join("secrets/teknik-miljoe.asc"),
        department_fingerprint,
        intake_certificate,
        signing_certificate,
        form,
        files: files.made,
    })
}

/// The configuration with its stores, its evidence and its journal in another folder.
fn keeping_state_in(state: &Path, text: &str) -> String {
    let state = state.display();
    let mut text = text.to_owned();
    for (from, to) in [
        ("\"sqlite:kvit.db\"", format!("\"sqlite:{state}/kvit.db\"")),
        ("\"sqlite:kvit-keys.db\"", format!("\"sqlite:{state}/kvit-keys.db\"")),
        ("dir = \"evidence\"", format!("dir = \"{state}/evidence\"")),
        ("dir = \"journal\"", format!("dir = \"{state}/journal\"")),
    ] {
        text = text.replace(from, &to);
    }
    text
}

fn refuse_to_overwrite(dir: &Path) -> anyhow::Result<()> {
    let there = |name: &&&str| dir.join(name).symlink_metadata().is_ok();
    let there: Vec<&str> = TAKEN.iter().filter(there).copied().collect();
    if there.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} already has {}: nothing is overwritten; give a folder without them",
        dir.display(),
        there.join(", ")
    );
    Err(Exit::usage(anyhow::anyhow!(message)).into())
}

/// 32 random bytes in base64, as one line.
fn random_key() -> anyhow::Result<Vec<u8>> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(|error| Exit::io(anyhow::anyhow!(error)))
        .context("asking the system for random bytes")?;
    Ok(format!("{}\n", STANDARD.encode(key)).into_bytes())
}

fn folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(Exit::io)
        .with_context(|| format!("making the folder {}", path.display()))
}

/// The files made so far.
#[derive(Default)]
struct Files {
    made: Vec<PathBuf>,
}

impl Files {
    /// A key pair: the secret key in `secrets`, the certificate in `keys`. Answers the certificate and its fingerprint.
    fn pair(
        &mut self,
        dir: &Path,
        name: &str,
        user_id: &str,
        lasts: Option<SignedDuration>,
        now: Timestamp,
    ) -> anyhow::Result<(PathBuf, String)> {
        let doing = || format!("making the OpenPGP key {name}");
        let (certificate, secret) = openpgp::generate(user_id, now, lasts)
            .map_err(Exit::io)
            .with_context(doing)?;
        let read = Certificate::read(&certificate, None)
            .map_err(|state| Exit::io(anyhow::anyhow!("it is {state}", state = state.as_str())))
            .with_context(doing)?;
        self.secret(&dir.join(format!("secrets/{name}.asc")), &secret)?;
        let public = dir.join(format!("keys/{name}.asc"));
        self.public(&public, &certificate)?;
        Ok((public, read.fingerprint()))
    }

    fn secret(&mut self, path: &Path, content: &[u8]) -> anyhow::Result<()> {
        self.write(path, content, 0o600)
    }

    fn public(&mut self, path: &Path, content: &[u8]) -> anyhow::Result<()> {
        self.write(path, content, 0o644)
    }

    fn write(&mut self, path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        opened
            .and_then(|mut file| {
                file.write_all(content)?;
                file.sync_all()
            })
            .map_err(Exit::io)
            .with_context(|| format!("writing {}", path.display()))?;
        self.made.push(path.to_owned());
        Ok(())
    }
}

fn words(created: &Created) -> String {
    let made: Vec<_> = created
        .files
        .iter()
        .map(|file| format!("  {}\n", file.display()))
        .collect();
    let made = made.concat();
    let config = created.config.display();
    let secrets = created.department_secret.display();
    format!(
        "made:\n{made}\nThe department's key pair is an example for trying out: {secrets} opens its mails.\n\
         A real department makes its own and gives you the certificate alone.\n\
         \n\
         next:\n\
         \x20 1. kvit check --config {config}\n\
         \x20 2. write who you are into [controller], and your relay into [smtp]\n\
         \x20 3. kvit doctor --config {config}     are the broker and the relay there?\n\
         \x20 4. kvit up --config {config}         all services, until Ctrl-C\n\
         \x20 5. post a submission: kvit submission send --config {config} --site eksempel FILE\n\
         \x20    and see what became of it: kvit submission list --config {config}\n\
         Your own webforms: kvit form import; your departments: [departments], with their certificates in keys.\n\
         Keep a copy of the folder secrets offline: what its keys wrap is lost without them."
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use openpgp::{CertificateState, SigningKey, UnsealKey};
    use runtime::{Layers, Loaded};

    fn new_folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn what_is_made_loads_without_a_remark_and_every_secret_can_be_read() {
        let folder = new_folder();
        let created = create(folder.path()).unwrap();
        let loaded = Loaded::load_with(&created.config, &Layers::default()).unwrap();
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert!(loaded.check_secrets().is_empty(), "{}", loaded.check_secrets());
        assert_eq!(loaded.forms.len(), 1);
        let now = Clock::system().now();
        let signer = SigningKey::read(&loaded.config.signing.as_ref().unwrap().key().unwrap()).unwrap();
        assert_eq!(signer.state(now), CertificateState::Usable);
        assert!(UnsealKey::read(&loaded.config.intake.unseal_key().unwrap().unwrap()).is_ok());
    }

    /// What the packages' units may write is `/var/lib/kvit` alone.
    #[test]
    fn everything_that_changes_can_be_kept_elsewhere() {
        let folder = new_folder();
        let created = create_with(folder.path(), Some(Path::new("/var/lib/kvit"))).unwrap();
        let config = Loaded::load_with(&created.config, &Layers::default()).unwrap().config;
        assert_eq!(config.store.url().unwrap(), "sqlite:/var/lib/kvit/kvit.db");
        assert_eq!(config.vault.url().unwrap(), "sqlite:/var/lib/kvit/kvit-keys.db");
        assert_eq!(config.evidence.dir, Path::new("/var/lib/kvit/evidence"));
        assert_eq!(config.journal.dir, Path::new("/var/lib/kvit/journal"));
    }

    #[test]
    fn each_purpose_has_a_key_of_its_own_that_only_its_owner_reads() {
        let folder = new_folder();
        let created = create(folder.path()).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let secrets = folder.path().join("secrets");
        assert_eq!(mode(&secrets), 0o700);
        let mut seen = std::collections::BTreeSet::new();
        for file in created.files.iter().filter(|file| file.starts_with(&secrets)) {
            assert_eq!(mode(file), 0o600, "{}", file.display());
            assert!(seen.insert(std::fs::read(file).unwrap()), "{}", file.display());
        }
        // And three OpenPGP keys with the journal's: intake's, the department's example, the signature's.
        assert_eq!(seen.len(), KEYS.len() + 4);
    }

    #[test]
    fn nothing_is_overwritten_and_what_is_there_is_named() {
        let folder = new_folder();
        std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        create(folder.path()).unwrap();
        let before = std::fs::read(folder.path().join("secrets/mail.key")).unwrap();
        let refused = create(folder.path()).unwrap_err();
        assert_eq!(exit::code_of(&refused), exit::USAGE);
        assert!(
            refused.to_string().contains("kvit.toml, secrets, keys, forms"),
            "{refused}"
        );
        assert_eq!(std::fs::read(folder.path().join("secrets/mail.key")).unwrap(), before);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_io_failure() {
        let folder = new_folder();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = create(&file.join("kvit")).unwrap_err();
        assert_eq!(exit::code_of(&refused), exit::IO);
    }
}
