//! The independent readers, and how each is asked to open a message and to verify its signature.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::bed::{Gpg, run};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/readers");
/// Where `scripts/interop-tools` installs openpgp.js.
const NPM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/interop");
/// Debian's `PGPy` belongs to Debian's Python, whatever else is on the `PATH`.
const PYTHON: &str = "/usr/bin/python3";

/// A program that opens OpenPGP messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    Gpg,
    Rnp,
    Sqop,
    Gosop,
    Pgpainless,
    Pgpy,
    OpenPgpJs,
}

/// An armored message in a file.
pub(crate) struct Message {
    pub(crate) file: PathBuf,
    /// Whether the reader is asked to verify a signature: some take it for an error that there is none.
    pub(crate) signed: bool,
}

/// What a reader made of a message: the plaintext and whether a signature was verified, or why it could not open it.
pub(crate) type Opened = Result<(Vec<u8>, bool), String>;

/// What the scripts print.
#[derive(Deserialize)]
struct Printed {
    #[serde(default)]
    verified: bool,
    error: Option<String>,
}

impl Reader {
    pub(crate) const ALL: [Self; 7] = [
        Self::Gpg,
        Self::Rnp,
        Self::Sqop,
        Self::Gosop,
        Self::Pgpainless,
        Self::Pgpy,
        Self::OpenPgpJs,
    ];

    /// As the table names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gpg => "GnuPG",
            Self::Rnp => "RNP",
            Self::Sqop => "sqop",
            Self::Gosop => "gosop",
            Self::Pgpainless => "PGPainless",
            Self::Pgpy => "PGPy",
            Self::OpenPgpJs => "openpgp.js",
        }
    }

    /// Its version, or `None` where it is not installed.
    pub(crate) fn version(self) -> Option<String> {
        let mut ask = match self {
            Self::Gpg => command("gpg", &["--version"]),
            Self::Rnp => command("rnp", &["--version"]),
            Self::Sqop => command("sqop", &["version"]),
            Self::Gosop => command("dpkg-query", &["--show", "--showformat=${Version}", "gosop"]),
            Self::Pgpainless => command("pgpainless-cli", &["version"]),
            Self::Pgpy => command(PYTHON, &["-W", "ignore", "-c", PGPY_VERSION]),
            Self::OpenPgpJs => command("node", &["-p", "require(process.argv[1]).version"]),
        };
        if self == Self::OpenPgpJs {
            ask.arg(format!("{NPM}/node_modules/openpgp/package.json"));
        }
        let said = String::from_utf8(run(&mut ask).ok()?.stdout).ok()?;
        Some(said.lines().next()?.split_whitespace().last()?.to_owned())
    }

    /// Opens messages with a secret key, and verifies with a signer's certificate. Files beside the messages are written.
    pub(crate) fn open(self, secret: &Path, signer: &Path, messages: &[Message]) -> Vec<Opened> {
        match self {
            Self::Gpg => gpg(secret, signer, messages),
            Self::Rnp => rnp(secret, signer, messages),
            Self::Sqop => sop("sqop", "--verifications-out", secret, signer, messages),
            Self::Gosop => sop("gosop", "--verify-out", secret, signer, messages),
            Self::Pgpainless => sop("pgpainless-cli", "--verify-out", secret, signer, messages),
            Self::Pgpy => {
                let script = command(PYTHON, &[&format!("{FOLDER}/open_pgpy.py")]);
                by_script(script, "pgpy", secret, signer, messages)
            }
            Self::OpenPgpJs => {
                let script = command("node", &[&format!("{FOLDER}/open_openpgpjs.mjs"), NPM]);
                by_script(script, "openpgpjs", secret, signer, messages)
            }
        }
    }
}

/// A Java machine that lives for one message: halves its processor time.
const JAVA: &str = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto";
const PGPY_VERSION: &str = "import pgpy, importlib.metadata as m; print(m.version('pgpy'))";

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn gpg(secret: &Path, signer: &Path, messages: &[Message]) -> Vec<Opened> {
    let gpg = Gpg::new();
    for file in [secret, signer] {
        if let Err(error) = run(gpg.command().arg("--import").arg(file)) {
            return vec![Err(error); messages.len()];
        }
    }
    let open = |message: &Message| {
        let output = run(gpg.command().args(["--status-fd", "2", "--decrypt"]).arg(&message.file))?;
        let status = String::from_utf8_lossy(&output.stderr);
        let says = |word: &str| status.lines().any(|line| line.starts_with(&format!("[GNUPG:] {word}")));
        if !says("DECRYPTION_OKAY") || !says("GOODMDC") {
            return Err(format!("not checked to its end: {status}"));
        }
        Ok((output.stdout, says("GOODSIG") && says("VALIDSIG")))
    };
    messages.iter().map(open).collect()
}

fn rnp(secret: &Path, signer: &Path, messages: &[Message]) -> Vec<Opened> {
    let home = tempfile::Builder::new().prefix("kvit-rnp").tempdir().unwrap();
    let with_home = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--homedir").arg(home.path()).arg("--notty");
        command
    };
    for file in [secret, signer] {
        if let Err(error) = run(with_home("rnpkeys").arg("--import-keys").arg(file)) {
            return vec![Err(error); messages.len()];
        }
    }
    let open = |message: &Message| {
        let plain = message.file.with_extension("rnp");
        let mut rnp = with_home("rnp");
        rnp.args(["--overwrite", "--decrypt"])
            .arg(&message.file)
            .arg("--output")
            .arg(&plain);
        let output = rnp.output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // A signature that it cannot verify makes it fail, and yet it has written all of the plaintext.
        if !output.status.success() && !said.contains("UNKNOWN signature") && !said.contains("BAD signature") {
            return Err(said);
        }
        let plain = std::fs::read(&plain).map_err(|error| format!("{error}: {said}"))?;
        Ok((plain, said.contains("Good signature")))
    };
    messages.iter().map(open).collect()
}

/// The Stateless OpenPGP command line, which several programs share.
fn sop(program: &str, verifications: &str, secret: &Path, signer: &Path, messages: &[Message]) -> Vec<Opened> {
    let open = |message: &Message| {
        let verified = message.file.with_extension(format!("{program}-verified"));
        let _ = std::fs::remove_file(&verified); // to write over a file is an error of its own
        let mut command = Command::new(program);
        command.arg("decrypt");
        if message.signed {
            command.arg(format!("{verifications}={}", verified.display()));
            command.arg(format!("--verify-with={}", signer.display()));
        }
        command.arg(secret);
        command.stdin(Stdio::from(File::open(&message.file).unwrap()));
        command.env("JAVA_TOOL_OPTIONS", JAVA); // one of them is written in Java
        let output = run(&mut command)?;
        let signatures = std::fs::read_to_string(&verified).unwrap_or_default();
        Ok((output.stdout, !signatures.trim().is_empty()))
    };
    messages.iter().map(open).collect()
}

fn by_script(mut script: Command, ending: &str, secret: &Path, signer: &Path, messages: &[Message]) -> Vec<Opened> {
    let files = messages.iter().map(|message| &message.file);
    let output = match run(script.arg(secret).arg(signer).args(files)) {
        Ok(output) => output,
        Err(error) => return vec![Err(error); messages.len()],
    };
    let printed: Vec<Printed> = serde_json::from_slice(&output.stdout).unwrap();
    let opened = |(message, printed): (&Message, Printed)| match printed.error {
        Some(error) => Err(error),
        None => Ok((
            std::fs::read(format!("{}.{ending}", message.file.display())).unwrap(),
            printed.verified,
        )),
    };
    messages.iter().zip(printed).map(opened).collect()
}
