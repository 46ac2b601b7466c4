//! Receipts: what they say, what they never say, and how they travel.

#[expect(dead_code, reason = "each test file uses its part of the bed")]
mod support;

use domain::{Form, Kind, Language, Submission};
use letter::Mail;
use support::*;

fn texts(bed: &Bed, submission: &Submission, form: &Form) -> (String, String) {
    let mail = python(sent(&bed.receipt(submission, form, None)));
    (part(&mail, "text/plain"), part(&mail, "text/html"))
}

/// P2, P9, G8
#[test]
fn a_receipt_informs_as_the_privacy_pages_promise() {
    let bed = Bed::new();
    let parcel = bed.receipt(&a_submission(), &a_form(), None);
    let mail = python(sent(&parcel));
    let expected = "\
Hej

Vi modtog Anmeldelse til Teknik & Miljø den 21.11.2026 kl. 14.05. Gem dit referencenummer: K-7Q4M-2XRD.

Dine oplysninger
Teknik & Miljø får dem i en krypteret mail og bruger dem til dette formål: Behandling af din anmeldelse \
(databeskyttelsesforordningens artikel 6, stk. 1, litra e). Når mails til dig og os er afsendt, sletter vi indsendelsen \
i formularsystemet. Indgår den i en sag, journaliserer vi den og gemmer den i 5 år.

Dine rettigheder
Du kan bede om at se, rette eller slette dine oplysninger, begrænse brugen af dem eller gøre indsigelse. Læs mere: \
https://eksempel.example/databeskyttelse

Skriv sikkert
Svar ikke på denne mail. Brug Digital Post: https://eksempel.example/digital-post

Databeskyttelsesrådgiver: https://dpo.eksempel.example
Klage: Datatilsynet, www.datatilsynet.dk

Venlig hilsen
Eksempel Kommune, Rådhuspladsen 1, 9999 Eksempel (dataansvarlig)
";
    assert_eq!(part(&mail, "text/plain"), expected);
    assert_eq!(
        header(&mail, "subject"),
        ["Kvittering K-7Q4M-2XRD: Vi har modtaget din formular"]
    );
    assert_eq!(header(&mail, "auto-submitted"), ["auto-generated"]);
    assert_eq!(header(&mail, "message-id"), ["<1.receipt@kvit.example>"]);
    assert_eq!(header(&mail, "to"), ["aase@example.com"]);
    assert_eq!(header(&mail, "reply-to"), Vec::<String>::new());
    assert_eq!(
        mail["tree"],
        serde_json::json!(["multipart/alternative", ["text/plain", "text/html"]])
    );
    assert!(is_plain(&parcel) && parcel.role == "receipt");
    assert_lines(sent(&parcel));
}

/// P9
#[test]
fn every_variant_names_controller_officer_rights_and_complaint_route() {
    let bed = Bed::new();
    for choice in 0_u8..32 {
        let is = |bit: u8| choice & (1 << bit) != 0;
        let (mut submission, mut form) = (a_submission(), a_form());
        submission.language = if is(0) { Language::Da } else { Language::En };
        form.discreet = is(1);
        form.kind = if is(2) { Kind::Registration } else { Kind::Message };
        submission.late = is(3);
        if is(4) {
            form.journal = None;
        }
        let (text, html) = texts(&bed, &submission, &form);
        let plain = html.replace("&#x2f;", "/");
        for fact in [
            "Eksempel Kommune, Rådhuspladsen 1, 9999 Eksempel",
            "https://dpo.eksempel.example",
            "Datatilsynet, www.datatilsynet.dk",
            "https://eksempel.example/databeskyttelse",
            "https://eksempel.example/digital-post",
            "K-7Q4M-2XRD",
        ] {
            assert!(text.contains(fact) && plain.contains(fact), "{fact}");
        }
        for told in ["Behandling af", "To act on", "artikel 6", "Article 6"] {
            assert!(
                !(form.discreet && (text.contains(told) || html.contains(told))),
                "{told}"
            );
        }
        assert!(form.discreet || text.contains("artikel 6") || text.contains("Article 6"));
        let journalised = text.contains("5 år") || text.contains("5 years");
        assert_eq!(journalised, !form.discreet && !submission.late && !is(4));
        assert!(!text.contains("none") && !html.contains("none"));
        assert!(!text.contains("\n\n\n"));
    }
}

/// P9
#[test]
fn a_discreet_receipt_names_neither_form_purpose_nor_department() {
    let bed = Bed::new();
    for language in [Language::Da, Language::En] {
        let (mut submission, mut form) = (a_submission(), a_form());
        submission.language = language;
        form.default_class = domain::form::Class::Special;
        let parcel = bed.receipt(&submission, &form, None);
        let mail = python(sent(&parcel));
        for kind in ["text/plain", "text/html"] {
            let shown = part(&mail, kind);
            for hidden in ["Teknik", "Anmeldelse", "anmeldelse", "Report", "Roads", "report"] {
                assert!(!shown.contains(hidden), "{hidden}");
            }
            assert!(shown.contains("din formular") || shown.contains("your form"));
        }
    }
}

/// E4
#[test]
fn a_late_registration_is_told_that_nothing_is_kept() {
    let (mut submission, mut form) = (a_submission(), a_form());
    (submission.late, form.kind) = (true, Kind::Registration);
    let bed = Bed::new();
    let mail = python(sent(&bed.receipt(&submission, &form, None)));
    assert_eq!(
        header(&mail, "subject"),
        ["Kvittering K-7Q4M-2XRD: Fristen var udløbet"]
    );
    assert!(part(&mail, "text/plain").contains("vi gemmer intet af det, du skrev"));
    assert!(!part(&mail, "text/plain").contains("Afbud"));
}

/// E1, E3
#[test]
fn a_registration_is_told_when_it_is_deleted_and_how_to_cancel() {
    let mut form = a_form();
    form.kind = Kind::Registration;
    let (text, _) = texts(&Bed::new(), &a_submission(), &form);
    assert!(text.contains(
        "Vi sletter indsendelsen, når fristen er udløbet og listen er trukket, og din tilmelding, når arrangementet er afviklet."
    ));
    assert!(text.contains("Afbud: https://eksempel.example/digital-post\n"));
}

/// P9
#[test]
fn a_form_that_rests_on_consent_says_how_to_withdraw_it() {
    let mut form = a_form();
    form.legal_basis = vec!["gdpr-6-1-a".to_owned()];
    let (text, html) = texts(&Bed::new(), &a_submission(), &form);
    assert!(text.contains("Du kan altid trække det tilbage: https://eksempel.example/digital-post"));
    assert!(html.contains("Du kan altid trække det tilbage"));
    assert!(!texts(&Bed::new(), &a_submission(), &a_form()).0.contains("samtykke"));
}

/// P4
#[test]
fn no_answer_and_no_cpr_number_is_ever_in_a_receipt() {
    let mut submission = a_submission();
    submission.answers = answers(&[
        ("navn", text("Qxkanarie1")),
        ("beskrivelse", text(&format!("mit nr. er {CPR}"))),
    ]);
    submission.answers.undeclared = vec![("cpr".to_owned(), serde_json::json!(CPR))];
    let bed = Bed::new();
    for discreet in [true, false] {
        let mut form = a_form();
        form.discreet = discreet;
        let (text, html) = texts(&bed, &submission, &form);
        for shown in [text, html] {
            assert!(!shown.contains("Qxkanarie1"));
            assert!(domain::cpr::find(&shown).is_empty());
        }
    }
}

/// P2
#[test]
fn a_receipt_to_a_submitter_with_a_certificate_is_encrypted() {
    let bed = Bed::new();
    let parcel = bed.receipt(&a_submission(), &a_form(), Some(&bed.sealing()));
    assert!(matches!(parcel.mail, Mail::Sealed(_)));
    assert_eq!(header(&python(sent(&parcel)), "subject"), ["Kvittering K-7Q4M-2XRD"]);
    let inner = python(&bed.open(&parcel));
    assert_eq!(
        header(&inner, "subject"),
        ["Kvittering K-7Q4M-2XRD: Vi har modtaget din formular"]
    );
    assert_eq!(inner["params"]["protected-headers"], "v1");
    assert!(part(&inner, "text/plain").starts_with("Hej\n"));
}

/// P2
#[test]
fn a_receipt_is_in_the_submitters_language() {
    let mut submission = a_submission();
    submission.language = Language::En;
    submission.test = true;
    let bed = Bed::new();
    let mail = python(sent(&bed.receipt(&submission, &a_form(), None)));
    assert_eq!(
        header(&mail, "subject"),
        ["TEST Receipt K-7Q4M-2XRD: We have received your form"]
    );
    assert!(
        part(&mail, "text/plain").contains("We received Report to Roads and Environment on 21 November 2026 at 14:05.")
    );
    assert_eq!(mail["parts"][1]["language"], "en");
}
