//! Telling one complete OpenPGP message from everything else, without a key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sequoia_openpgp::Packet;
use sequoia_openpgp::parse::{PacketParser, PacketParserResult, Parse};

const BEGIN: &str = "-----BEGIN PGP MESSAGE-----";
const END: &str = "-----END PGP MESSAGE-----";

/// Whether the text is one armored block and nothing beside it, blanks around it aside.
pub(crate) fn is_one_block(text: &str) -> bool {
    let text = text.trim();
    text.starts_with(BEGIN) && text.ends_with(END) && text.matches("-----BEGIN").count() == 1
}

/// The octets of one armored block as [`crate::encrypt`] writes it: no armor headers (they are plaintext), nothing but
/// base64 between the marks. Its checksum is not looked at (RFC 9580, 6.1).
pub(crate) fn bare_block(lines: &[&str]) -> Option<Vec<u8>> {
    let [BEGIN, "", data @ .., END] = lines else {
        return None;
    };
    let data = match data {
        [data @ .., last] if is_checksum(last) => data,
        data => data,
    };
    if data.is_empty() || data.iter().any(|line| line.is_empty()) {
        return None;
    }
    let octets = STANDARD.decode(data.concat()).ok()?;
    // A packet's first bit is set (RFC 9580, 4.2); of what has it not, the parser would try whether it is armored again.
    octets.first().is_some_and(|first| first & 0x80 != 0).then_some(octets)
}

fn is_checksum(line: &str) -> bool {
    let octets = line.strip_prefix('=').filter(|text| text.len() == 4);
    octets.is_some_and(|text| STANDARD.decode(text).is_ok_and(|octets| octets.len() == 3))
}

/// The least that a `SEIPDv1` container of AES can hold: version, block and check octets, and the MDC packet. Given less,
/// sequoia 2.4 panics when it decrypts.
const LEAST_CONTAINER: u64 = 1 + 18 + 22;

/// More session keys than this is no message to a department or to intake.
const MOST_SESSION_KEYS: usize = 128;

/// What an encrypted message is encrypted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionKeys {
    /// To how many keys.
    pub(crate) keys: usize,
    /// To how many passwords.
    pub(crate) passwords: usize,
}

/// The session keys of a message that is session keys, one whole encrypted container, and nothing else.
///
/// `None` for what OpenPGP also calls a message: literal, compressed or signed data.
pub(crate) fn session_keys(message: &[u8]) -> anyhow::Result<Option<SessionKeys>> {
    let mut parser = PacketParser::from_bytes(message)?;
    let mut found = SessionKeys { keys: 0, passwords: 0 };
    while let PacketParserResult::Some(mut packet) = parser {
        match &packet.packet {
            Packet::PKESK(_) => found.keys += 1,
            Packet::SKESK(_) => found.passwords += 1,
            Packet::SEIP(_) => {
                let octets = std::io::copy(&mut packet, &mut std::io::sink())?;
                let is_last = matches!(packet.next()?.1, PacketParserResult::EOF(_));
                return Ok(Some(found).filter(|_| is_last && octets >= LEAST_CONTAINER - 1));
            }
            _ => return Ok(None),
        }
        if found.keys + found.passwords > MOST_SESSION_KEYS {
            return Ok(None);
        }
        parser = packet.next()?.1;
    }
    Ok(None)
}
