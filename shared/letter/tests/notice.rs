//! Notices, parcels, and an operator's own templates.

#[expect(dead_code, reason = "each test file uses its part of the bed")]
mod support;

use std::fs;

use domain::Language;
use letter::{LetterError, Letters, Mail, NotAParcel, Notice, Parcel};
use support::*;

fn reference() -> domain::Reference {
    "K-7Q4M-2XRD".parse().expect("a reference")
}

/// D3
#[test]
fn a_notice_says_what_to_do_and_joins_the_thread() {
    let parcel = Bed::new().notice(&Notice::ReceiptUndeliverable { reference: reference() }, false);
    let mail = python(sent(&parcel));
    assert_eq!(
        header(&mail, "subject"),
        ["En kvittering kunne ikke afleveres: K-7Q4M-2XRD"]
    );
    assert_eq!(header(&mail, "references"), ["<1.department@kvit.example>"]);
    assert_eq!(header(&mail, "auto-submitted"), ["auto-generated"]);
    assert!(part(&mail, "text/plain").starts_with("Til Teknik & Miljø\n\nIndsenderen af K-7Q4M-2XRD har ikke fået"));
    assert!(part(&mail, "text/html").contains("<p>Til Teknik &amp; Miljø</p>"));
    assert_eq!(parcel.role, "notice");
    assert_lines(sent(&parcel));
}

/// E4
#[test]
fn the_day_after_an_event_lists_the_mails_to_delete_and_the_code() {
    let other: domain::Reference = "K-0000-0001".parse().unwrap();
    let notice = Notice::EventHeld {
        event: "E-77".to_owned(),
        held: now(),
        references: vec![reference(), other],
        code: "4711-ABC".to_owned(),
    };
    let mail = python(sent(&Bed::new().notice(&notice, true)));
    assert_eq!(
        header(&mail, "subject"),
        ["TEST Slet nu: arrangementet er afholdt (E-77)"]
    );
    let text = part(&mail, "text/plain");
    assert!(text.contains("\n- K-7Q4M-2XRD\n- K-0000-0001\n\nSlet også listen"));
    assert!(text.contains("giv denne kode til driften hos Eksempel Kommune: 4711-ABC"));
    assert!(part(&mail, "text/html").contains("<li>K-0000-0001</li>"));
}

#[test]
fn the_checkpoint_stands_line_by_line() {
    let note = "eksempel/log\n42\ncm9vdA==\n\n— eksempel c2lnbmF0dXJl\n".to_owned();
    let mail = python(sent(&Bed::new().notice(&Notice::Checkpoint { at: now(), note }, false)));
    assert!(part(&mail, "text/html").contains("eksempel&#x2f;log\n42\ncm9vdA==\n"));
    assert!(part(&mail, "text/plain").contains("\n  eksempel/log\n  42\n  cm9vdA==\n"));
}

#[test]
fn every_notice_is_whole_in_both_languages() {
    let at = now();
    let notices = [
        Notice::CertificateExpires {
            days: 14,
            at,
            fingerprint: "ABCD".to_owned(),
        },
        Notice::MailHeld {
            reference: reference(),
            reason: domain::Reason::Smtp(552),
        },
        Notice::ExtractAwaitsCode {
            event: "E-77".to_owned(),
            since: at,
        },
        Notice::Withdrawn { reference: reference() },
        Notice::Quarantined {
            id: domain::SubmissionId::new(),
            site: "eksempel".parse().unwrap(),
            reason: domain::quarantine::QuarantineReason::MissingField,
            since: at,
        },
    ];
    for language in [Language::Da, Language::En] {
        let bed = Bed::in_language(language);
        for notice in &notices {
            let mail = python(sent(&bed.notice(notice, false)));
            for kind in ["text/plain", "text/html"] {
                let shown = part(&mail, kind);
                assert!(
                    !shown.contains("none") && !shown.contains("\n\n\n") && shown.len() > 100,
                    "{shown}"
                );
            }
        }
    }
}

/// P1
#[test]
fn a_parcel_comes_back_as_it_was_packed() {
    let bed = Bed::new();
    let mut parcels = bed.department(&a_submission(), &a_form(), 20_000_000).unwrap();
    parcels.push(bed.receipt(&a_submission(), &a_form(), None));
    for parcel in parcels {
        let back = Parcel::decode(&parcel.encode()).unwrap();
        assert_eq!((&back.role, &back.message_id), (&parcel.role, &parcel.message_id));
        assert!(back.to == parcel.to && sent(&back) == sent(&parcel));
        assert_eq!(back.mail.is_sealed(), parcel.mail.is_sealed());
        assert!(!format!("{back:?}").contains("example"));
    }
}

/// P1
#[test]
fn a_plain_mail_cannot_come_back_as_a_departments() {
    let bed = Bed::new();
    let mut parcel = bed.receipt(&a_submission(), &a_form(), None);
    let plain = parcel.encode();
    parcel.role = "department-2".to_owned();
    assert_eq!(Parcel::decode(&parcel.encode()).err(), Some(NotAParcel));
    let claimed = String::from_utf8(plain)
        .unwrap()
        .replacen("\"sealed\":false", "\"sealed\":true", 1);
    assert_eq!(Parcel::decode(claimed.as_bytes()).err(), Some(NotAParcel));
    for wrong in [
        &b""[..],
        b"kvit-parcel-1\n",
        b"kvit-parcel-1\n{}\nx",
        b"kvit-parcel-2\n{}\n",
    ] {
        assert_eq!(Parcel::decode(wrong).err(), Some(NotAParcel));
    }
    assert!(matches!(parcel.mail, Mail::Plain(_)));
}

#[test]
fn an_operators_template_replaces_ours() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("da")).unwrap();
    fs::write(
        folder.path().join("da/receipt.txt"),
        "Tak {{ reference }}\nHilsen {{ controller }}\n",
    )
    .unwrap();
    fs::write(folder.path().join("da/LÆSMIG.md"), "notes").unwrap();
    let mut bed = Bed::new();
    bed.letters = Letters::load(facts(Language::Da), Some(folder.path())).unwrap();
    let mail = python(sent(&bed.receipt(&a_submission(), &a_form(), None)));
    assert_eq!(header(&mail, "subject"), ["Tak K-7Q4M-2XRD"]);
    assert_eq!(part(&mail, "text/plain"), "Hilsen Eksempel Kommune\n");
}

#[test]
fn a_faulty_template_is_found_when_loading() {
    for (name, source) in [
        ("da/receipt.txt", "Tak\n{{ navn }}\n"),
        ("en/department.html", "{% if test %}{{ answer }}{% endif %}"),
        ("en/notice-held.txt", "Held\n{% if smtp_code %}{{ kode }}{% endif %}"),
        ("da/notice-event.txt", "\n\n"),
        ("layout.html", "{% block content %}"),
        ("da/recepit.txt", "Tak\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, source).unwrap();
        let fault = Letters::load(facts(Language::Da), Some(folder.path())).err().unwrap();
        let named = match &fault {
            LetterError::Unknown { name }
            | LetterError::Invalid { name, .. }
            | LetterError::Unrendered { name, .. }
            | LetterError::NoSubject { name } => name,
            other => panic!("{other}"),
        };
        assert_eq!(named, name, "{fault}");
    }
    let nowhere = tempfile::tempdir().unwrap().path().join("gone");
    assert!(matches!(
        Letters::load(facts(Language::Da), Some(&nowhere)),
        Err(LetterError::Unreadable { .. })
    ));
}

/// P4: whatever an operator writes, a receipt's template has no answer to show.
#[test]
fn a_receipts_template_cannot_reach_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("da")).unwrap();
    for name in ["answers", "sections", "submission", "fields", "files", "undeclared"] {
        let source = format!("Emne\n\n{{{{ {name} }}}}\n");
        fs::write(folder.path().join("da/receipt.txt"), source).unwrap();
        let loaded = Letters::load(facts(Language::Da), Some(folder.path()));
        assert!(matches!(loaded, Err(LetterError::Unrendered { .. })), "{name}");
    }
}
