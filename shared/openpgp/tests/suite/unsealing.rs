//! Opening what sites sealed: whole messages to our key, and nothing else.

use crate::common::{Gpg, key, now, sealing, yesterday};
use openpgp::{Certificate, UnsealError, UnsealKey, encrypt};
use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::Preferences;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::stream::{Armorer, Compressor, Encryptor, LiteralWriter, Message};
use sequoia_openpgp::types::CompressionAlgorithm;
use std::io::Write;
use std::time::SystemTime;

const ANSWER: &[u8] = b"{\"navn\":\"Aase\"}";

fn sealed(content: &[u8]) -> (Vec<u8>, UnsealKey) {
    let (certificate, secret) = key("Indtag");
    (
        encrypt(content, &sealing(&[certificate])).unwrap(),
        UnsealKey::read(&secret).unwrap(),
    )
}

fn binary(armored: &[u8]) -> Vec<u8> {
    let mut reader = sequoia_openpgp::armor::Reader::from_bytes(armored, None);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    bytes
}

/// A message with as many compression layers as asked for around so many zeros.
fn compressed(secret: &[u8], layers: usize, zeros: usize) -> Vec<u8> {
    let cert = Cert::from_bytes(secret).unwrap();
    let policy = StandardPolicy::new();
    let valid = cert.with_policy(&policy, SystemTime::from(now())).unwrap();
    assert!(!valid.features().unwrap().supports_seipdv2());
    let recipients = valid.keys().for_transport_encryption();
    let mut sink = Vec::new();
    let mut message = Encryptor::for_recipients(Message::new(&mut sink), recipients)
        .build()
        .unwrap();
    for _ in 0..layers {
        message = Compressor::new(message)
            .algo(CompressionAlgorithm::Zlib)
            .build()
            .unwrap();
    }
    let mut literal = LiteralWriter::new(message).build().unwrap();
    for _ in 0..zeros / 65536 {
        literal.write_all(&vec![0; 65536]).unwrap();
    }
    literal.finalize().unwrap();
    sink
}

#[test]
fn an_armored_or_binary_message_is_opened() {
    let (message, key) = sealed(ANSWER);
    assert_eq!(key.open(&message, 1000).unwrap(), ANSWER);
    assert_eq!(key.open(&binary(&message), 1000).unwrap(), ANSWER);
    let with_blanks = [b"\r\n \n", message.as_slice(), b"\n\n"].concat();
    assert_eq!(key.open(&with_blanks, 1000).unwrap(), ANSWER);
    let with_crlf = String::from_utf8(message).unwrap().replace('\n', "\r\n");
    assert_eq!(key.open(with_crlf.as_bytes(), 1000).unwrap(), ANSWER);
}

#[test]
fn what_gnupg_seals_and_compresses_is_opened() {
    let (_, secret) = openpgp::generate("Indtag <intake@eksempel.example>", yesterday(), None).unwrap();
    let gpg = Gpg::new();
    gpg.import(&secret);
    let key = UnsealKey::read(&secret).unwrap();
    let content = ANSWER.repeat(1000);
    for compression in ["zip", "zlib", "bzip2", "none"] {
        let arguments = [
            "--compress-algo",
            compression,
            "--encrypt",
            "-r",
            "intake@eksempel.example",
        ];
        let message = gpg.run(&arguments, &content).stdout;
        assert!(message.len() < content.len() || compression == "none");
        assert_eq!(key.open(&message, 1_000_000).unwrap(), content, "{compression}");
    }
    let hidden = gpg
        .run(
            &["--armor", "--encrypt", "--hidden-recipient", "intake@eksempel.example"],
            ANSWER,
        )
        .stdout;
    assert_eq!(
        key.open(&hidden, 1000).unwrap(),
        ANSWER,
        "the recipient's key id is left out"
    );
}

#[test]
fn the_limit_is_on_the_content() {
    for size in [0, 1, 1023, 1024, 5000, 200_000] {
        let (message, key) = sealed(&vec![b'x'; size]);
        assert_eq!(key.open(&message, size).unwrap().len(), size);
        if size > 0 {
            assert!(
                matches!(key.open(&message, size - 1), Err(UnsealError::TooLarge)),
                "{size}"
            );
        }
    }
}

/// More than sequoia's own buffer of 25 MiB, within our limit.
#[test]
fn a_large_message_within_the_limit_is_opened() {
    let (message, key) = sealed(&vec![b'x'; 27 << 20]);
    assert_eq!(key.open(&message, 28 << 20).unwrap().len(), 27 << 20);
}

#[test]
fn a_decompression_bomb_is_refused_without_being_unpacked() {
    let (_, secret) = openpgp::generate("Indtag", yesterday(), None).unwrap();
    let key = UnsealKey::read(&secret).unwrap();
    for layers in [1, 2, 3] {
        let bomb = compressed(&secret, layers, 48 << 20);
        assert!(bomb.len() < 1 << 20, "{} octets", bomb.len());
        assert!(
            matches!(key.open(&bomb, 1 << 20), Err(UnsealError::TooLarge)),
            "{layers} layers"
        );
    }
}

#[test]
fn endless_nesting_is_refused() {
    let (_, secret) = openpgp::generate("Indtag", yesterday(), None).unwrap();
    let nested = compressed(&secret, 200, 65536);
    assert!(UnsealKey::read(&secret).unwrap().open(&nested, 1 << 20).is_err());
}

#[test]
fn a_message_that_was_cut_short_is_refused_wherever_it_was_cut() {
    let (message, key) = sealed(&ANSWER.repeat(50));
    let whole = binary(&message);
    for length in (0..whole.len()).step_by(7).chain(whole.len() - 30..whole.len()) {
        let result = key.open(&whole[..length], 10_000);
        assert!(
            matches!(result, Err(UnsealError::Malformed(_) | UnsealError::NotForUs)),
            "{length}: {result:?}"
        );
    }
    for length in (0..message.len() - 1).step_by(31) {
        assert!(key.open(&message[..length], 10_000).is_err(), "{length}");
    }
}

/// Sequoia 2.4 panics on a container that is whole, and too short for its own check.
#[test]
fn a_container_that_is_too_short_is_refused() {
    use sequoia_openpgp::parse::{PacketParser, PacketParserResult};

    let (message, key) = sealed(ANSWER);
    let PacketParserResult::Some(session_key) = PacketParser::from_bytes(&message).unwrap() else {
        panic!()
    };
    let (session_key, rest) = session_key.next().unwrap();
    let PacketParserResult::Some(mut container) = rest else {
        panic!()
    };
    let mut body = vec![1];
    std::io::Read::read_to_end(&mut container, &mut body).unwrap();
    let session_key = sequoia_openpgp::serialize::SerializeInto::to_vec(&session_key).unwrap();
    for length in 0..body.len() {
        let header = [0xc0 | 0x12, u8::try_from(length).unwrap()];
        let short = [session_key.as_slice(), &header, &body[..length]].concat();
        assert!(
            matches!(key.open(&short, 1000), Err(UnsealError::Malformed(_))),
            "{length}"
        );
    }
}

#[test]
fn a_message_that_was_changed_is_refused_wherever_it_was_changed() {
    let (message, key) = sealed(ANSWER);
    let whole = binary(&message);
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x01;
        // Some octets are not part of what is protected (the key id of the recipient): then it opens to the same.
        assert!(
            key.open(&changed, 1000).map_or(true, |content| content == ANSWER),
            "{at}"
        );
    }
    let mut changed = whole.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    assert!(matches!(key.open(&changed, 1000), Err(UnsealError::Malformed(_))));
}

#[test]
fn something_beside_the_message_is_refused() {
    let (message, key) = sealed(ANSWER);
    let whole = binary(&message);
    let cases = [
        [message.as_slice(), b"og noget mere"].concat(),
        [b"noget foran\n".as_slice(), &message].concat(),
        message.repeat(2),
        [whole.as_slice(), b"x"].concat(),
        whole.repeat(2),
    ];
    for case in cases {
        assert!(
            matches!(key.open(&case, 1000), Err(UnsealError::Malformed(_))),
            "{:?}",
            String::from_utf8_lossy(&case)
        );
    }
}

#[test]
fn what_is_not_encrypted_is_refused_though_openpgp_calls_it_a_message() {
    let (_, key) = sealed(ANSWER);
    let mut literal = Vec::new();
    let mut writer = LiteralWriter::new(Message::new(&mut literal)).build().unwrap();
    writer.write_all(ANSWER).unwrap();
    writer.finalize().unwrap();
    let mut block = Vec::new();
    let armorer = Armorer::new(Message::new(&mut block)).build().unwrap();
    let mut writer = LiteralWriter::new(armorer).build().unwrap();
    writer.write_all(ANSWER).unwrap();
    writer.finalize().unwrap();
    for message in [
        literal.as_slice(),
        &block,
        b"",
        b"{}",
        ANSWER,
        b"\xff",
        b"-----BEGIN PGP MESSAGE-----",
    ] {
        assert!(
            matches!(key.open(message, 1000), Err(UnsealError::Malformed(_))),
            "{message:?}"
        );
    }
}

#[test]
fn a_message_to_somebody_else_is_not_for_us() {
    let (message, _) = sealed(ANSWER);
    let (_, other) = sealed(ANSWER);
    assert!(matches!(other.open(&message, 1000), Err(UnsealError::NotForUs)));

    let gpg = Gpg::new();
    let with_password = gpg
        .run(
            &["--passphrase", "1234", "--symmetric", "--cipher-algo", "AES256"],
            ANSWER,
        )
        .stdout;
    assert!(other.open(&with_password, 1000).is_err());
}

#[test]
fn a_weak_cipher_is_refused() {
    let (_, secret) = openpgp::generate("Indtag <intake@eksempel.example>", yesterday(), None).unwrap();
    let gpg = Gpg::new();
    gpg.import(&secret);
    for cipher in ["3DES", "CAST5", "BLOWFISH"] {
        let arguments = ["--cipher-algo", cipher, "--encrypt", "-r", "intake@eksempel.example"];
        let message = gpg.run(&arguments, ANSWER).stdout;
        assert!(
            UnsealKey::read(&secret).unwrap().open(&message, 1000).is_err(),
            "{cipher}"
        );
    }
}

#[test]
fn an_expired_key_still_opens_what_waited() {
    let (certificate, secret) = openpgp::generate("Indtag", yesterday(), Some(crate::common::days(2))).unwrap();
    let certificate = Certificate::read(&certificate, None).unwrap();
    let message = encrypt(ANSWER, &sealing(&[certificate])).unwrap();
    assert_eq!(UnsealKey::read(&secret).unwrap().open(&message, 1000).unwrap(), ANSWER);
}
