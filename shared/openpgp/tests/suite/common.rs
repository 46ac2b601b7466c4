//! What the tests share: times, keys, and a GnuPG with a home of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

use domain::EmailAddress;
use jiff::{SignedDuration, Timestamp};
use openpgp::{Certificate, Mailbox, Outer, Sealing};
use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::serialize::SerializeInto;

/// The time at which the tests' mails are made.
pub(crate) fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// A day before: when the tests' keys are made.
pub(crate) fn yesterday() -> Timestamp {
    now() - SignedDuration::from_hours(24)
}

pub(crate) fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

/// A key as `kvit init` makes it.
pub(crate) fn key(user_id: &str) -> (Certificate, Vec<u8>) {
    let (certificate, secret) = openpgp::generate(user_id, yesterday(), None).unwrap();
    (Certificate::read(&certificate, None).unwrap(), secret)
}

/// A certificate built otherwise than `generate` does.
pub(crate) fn built(change: impl FnOnce(CertBuilder<'static>) -> CertBuilder<'static>) -> Cert {
    let builder = CertBuilder::new()
        .set_creation_time(SystemTime::from(yesterday()))
        .add_userid("Afdeling");
    change(builder).generate().unwrap().0
}

pub(crate) fn certificate(cert: &Cert) -> Certificate {
    Certificate::read(&cert.to_vec().unwrap(), None).unwrap()
}

pub(crate) fn sealing(recipients: &[Certificate]) -> Sealing<'_> {
    Sealing {
        recipients,
        signer: None,
        rfc9580: false,
        now: now(),
    }
}

pub(crate) fn mailbox() -> Mailbox {
    Mailbox::parse("Eksempel Kommune <kvittering@eksempel.example>").unwrap()
}

pub(crate) fn department() -> EmailAddress {
    EmailAddress::parse("teknik@eksempel.example").unwrap()
}

pub(crate) fn outer<'a>(from: &'a Mailbox, to: &'a EmailAddress) -> Outer<'a> {
    Outer {
        from,
        to,
        reply_to: Some(to),
        subject: "Formular K-7Q4M-2XRD",
        message_id: "1f2e3d@kvit.eksempel.example",
        references: &[],
        date: now(),
        auto_submitted: false,
    }
}

/// GnuPG with its own home, at the time [`now`]; its agent ends with it.
pub(crate) struct Gpg(tempfile::TempDir);

impl Gpg {
    pub(crate) fn new() -> Self {
        let private = std::fs::Permissions::from_mode(0o700);
        Self(
            tempfile::Builder::new()
                .prefix("kvit-gpg")
                .permissions(private)
                .tempdir()
                .unwrap(),
        )
    }

    fn home(&self) -> &Path {
        self.0.path()
    }

    /// Runs gpg with standard input, and shows what it said where it fails.
    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let output = self.attempt(arguments, input);
        assert!(
            output.status.success(),
            "gpg {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    pub(crate) fn attempt(&self, arguments: &[&str], input: &[u8]) -> Output {
        use std::io::Write;

        let mut child = Command::new("gpg")
            .env("LC_ALL", "C")
            .arg("--homedir")
            .arg(self.home())
            .args(["--faked-system-time", "20261121T120000!"])
            .args([
                "--batch",
                "--no-tty",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
                "--trust-model",
                "always",
            ])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gpg is installed");
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    pub(crate) fn import(&self, key: &[u8]) {
        self.run(&["--import"], key);
    }

    /// Makes a key with GnuPG's own parameter language, and gives its certificate.
    pub(crate) fn make(&self, parameters: &str) -> Vec<u8> {
        let parameters = format!("%no-protection\n{parameters}\nName-Real: Afdeling\n%commit\n");
        self.run(&["--generate-key"], parameters.as_bytes());
        self.run(&["--armor", "--export"], b"").stdout
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let kill = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.home())
            .args(["--kill", "all"])
            .status();
        drop(kill);
    }
}
