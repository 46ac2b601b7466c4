//! Mails as Python's `email` reads them, every defect an error.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::bed::run;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/mime.py");

/// One mail, or one MIME entity.
#[derive(Debug, Deserialize)]
pub(crate) struct Mail {
    /// Names in lower case, values decoded, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// Those of the `Content-Type`.
    pub(crate) parameters: serde_json::Map<String, Json>,
    /// Media types; a multipart is a pair of its type and its parts.
    pub(crate) tree: Json,
    pub(crate) leaves: Vec<Leaf>,
}

/// A part that holds no other.
#[derive(Debug, Deserialize)]
pub(crate) struct Leaf {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) disposition: Option<String>,
    pub(crate) name: Option<String>,
    content: String,
}

impl Leaf {
    pub(crate) fn content(&self) -> Vec<u8> {
        STANDARD.decode(&self.content).unwrap()
    }
}

impl Mail {
    /// Every value of a header, in order.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(found, _)| found == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The OpenPGP message of a PGP/MIME mail (RFC 3156 section 4).
    pub(crate) fn encrypted(&self) -> Vec<u8> {
        assert_eq!(
            self.tree,
            serde_json::json!([
                "multipart/encrypted",
                ["application/pgp-encrypted", "application/octet-stream"]
            ])
        );
        assert_eq!(self.parameters["protocol"], "application/pgp-encrypted");
        assert_eq!(self.leaves[0].content().trim_ascii(), b"Version: 1");
        assert_eq!(self.leaves[1].name.as_deref(), Some("encrypted.asc"));
        self.leaves[1].content()
    }
}

/// Reads mails, by way of files in `folder`; the error is what Python found wrong.
pub(crate) fn read(folder: &Path, mails: &[&[u8]]) -> Vec<Result<Mail, String>> {
    let file = |(at, mail): (usize, &&[u8])| -> PathBuf {
        let file = folder.join(format!("{at}.eml"));
        std::fs::write(&file, mail).unwrap();
        file
    };
    let files: Vec<PathBuf> = mails.iter().enumerate().map(file).collect();
    let output = run(Command::new("python3").arg(SCRIPT).args(&files)).unwrap();
    let values: Vec<Json> = serde_json::from_slice(&output.stdout).unwrap();
    values
        .into_iter()
        .map(|value| match value.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(serde_json::from_value(value).unwrap()),
        })
        .collect()
}

/// P1: what the other tests rely on. Python must see what is wrong with a mail.
#[test]
fn a_mail_with_a_defect_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let right = b"Subject: a\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nb\r\n".as_slice();
    let no_boundary = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--y\r\n\r\nb\r\n--y--\r\n".as_slice();
    let no_end = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nb\r\n".as_slice();
    let bad_header = b"Subject: a\r\nContent-Type: text\r\n\r\nb\r\n".as_slice();
    let bad_base64 = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nabc\r\n".as_slice();
    let read = read(folder.path(), &[right, no_boundary, no_end, bad_header, bad_base64]);
    let is_right: Vec<bool> = read.iter().map(Result::is_ok).collect();
    assert_eq!(is_right, [true, false, false, false, false], "{read:?}");
}
