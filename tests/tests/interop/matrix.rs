//! The full cross product: readers, certificates, letters, signed and not.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::bed::Bed;
use crate::certificates::{Key, Kind};
use crate::mails::{self, ANSWER, JSON_NAME, Letter, REFERENCE, SMALL, Sample};
use crate::mime;
use crate::readers::{Message, Opened, Reader};
use crate::table::{self, Cell};

/// Mails to one recipient, ready to be opened.
struct Mailbag {
    kind: Kind,
    secret: PathBuf,
    samples: Vec<Sample>,
}

impl Mailbag {
    fn new(bed: &Bed, kind: Kind, key: &Key, wanted: &[(Letter, bool)]) -> Self {
        let folder = bed.path().join(format!("{kind:?}"));
        std::fs::create_dir(&folder).unwrap();
        let secret = folder.join("secret.asc");
        std::fs::write(&secret, &key.secret).unwrap();
        let samples = mails::samples(bed, &folder, kind, key, wanted);
        check_contents(&folder.join("inner"), &samples);
        Self { kind, secret, samples }
    }

    fn opened_by(&self, reader: Reader, signer: &Path) -> Vec<Opened> {
        let message = |sample: &Sample| Message {
            file: sample.armored.clone(),
            signed: sample.signed,
        };
        let messages: Vec<Message> = self.samples.iter().map(message).collect();
        reader.open(&self.secret, signer, &messages)
    }
}

/// P1: every reader opens, byte for byte, what was encrypted to every kind of certificate that it supports.
#[test]
fn readers_open_every_mail_to_the_certificates_that_they_support() {
    let bed = Bed::new();
    let readers = installed();
    let bags = in_parallel(&Kind::ALL, |kind| Mailbag::new(&bed, *kind, &kind.make(), &SMALL));
    let jobs: Vec<(Reader, &Mailbag)> = readers
        .iter()
        .flat_map(|reader| bags.iter().map(|bag| (*reader, bag)))
        .collect();
    let wrong: Vec<String> = in_parallel(&jobs, |(reader, bag)| {
        let found = judged(&bag.samples, bag.opened_by(*reader, &bed.signer_file));
        let stated = table::cell(*reader, bag.kind);
        (!agrees(&found, stated)).then(|| {
            format!(
                "{} and {:?}: {stated:?} is stated, but {found:?}",
                reader.name(),
                bag.kind
            )
        })
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// P1
#[test]
fn readers_open_a_mail_with_a_file_of_five_megabytes() {
    let bed = Bed::new();
    let bag = Mailbag::new(
        &bed,
        Kind::Curve25519,
        &Kind::Curve25519.make(),
        &[(Letter::Large, true)],
    );
    for reader in installed() {
        let found = judged(&bag.samples, bag.opened_by(reader, &bed.signer_file));
        let stated = table::cell(reader, bag.kind);
        assert!(agrees(&found, stated), "{}: {found:?}", reader.name());
    }
}

/// P1: and so that the table's ticks mean something.
#[test]
fn no_reader_takes_the_signature_for_a_strangers() {
    let bed = Bed::new();
    let wanted = [(Letter::Receipt, true)];
    let bag = Mailbag::new(&bed, Kind::Curve25519, &Kind::Curve25519.make(), &wanted);
    for reader in installed() {
        let opened = bag.opened_by(reader, &bed.stranger_file);
        if let Ok((plaintext, verified)) = &opened[0] {
            assert!(!verified, "{}", reader.name());
            let inner = &bag.samples[0].inner;
            assert!(
                plaintext == inner || *plaintext == without_cr(inner),
                "{}",
                reader.name()
            );
        }
    }
}

/// The readers that are there; the others are named, where a test's output is not swallowed.
fn installed() -> Vec<Reader> {
    let (there, missing): (Vec<Reader>, Vec<Reader>) =
        Reader::ALL.into_iter().partition(|reader| reader.version().is_some());
    for reader in missing {
        let _ = writeln!(
            std::io::stderr(),
            "interop: {} is skipped: not installed (make setup)",
            reader.name()
        );
    }
    assert!(
        there.contains(&Reader::Gpg),
        "GnuPG makes the certificates and must be there"
    );
    there
}

/// What a reader did with the mails to one recipient.
#[derive(Debug)]
enum Found {
    /// All opened, byte-equal, and every signature verified.
    Opens,
    /// All opened and every signature verified, but CR LF came out as LF.
    LineEnds,
    /// None opened; why the first was not.
    #[expect(dead_code, reason = "shown where a test fails")]
    Refused(String),
    /// Neither one nor the other: always wrong.
    #[expect(dead_code, reason = "shown where a test fails")]
    Uneven(Vec<String>),
}

fn agrees(found: &Found, stated: Cell) -> bool {
    matches!(
        (found, stated),
        (Found::Opens, Cell::Opens) | (Found::LineEnds, Cell::LineEnds) | (Found::Refused(_), Cell::Refused(_))
    )
}

fn judged(samples: &[Sample], opened: Vec<Opened>) -> Found {
    assert_eq!(samples.len(), opened.len());
    let mut faults = Vec::new();
    let (mut refused, mut with_lf) = (0, 0);
    for (sample, opened) in samples.iter().zip(opened) {
        let name = format!("{:?}, signed: {}", sample.letter, sample.signed);
        match opened {
            Err(error) => {
                refused += 1;
                faults.push(format!("{name}: {error}"));
            }
            Ok((_, verified)) if verified != sample.signed => faults.push(format!("{name}: verified: {verified}")),
            Ok((plaintext, _)) if plaintext == sample.inner => {}
            Ok((plaintext, _)) if plaintext == without_cr(&sample.inner) => with_lf += 1,
            Ok(_) => faults.push(format!("{name}: other bytes came out")),
        }
    }
    match faults.len() {
        0 if with_lf == 0 => Found::Opens,
        0 if with_lf == samples.len() => Found::LineEnds,
        all if all == samples.len() && refused == all => Found::Refused(faults.remove(0)),
        _ => Found::Uneven(faults),
    }
}

/// The same with each CR LF written as LF.
fn without_cr(bytes: &[u8]) -> Vec<u8> {
    let is_kept = |at: &usize| bytes[*at] != b'\r' || bytes.get(at + 1) != Some(&b'\n');
    (0..bytes.len()).filter(is_kept).map(|at| bytes[at]).collect()
}

/// What was encrypted is, to Python, a mail without a defect with the citizen's files byte for byte.
fn check_contents(folder: &Path, samples: &[Sample]) {
    std::fs::create_dir(folder).unwrap();
    let inner: Vec<&[u8]> = samples.iter().map(|sample| sample.inner.as_slice()).collect();
    for (sample, read) in samples.iter().zip(mime::read(folder, &inner)) {
        let mail = read.unwrap();
        let alternative = serde_json::json!(["multipart/alternative", ["text/plain", "text/html"]]);
        assert_eq!(mail.tree[0], "multipart/mixed");
        assert_eq!(mail.tree[1][0], alternative);
        let text = String::from_utf8(mail.leaves[0].content()).unwrap();
        assert!(text.contains(REFERENCE));

        let sent = mails::files(sample.letter);
        let mut expected: Vec<(&str, &[u8])> = sent.iter().map(|(name, content)| (*name, content.as_slice())).collect();
        if sample.letter != Letter::Receipt {
            assert!(text.contains(ANSWER.trim()), "{text}");
            expected.push((JSON_NAME, b"{\n  \"navn\": \"\xc3\x85se \xc3\x86r\xc3\xb8\"\n}"));
        }
        let attached = &mail.leaves[2..];
        assert_eq!(attached.len(), expected.len());
        for (leaf, (name, content)) in attached.iter().zip(expected) {
            assert_eq!(leaf.name.as_deref(), Some(name));
            assert_eq!(leaf.disposition.as_deref(), Some("attachment"));
            assert!(leaf.content() == content, "{name} has other bytes");
        }
    }
}

/// Does the work on as many threads as there are processors; the results are in the order of the work.
fn in_parallel<T: Sync, R: Send>(work: &[T], one: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let waiting: Mutex<VecDeque<(usize, &T)>> = Mutex::new(work.iter().enumerate().collect());
    let done: Mutex<Vec<(usize, R)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some((at, item)) = waiting.lock().unwrap().pop_front() else {
                        return;
                    };
                    let result = one(item);
                    done.lock().unwrap().push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
