//! Certificate files: the pinned one is found, and nothing half is taken.

use openpgp::{Certificate, CertificateState};
use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::serialize::SerializeInto;

use crate::common::{built, now, yesterday};

/// P1
#[test]
fn the_pinned_certificate_is_picked_from_several() {
    let (first, _) = openpgp::generate("Første", yesterday(), None).unwrap();
    let (second, _) = openpgp::generate("Anden", yesterday(), None).unwrap();
    let pin = Certificate::read(&second, None).unwrap().fingerprint();

    let armored_one_after_another = [first.clone(), second.clone()].concat();
    let binary: Vec<u8> = [&first, &second]
        .iter()
        .flat_map(|armored| Cert::from_bytes(*armored).unwrap().to_vec().unwrap())
        .collect();
    for file in [armored_one_after_another, binary] {
        let spaced = pin.to_lowercase().replace('a', "a ");
        let certificate = Certificate::read(&file, Some(&spaced)).unwrap();
        assert_eq!(certificate.fingerprint(), pin);
        assert_eq!(certificate.user_ids(), ["Anden"]);
        assert_eq!(
            Certificate::read(&file, None).err(),
            Some(CertificateState::FingerprintMismatch)
        );
    }
}

/// P1
#[test]
fn another_certificate_than_the_pinned_one_is_a_mismatch() {
    let (certificate, _) = openpgp::generate("Afdeling", yesterday(), None).unwrap();
    let fingerprint = Certificate::read(&certificate, None).unwrap().fingerprint();
    for pin in [
        "",
        "0",
        &fingerprint[24..],
        &"0".repeat(40),
        &"F".repeat(64),
        &format!("{fingerprint}0"),
    ] {
        let result = Certificate::read(&certificate, Some(pin));
        assert_eq!(result.err(), Some(CertificateState::FingerprintMismatch), "{pin:?}");
    }
}

#[test]
fn a_file_that_holds_no_whole_certificate_is_unreadable() {
    let (armored, _) = openpgp::generate("Afdeling", yesterday(), None).unwrap();
    let binary = Cert::from_bytes(&armored).unwrap().to_vec().unwrap();
    let cut_armor = &armored[..armored.len() / 2];
    let cut_binary = &binary[..binary.len() - 10];
    for file in [
        b"".as_slice(),
        b"hej",
        b"\0\0\0",
        b"\xff\xff\xff\xff\xff",
        cut_armor,
        cut_binary,
    ] {
        let result = Certificate::read(file, None);
        assert_eq!(
            result.err(),
            Some(CertificateState::Unreadable),
            "{:?}",
            String::from_utf8_lossy(file)
        );
    }
    let huge = [armored, vec![b'\n'; 2 * 1024 * 1024]].concat();
    assert_eq!(Certificate::read(&huge, None).err(), Some(CertificateState::Unreadable));
}

/// A certificate is input from strangers: no octet of it may bring the reader down.
#[test]
fn no_changed_octet_brings_the_reader_down() {
    let binary = built(CertBuilder::add_transport_encryption_subkey).to_vec().unwrap();
    let pin = Certificate::read(&binary, None).unwrap().fingerprint();
    for at in 0..binary.len() {
        let mut changed = binary.clone();
        changed[at] ^= 0xff;
        if let Ok(certificate) = Certificate::read(&changed, Some(&pin)) {
            assert_eq!(certificate.fingerprint(), pin);
            let _ = (
                certificate.state(now()),
                certificate.expires(now()),
                certificate.algorithm(),
            );
        }
    }
}

/// P1
#[test]
fn secret_keys_in_the_file_are_left_out() {
    let (_, secret) = openpgp::generate("Afdeling", yesterday(), None).unwrap();
    let certificate = Certificate::read(&secret, None).unwrap();
    assert_eq!(certificate.state(now()), CertificateState::Usable);
}
