//! What every test here needs: a folder, the time, a signing key, and programs that are run in order.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jiff::{SignedDuration, Timestamp};
use openpgp::SigningKey;

/// A folder of the test's own, and the key that mails are signed with.
pub(crate) struct Bed {
    folder: tempfile::TempDir,
    pub(crate) signer: SigningKey,
    /// The signer's certificate, for the readers.
    pub(crate) signer_file: PathBuf,
    /// The certificate of somebody who signed nothing.
    pub(crate) stranger_file: PathBuf,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("kvit-interop").tempdir().unwrap();
        let made = |name: &str| {
            let (certificate, secret) =
                openpgp::generate(&format!("{name} <{name}@eksempel.example>"), earlier(), None).unwrap();
            let file = folder.path().join(format!("{name}.asc"));
            std::fs::write(&file, certificate).unwrap();
            (file, SigningKey::read(&secret).unwrap())
        };
        let (signer_file, signer) = made("kvit");
        let (stranger_file, _) = made("fremmed");
        Self {
            folder,
            signer,
            signer_file,
            stranger_file,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The readers judge by the real time, so the mails are made at it.
pub(crate) fn now() -> Timestamp {
    runtime::Clock::system().now()
}

/// When keys are made that sequoia makes: before everything that is done with them.
pub(crate) fn earlier() -> Timestamp {
    now() - SignedDuration::from_hours(24)
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(format!(
            "{command:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// GnuPG with a home of its own, whose agent ends with it.
pub(crate) struct Gpg(tempfile::TempDir);

impl Gpg {
    pub(crate) fn new() -> Self {
        // Not under the test's folder: the agent's socket allows no long path.
        Self(tempfile::Builder::new().prefix("kvit-gpg").tempdir().unwrap())
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.0.path());
        command.args(["--batch", "--no-tty", "--quiet", "--trust-model", "always"]);
        command.args(["--pinentry-mode", "loopback", "--passphrase", ""]);
        command.env("LC_ALL", "C.UTF-8");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Vec<u8> {
        run(self.command().args(arguments)).unwrap().stdout
    }

    /// A file beside the keys.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::write(&file, content).unwrap();
        file
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut end = Command::new("gpgconf");
        let _ = end.arg("--homedir").arg(self.0.path()).args(["--kill", "all"]).output();
    }
}
