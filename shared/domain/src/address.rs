//! Mail addresses, parsed once.

use std::borrow::Cow;
use std::fmt;

use email_address::{EmailAddress as Parsed, Options};

/// Why a text is no address that mail can be sent to. Never shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable mail address")]
pub struct InvalidAddress;

/// A mail address (RFC 5321 `Mailbox`, with RFC 6531's internationalised letters), safe in a header and in a command.
///
/// A domain beyond ASCII is kept as its A-label (RFC 5891), which every relay takes; only a local part beyond ASCII needs
/// SMTPUTF8. Quoted local parts, address literals, comments, source routes and everything with a control character are refused.
/// It is personal: `Debug` shows nothing, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Parses an address; surrounding blanks are taken off.
    ///
    /// # Errors
    ///
    /// [`InvalidAddress`] where mail to it could not be sent, or where it could change a header or a command.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        let options = Options::default()
            .with_required_tld()
            .without_domain_literal()
            .without_display_text();
        let parsed = Parsed::parse_with_options(text, options).map_err(|_| InvalidAddress)?;
        if !parsed.as_str().chars().all(is_plain) {
            return Err(InvalidAddress);
        }
        let address = format!("{}@{}", parsed.local_part(), ascii(parsed.domain())?);
        if address.len() > 254 {
            return Err(InvalidAddress);
        }
        Ok(Self(address))
    }

    /// The address itself. Call it only where a mail is made or sent.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The part before the last `@`.
    #[must_use]
    pub fn local_part(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(local, _)| local)
    }

    /// The part after the last `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// Whether the relay must offer SMTPUTF8 (RFC 6531) for it.
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        !self.0.is_ascii()
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(…)")
    }
}

/// The domain in ASCII; one that is so already stays as it is.
fn ascii(domain: &str) -> Result<Cow<'_, str>, InvalidAddress> {
    if domain.is_ascii() {
        return Ok(Cow::Borrowed(domain));
    }
    idna::domain_to_ascii_strict(domain)
        .map(Cow::Owned)
        .map_err(|_| InvalidAddress)
}

/// A letter or digit beyond ASCII: no control, separator, format or bidirectional character.
fn is_plain(c: char) -> bool {
    (c.is_ascii() && !c.is_ascii_control() && !"\"\\()<>[],:; ".contains(c)) || (!c.is_ascii() && c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P2
    #[test]
    fn an_ordinary_address_is_taken_as_it_is() {
        for right in [
            "aase@example.com",
            "test+ae@example.com",
            "o'hara.x@mail.example.co.uk",
            " aase@example.com\r\n",
        ] {
            let address = EmailAddress::parse(right).expect(right);
            assert_eq!(address.expose(), right.trim());
        }
    }

    #[test]
    fn a_domain_beyond_ascii_is_kept_as_every_relay_takes_it() {
        for (written, kept, needs) in [
            ("aase@blåbærgrød.example", "aase@xn--blbrgrd-fxak7p.example", false),
            ("aase@BLÅBÆRGRØD.example", "aase@xn--blbrgrd-fxak7p.example", false),
            ("søren@blåbærgrød.example", "søren@xn--blbrgrd-fxak7p.example", true),
            ("søren@Mail.example", "søren@Mail.example", true),
        ] {
            let address = EmailAddress::parse(written).expect(written);
            assert_eq!((address.expose(), address.needs_smtputf8()), (kept, needs), "{written}");
        }
        let long = format!("aase@{}.example", "å".repeat(62));
        assert_eq!(EmailAddress::parse(&long), Err(InvalidAddress));
    }

    /// P2
    #[test]
    fn what_could_change_a_command_or_a_header_is_refused() {
        for wrong in [
            "",
            "aase",
            "aase@",
            "@example.com",
            "aase@localhost",
            "a@b@example.com",
            "a b@example.com",
            "a@example.com\r\nBcc: b@example.com",
            "a\0@example.com",
            "a@exam\nple.com",
            "<a@example.com>",
            "a@example.com>",
            "@relay.example:a@example.com",
            "\"a b\"@example.com",
            "a@[127.0.0.1]",
            "a..b@example.com",
            ".a@example.com",
            "a@-example.com",
            "a@example..com",
            "a,b@example.com",
            "a@example.com,b@example.com",
            "a\u{202e}b@example.com",
            "a\u{a0}b@example.com",
            &format!("{}@example.com", "a".repeat(65)),
        ] {
            assert_eq!(EmailAddress::parse(wrong), Err(InvalidAddress), "{wrong:?}");
        }
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let address = EmailAddress::parse("aase@example.com").expect("an address");
        assert_eq!(format!("{address:?}"), "EmailAddress(…)");
    }
}
