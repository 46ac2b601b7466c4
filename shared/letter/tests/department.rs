//! The department's mail, opened with its key and read by Python's email package.

#[expect(dead_code, reason = "each test file uses its part of the bed")]
mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Language, Remark, Value};
use letter::LetterError;
use serde_json::json;
use support::*;

/// P1
#[test]
fn a_mail_shows_the_answers_in_the_forms_order_with_option_texts_and_tables() {
    let mail = Bed::new().opened(&a_submission(), &a_form());
    let text = part(&mail, "text/plain");
    let expected = "\
Anmeldelse til Teknik & Miljø · K-7Q4M-2XRD · 21.11.2026

Besvar ikke denne mail: citatet sendes ukrypteret. Svar via Digital Post.

Modtaget den 21.11.2026 kl. 14.05 til Teknik & Miljø, Eksempel Kommune.

--- Dig ---

Navn: Åse Ærø
E-mail: aase@example.com

Kategori: Hul i vejen
Beskrivelse:
  Linje 1
  Linje 2 <script>alert(1)</script> & 😀
Deltagere:
  1.
     Deltagers navn: Ida Ærlig
     Alder: 9
  2.
     Deltagers navn: Bo
Adresse:
  Vej: Østergade 1
Foto: plan 😀 æøå.png (vedhæftet)
Underskrift: underskrift.png (vedhæftet)

Ikke besvaret: Adresse – By, Telefon

--- Ikke registrerede felter ---

Formularen har felter, som Kvit ikke kender. De er gengivet, som de kom.

nyt_felt:
  a: uventet
  b: 1 / Ja

--- Bilag ---

- plan 😀 æøå.png
- underskrift.png
- indsendelse.json

Dette er eneste eksemplar. Journalisér det, hvis det hører til en sag; slet ellers mailen, når du er færdig.
";
    assert_eq!(text, expected);
}

/// P1
#[test]
fn the_html_shows_the_same_escaped_with_tables_that_a_screen_reader_can_read() {
    let mail = Bed::new().opened(&a_submission(), &a_form());
    let html = part(&mail, "text/html");
    assert!(html.contains("<html lang=\"da\">"));
    assert!(html.contains("<h1>Anmeldelse til Teknik &amp; Miljø · K-7Q4M-2XRD · 21.11.2026</h1>"));
    assert!(html.contains("<h2>Dig</h2>"));
    assert!(html.contains("<th scope=\"col\">Deltagers navn</th>"));
    assert!(html.contains("&lt;script&gt;alert(1)"));
    assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("http"));
}

/// P1
#[test]
fn the_tree_is_words_in_two_forms_and_attachments_that_are_never_inline() {
    let mail = Bed::new().opened(&a_submission(), &a_form());
    assert_eq!(
        mail["tree"],
        json!([
            "multipart/mixed",
            [
                ["multipart/alternative", ["text/plain", "text/html"]],
                "image/png",
                "image/png",
                "application/json"
            ]
        ])
    );
    assert_eq!(names(&mail), ["plan 😀 æøå.png", "underskrift.png", "indsendelse.json"]);
    for part in &mail["parts"].as_array().unwrap()[2..] {
        assert_eq!(part["disposition"], "attachment");
    }
    assert_eq!(mail["parts"][2]["base64"], STANDARD.encode(b"\x89PNG\r\n\x1a\n\0"));
    let json: serde_json::Value = serde_json::from_str(mail["parts"][4]["text"].as_str().unwrap()).unwrap();
    assert_eq!(json, json!({"navn": "Åse Ærø", "kategori": "hul_i_vej"}));
}

/// P1: RFC 9788 section 2.
#[test]
fn the_true_header_is_protected_inside_and_the_outer_one_recorded() {
    let bed = Bed::new();
    let parcel = &bed.department(&a_submission(), &a_form(), 20_000_000).unwrap()[0];
    let (outer, inner) = (python(sent(parcel)), python(&bed.open(parcel)));

    assert_eq!(inner["params"]["hp"], "cipher");
    assert_eq!(inner["params"]["protected-headers"], "v1");
    assert_eq!(
        header(&inner, "subject"),
        ["Anmeldelse til Teknik & Miljø · K-7Q4M-2XRD · 21.11.2026"]
    );
    assert_eq!(header(&outer, "subject"), ["Formular K-7Q4M-2XRD"]);
    let recorded = header(&inner, "hp-outer");
    let outside = [
        "from",
        "to",
        "reply-to",
        "subject",
        "date",
        "message-id",
        "auto-submitted",
    ];
    assert_eq!(recorded.len(), outside.len());
    for (recorded, name) in recorded.iter().zip(outside) {
        let (recorded_name, _) = recorded.split_once(": ").unwrap();
        assert_eq!(recorded_name.to_lowercase(), name);
        assert_eq!(*recorded, format!("{recorded_name}: {}", header(&outer, name)[0]));
        if name != "subject" {
            assert_eq!(header(&inner, name), header(&outer, name), "{name}");
        }
    }
    assert!(recorded.contains(&"Subject: Formular K-7Q4M-2XRD".to_owned()));
    assert!(recorded.contains(&"To: teknik@eksempel.example".to_owned()));
    assert!(recorded.contains(&"Date: Sat, 21 Nov 2026 13:05:00 +0000".to_owned()));
}

/// P1
#[test]
fn a_correction_says_what_changed_and_joins_the_thread() {
    let bed = Bed::new();
    let mut submission = a_submission();
    submission.version = 2;
    submission.changed = vec!["navn".to_owned(), "deltagere".to_owned()];
    let parcel = &bed.department(&submission, &a_form(), 20_000_000).unwrap()[0];
    let text = part(&python(&bed.open(parcel)), "text/plain");
    assert!(text.contains("*** RETTELSE: "));
    assert!(text.contains("Ændret siden forrige version: Navn, Deltagere\n"));
    assert!(text.contains("Navn (ændret): Åse Ærø\n"));
    assert!(text.contains("E-mail: aase"));
    assert_eq!(
        header(&python(sent(parcel)), "references"),
        ["<1.department@kvit.example>"]
    );
    assert_eq!(parcel.message_id, "2.department@kvit.example");
}

/// P3, P4
#[test]
fn what_there_is_to_remark_stands_with_the_labels_of_its_fields() {
    let mut submission = a_submission();
    let field = |path: &str| path.to_owned();
    submission.remarks = vec![
        Remark::CprInText {
            field: field("beskrivelse"),
        },
        Remark::WrongType {
            field: field("deltagere.2.alder"),
        },
        Remark::Missing {
            field: field("telefon"),
        },
        Remark::FileMissing { field: field("foto") },
        Remark::Undeclared {
            field: field("nyt_felt"),
        },
        Remark::CprInText {
            field: field("beskrivelse"),
        },
    ];
    submission.withdrawn = true;
    submission.test = true;
    let text = part(&Bed::new().opened(&submission, &a_form()), "text/plain");
    assert!(text.contains("- Et CPR-nummer står i et felt, der ikke er til det: Beskrivelse.\n"));
    assert!(text.contains("gengivet, som det kom: Deltagere 2 – Alder.\n"));
    assert!(text.contains("- Et påkrævet felt er tomt: Telefon.\n"));
    assert!(text.contains("- En fil fulgte ikke med: Foto.\n"));
    for banner in ["TRUKKET TILBAGE", "BILAG MANGLER", "TEST"] {
        assert!(text.contains(&format!("*** {banner}: ")), "{banner}");
    }
    assert_eq!(text.matches("CPR-nummer").count(), 1);
    assert!(!text.contains("RETTELSE"));
}

/// P1
#[test]
fn a_test_is_marked_outside_as_well() {
    let bed = Bed::new();
    let mut submission = a_submission();
    submission.test = true;
    let parcel = &bed.department(&submission, &a_form(), 20_000_000).unwrap()[0];
    assert_eq!(header(&python(sent(parcel)), "subject"), ["TEST Formular K-7Q4M-2XRD"]);
    let inner = python(&bed.open(parcel));
    assert!(part(&inner, "text/plain").starts_with("TEST Anmeldelse"));
    assert_eq!(
        header(&inner, "subject"),
        ["TEST Anmeldelse til Teknik & Miljø · K-7Q4M-2XRD · 21.11.2026"]
    );
}

/// P1
#[test]
fn the_mail_is_in_the_controllers_language_whatever_the_submitters_is() {
    let mail = Bed::in_language(Language::En).opened(&a_submission(), &a_form());
    let text = part(&mail, "text/plain");
    assert!(text.starts_with("Report to Roads and Environment · K-7Q4M-2XRD · 21 November 2026\n"));
    assert!(text.contains("Do not reply to this mail"));
    assert!(text.contains("Kategori: Hole in the road"));
}

/// P1
#[test]
fn a_submission_without_answers_is_a_mail_too() {
    let mut submission = a_submission();
    submission.answers = answers(&[("navn", Value::Empty)]);
    let text = part(&Bed::new().opened(&submission, &a_form()), "text/plain");
    assert!(text.contains("Ingen felter er besvaret.\n\nIkke besvaret: Navn\n"));
}

/// P1
#[test]
fn hostile_text_stays_inside_its_answer() {
    let mut submission = a_submission();
    let hostile =
        "a\r\n\r\n--- Bilag ---\rNavn: Falsk\u{2028}Subject: x\n.\n\0\u{1b}[31m\u{202e}{{ 7*7 }} =?utf-8?Q?x?=";
    submission.answers = answers(&[("beskrivelse", text(hostile))]);
    submission.answers.undeclared = vec![("x\r\nBcc: a@b.example".to_owned(), json!(hostile))];
    let bed = Bed::new();
    let parcel = &bed.department(&submission, &a_form(), 20_000_000).unwrap()[0];
    let inner = bed.open(parcel);
    assert_lines(&inner);
    let text = part(&python(&inner), "text/plain");
    assert!(
        text.contains("\n  --- Bilag ---\n  Navn: Falsk\n  Subject: x\n  .\n  \u{fffd}\u{fffd}[31m\u{202e}{{ 7*7 }}")
    );
    assert!(text.contains("x Bcc: a@b.example:"));
    assert_eq!(text.lines().filter(|line| line.starts_with("Navn")).count(), 0);
}

/// P1
#[test]
fn every_file_comes_through_byte_for_byte_under_a_safe_name_of_its_own() {
    let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let mime = |value: Value, mime: &str| match value {
        Value::File(file) => Value::File(domain::File {
            mime: Some(mime.to_owned()),
            ..file
        }),
        other => other,
    };
    let files = [
        mime(file("note.txt", b"linje\nuden CR\r\n.\r\nFrom x\r\n"), "text/plain"),
        mime(file("../../note.txt", &every_byte), "text/html; charset=x"),
        mime(file("indsendelse.json", b""), "multipart/mixed"),
        mime(file("lang\u{202e}gpj.exe\r\nX: y", b"x"), "image/svg+xml"),
        mime(
            file(&format!("{}.pdf", "æ😀".repeat(100)), b"%PDF"),
            "application/pdf\r\nX: y",
        ),
    ];
    let mut submission = a_submission();
    submission.answers = answers(&[("foto", Value::List(files.to_vec()))]);
    let bed = Bed::new();
    let inner = bed.open(&bed.department(&submission, &a_form(), 20_000_000).unwrap()[0]);
    assert_lines(&inner);
    let mail = python(&inner);
    let given = names(&mail);
    assert_eq!(
        given[..4],
        ["note.txt", "note (2).txt", "indsendelse (2).json", "langgpj.exe X_ y"]
    );
    assert!(given[4].starts_with("æ😀") && given[4].ends_with("😀.pdf") && given[5] == "indsendelse.json");
    let parts = mail["parts"].as_array().unwrap();
    for (part, value) in parts[2..7].iter().zip(&files) {
        assert_eq!(
            part["base64"],
            STANDARD.encode(value.files()[0].content.as_ref().unwrap())
        );
        assert_eq!(part["disposition"], "attachment");
        assert_eq!(header(part, "x"), Vec::<String>::new());
    }
    let kinds: Vec<&str> = parts[2..7].iter().map(|part| part["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["application/octet-stream"; 5]);
}

/// P1
#[test]
fn a_file_without_content_is_named_as_missing() {
    let mut submission = a_submission();
    let bare = domain::File {
        id: Some("7".to_owned()),
        ..domain::File::default()
    };
    let named = domain::File {
        name: Some("plan.pdf".to_owned()),
        ..bare.clone()
    };
    submission.answers = answers(&[("foto", Value::List(vec![Value::File(bare), Value::File(named)]))]);
    let text = part(&Bed::new().opened(&submission, &a_form()), "text/plain");
    assert!(text.contains("*** BILAG MANGLER"));
    assert!(text.contains("Foto:\n  fil nr. 7 (fulgte ikke med)\n  plan.pdf (fulgte ikke med)\n"));
    assert!(text.contains("- Fulgte ikke med: fil nr. 7\n- Fulgte ikke med: plan.pdf\n"));
}

/// P1
#[test]
fn a_mail_that_is_too_large_becomes_numbered_mails_of_whole_attachments() {
    let files: Vec<Value> = (1..=5)
        .map(|n| file(&format!("foto{n}.png"), &vec![n; 200_000]))
        .collect();
    let mut submission = a_submission();
    submission.answers = answers(&[("foto", Value::List(files))]);
    let bed = Bed::new();
    let parcels = bed.department(&submission, &a_form(), 1_000_000).unwrap();
    let roles: Vec<&str> = parcels.iter().map(|parcel| parcel.role.as_str()).collect();
    assert_eq!(roles, ["department", "department-2", "department-3"]);

    let mails: Vec<_> = parcels.iter().map(|parcel| python(&bed.open(parcel))).collect();
    assert_eq!(names(&mails[0]), ["foto1.png", "foto2.png"]);
    assert_eq!(names(&mails[2]), ["foto5.png", "indsendelse.json"]);
    let first = part(&mails[0], "text/plain");
    assert!(first.contains("*** DEL 1 AF 3 ***") && first.contains("- foto5.png (i del 3)\n"));
    let second = part(&mails[1], "text/plain");
    assert!(second.contains("*** DEL 2 AF 3 ***") && second.contains("Svarene står i del 1."));
    assert!(!second.contains("foto1.png"));
    for (index, parcel) in parcels.iter().enumerate() {
        assert!(sent(parcel).len() <= 1_000_000);
        let outer = python(sent(parcel));
        let expected = if index == 0 {
            vec![]
        } else {
            vec!["<1.department@kvit.example>".to_owned()]
        };
        assert_eq!(header(&outer, "references"), expected);
        assert_eq!(header(&outer, "message-id"), [format!("<{}>", parcel.message_id)]);
    }
}

/// P1
#[test]
fn one_attachment_that_is_too_large_alone_is_said_to_be_so() {
    let mut submission = a_submission();
    submission.answers = answers(&[("foto", file("foto.png", &vec![7; 1_000_000]))]);
    let outcome = Bed::new().department(&submission, &a_form(), 1_000_000);
    assert!(matches!(outcome, Err(LetterError::TooLarge)));
    submission.answers = answers(&[("beskrivelse", text(&"æ".repeat(500_000)))]);
    let outcome = Bed::new().department(&submission, &a_form(), 1_000_000);
    assert!(matches!(outcome, Err(LetterError::TooLarge)));
}

/// P1: nothing of the form can be read from outside, in any plain form of it.
#[test]
fn no_answer_label_or_file_name_occurs_in_the_sealed_mail() {
    let canaries: Vec<String> = (0..6).map(|n| format!("Qz7{n}kanariefugl{n}")).collect();
    let mut form = form_of(&json!({
        "a": {"label": {"da": canaries[0]}, "section": {"da": canaries[1]}},
        "b": {"label": {"da": "B"}, "type": "file"}
    }));
    form.title = words(&canaries[2], &canaries[2]);
    let mut submission = a_submission();
    submission.answers = answers(&[
        ("a", text(&canaries[3])),
        ("b", file(&canaries[4], canaries[5].as_bytes())),
    ]);
    submission.answers.raw = json!({"a": canaries[3]}).as_object().unwrap().clone();
    let bed = Bed::new();
    let parcel = &bed.department(&submission, &form, 20_000_000).unwrap()[0];
    let inner = bed.open(parcel);
    for canary in &canaries {
        assert!(
            forms(canary).iter().any(|form| contains(&inner, form)),
            "the search must be able to find it"
        );
        for form in forms(canary) {
            assert!(!contains(sent(parcel), &form));
        }
    }
    assert_lines(sent(parcel));
}

/// Plain, base64 at three offsets, quoted-printable (the same for these letters), UTF-16.
fn forms(canary: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![
        canary.as_bytes().to_vec(),
        canary.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    ];
    for offset in 0..3 {
        let padded = ["x".repeat(offset).as_bytes(), canary.as_bytes()].concat();
        let encoded = STANDARD.encode(padded);
        forms.push(encoded.as_bytes()[4..encoded.len() - 4].to_vec());
    }
    forms
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let unbroken: Vec<u8> = haystack
        .iter()
        .copied()
        .filter(|byte| !b"\r\n".contains(byte))
        .collect();
    haystack.windows(needle.len()).any(|window| window == needle)
        || unbroken.windows(needle.len()).any(|window| window == needle)
}
