//! D1, G2: the deletion certificate.

use crate::common::{leaf, log_of, trust};
use evidence::{Certificate, CertificateError, Inclusion, Trust};

fn certificate() -> (tempfile::TempDir, Certificate) {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path(), 700);
    let certificate = Certificate::make(dir.path(), "submission-100").unwrap();
    (dir, certificate)
}

#[test]
fn a_certificate_holds_without_the_log_it_came_from() {
    let (dir, certificate) = certificate();
    let json = certificate.to_json();
    dir.close().unwrap();
    let certified = Certificate::read(json.as_bytes())
        .unwrap()
        .verify(&trust(), &[])
        .unwrap();
    assert_eq!(certified.submission, "submission-100");
    assert_eq!(certified.deletion, leaf(302));
    assert_eq!(certified.events, [leaf(300), leaf(301), leaf(302)]);
    assert_eq!(certified.checkpoints[0].checkpoint.size, 700);
    for words in [
        "deleted because everything that bound it was done",
        "does_not_prove",
        "backups of the key store",
    ] {
        assert!(json.contains(words), "{words}");
    }
}

#[test]
fn a_certificate_in_which_anything_of_substance_was_changed_is_refused() {
    let (_dir, certificate) = certificate();
    let json = certificate.to_json();
    for (from, to) in [
        ("submission-100", "submission-101"),
        ("\"rule\": \"discharged\"", "\"rule\": \"extracted\""),
        ("\"index\": 302", "\"index\": 303"),
        ("\"event\": \"deleted\"", "\"event\": \"accepted\""),
        ("\\\"event\\\":\\\"deleted\\\"", "\\\"event\\\":\\\"accepted\\\""),
        ("\\n700\\n", "\\n701\\n"),
        ("kvit deletion certificate 1", "kvit deletion certificate 2"),
        ("\"log\": \"kvit.example/2026\"", "\"log\": \"kvit.example/2025\""),
    ] {
        let changed = json.replace(from, to);
        assert_ne!(changed, json, "{from}");
        let verified = Certificate::read(changed.as_bytes()).and_then(|read| read.verify(&trust(), &[]));
        assert!(verified.is_err(), "{from}");
    }
}

#[test]
fn a_certificate_is_not_believed_for_the_key_that_stands_in_it() {
    let (_dir, certificate) = certificate();
    let other = evidence::LogKey::from_seed([1; 32])
        .verifier(crate::common::ORIGIN)
        .unwrap();
    let refused = certificate.verify(&Trust::new(vec![other]), &[]);
    assert!(matches!(refused, Err(CertificateError::Proof { .. })));
}

#[test]
fn a_certificate_of_a_rewritten_log_is_refused_against_a_kept_checkpoint() {
    let (_dir, certificate) = certificate();
    let elsewhere = tempfile::tempdir().unwrap();
    let log = evidence::Log::of_year(elsewhere.path(), 2026);
    let mut appender = log.append(None).unwrap();
    for index in 0..700 {
        appender.push(leaf(index / 2).to_bytes()).unwrap();
    }
    let kept = appender.sign(crate::common::ORIGIN, &crate::common::key()).unwrap();
    let refused = certificate.verify(&trust(), &[kept]);
    assert!(matches!(refused, Err(CertificateError::Forked { size: 700, .. })));
}

#[test]
fn there_is_no_certificate_of_what_was_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path(), 5);
    let refused = Certificate::make(dir.path(), "submission-1").unwrap_err();
    assert!(
        matches!(&refused, CertificateError::NotDeleted { event, .. } if event == "delivered"),
        "{refused}"
    );
    let refused = Certificate::make(dir.path(), "submission-2").unwrap_err();
    assert!(matches!(refused, CertificateError::Unknown));
}

#[test]
fn a_proof_reads_as_it_was_written() {
    let proof = Inclusion {
        index: 7,
        path: vec![[1; 32], [2; 32]],
        note: "a\n1\nb\n\n— a b\n".to_owned(),
    };
    assert_eq!(Inclusion::read(&proof.to_text()), Ok(proof));
    assert!(Inclusion::read("c2sp.org/tlog-proof@v2\nindex 7\n\nnote").is_err());
}

#[test]
fn a_certificate_of_leaves_whose_places_are_known_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path(), 700);
    let at = |places: &[u64]| {
        let places: Vec<_> = places.iter().map(|index| (2026, *index)).collect();
        Certificate::make_at(dir.path(), "submission-100", &places)
    };
    let whole = Certificate::make(dir.path(), "submission-100").unwrap();
    assert_eq!(at(&[300, 301, 302]).unwrap(), whole);
    assert_eq!(
        at(&[300, 301, 302, 700]).unwrap(),
        whole,
        "what is not signed yet is left out"
    );
    assert!(matches!(at(&[]), Err(CertificateError::Unknown)));
    let another = at(&[300, 301, 303]).unwrap_err();
    assert!(matches!(another, CertificateError::Differs { index: 303 }), "{another}");
}

#[test]
fn a_leaf_that_was_changed_has_no_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = log_of(dir.path(), 700);
    let bundle = log.dir().join("tile/entries/001");
    let text = std::fs::read(&bundle).unwrap();
    let at = text.windows(7).position(|part| part == b"deleted").unwrap();
    let mut changed = text;
    changed[at..at + 7].copy_from_slice(b"deletes");
    std::fs::write(&bundle, changed).unwrap();
    let refused = (256..512).find_map(|index| {
        let submission = format!("submission-{}", index / 3);
        Certificate::make_at(dir.path(), &submission, &[(2026, index)])
            .err()
            .filter(|error| matches!(error, CertificateError::Proof { .. }))
    });
    assert!(refused.is_some(), "its proof still holds");
}
