//! How a mail that is too large becomes several of whole attachments.

use std::ops::Range;

use openpgp::Sealing;

use crate::mime::{Attachment, attached_size};

/// Header fields, boundaries and the like of one mail, inside and outside, at most.
const FRAME: usize = 8 * 1024;

/// What a recipient's session key or a signature takes in the armored message, at most (RSA-4096).
const PER_KEY: usize = 2 * 1024;

/// How much room the parts of one mail have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes of the tree before it is encrypted, the words of the letter taken off.
    files: usize,
}

impl Room {
    /// From the reckoned room down to four fifths of it: what comes out of encryption is measured, and tried again
    /// smaller where the reckoning was too hopeful.
    pub(crate) fn attempts(max_bytes: usize, words: usize, sealing: &Sealing) -> impl Iterator<Item = Self> {
        let keys = (sealing.recipients.len() + 1) * PER_KEY;
        // Base64 in lines of 64 characters and CRLF: 48 bytes become 66.
        let tree = max_bytes.saturating_sub(FRAME + keys) / 66 * 48;
        // Quoted-printable takes three bytes for one, at most.
        let files = tree.saturating_sub(words * 3);
        [100, 95, 90, 80].into_iter().map(move |percent| Self {
            files: files / 100 * percent,
        })
    }
}

/// Which attachments go into which part, in their order; `None` where one alone is too large.
pub(crate) fn parts(files: &[Attachment], room: Room) -> Option<Vec<Range<usize>>> {
    let mut parts = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (at, file) in files.iter().enumerate() {
        let size = attached_size(file);
        if size > room.files {
            return None;
        }
        if used + size > room.files {
            parts.push(start..at);
            (start, used) = (at, 0);
        }
        used += size;
    }
    parts.push(start..files.len());
    Some(parts)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn file(bytes: usize) -> Attachment<'static> {
        Attachment {
            name: "a".to_owned(),
            mime: String::new(),
            content: Cow::Owned(vec![0; bytes]),
        }
    }

    /// P1
    #[test]
    fn attachments_stay_whole_and_in_order() {
        let files = [file(400_000), file(400_000), file(10), file(900_000), file(20)];
        let parts = parts(&files, Room { files: 1_400_000 }).unwrap();
        assert_eq!(parts, [0..3, 3..5]);
    }

    /// P1
    #[test]
    fn one_attachment_that_is_too_large_cannot_be_split() {
        assert!(parts(&[file(10), file(2_000_000)], Room { files: 1_400_000 }).is_none());
    }
}
