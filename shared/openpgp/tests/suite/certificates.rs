//! Certificates: every state has its name, and only one of them is encrypted to.

use std::time::{Duration, SystemTime};

use crate::common::{Gpg, built, certificate, days, now, sealing, yesterday};
use jiff::Timestamp;
use openpgp::{Certificate, CertificateState, SealError};
use sequoia_openpgp::cert::{CertBuilder, CipherSuite, SubkeyRevocationBuilder};
use sequoia_openpgp::packet::Signature;
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::serialize::{Serialize, SerializeInto};
use sequoia_openpgp::types::{HashAlgorithm, KeyFlags, ReasonForRevocation};
use sequoia_openpgp::{Cert, Packet};

fn assert_held(certificate: &Certificate, at: Timestamp, expected: CertificateState) {
    assert_eq!(certificate.state(at), expected);
    let recipients = [certificate.clone()];
    let result = openpgp::encrypt(
        b"svar",
        &openpgp::Sealing {
            now: at,
            ..sealing(&recipients)
        },
    );
    assert!(
        matches!(result, Err(SealError::Certificate { state, .. }) if state == expected),
        "{result:?}"
    );
}

fn revocation_of(cert: &Cert, at: Timestamp) -> Signature {
    let mut signer = cert
        .primary_key()
        .key()
        .clone()
        .parts_into_secret()
        .unwrap()
        .into_keypair()
        .unwrap();
    sequoia_openpgp::cert::CertRevocationBuilder::new()
        .set_reason_for_revocation(ReasonForRevocation::KeyCompromised, b"")
        .unwrap()
        .set_signature_creation_time(SystemTime::from(at))
        .unwrap()
        .build(&mut signer, cert, HashAlgorithm::SHA512)
        .unwrap()
}

/// P1
#[test]
fn a_key_made_here_is_usable_and_names_itself() {
    let (armored, _) = openpgp::generate("Teknik & Miljø <teknik@eksempel.example>", yesterday(), None).unwrap();
    let certificate = Certificate::read(&armored, None).unwrap();
    assert_eq!(certificate.state(now()), CertificateState::Usable);
    assert_eq!(certificate.user_ids(), ["Teknik & Miljø <teknik@eksempel.example>"]);
    assert_eq!(certificate.algorithm(), "Curve25519");
    assert_eq!(certificate.fingerprint().len(), 40);
    assert!(!format!("{certificate:?}").contains("teknik"));
}

#[test]
fn a_key_without_an_expiry_has_not_expired_in_1970() {
    let (certificate, _) = crate::common::key("Afdeling");
    assert_eq!(certificate.expires(now()), None);
    assert_eq!(certificate.state(now() + days(365 * 50)), CertificateState::Usable);

    let zero = built(|builder| {
        builder
            .set_validity_period(Duration::ZERO)
            .add_transport_encryption_subkey()
    });
    assert_eq!(crate::common::certificate(&zero).state(now()), CertificateState::Usable);
}

/// P1
#[test]
fn a_certificate_expires_without_a_change_on_our_side() {
    let (armored, _) = openpgp::generate("Afdeling", yesterday(), Some(days(31))).unwrap();
    let certificate = Certificate::read(&armored, None).unwrap();
    let end = yesterday() + days(31);
    assert_eq!(certificate.expires(now()), Some(end));
    assert_eq!(certificate.state(end - days(1)), CertificateState::Usable);
    assert_held(&certificate, end, CertificateState::Expired);
    assert_eq!(certificate.expires(end + days(400)), Some(end));
}

/// P1
#[test]
fn a_good_verdict_never_outlives_the_certificate() {
    let (armored, _) = openpgp::generate("Afdeling", yesterday(), Some(days(1) + days(1) / 48)).unwrap();
    let certificate = Certificate::read(&armored, None).unwrap();
    assert_eq!(certificate.state(now()), CertificateState::Usable);
    let end = now() + days(1) / 48;
    assert_held(&certificate, end, CertificateState::Expired);
}

/// P1
#[test]
fn an_expired_subkey_holds_the_mail_though_the_certificate_lives() {
    let flags = KeyFlags::empty().set_transport_encryption();
    let cert = built(|builder| builder.add_subkey(flags, Duration::from_hours(48), None));
    let certificate = certificate(&cert);
    assert_eq!(certificate.expires(now()), Some(yesterday() + days(2)));
    assert_held(&certificate, now() + days(2), CertificateState::Expired);
}

/// P1
#[test]
fn the_certificate_lasts_as_long_as_its_last_subkey() {
    let flags = || KeyFlags::empty().set_transport_encryption();
    let cert = built(|builder| {
        builder
            .add_subkey(flags(), Duration::from_hours(48), None)
            .add_subkey(flags(), Duration::from_hours(96), None)
    });
    let certificate = certificate(&cert);
    assert_eq!(certificate.expires(now()), Some(yesterday() + days(4)));
    assert_eq!(certificate.state(now() + days(2)), CertificateState::Usable);
}

#[test]
fn a_certificate_from_the_future_is_outside_its_time() {
    let (armored, _) = openpgp::generate("Afdeling", now() + days(1), None).unwrap();
    let certificate = Certificate::read(&armored, None).unwrap();
    assert_held(&certificate, now(), CertificateState::Expired);
    assert_eq!(certificate.state(now() + days(2)), CertificateState::Usable);
}

/// P1
#[test]
fn a_revoked_certificate_is_held() {
    let cert = built(CertBuilder::add_transport_encryption_subkey);
    let revocation = revocation_of(&cert, now() - days(1) / 2);
    let (cert, _) = cert.insert_packets(revocation).unwrap();
    let certificate = certificate(&cert);
    assert_held(&certificate, now(), CertificateState::Revoked);
    assert_eq!(certificate.expires(now()), None);
}

/// A certificate file with the revocation in an armored block of its own, and where that block begins.
fn with_revocation_appended(cert: &Cert) -> (Vec<u8>, usize) {
    let mut file = cert.armored().to_vec().unwrap();
    let begins = file.len();
    let revocation = Packet::from(revocation_of(cert, now() - days(1) / 2));
    let mut writer = sequoia_openpgp::armor::Writer::new(&mut file, sequoia_openpgp::armor::Kind::PublicKey).unwrap();
    revocation.serialize(&mut writer).unwrap();
    writer.finalize().unwrap();
    (file, begins)
}

/// P1
#[test]
fn a_revocation_in_a_block_of_its_own_after_the_certificate_is_not_overlooked() {
    let cert = built(CertBuilder::add_transport_encryption_subkey);
    let (file, _) = with_revocation_appended(&cert);
    let certificate = Certificate::read(&file, Some(&cert.fingerprint().to_hex())).unwrap();
    assert_held(&certificate, now(), CertificateState::Revoked);
}

/// P1
#[test]
fn a_revocation_that_was_cut_short_is_not_overlooked_either() {
    let cert = built(CertBuilder::add_transport_encryption_subkey);
    let (file, begins) = with_revocation_appended(&cert);
    let mark = "-----BEGIN PGP ".len();
    for end in begins + mark..file.len() - "-----END PGP PUBLIC KEY BLOCK-----\n".len() {
        let result = Certificate::read(&file[..end], Some(&cert.fingerprint().to_hex()));
        assert_eq!(result.err(), Some(CertificateState::Unreadable), "{end}");
    }
}

/// P1
#[test]
fn a_revoked_subkey_is_not_encrypted_to() {
    let cert = built(CertBuilder::add_transport_encryption_subkey);
    let mut signer = cert
        .primary_key()
        .key()
        .clone()
        .parts_into_secret()
        .unwrap()
        .into_keypair()
        .unwrap();
    let subkey = cert.keys().subkeys().next().unwrap();
    let revocation = SubkeyRevocationBuilder::new()
        .set_reason_for_revocation(ReasonForRevocation::KeyCompromised, b"")
        .unwrap()
        .set_signature_creation_time(SystemTime::from(now() - days(1) / 2))
        .unwrap()
        .build(&mut signer, &cert, subkey.key(), HashAlgorithm::SHA512)
        .unwrap();
    let (cert, _) = cert.clone().insert_packets(revocation).unwrap();
    assert_held(&certificate(&cert), now(), CertificateState::Revoked);
}

/// P1
#[test]
fn a_certificate_that_only_signs_has_no_encryption_key() {
    let cert = built(CertBuilder::add_signing_subkey);
    assert_held(&certificate(&cert), now(), CertificateState::NoEncryptionKey);
}

/// P1
#[test]
fn a_short_rsa_key_is_weak() {
    let gpg = Gpg::new();
    let armored = gpg.make("Key-Type: RSA\nKey-Length: 1024\nKey-Usage: sign\nSubkey-Type: RSA\nSubkey-Length: 1024");
    let certificate = Certificate::read(&armored, None).unwrap();
    assert_eq!(certificate.algorithm(), "RSA 1024");
    assert_held(&certificate, now(), CertificateState::Weak);
}

/// P1
#[test]
fn a_weak_subkey_under_a_strong_certificate_is_weak() {
    let cert = built(|builder| builder.set_creation_time(SystemTime::UNIX_EPOCH + Duration::from_hours(450_000)));
    let primary = cert.primary_key().key().clone().parts_into_secret().unwrap();
    let mut signer = primary.into_keypair().unwrap();
    let subkey: sequoia_openpgp::packet::Key<_, sequoia_openpgp::packet::key::SubordinateRole> =
        sequoia_openpgp::packet::key::Key4::generate_rsa(1024).unwrap().into();
    let binding = SignatureBuilder::new(sequoia_openpgp::types::SignatureType::SubkeyBinding)
        .set_key_flags(KeyFlags::empty().set_transport_encryption())
        .unwrap();
    let binding = subkey.bind(&mut signer, &cert, binding).unwrap();
    let (cert, _) = cert.insert_packets([Packet::from(subkey), binding.into()]).unwrap();
    let far = Timestamp::from_second(4_000_000_000).unwrap(); // after the subkey was made, whatever the real time is
    assert_held(&certificate(&cert), far, CertificateState::Weak);
}

/// P1
#[test]
fn a_certificate_signed_with_sha_1_is_weak() {
    let mut cert = built(CertBuilder::add_transport_encryption_subkey);
    let mut signer = cert
        .primary_key()
        .key()
        .clone()
        .parts_into_secret()
        .unwrap()
        .into_keypair()
        .unwrap();
    // Whatever binds with a good hash goes; what binds with SHA-1 comes in its place.
    let user_id = cert.userids().next().unwrap().userid().clone();
    let template: SignatureBuilder = cert
        .userids()
        .next()
        .unwrap()
        .self_signatures()
        .next()
        .unwrap()
        .clone()
        .into();
    let old = template
        .set_hash_algo(HashAlgorithm::SHA1)
        .set_signature_creation_time(SystemTime::from(yesterday()))
        .unwrap();
    let binding = user_id.bind(&mut signer, &cert, old).unwrap();
    let primary = cert.primary_key().key().clone();
    let packets: Vec<Packet> = vec![primary.into(), user_id.into(), binding.into()];
    cert = Cert::from_packets(packets.into_iter()).unwrap();
    assert_held(&certificate(&cert), now(), CertificateState::Weak);
}

/// P1
#[test]
fn elgamal_is_unsupported() {
    let gpg = Gpg::new();
    let armored = gpg.make("Key-Type: DSA\nKey-Length: 2048\nSubkey-Type: ELG-E\nSubkey-Length: 2048");
    let certificate = Certificate::read(&armored, None).unwrap();
    assert_eq!(certificate.algorithm(), "ElGamal 2048");
    assert_held(&certificate, now(), CertificateState::Unsupported);
}

/// P1
#[test]
fn a_point_off_its_curve_is_unsupported_and_not_an_error_later() {
    use sequoia_openpgp::crypto::mpi::{MPI, PublicKey};
    use sequoia_openpgp::packet::key::{Key4, PublicParts, SubordinateRole};

    let primary_only = built(|builder| builder);
    let mut point = vec![4; 65];
    point[1..].fill(0x11);
    let mpis = PublicKey::ECDH {
        curve: sequoia_openpgp::types::Curve::NistP256,
        q: MPI::new(&point),
        hash: HashAlgorithm::SHA256,
        sym: sequoia_openpgp::types::SymmetricAlgorithm::AES128,
    };
    let subkey = Key4::<PublicParts, SubordinateRole>::new(
        SystemTime::from(yesterday()),
        sequoia_openpgp::types::PublicKeyAlgorithm::ECDH,
        mpis,
    )
    .unwrap();
    let subkey: sequoia_openpgp::packet::Key<PublicParts, SubordinateRole> = subkey.into();
    let mut signer = primary_only
        .primary_key()
        .key()
        .clone()
        .parts_into_secret()
        .unwrap()
        .into_keypair()
        .unwrap();
    let binding = SignatureBuilder::new(sequoia_openpgp::types::SignatureType::SubkeyBinding)
        .set_signature_creation_time(SystemTime::from(yesterday()))
        .unwrap()
        .set_key_flags(KeyFlags::empty().set_transport_encryption())
        .unwrap();
    let binding = subkey.bind(&mut signer, &primary_only, binding).unwrap();
    let (cert, _) = primary_only
        .insert_packets([Packet::from(subkey), binding.into()])
        .unwrap();
    assert_held(&certificate(&cert), now(), CertificateState::Unsupported);
}

#[test]
fn each_kind_of_key_is_usable_and_named() {
    for (suite, name) in [
        (CipherSuite::Cv25519, "Curve25519"),
        (CipherSuite::RSA2k, "RSA 2048"),
        (CipherSuite::P256, "NIST P-256"),
        (CipherSuite::P384, "NIST P-384"),
        (CipherSuite::P521, "NIST P-521"),
    ] {
        let cert = built(|builder| builder.set_cipher_suite(suite).add_transport_encryption_subkey());
        let certificate = certificate(&cert);
        assert_eq!(certificate.state(now()), CertificateState::Usable, "{name}");
        assert_eq!(certificate.algorithm(), name);
    }
    let gpg = Gpg::new();
    let armored = gpg.make(
        "Key-Type: ECDSA\nKey-Curve: brainpoolP256r1\nKey-Usage: sign\nSubkey-Type: ECDH\nSubkey-Curve: brainpoolP256r1",
    );
    let certificate = Certificate::read(&armored, None).unwrap();
    assert_eq!(certificate.algorithm(), "Brainpool P-256");
    assert_eq!(
        certificate.state(Timestamp::from_second(4_000_000_000).unwrap()),
        CertificateState::Usable
    );
}

/// DSA is not taken after the policy's date: nothing changes here, and the certificate ends all the same.
#[test]
fn a_date_of_the_policy_ends_a_certificate_too() {
    let gpg = Gpg::new();
    let armored = gpg.make("Key-Type: DSA\nKey-Length: 2048\nSubkey-Type: RSA\nSubkey-Length: 2048");
    let certificate = Certificate::read(&armored, None).unwrap();
    let before: Timestamp = "2030-01-31T00:00:00Z".parse().unwrap();
    assert_eq!(certificate.state(before), CertificateState::Usable);
    let end = certificate.expires(before).expect("DSA ends");
    assert_eq!(certificate.state(end), CertificateState::Weak);
    assert!(end < "2030-03-01T00:00:00Z".parse().unwrap());
}

#[test]
fn the_states_have_the_contracts_codes() {
    use CertificateState as State;
    assert_eq!(Option::<domain::Reason>::from(State::Usable), None);
    for state in [
        State::Expired,
        State::Revoked,
        State::Weak,
        State::NoEncryptionKey,
        State::Unsupported,
        State::FingerprintMismatch,
        State::Unreadable,
    ] {
        let reason = Option::<domain::Reason>::from(state).unwrap();
        assert_eq!(reason.to_string(), state.as_str());
    }
}
