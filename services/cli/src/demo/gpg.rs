//! The `gpg` program with a keyring of its own: the department's reader.
//!
//! Kvit encrypts with another implementation; that GnuPG opens its mails is what departments need, and is shown with the
//! program itself. What it decrypts goes through a pipe and never to a file.

use std::fs::DirBuilder;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, ensure};
use runtime::Exit;

/// A keyring; the agent that guards it ends with this.
pub(crate) struct Gpg {
    home: PathBuf,
}

/// A message that was opened.
pub(crate) struct Opened {
    pub(crate) plaintext: Vec<u8>,
    /// Whether a key of this keyring signed it.
    pub(crate) signed: bool,
}

/// The first line of `gpg --version`.
///
/// # Errors
///
/// Where there is no such program (69).
pub(crate) fn version() -> anyhow::Result<String> {
    let output = Command::new("gpg").arg("--version").env("LC_ALL", "C").output();
    let output = output.map_err(|error| {
        Exit::unavailable(
            anyhow::Error::new(error)
                .context("gpg, which opens the department's mail, cannot be started (Debian: apt-get install gpg)"),
        )
    })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or("gpg").to_owned())
}

impl Gpg {
    /// A new keyring in this folder.
    pub(crate) fn new(home: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .mode(0o700)
            .create(home)
            .map_err(Exit::io)
            .context("making gpg's folder")?;
        Ok(Self { home: home.to_owned() })
    }

    /// Where the keyring is.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Takes a certificate or a secret key into the keyring.
    pub(crate) fn import(&self, file: &Path) -> anyhow::Result<()> {
        let key = std::fs::read(file).map_err(Exit::io).context("reading a key for gpg")?;
        let output = self.run(&["--import"], &key)?;
        ensure!(
            output.status.success(),
            "gpg did not take the key {}: {}",
            file.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Opens a message; `None` where no key of this keyring does.
    pub(crate) fn open(&self, message: &[u8]) -> anyhow::Result<Option<Opened>> {
        let output = self.run(&["--status-fd", "2", "--decrypt"], message)?;
        let status = String::from_utf8_lossy(&output.stderr);
        let said = |word: &str| {
            status.lines().any(|line| {
                line.strip_prefix("[GNUPG:] ")
                    .is_some_and(|line| line.starts_with(word))
            })
        };
        Ok(said("DECRYPTION_OKAY").then(|| Opened {
            signed: said("GOODSIG"),
            plaintext: output.stdout,
        }))
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> anyhow::Result<Output> {
        let mut gpg = Command::new("gpg")
            .arg("--homedir")
            .arg(&self.home)
            .args(["--batch", "--quiet", "--no-tty", "--trust-model", "always"])
            .args(arguments)
            .env_remove("GNUPGHOME")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Exit::unavailable)
            .context("starting gpg")?;
        let stdin = gpg.stdin.take();
        // Written beside the reading: both pipes may fill up.
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
            gpg.wait_with_output()
        })
        .context("waiting for gpg")
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // The agent that gpg starts would live on for a minute, in a folder that is gone.
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(&self.home)
            .args(["--kill", "all"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}
