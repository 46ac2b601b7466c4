//! Encryption, as GnuPG sees it: who can open a message, and what it is made of.

use crate::common::{Gpg, built, certificate, days, key, now, sealing, yesterday};
use openpgp::{Certificate, CertificateState, KeyError, SealError, Sealing, SigningKey, UnsealKey, encrypt};
use sequoia_openpgp::Profile;
use sequoia_openpgp::cert::{CertBuilder, CipherSuite};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::{Features, KeyFlags};
use sequoia_openpgp::{Cert, Packet, PacketPile};

const ANSWER: &[u8] = "Hul i vejen på Østergade, 0101700000\r\n".as_bytes();

/// The packets of a message, as GnuPG lists them without any key.
fn packets(message: &[u8]) -> String {
    String::from_utf8(Gpg::new().attempt(&["--list-packets"], message).stdout).unwrap()
}

fn top_level(message: &[u8]) -> Vec<Packet> {
    PacketPile::from_bytes(message).unwrap().into_children().collect()
}

/// P1
#[test]
fn gnupg_opens_a_message_and_verifies_its_signature() {
    let (department, secret) = key("Teknik <teknik@eksempel.example>");
    let (_, signing) = openpgp::generate("Kvit", yesterday(), None).unwrap();
    let signer = SigningKey::read(&signing).unwrap();
    let recipients = [department];
    let sealed = encrypt(
        ANSWER,
        &Sealing {
            signer: Some(&signer),
            ..sealing(&recipients)
        },
    )
    .unwrap();

    let gpg = Gpg::new();
    gpg.import(&secret);
    gpg.import(&signing);
    let opened = gpg.run(&["--status-fd", "2", "--decrypt"], &sealed);
    let status = String::from_utf8_lossy(&opened.stderr).into_owned();
    assert_eq!(opened.stdout, ANSWER);
    assert!(
        status.contains("[GNUPG:] DECRYPTION_INFO 2 9"),
        "SEIPDv1 and AES-256: {status}"
    );
    assert!(status.contains("[GNUPG:] GOODMDC"), "{status}");
    assert!(status.contains("[GNUPG:] GOODSIG"), "{status}");
    assert!(
        status.contains(&format!(" {} ", now().as_second())),
        "signed at the time given: {status}"
    );
}

/// P1
#[test]
fn a_message_is_neither_compressed_nor_in_a_format_that_gnupg_cannot_read() {
    let (department, secret) = key("Afdeling");
    let sealed = encrypt(&b"a".repeat(100_000), &sealing(&[department])).unwrap();
    let gpg = Gpg::new();
    gpg.import(&secret);
    let list = String::from_utf8(gpg.run(&["--list-packets"], &sealed).stdout).unwrap();
    assert!(list.contains("mdc_method: 2"), "{list}");
    assert!(list.contains(":literal data packet:"), "{list}");
    assert!(!list.contains(":compressed packet:"), "{list}");
    assert!(!list.contains(":aead encrypted packet:"), "{list}");
    assert!(!list.contains(":signature packet:"), "{list}");
    assert!(sealed.len() > 100_000);
}

/// P1
#[test]
fn every_live_encryption_subkey_of_every_recipient_can_open_it() {
    let flags = || KeyFlags::empty().set_transport_encryption();
    let several = built(|builder| {
        builder
            .add_subkey(flags(), None, CipherSuite::Cv25519)
            .add_subkey(flags().set_storage_encryption(), None, CipherSuite::RSA2k)
            .add_subkey(KeyFlags::empty().set_storage_encryption(), None, CipherSuite::P256)
            .add_subkey(flags(), std::time::Duration::from_hours(1), CipherSuite::Cv25519)
            .add_signing_subkey()
    });
    let (recovery, _) = key("Gendannelse");
    let recipients = [certificate(&several), recovery, certificate(&several)];
    let sealed = encrypt(ANSWER, &sealing(&recipients)).unwrap();
    assert_eq!(
        packets(&sealed).matches(":pubkey enc packet:").count(),
        4,
        "three live subkeys and the recovery key"
    );

    let live = several.keys().subkeys().filter(|subkey| {
        let binding = subkey.self_signatures().next().unwrap();
        subkey.key().pk_algo().for_encryption() && binding.key_validity_period().is_none()
    });
    let live: Vec<_> = live.collect();
    assert_eq!(live.len(), 3);
    for subkey in live {
        // A copy of the secret key that has this subkey alone.
        let handle = subkey.key().fingerprint();
        let only = several
            .clone()
            .retain_subkeys(|other| other.key().fingerprint() == handle);
        let key = UnsealKey::read(&only.as_tsk().to_vec().unwrap()).unwrap();
        assert_eq!(key.open(&sealed, 1000).unwrap(), ANSWER);
    }
}

/// P1
#[test]
fn gnupgs_own_keys_can_open_it() {
    let curve = "Key-Type: EDDSA\nKey-Curve: Ed25519\nKey-Usage: sign\nSubkey-Type: ECDH\nSubkey-Curve: Curve25519\nSubkey-Usage: encrypt";
    let rsa = "Key-Type: RSA\nKey-Length: 2048\nKey-Usage: sign\nSubkey-Type: RSA\nSubkey-Length: 2048\nSubkey-Usage: encrypt";
    let nist = "Key-Type: ECDSA\nKey-Curve: nistp384\nKey-Usage: sign\nSubkey-Type: ECDH\nSubkey-Curve: nistp384\nSubkey-Usage: encrypt";
    let brainpool = nist.replace("nistp384", "brainpoolP256r1");
    for parameters in [curve, rsa, nist, &brainpool] {
        let gpg = Gpg::new();
        let department = Certificate::read(&gpg.make(parameters), None).unwrap();
        let sealed = encrypt(ANSWER, &sealing(&[department])).unwrap();
        assert_eq!(gpg.run(&["--decrypt"], &sealed).stdout, ANSWER, "{parameters}");
    }
}

/// P1
#[test]
fn a_v4_certificate_that_boasts_of_seipd_2_gets_seipd_1_unless_the_department_says_otherwise() {
    let boasting = built(|builder| {
        builder
            .set_features(Features::sequoia())
            .unwrap()
            .add_transport_encryption_subkey()
    });
    let recipients = [certificate(&boasting)];
    let version = |sealing: &Sealing<'_>| match top_level(&encrypt(ANSWER, sealing).unwrap()).last() {
        Some(Packet::SEIP(container)) => container.version(),
        other => panic!("{other:?}"),
    };
    assert_eq!(version(&sealing(&recipients)), 1);
    assert_eq!(
        version(&Sealing {
            rfc9580: true,
            ..sealing(&recipients)
        }),
        2
    );

    let (modest, _) = key("Afdeling");
    let both = [certificate(&boasting), modest];
    assert_eq!(
        version(&Sealing {
            rfc9580: true,
            ..sealing(&both)
        }),
        1,
        "one recipient cannot read version 2"
    );
}

/// P1
#[test]
fn a_v6_certificate_gets_seipd_2_and_beside_a_v4_one_seipd_1() {
    let v6 = built(|builder| {
        builder
            .set_profile(Profile::RFC9580)
            .unwrap()
            .add_transport_encryption_subkey()
    });
    let (v4, v4_secret) = key("Afdeling");
    let secret = UnsealKey::read(&v6.as_tsk().to_vec().unwrap()).unwrap();
    assert_eq!(secret.fingerprint().len(), 64);

    let alone = encrypt(ANSWER, &sealing(&[certificate(&v6)])).unwrap();
    assert!(matches!(top_level(&alone).last(), Some(Packet::SEIP(container)) if container.version() == 2));
    assert_eq!(secret.open(&alone, 1000).unwrap(), ANSWER);

    let mixed = encrypt(ANSWER, &sealing(&[certificate(&v6), v4])).unwrap();
    assert!(matches!(top_level(&mixed).last(), Some(Packet::SEIP(container)) if container.version() == 1));
    assert_eq!(secret.open(&mixed, 1000).unwrap(), ANSWER);
    assert_eq!(UnsealKey::read(&v4_secret).unwrap().open(&mixed, 1000).unwrap(), ANSWER);
}

/// P1
#[test]
fn nothing_is_encrypted_when_one_recipient_is_unusable_or_there_is_none() {
    let (good, _) = key("Afdeling");
    let signs_only = built(CertBuilder::add_signing_subkey);
    let recipients = [good, certificate(&signs_only)];
    let error = encrypt(ANSWER, &sealing(&recipients)).unwrap_err();
    let expected = signs_only.fingerprint().to_hex();
    assert!(
        matches!(&error, SealError::Certificate { fingerprint, state: CertificateState::NoEncryptionKey } if *fingerprint == expected)
    );
    assert_eq!(
        error.to_string(),
        format!("no usable encryption key in certificate {expected}")
    );
    assert!(matches!(encrypt(ANSWER, &sealing(&[])), Err(SealError::NoRecipient)));
}

#[test]
fn an_expired_signing_key_is_named() {
    let (recipient, _) = key("Afdeling");
    let (_, secret) = openpgp::generate("Kvit", yesterday(), Some(days(1))).unwrap();
    let signer = SigningKey::read(&secret).unwrap();
    assert_eq!(signer.state(yesterday()), CertificateState::Usable);
    assert_eq!(signer.state(now()), CertificateState::Expired);
    let recipients = [recipient];
    let result = encrypt(
        ANSWER,
        &Sealing {
            signer: Some(&signer),
            ..sealing(&recipients)
        },
    );
    assert!(matches!(
        result,
        Err(SealError::Signer {
            state: CertificateState::Expired,
            ..
        })
    ));
}

#[test]
fn ed25519_signs_where_the_key_has_others_too() {
    let flags = || KeyFlags::empty().set_signing();
    let cert = built(|builder| {
        builder
            .set_cipher_suite(CipherSuite::RSA2k)
            .add_subkey(flags(), None, CipherSuite::Cv25519)
            .add_signing_subkey()
    });
    let signer = SigningKey::read(&cert.as_tsk().to_vec().unwrap()).unwrap();
    let (recipient, secret) = key("Afdeling");
    let recipients = [recipient];
    let sealed = encrypt(
        ANSWER,
        &Sealing {
            signer: Some(&signer),
            ..sealing(&recipients)
        },
    )
    .unwrap();
    let gpg = Gpg::new();
    gpg.import(&secret);
    let list = String::from_utf8(gpg.run(&["--list-packets"], &sealed).stdout).unwrap();
    assert!(list.contains(":signature packet: algo 22"), "{list}");
}

#[test]
fn a_key_that_cannot_sign_or_open_is_refused_when_it_is_read() {
    let (public, secret) = openpgp::generate("Kvit", yesterday(), None).unwrap();
    assert!(matches!(SigningKey::read(&public), Err(KeyError::NoSecretKey)));
    assert!(matches!(UnsealKey::read(&public), Err(KeyError::NoSecretKey)));
    assert!(matches!(SigningKey::read(b"hej"), Err(KeyError::Unreadable(_))));
    assert!(SigningKey::read(&secret).is_ok());

    let signs_only = built(CertBuilder::add_signing_subkey);
    assert!(matches!(
        UnsealKey::read(&signs_only.as_tsk().to_vec().unwrap()),
        Err(KeyError::NoSecretKey)
    ));

    let locked = built(|builder| {
        builder
            .set_password(Some("hemmelig".into()))
            .add_signing_subkey()
            .add_transport_encryption_subkey()
    });
    let locked = locked.as_tsk().to_vec().unwrap();
    assert!(matches!(SigningKey::read(&locked), Err(KeyError::Protected)));
    assert!(matches!(UnsealKey::read(&locked), Err(KeyError::Protected)));
}

#[test]
fn nothing_secret_is_shown() {
    let (_, secret) = openpgp::generate("Hemmelig", yesterday(), None).unwrap();
    let signer = SigningKey::read(&secret).unwrap();
    let opener = UnsealKey::read(&secret).unwrap();
    let fingerprint = signer.fingerprint();
    assert_eq!(
        format!("{signer:?} {opener:?}"),
        format!("SigningKey({fingerprint:?}) UnsealKey({fingerprint:?})")
    );
    let public = signer.certificate();
    assert_eq!(public.fingerprint(), fingerprint);
    assert_eq!(opener.certificate().state(now()), CertificateState::Usable);
}

#[test]
fn a_made_key_is_one_that_gnupg_lists_and_uses() {
    let (public, secret) =
        openpgp::generate("Teknik & Miljø <teknik@eksempel.example>", yesterday(), Some(days(365))).unwrap();
    assert!(Cert::from_bytes(&secret).unwrap().is_tsk() && !Cert::from_bytes(&public).unwrap().is_tsk());
    let gpg = Gpg::new();
    gpg.import(&secret);
    let list = String::from_utf8(gpg.run(&["--with-colons", "--list-secret-keys"], b"").stdout).unwrap();
    let ends = (yesterday() + days(365)).as_second().to_string();
    assert!(
        list.lines()
            .any(|line| line.starts_with("sec:u:") || line.starts_with("sec:-:")),
        "{list}"
    );
    assert!(list.contains(&ends) && list.contains("Teknik & Miljø"), "{list}");

    let sealed = gpg
        .run(
            &["--armor", "--encrypt", "--sign", "-r", "teknik@eksempel.example"],
            ANSWER,
        )
        .stdout;
    assert_eq!(UnsealKey::read(&secret).unwrap().open(&sealed, 1000).unwrap(), ANSWER);
}

#[test]
fn a_user_id_that_could_be_misread_is_refused() {
    for wrong in ["", " ", "To\nlinjer", "Nul\0"] {
        assert!(
            matches!(openpgp::generate(wrong, now(), None), Err(KeyError::UserId)),
            "{wrong:?}"
        );
    }
    assert!(matches!(
        openpgp::generate("Navn", now(), Some(-days(1))),
        Err(KeyError::Generate(_))
    ));
}
