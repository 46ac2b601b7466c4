//! Words that must never be seen, in every way in which they may be written.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// In how many ways each may be written.
const FORMS: usize = 9;

/// A text as bytes on their way may show it: UTF-8, UTF-16, quoted-printable, RFC 2231's percents, base64 at the three
/// offsets that it may begin at.
fn written(canary: &str) -> [Vec<u8>; FORMS] {
    let escaped = |mark: char| -> Vec<u8> {
        let octet = |octet: u8| {
            if octet.is_ascii_alphanumeric() {
                char::from(octet).to_string()
            } else {
                format!("{mark}{octet:02X}")
            }
        };
        canary.bytes().map(octet).collect::<String>().into_bytes()
    };
    let base64 = |offset: usize| {
        let padded = [&b"xx"[..offset], canary.as_bytes()].concat();
        let encoded = STANDARD.encode(&padded).into_bytes();
        // Only the characters that the canary alone decides.
        encoded[(offset * 8).div_ceil(6)..padded.len() * 8 / 6].to_vec()
    };
    [
        canary.as_bytes().to_vec(),
        canary.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        canary.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        escaped('='),
        escaped('%'),
        canary
            .bytes()
            .flat_map(|octet| format!("={octet:02X}").into_bytes())
            .collect(),
        base64(0),
        base64(1),
        base64(2),
    ]
}

/// The canaries that a stream shows. Line breaks and quoted-printable's soft ones do not hide one.
///
/// # Panics
///
/// Where there are too many canaries to look for at once.
#[must_use]
pub fn seen<'a>(stream: &[u8], canaries: &'a [String]) -> Vec<&'a str> {
    let forms: Vec<[Vec<u8>; FORMS]> = canaries.iter().map(|canary| written(canary)).collect();
    let finder = AhoCorasick::new(forms.iter().flatten()).expect("texts to look for");
    let joined = without(stream, b"\r\n");
    let mut found = BTreeSet::new();
    for stream in [stream, &joined, &without(stream, b"=\r\n")] {
        let matches = finder.find_overlapping_iter(stream);
        found.extend(matches.map(|found| found.pattern().as_usize() / FORMS));
    }
    found.into_iter().map(|canary| canaries[canary].as_str()).collect()
}

fn without(stream: &[u8], what: &[u8]) -> Vec<u8> {
    let finder = AhoCorasick::new([what]).expect("a text to look for");
    finder.replace_all_bytes(stream, &[b""])
}
