//! Header fields of a mail: values that cannot end their line, encoded where they are not plain ASCII.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::EmailAddress;

/// Octets in one encoded word: the longest line, with "Subject: " before it, stays within RFC 2047's 76 characters.
const WORD: usize = 39;

/// A text that holds only plain characters, longer than this, is encoded to be folded.
const PLAIN: usize = 60;

/// A text that is neither an address nor a name with an address in angle brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a mail address, alone or as: Name <address>")]
pub struct InvalidMailbox;

/// An address with the name shown beside it (RFC 5322 `mailbox`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// What readers show; encoded as the header needs it.
    pub name: Option<String>,
    /// Where mail goes.
    pub address: EmailAddress,
}

impl Mailbox {
    /// Parses `a@b.example`, `<a@b.example>` or `Eksempel Kommune <a@b.example>`; the name may stand in quotes.
    ///
    /// # Errors
    ///
    /// [`InvalidMailbox`], also where the name holds a control character.
    pub fn parse(text: &str) -> Result<Self, InvalidMailbox> {
        let text = text.trim();
        let (name, address) = match text.strip_suffix('>') {
            Some(rest) => rest.rsplit_once('<').ok_or(InvalidMailbox)?,
            None => ("", text),
        };
        let name = unquote(name.trim());
        if !is_safe(&name) {
            return Err(InvalidMailbox);
        }
        let address = EmailAddress::parse(address).map_err(|_| InvalidMailbox)?;
        Ok(Self {
            name: Some(name).filter(|name| !name.is_empty()),
            address,
        })
    }
}

impl std::str::FromStr for Mailbox {
    type Err = InvalidMailbox;

    fn from_str(text: &str) -> Result<Self, InvalidMailbox> {
        Self::parse(text)
    }
}

fn unquote(name: &str) -> String {
    let Some(inner) = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return name.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

/// Whether a text can stand in a header: no CR, LF, NUL or other control character.
pub(crate) fn is_safe(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Whether a text can stand between the angle brackets of a message identifier, on one line.
pub(crate) fn is_message_id(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_graphic() && !b"<>()[]\\,;:\"".contains(&b);
    text.len() <= 250
        && text.bytes().all(is_plain)
        && text
            .split_once('@')
            .is_some_and(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains('@'))
}

/// A mailbox as a header's value.
pub(crate) fn mailbox(mailbox: &Mailbox) -> String {
    let address = mailbox.address.expose();
    match mailbox.name.as_deref() {
        None => address.to_owned(),
        Some(name) if is_plain(name) => {
            let mut quoted = String::with_capacity(name.len() + 2);
            for c in name.chars() {
                if matches!(c, '"' | '\\') {
                    quoted.push('\\');
                }
                quoted.push(c);
            }
            format!("\"{quoted}\"\r\n <{address}>")
        }
        Some(name) => format!("{}\r\n <{address}>", encoded(name)),
    }
}

/// Free text as a header's value.
pub(crate) fn unstructured(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { encoded(text) }
}

/// Whether the text reads the same without encoding. What looks like an encoded word would be decoded.
fn is_plain(text: &str) -> bool {
    text.len() <= PLAIN
        && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && !text.contains("=?")
        && text == text.trim()
}

/// RFC 2047 encoded words, folded, never cut inside a character.
fn encoded(text: &str) -> String {
    let mut value = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while !rest.is_empty() {
        let end = if rest.len() <= WORD {
            rest.len()
        } else {
            rest.floor_char_boundary(WORD)
        };
        let (word, after) = rest.split_at(end);
        let separator = if value.is_empty() { "" } else { "\r\n " };
        write!(value, "{separator}=?UTF-8?B?{}?=", STANDARD.encode(word)).expect("a string takes every write");
        rest = after;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Mailbox {
        Mailbox::parse(text).expect(text)
    }

    #[test]
    fn a_mailbox_is_a_name_and_an_address_or_an_address_alone() {
        let with_name = parsed("Eksempel Kommune <kvittering@eksempel.example>");
        assert_eq!(with_name.name.as_deref(), Some("Eksempel Kommune"));
        assert_eq!(with_name.address.expose(), "kvittering@eksempel.example");
        assert_eq!(
            parsed(r#" "Teknik, \"Miljø\"" <a@b.example> "#).name.as_deref(),
            Some(r#"Teknik, "Miljø""#)
        );
        assert_eq!(parsed("a@b.example").name, None);
        assert_eq!(parsed("<a@b.example>").name, None);
    }

    #[test]
    fn what_is_no_mailbox_is_refused() {
        for wrong in [
            "",
            "Navn",
            "Navn <>",
            "Navn a@b.example>",
            "Navn <a@b.example",
            "Na\r\nvn <a@b.example>",
            "Na\0vn <a@b.example>",
            "Navn <a@b.example\r\nBcc: c@d.example>",
        ] {
            assert_eq!(Mailbox::parse(wrong), Err(InvalidMailbox), "{wrong:?}");
        }
    }

    #[test]
    fn a_plain_name_is_quoted_and_another_is_encoded() {
        assert_eq!(
            mailbox(&parsed("Vej, Park <a@b.example>")),
            "\"Vej, Park\"\r\n <a@b.example>"
        );
        assert_eq!(
            mailbox(&parsed("Rådhuset <a@b.example>")),
            "=?UTF-8?B?UsOlZGh1c2V0?=\r\n <a@b.example>"
        );
        assert_eq!(mailbox(&parsed("a@b.example")), "a@b.example");
    }

    #[test]
    fn text_is_encoded_only_where_it_must_be() {
        assert_eq!(unstructured("Formular K-7Q4M-2XRD"), "Formular K-7Q4M-2XRD");
        assert!(unstructured("=?UTF-8?Q?snyd?=").starts_with("=?UTF-8?B?"));
        assert!(unstructured(" ").starts_with("=?UTF-8?B?"));
    }

    #[test]
    fn long_text_is_folded_without_cutting_a_character() {
        let subject = "Blåbærgrød på Østergade 🫐 ".repeat(40);
        let value = unstructured(&subject);
        let mut back = String::new();
        for line in value.split("\r\n ") {
            assert!(line.len() + "Subject: ".len() <= 76, "{} is too long", line.len());
            let word = line.strip_prefix("=?UTF-8?B?").unwrap().strip_suffix("?=").unwrap();
            back.push_str(&String::from_utf8(STANDARD.decode(word).unwrap()).unwrap());
        }
        assert_eq!(back, subject);
    }

    #[test]
    fn a_message_identifier_has_one_at_sign_and_no_brackets() {
        assert!(is_message_id("abc.1@kvit.eksempel.example"));
        for wrong in [
            "",
            "abc",
            "@b",
            "a@",
            "a@b@c",
            "<a@b>",
            "a b@c",
            "a\r\n@b",
            "æ@b",
            &format!("{}@b", "a".repeat(300)),
        ] {
            assert!(!is_message_id(wrong), "{wrong:?}");
        }
    }
}
