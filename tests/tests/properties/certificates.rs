//! Certificates, keys, messages and stored mails with octets changed by chance.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use domain::EmailAddress;
use openpgp::{Certificate, CertificateState, Mailbox, Outer, SealedMail, Sealing, SigningKey, UnsealKey};
use proptest::prelude::*;
use proptest::sample::Index;
use sequoia_openpgp::cert::prelude::*;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::{Profile, armor};

use crate::desk::now;
use crate::{fuzz, within};

/// Far above what a certificate takes: its signatures are verified, in a debug build on a busy machine.
const LONGEST: Duration = Duration::from_secs(20);
const CONTENT: &[u8] = b"Hul i vejen ved kirken, og lygten er ude.";

/// Real keys of several kinds, with secrets, binary and armored.
static KEYS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let v4 = [CipherSuite::Cv25519, CipherSuite::P256, CipherSuite::RSA2k].map(|suite| (Profile::RFC4880, suite));
    let kinds = v4.into_iter().chain([(Profile::RFC9580, CipherSuite::Cv25519)]);
    let mut keys = Vec::new();
    for (profile, suite) in kinds {
        let builder = CertBuilder::new()
            .set_creation_time(SystemTime::from(now()))
            .set_profile(profile)
            .unwrap()
            .set_cipher_suite(suite)
            .add_userid("Teknik <teknik@eksempel.example>")
            .add_signing_subkey()
            .add_transport_encryption_subkey();
        let (cert, _) = builder.generate().unwrap();
        keys.push(cert.as_tsk().to_vec().unwrap());
        keys.push(cert.as_tsk().armored().to_vec().unwrap());
        keys.push(cert.to_vec().unwrap());
        keys.push(cert.armored().to_vec().unwrap());
    }
    keys
});

struct Sealed {
    key: UnsealKey,
    /// One message, armored and binary.
    messages: [Vec<u8>; 2],
    mail: Vec<u8>,
}

static SEALED: LazyLock<Sealed> = LazyLock::new(|| {
    let (certificate, secret) = openpgp::generate("Teknik <teknik@eksempel.example>", now(), None).unwrap();
    let sealing = Sealing {
        recipients: &[Certificate::read(&certificate, None).unwrap()],
        signer: None,
        rfc9580: false,
        now: now(),
    };
    let armored = openpgp::encrypt(CONTENT, &sealing).unwrap();
    let mut binary = Vec::new();
    let mut reader = armor::Reader::from_bytes(&armored, armor::ReaderMode::VeryTolerant);
    std::io::Read::read_to_end(&mut reader, &mut binary).unwrap();
    drop(reader);
    let outer = Outer {
        from: &Mailbox::parse("Eksempel <kvit@eksempel.example>").unwrap(),
        to: &EmailAddress::parse("teknik@eksempel.example").unwrap(),
        reply_to: None,
        subject: "Formular K-7Q4M-2XRD",
        message_id: "1@kvit.example",
        references: &[],
        date: now(),
        auto_submitted: false,
    };
    Sealed {
        key: UnsealKey::read(&secret).unwrap(),
        messages: [armored, binary],
        mail: SealedMail::compose(&outer, CONTENT, &sealing).unwrap().into_bytes(),
    }
});

/// A change of bytes: somewhere, so many go and these come; or a piece of them comes once more.
#[derive(Debug, Clone)]
enum Damage {
    Splice(Index, usize, Vec<u8>),
    Flip(Index, u8),
    Copy(Index, Index, usize),
    Cut(Index),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let octets = proptest::collection::vec(any::<u8>(), 0..8);
    let damage = prop_oneof![
        2 => (any::<Index>(), 0usize..20, octets).prop_map(|(at, length, octets)| Damage::Splice(at, length, octets)),
        4 => (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => (any::<Index>(), any::<Index>(), 1usize..600).prop_map(|(from, to, length)| Damage::Copy(from, to, length)),
        1 => any::<Index>().prop_map(Damage::Cut),
    ];
    proptest::collection::vec(damage, 1..5)
}

fn damaged(bytes: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in damages {
        let places = bytes.len() + 1;
        match damage {
            Damage::Splice(at, length, octets) => {
                let start = at.index(places);
                let end = (start + length).min(bytes.len());
                bytes.splice(start..end, octets.iter().copied());
            }
            Damage::Flip(at, bit) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Damage::Flip(..) => {}
            Damage::Copy(from, to, length) => {
                let start = from.index(places);
                let piece = bytes[start..(start + length).min(bytes.len())].to_vec();
                let to = to.index(places);
                bytes.splice(to..to, piece);
            }
            Damage::Cut(at) => bytes.truncate(at.index(places)),
        }
    }
    bytes
}

/// Whatever can be asked of a certificate, and a message to it where it is usable.
fn used(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(certificate) = Certificate::read(bytes, None) else {
        return Ok(());
    };
    let _ = (
        certificate.fingerprint(),
        certificate.user_ids(),
        certificate.algorithm(),
    );
    let _ = (certificate.expires(now()), certificate.armored());
    let state = certificate.state(now());
    let sealing = Sealing {
        recipients: &[certificate],
        signer: None,
        rfc9580: false,
        now: now(),
    };
    let sealed = openpgp::encrypt(CONTENT, &sealing);
    prop_assert_eq!(
        sealed.is_ok(),
        state == CertificateState::Usable,
        "{} {:?}",
        state,
        sealed.err()
    );
    Ok(())
}

/// P1
#[test]
fn no_damage_to_a_certificate_or_key_brings_its_reader_down() {
    fuzz(&(any::<Index>(), damages()), |(which, damages)| {
        let bytes = damaged(which.get::<Vec<u8>>(KEYS.as_slice()), &damages);
        within(LONGEST, || used(&bytes))??;
        within(LONGEST, || {
            let _ = UnsealKey::read(&bytes).map(|key| key.open(&SEALED.messages[0], 10_000));
            let _ = SigningKey::read(&bytes).map(|key| key.state(now()));
        })
    });
}

/// P1
#[test]
fn a_damaged_message_is_refused_or_opens_to_what_was_sealed() {
    fuzz(&(any::<Index>(), damages()), |(which, damages)| {
        let bytes = damaged(which.get::<Vec<u8>>(SEALED.messages.as_slice()), &damages);
        let opened = within(LONGEST, || SEALED.key.open(&bytes, 10_000))?;
        prop_assert!(
            opened.as_deref().unwrap_or(CONTENT) == CONTENT,
            "another content was opened"
        );
        Ok(())
    });
}

/// P1
#[test]
fn a_damaged_mail_is_refused_or_still_sealed() {
    fuzz(&damages(), |damages| {
        let bytes = damaged(&SEALED.mail, &damages);
        let Ok(mail) = within(LONGEST, || SealedMail::from_stored(bytes))? else {
            return Ok(());
        };
        let text = str::from_utf8(mail.as_bytes()).expect("ASCII, as it was checked to be");
        prop_assert!(text.contains("\r\nContent-Type: multipart/encrypted;"));
        prop_assert_eq!(text.matches("-----BEGIN PGP MESSAGE-----").count(), 1);
        Ok(())
    });
}
