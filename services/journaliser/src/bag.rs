//! Bags as RFC 8493 describes them: payload below `data/`, tag files beside it, a digest of each.
//!
//! Written from the standard: the one crate there is (`bagr`) is a program, and has not been kept up.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

const DECLARATION: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";

/// A bag in memory.
#[derive(Default)]
pub(crate) struct Bag {
    /// The lines of `bag-info.txt`; `Payload-Oxum` is added.
    info: Vec<(&'static str, String)>,
    payload: Vec<(String, Vec<u8>)>,
    tags: Vec<(String, Vec<u8>)>,
}

impl Bag {
    /// A bag of nothing yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a line to `bag-info.txt`. A value is one line.
    pub(crate) fn note(&mut self, label: &'static str, value: &str) {
        let value: Vec<&str> = value.split_whitespace().collect();
        self.info.push((label, value.join(" ")));
    }

    /// Adds a payload file, by its path below `data/`. The names are this program's own: letters, digits, `-`, `.` and `/`.
    pub(crate) fn add(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.payload.push((path.into(), content.into()));
    }

    /// Adds a tag file, by its path in the bag.
    pub(crate) fn tag(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.tags.push((path.into(), content.into()));
    }

    /// Every file of the bag, manifests among them, by its path in the bag.
    #[must_use]
    pub(crate) fn into_files(self) -> Vec<(String, Vec<u8>)> {
        let octets: usize = self.payload.iter().map(|(_, content)| content.len()).sum();
        let mut info = self.info;
        info.push(("Payload-Oxum", format!("{octets}.{}", self.payload.len())));
        let lines: Vec<String> = info
            .iter()
            .map(|(label, value)| format!("{label}: {value}\n"))
            .collect();
        let payload: Vec<_> = self
            .payload
            .into_iter()
            .map(|(path, content)| (format!("data/{path}"), content))
            .collect();
        let mut tags = vec![
            ("bagit.txt".to_owned(), DECLARATION.as_bytes().to_vec()),
            ("bag-info.txt".to_owned(), lines.concat().into_bytes()),
            ("manifest-sha256.txt".to_owned(), manifest(&payload)),
        ];
        tags.extend(self.tags);
        let of_tags = manifest(&tags);
        tags.push(("tagmanifest-sha256.txt".to_owned(), of_tags));
        tags.extend(payload);
        tags
    }
}

fn manifest(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let line = |(path, content): &(String, Vec<u8>)| format!("{}  {path}\n", hex::encode(Sha256::digest(content)));
    files.iter().map(line).collect::<Vec<_>>().concat().into_bytes()
}

/// The files in one TAR file, below a folder of this name: a serialised bag.
pub(crate) fn pack(folder: &str, files: &[(String, Vec<u8>)], now: Timestamp) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o400);
        header.set_mtime(u64::try_from(now.as_second()).unwrap_or(0));
        builder.append_data(&mut header, Path::new(folder).join(path), content.as_slice())?;
    }
    builder.into_inner()
}

/// The files of a serialised bag, by their paths in the bag.
pub(crate) fn unpack(bytes: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut archive = tar::Archive::new(bytes);
    let mut files = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let (_, path) = path.split_once('/').unwrap_or(("", &path));
        let path = path.to_owned();
        let mut content = Vec::new();
        io::Read::read_to_end(&mut entry, &mut content)?;
        files.push((path, content));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bag() -> Bag {
        let mut bag = Bag::new();
        bag.note("External-Identifier", "K-7Q4M-2XRD\nBag-Size: 1");
        bag.add("a.txt", b"hej".as_slice());
        bag.tag("metadata/dc.xml", b"<dc/>".as_slice());
        bag
    }

    /// RFC 8493, section 2: every file has its digest, and the tag manifest holds all tag files but itself.
    #[test]
    fn every_file_has_its_digest() {
        let files = bag().into_files();
        let text = |name: &str| {
            let found = files.iter().find(|(path, _)| path == name);
            String::from_utf8(found.unwrap().1.clone()).unwrap()
        };
        assert_eq!(
            text("manifest-sha256.txt"),
            "9c478bf63e9500cb5db1e85ece82f18c8eb9e52e2f9135acd7f10972c8d563ba  data/a.txt\n"
        );
        let named: Vec<String> = text("tagmanifest-sha256.txt")
            .lines()
            .filter_map(|line| line.split_once("  ").map(|(_, path)| path.to_owned()))
            .collect();
        assert_eq!(
            named,
            ["bagit.txt", "bag-info.txt", "manifest-sha256.txt", "metadata/dc.xml"]
        );
        assert_eq!(
            text("bag-info.txt"),
            "External-Identifier: K-7Q4M-2XRD Bag-Size: 1\nPayload-Oxum: 3.1\n"
        );
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let files = bag().into_files();
        let packed = pack("K-1", &files, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(unpack(&packed).unwrap(), files);
    }
}
