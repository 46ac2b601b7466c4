//! Recipients of every kind, made by the programs that departments make theirs with.

use std::time::SystemTime;

use openpgp::{Certificate, CertificateState};
use sequoia_openpgp::Profile;
use sequoia_openpgp::cert::{CertBuilder, CipherSuite};
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::{Features, KeyFlags};

use crate::bed::{Gpg, earlier, now};

/// One kind of certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Curve25519,
    Rsa2048,
    Rsa3072,
    Rsa4096,
    NistP256,
    NistP384,
    NistP521,
    BrainpoolP256,
    SeveralSubkeys,
    Sequoia25519,
    SequoiaRsa3072,
    SequoiaP384,
    Rfc9580,
    V6,
}

impl Kind {
    pub(crate) const ALL: [Self; 14] = [
        Self::Curve25519,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::NistP256,
        Self::NistP384,
        Self::NistP521,
        Self::BrainpoolP256,
        Self::SeveralSubkeys,
        Self::Sequoia25519,
        Self::SequoiaRsa3072,
        Self::SequoiaP384,
        Self::Rfc9580,
        Self::V6,
    ];

    /// As the table names it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Curve25519 | Self::Sequoia25519 => "v4 Curve25519",
            Self::Rsa2048 => "v4 RSA 2048",
            Self::Rsa3072 | Self::SequoiaRsa3072 => "v4 RSA 3072",
            Self::Rsa4096 => "v4 RSA 4096",
            Self::NistP256 => "v4 NIST P-256",
            Self::NistP384 | Self::SequoiaP384 => "v4 NIST P-384",
            Self::NistP521 => "v4 NIST P-521",
            Self::BrainpoolP256 => "v4 Brainpool P-256",
            Self::SeveralSubkeys => "v4, three live encryption subkeys (Curve25519 twice, RSA 3072)",
            Self::Rfc9580 => "v4 Curve25519, department with `rfc9580 = true`",
            Self::V6 => "v6 X25519",
        }
    }

    /// Who made it.
    pub(crate) fn maker(self) -> &'static str {
        match self {
            Self::Sequoia25519 => "Sequoia (`kvit init`)",
            Self::SequoiaRsa3072 | Self::SequoiaP384 | Self::Rfc9580 | Self::V6 => "Sequoia",
            _ => "GnuPG",
        }
    }

    /// What the department's configuration says.
    pub(crate) fn rfc9580(self) -> bool {
        self == Self::Rfc9580
    }

    /// Makes one, with the user ID that the tests mail to.
    pub(crate) fn make(self) -> Key {
        match self {
            Self::Curve25519 => by_gnupg(&ED25519, &["Subkey-Type: ECDH", "Subkey-Curve: cv25519"], &[]),
            Self::Rsa2048 => rsa("2048"),
            Self::Rsa3072 => rsa("3072"),
            Self::Rsa4096 => rsa("4096"),
            Self::NistP256 => curve("nistp256"),
            Self::NistP384 => curve("nistp384"),
            Self::NistP521 => curve("nistp521"),
            Self::BrainpoolP256 => curve("brainpoolP256r1"),
            Self::SeveralSubkeys => by_gnupg(
                &ED25519,
                &["Subkey-Type: ECDH", "Subkey-Curve: cv25519"],
                &["cv25519", "rsa3072"],
            ),
            Self::Sequoia25519 => {
                let (certificate, secret) = openpgp::generate(USER_ID, earlier(), None).unwrap();
                Key { certificate, secret }
            }
            Self::SequoiaRsa3072 => by_sequoia(CipherSuite::RSA3k, Profile::RFC4880, false),
            Self::SequoiaP384 => by_sequoia(CipherSuite::P384, Profile::RFC4880, false),
            Self::Rfc9580 => by_sequoia(CipherSuite::Cv25519, Profile::RFC4880, true),
            Self::V6 => by_sequoia(CipherSuite::Cv25519, Profile::RFC9580, true),
        }
    }
}

const USER_ID: &str = "Teknik <teknik@eksempel.example>";
const ED25519: [&str; 2] = ["Key-Type: EDDSA", "Key-Curve: ed25519"];

/// A recipient's keys, armored and without a password.
pub(crate) struct Key {
    pub(crate) certificate: Vec<u8>,
    pub(crate) secret: Vec<u8>,
}

impl Key {
    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::read(&self.certificate, None).unwrap()
    }
}

fn rsa(bits: &str) -> Key {
    let (primary, subkey) = (format!("Key-Length: {bits}"), format!("Subkey-Length: {bits}"));
    by_gnupg(&["Key-Type: RSA", &primary], &["Subkey-Type: RSA", &subkey], &[])
}

fn curve(name: &str) -> Key {
    let (primary, subkey) = (format!("Key-Curve: {name}"), format!("Subkey-Curve: {name}"));
    by_gnupg(&["Key-Type: ECDSA", &primary], &["Subkey-Type: ECDH", &subkey], &[])
}

/// A key from GnuPG's unattended generation, with further encryption subkeys.
fn by_gnupg(primary: &[&str], subkey: &[&str], more: &[&str]) -> Key {
    let gpg = Gpg::new();
    let mut lines = vec!["%no-protection"];
    lines.extend(primary);
    lines.push("Key-Usage: sign");
    lines.extend(subkey);
    lines.extend([
        "Subkey-Usage: encrypt",
        "Name-Real: Teknik",
        "Name-Email: teknik@eksempel.example",
    ]);
    lines.extend(["Expire-Date: 0", "%commit", ""]);
    let request = gpg.file("request", lines.join("\n").as_bytes());
    gpg.run(&["--generate-key", request.to_str().unwrap()]);
    let fingerprint = fingerprints(&gpg).remove(0);
    for algorithm in more {
        gpg.run(&["--quick-add-key", &fingerprint, algorithm, "encr", "never"]);
    }
    Key {
        certificate: gpg.run(&["--armor", "--export"]),
        secret: gpg.run(&["--armor", "--export-secret-keys"]),
    }
}

/// The primary key's, and then the subkeys'.
pub(crate) fn fingerprints(gpg: &Gpg) -> Vec<String> {
    let list = String::from_utf8(gpg.run(&["--with-colons", "--list-keys"])).unwrap();
    let lines = list.lines().filter(|line| line.starts_with("fpr:"));
    lines.map(|line| line.split(':').nth(9).unwrap().to_owned()).collect()
}

fn by_sequoia(suite: CipherSuite, profile: Profile, seipd2: bool) -> Key {
    let features = Features::empty().set_seipdv1();
    let encryption = KeyFlags::empty().set_transport_encryption().set_storage_encryption();
    let builder = CertBuilder::new()
        .set_creation_time(SystemTime::from(earlier()))
        .set_profile(profile)
        .unwrap()
        .set_features(if seipd2 { features.set_seipdv2() } else { features })
        .unwrap();
    let builder = builder.set_cipher_suite(suite).add_userid(USER_ID);
    let (cert, _) = builder.add_subkey(encryption, None, None).generate().unwrap();
    Key {
        certificate: cert.armored().to_vec().unwrap(),
        secret: cert.as_tsk().armored().to_vec().unwrap(),
    }
}

/// P1: what cannot be used is refused by name; that it then is held is intake's to do.
#[test]
fn a_certificate_that_only_elgamal_could_encrypt_to_is_refused() {
    let elgamal = ["Subkey-Type: ELG-E", "Subkey-Length: 2048"];
    for primary in [
        ["Key-Type: RSA", "Key-Length: 3072"],
        ["Key-Type: DSA", "Key-Length: 2048"],
    ] {
        let certificate = by_gnupg(&primary, &elgamal, &[]).certificate();
        let state = certificate.state(now());
        assert_ne!(state, CertificateState::Usable, "{primary:?}");
        assert!(
            matches!(state, CertificateState::Unsupported | CertificateState::Weak),
            "{primary:?}: {state}"
        );
        let sealing = openpgp::Sealing {
            recipients: &[certificate],
            signer: None,
            rfc9580: false,
            now: now(),
        };
        assert!(openpgp::encrypt(b"svar", &sealing).is_err(), "{primary:?}");
    }
}
