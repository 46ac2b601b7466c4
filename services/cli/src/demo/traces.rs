//! Looks for answers in files, however they might be written there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use aho_corasick::AhoCorasick;
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use runtime::Exit;
use serde_json::Value;

/// The fields whose answers are a citizen's own words; those of the others are words of the form.
const FREE: [&str; 9] = [
    "navn",
    "e_mail",
    "telefon",
    "adresse",
    "beskrivelse",
    "forening",
    "titel",
    "beloeb",
    "begrundelse",
];
/// The fields of files, as Remote Post writes them.
const FILES: [&str; 2] = ["_billede", "_budget"];
/// What is shorter is found by chance.
const SHORTEST: usize = 6;
/// A long text is looked for in pieces of about so many bytes, so that broken lines do not hide it.
const PIECE: usize = 16;
/// So many bytes of a file's middle are looked for.
const SAMPLE: usize = 48;

/// How an answer is looked for, in words.
pub(crate) const WRITINGS: &str =
    "plain, JSON, base64 at every offset, quoted-printable, form-encoded, UTF-16 and hexadecimal";

/// The answers of messages, in pieces.
#[derive(Default, Clone)]
pub(crate) struct Answers(BTreeSet<Vec<u8>>);

impl Answers {
    /// Adds those of a message as Drupal sends it; what is no JSON has none.
    pub(crate) fn add(&mut self, body: &[u8]) {
        let Ok(message) = serde_json::from_slice::<Value>(body) else {
            return;
        };
        let answers = message.get("data").unwrap_or(&message);
        let token = message["token"].as_str().unwrap_or_default();
        for value in FREE.iter().filter_map(|field| answers.get(field)) {
            self.add_text(value, token);
        }
        for file in FILES.iter().filter_map(|field| answers.get(field)) {
            self.add_text(&file["name"], token);
            let content = file["data"].as_str().and_then(|text| STANDARD.decode(text).ok());
            if let Some(content) = content {
                let start = content.len().saturating_sub(SAMPLE) / 2;
                self.add_piece(&content[start..content.len().min(start + SAMPLE)]);
            }
        }
    }

    fn add_text(&mut self, value: &Value, token: &str) {
        match value {
            Value::String(text) => text.lines().for_each(|line| self.add_line(line, token)),
            Value::Object(parts) => parts.values().for_each(|part| self.add_text(part, token)),
            _ => {}
        }
    }

    /// The envelope's token is no answer, wherever it stands.
    fn add_line(&mut self, line: &str, token: &str) {
        let mut piece = String::new();
        for word in line.trim().split(' ') {
            if word == token {
                self.add_piece(std::mem::take(&mut piece).as_bytes());
                continue;
            }
            if !piece.is_empty() {
                piece.push(' ');
            }
            piece.push_str(word);
            if piece.len() >= PIECE {
                self.add_piece(std::mem::take(&mut piece).as_bytes());
            }
        }
        self.add_piece(piece.as_bytes());
    }

    /// Adds the token that opens the submission on the site, which nobody may keep or mail either.
    pub(crate) fn add_token(&mut self, body: &[u8]) {
        let message = serde_json::from_slice::<Value>(body).unwrap_or_default();
        if let Some(token) = message["token"].as_str() {
            self.add_piece(token.as_bytes());
        }
    }

    fn add_piece(&mut self, piece: &[u8]) {
        if piece.len() >= SHORTEST {
            self.0.insert(piece.to_owned());
        }
    }

    /// These and those.
    pub(crate) fn with(&self, others: &Self) -> Self {
        Self(self.0.union(&others.0).cloned().collect())
    }

    /// Those that are not among the others.
    pub(crate) fn without(&self, others: &Self) -> Self {
        Self(self.0.difference(&others.0).cloned().collect())
    }

    /// How many pieces there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How to look for them.
    pub(crate) fn search(&self) -> anyhow::Result<Search> {
        let mut patterns = Vec::new();
        let mut piece_of = Vec::new();
        for (piece, bytes) in self.0.iter().enumerate() {
            for writing in writings(bytes) {
                patterns.push(writing);
                piece_of.push(piece);
            }
        }
        let found = AhoCorasick::new(&patterns).context("preparing the search")?;
        Ok(Search { found, piece_of })
    }
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// How many files were read.
    pub(crate) files: usize,
    /// How many bytes.
    pub(crate) bytes: u64,
    /// Which pieces were there.
    pub(crate) pieces: BTreeSet<usize>,
    /// In which files.
    pub(crate) places: Vec<PathBuf>,
}

/// A search for all pieces in all writings at once.
pub(crate) struct Search {
    found: AhoCorasick,
    piece_of: Vec<usize>,
}

impl Search {
    /// The pieces that stand in these bytes.
    pub(crate) fn pieces(&self, bytes: &[u8]) -> BTreeSet<usize> {
        let squeezed = squeeze(bytes);
        [bytes, &squeezed]
            .into_iter()
            .flat_map(|bytes| self.found.find_overlapping_iter(bytes))
            .map(|hit| self.piece_of[hit.pattern().as_usize()])
            .collect()
    }

    /// The pieces that stand in any file below this folder, except below `without`.
    pub(crate) fn below(&self, folder: &Path, without: Option<&Path>) -> anyhow::Result<Found> {
        let mut found = Found::default();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder)
                .map_err(Exit::io)
                .context("reading a folder")?;
            for entry in entries {
                let path = entry.map_err(Exit::io)?.path();
                let Ok(about) = path.symlink_metadata() else {
                    continue; // A file that came and went.
                };
                if about.is_dir() && Some(path.as_path()) != without {
                    folders.push(path);
                } else if about.is_file() {
                    self.file(path, &mut found)?;
                }
            }
        }
        Ok(found)
    }

    fn file(&self, path: PathBuf, found: &mut Found) -> anyhow::Result<()> {
        let bytes = match read_apart(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            read => read
                .map_err(Exit::io)
                .with_context(|| format!("reading {}", path.display()))?,
        };
        found.files += 1;
        found.bytes += bytes.len() as u64;
        let pieces = self.pieces(&bytes);
        if !pieces.is_empty() {
            found.pieces.extend(pieces);
            found.places.push(path);
        }
        Ok(())
    }
}

/// Reads a file by a process of its own.
///
/// SQLite's locks belong to the process, and closing any file gives up those that the process has on it. Were a store's
/// file read here while the services run in this process, the next program that opened and closed that store would take
/// itself for its last user, and remove the log that the services write to.
///
/// # Errors
///
/// Where it cannot be read.
pub fn read_apart(path: &Path) -> std::io::Result<Vec<u8>> {
    let output = Command::new("cat").arg("--").arg(path).output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    path.symlink_metadata()?; // a file that came and went
    Err(std::io::Error::other("cat could not read it"))
}

/// Without line breaks, those of quoted-printable included, so that none of them hides a word.
fn squeeze(bytes: &[u8]) -> Vec<u8> {
    let mut squeezed = Vec::with_capacity(bytes.len());
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        squeezed.extend_from_slice(line.strip_suffix(b"=").unwrap_or(line));
    }
    squeezed
}

/// Every way in which these bytes could stand somewhere.
fn writings(bytes: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::from([bytes.to_owned()]);
    let escaped = |plain: &dyn Fn(u8) -> bool, mark: char| -> Vec<u8> {
        let write = |byte: &u8| match byte {
            b' ' if mark == '%' => "+".to_owned(),
            byte if plain(*byte) => char::from(*byte).to_string(),
            byte => format!("{mark}{byte:02X}"),
        };
        bytes.iter().map(write).collect::<String>().into_bytes()
    };
    all.insert(escaped(&|byte| matches!(byte, b' '..=b'~') && byte != b'=', '='));
    all.insert(escaped(
        &|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte),
        '%',
    ));
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    let hex = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    let hex: String = hex.collect();
    all.insert(hex.to_uppercase().into_bytes());
    all.insert(hex.into_bytes());
    for offset in 0..3 {
        let shifted = [&[0; 2][..offset], bytes].concat();
        let encoded = STANDARD_NO_PAD.encode(&shifted);
        // The characters that hold bits of this piece alone.
        let whole = (offset * 8).div_ceil(6)..shifted.len() * 8 / 6;
        all.insert(encoded.as_bytes()[whole].to_owned());
    }
    if let Ok(text) = str::from_utf8(bytes) {
        all.insert(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        all.insert(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        let quoted = serde_json::to_string(text).unwrap_or_default();
        let quoted = quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
        all.insert(quoted.as_bytes().to_owned());
        all.insert(php(quoted).into_bytes());
    }
    all
}

/// JSON as PHP writes it: ASCII alone, and slashes escaped too.
fn php(json: &str) -> String {
    let mut text = String::new();
    for c in json.chars() {
        match c {
            '/' => text += "\\/",
            c if c.is_ascii() => text.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing into memory does not fail.
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"data":{"navn":"S\u00f8ren Kj\u00e6rgaard","kategori":"hul_i_vej",
        "beskrivelse":"Et hul <i vejen> ved nr. 12\/14\r\nkort\r\nog et til","_billede":{"name":"h.png","data":"AAECAwQFBgc="}}}"#;

    fn search() -> Search {
        let mut answers = Answers::default();
        answers.add(BODY.as_bytes());
        assert_eq!(answers.len(), 5, "{:?}", answers.0);
        answers.search().unwrap()
    }

    #[test]
    fn an_answer_is_found_however_it_is_written() {
        let search = search();
        let text = "x Søren Kjærgaard y";
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let written: [Vec<u8>; 7] = [
            text.into(),
            STANDARD.encode(text).into(),
            STANDARD.encode(&text[1..]).into(),
            STANDARD.encode(format!("x{text}")).into(),
            b"S=C3=B8ren=\r\n Kj=C3=A6rg=\r\naard".to_vec(),
            b"navn=S%C3%B8ren+Kj%C3%A6rgaard&".to_vec(),
            utf16,
        ];
        for bytes in written {
            assert_eq!(search.pieces(&bytes).len(), 1, "{}", String::from_utf8_lossy(&bytes));
        }
        assert_eq!(
            search.pieces(BODY.as_bytes()).len(),
            5,
            "all stand in the message itself"
        );
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let other = "kategori: hul_i_vej, Soeren Kjaergaard, et andet hul";
        assert_eq!(search().pieces(other.as_bytes()), BTreeSet::new());
    }

    #[test]
    fn every_file_below_a_folder_is_read_but_those_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let left_out = folder.path().join("broker");
        std::fs::create_dir_all(&left_out).unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(left_out.join("queue"), BODY).unwrap();
        std::fs::write(folder.path().join("a/b/store"), "nothing").unwrap();
        let found = search().below(folder.path(), Some(&left_out)).unwrap();
        assert_eq!((found.files, found.pieces.len()), (1, 0));
        std::fs::write(folder.path().join("a/b/wal"), format!("\0\0{BODY}")).unwrap();
        let found = search().below(folder.path(), Some(&left_out)).unwrap();
        assert_eq!((found.files, found.pieces.len(), found.places.len()), (2, 5, 1));
    }
}
