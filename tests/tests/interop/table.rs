//! What is known of each reader and kind of certificate, and the document that says it.

use std::fmt::Write;
use std::path::Path;

use crate::certificates::Kind;
use crate::readers::Reader;

/// What a reader does with mails to one kind of certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Opens all of them, byte-equal, and verifies the signed ones.
    Opens,
    /// Opens and verifies all of them, but writes CR LF as LF.
    LineEnds,
    /// Opens none; why.
    Refused(&'static str),
}

const V6: &str = "Version 6 keys (RFC 9580) are newer than this reader.";
const SEIPD2: &str = "`SEIPDv2` (RFC 9580) is newer than this reader, though not than the certificate. \
                      So `rfc9580` is off unless a department asks for it.";
const NO_BRAINPOOL: &str = "Its backend (Nettle) has no Brainpool curves.";
const LINE_ENDS: &str = "Opens every mail and verifies every signature, but writes each CR LF as LF.";

/// The statement that the tests hold against what happens.
pub(crate) fn cell(reader: Reader, kind: Kind) -> Cell {
    match (reader, kind) {
        (Reader::OpenPgpJs, _) => Cell::Opens,
        (_, Kind::V6) => Cell::Refused(V6),
        (_, Kind::Rfc9580) => Cell::Refused(SEIPD2),
        (Reader::Sqop, Kind::BrainpoolP256) => Cell::Refused(NO_BRAINPOOL),
        (Reader::Gosop, _) => Cell::LineEnds,
        _ => Cell::Opens,
    }
}

/// Where a reader comes from.
fn source(reader: Reader) -> &'static str {
    match reader {
        Reader::Gpg => "Debian's `gpg` (libgcrypt)",
        Reader::Rnp => "Debian's `rnp` (Botan; what Thunderbird uses)",
        Reader::Sqop => "Debian's `sqop` (Sequoia 1, Nettle)",
        Reader::Gosop => "Debian's `gosop` (GopenPGP, Go)",
        Reader::Pgpainless => "Debian's `pgpainless-cli` (Bouncy Castle, Java)",
        Reader::Pgpy => "Debian's `python3-pgpy` (Python)",
        Reader::OpenPgpJs => "npm's `openpgp` (JavaScript)",
    }
}

/// The notes, in the order of their numbers.
const NOTES: [&str; 4] = [NO_BRAINPOOL, LINE_ENDS, SEIPD2, V6];

fn words(cell: Cell) -> String {
    let (word, note) = match cell {
        Cell::Opens => return "yes".to_owned(),
        Cell::LineEnds => ("yes", LINE_ENDS),
        Cell::Refused(why) => ("no", why),
    };
    let number = NOTES.iter().position(|known| *known == note).unwrap() + 1;
    format!("{word} ({number})")
}

const INTRODUCTION: &str = "\
# Interoperability

Which programs open the mails that Kvit sends. Written by the tests in `tests/tests/interop`, which hold every cell against
what happens; `KVIT_BLESS=1 cargo test --workspace --test interop` writes it anew, with the versions on that machine.

For each certificate eight mails are made: the department's with 0, 1 and 5 files (Danish and emoji names, one of 0 bytes),
and the encrypted receipt, each signed (Ed25519) and not. *Yes* means that the reader opened all eight to the same bytes and
verified the four signatures, and took no signature for a stranger's. Each reader also opens a signed mail with a
file of 5 MB. Python's `email`, with every defect an error, reads every mail and everything that was in it.
";

const CERTIFICATES: &str = "
The certificates marked GnuPG are made by GnuPG 2.2, the others by Sequoia 2. Of three encryption subkeys each alone opens the
mail. A certificate that could be encrypted to by ElGamal only is refused, and its department's mail held: no reader has
anything to open.

## Readers

| reader | version | from |
| --- | --- | --- |
";

const SKIPPED: &str = "
## What was not tried

* A reader that a machine lacks is skipped there, and named on standard error: `make setup` installs all of them where Debian
  and npm have them.
* GnuPG 2.4, RNP 0.17 and Sequoia's `sqop` for version 6 keys: Debian 12 has none of them.
* Certificates of three sizes and curves from Sequoia only: it makes the others as GnuPG does. Brainpool it does not make.

## Thunderbird

`make interop-thunderbird`, apart from the tests, imports a secret key and the signer's certificate into Debian's Thunderbird
(153 when this was written), opens a signed department mail with five files in its own window on a virtual screen, and looks
for the protected subject, the answers, every attachment by its name, and the signs that the mail was encrypted and that its
signature is good and the signer's key verified. `target/thunderbird/window.png` is a picture of that window.
";

/// The document; `version` gives what was used.
fn document(version: impl Fn(Reader) -> String) -> String {
    let mut text = INTRODUCTION.to_owned();
    let names: Vec<&str> = Reader::ALL.map(Reader::name).to_vec();
    let rule = " --- |".repeat(names.len() + 2);
    write!(text, "\n| certificate | made by | {} |\n|{rule}\n", names.join(" | ")).unwrap();
    for kind in Kind::ALL {
        let cells = Reader::ALL.map(|reader| words(cell(reader, kind)));
        writeln!(text, "| {} | {} | {} |", kind.label(), kind.maker(), cells.join(" | ")).unwrap();
    }
    text.push('\n');
    for (at, note) in NOTES.iter().enumerate() {
        writeln!(text, "{}. {note}", at + 1).unwrap();
    }
    text.push_str(CERTIFICATES);
    for reader in Reader::ALL {
        writeln!(text, "{}{} | {} |", row(reader), version(reader), source(reader)).unwrap();
    }
    text.push_str(SKIPPED);
    text
}

/// How a reader's row begins, up to its version.
fn row(reader: Reader) -> String {
    format!("| {} | ", reader.name())
}

/// The version that the committed document names: another machine's may differ, and that is no fault.
fn committed_version(text: &str, reader: Reader) -> String {
    let mut rows = text.lines().filter_map(|line| line.strip_prefix(&row(reader)));
    let version = rows.next().and_then(|rest| rest.split_once(" | "));
    version.map_or_else(|| "not run".to_owned(), |(version, _)| version.to_owned())
}

#[test]
fn the_document_says_what_the_tests_find() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/interoperability.md");
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    if std::env::var_os("KVIT_BLESS").is_some() {
        let version = |reader: Reader| {
            reader
                .version()
                .unwrap_or_else(|| committed_version(&committed, reader))
        };
        std::fs::write(&file, document(version)).unwrap();
        return;
    }
    let expected = document(|reader| committed_version(&committed, reader));
    assert!(
        committed == expected,
        "docs/interoperability.md is not what the tests state: KVIT_BLESS=1 writes it\n\n{expected}"
    );
}
