//! Every payload of the real Drupal, against what is known about its shape.

use domain::form::UnknownFields;
use domain::form_check::{self, Declared};
use domain::quarantine::QuarantineReason;
use domain::{Remark, Value};
use kvit_intake::check::{check, receipt_address};
use kvit_intake::digest::canonical;
use kvit_intake::shapes::{Headers, SiteRules, read};

use super::{FORMS, LIMITS, checked, data, form, header, payload, reason, take};

/// The form of each case of the payloads, by the case's first letter.
const CASES: [(char, &str); 6] = [
    ('a', "anmeldelse_teknik_miljoe"),
    ('b', "tilmelding_borgermoede"),
    ('c', "byggesag_bilag"),
    ('d', "ansoegning_foreningstilskud"),
    ('e', "skyggefelter"),
    ('g', "anmeldelse_teknik_miljoe"),
];

/// What a shape comes to, without and with the form in the header.
fn expected(shape: &str, empty: bool) -> (Option<QuarantineReason>, Option<QuarantineReason>) {
    use QuarantineReason::{Malformed, UnknownForm};
    match shape {
        "toArray" | "toArray_reloaded" | "double_encoded" | "rest_get" => (None, None),
        "remote_post_json" | "remote_post_cast" | "remote_post_json_nofile" | "remote_post_cast_customdata" => {
            (None, None)
        }
        "data_only" | "remote_post_json_default_excluded" if empty => (Some(Malformed), None),
        "data_only" | "remote_post_json_default_excluded" => (Some(UnknownForm), None),
        "toArray_plain_reloaded" | "urlencoded_default" | "urlencoded_full" | "queue_row" => {
            (Some(Malformed), Some(Malformed))
        }
        other => panic!("a shape that nobody described: {other}"),
    }
}

/// Name, form and shape of every payload.
fn all() -> Vec<(String, &'static str, String)> {
    let names = std::fs::read_dir(data("drupal"))
        .expect("the payloads")
        .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned());
    let described = |name: String| {
        let stem = name.strip_suffix(".body")?.to_owned();
        let shape = stem.rsplit('-').next()?.to_owned();
        let case = stem[4..].strip_prefix("r-").unwrap_or(&stem[4..]).chars().next()?;
        let form = CASES
            .iter()
            .find(|(letter, _)| *letter == case)
            .map(|(_, form)| *form)?;
        Some((name, form, shape))
    };
    names.filter_map(described).collect()
}

#[test]
fn every_payload_is_taken_or_refused_as_its_shape_says() {
    let payloads = all();
    assert_eq!(payloads.len(), 77);
    for (name, form, shape) in payloads {
        let body = payload(&name);
        let (without, with) = expected(&shape, body == b"[]");
        assert_eq!(reason(&body, &Headers::default()), without, "{name} without a header");
        assert_eq!(reason(&body, &header(form)), with, "{name} with a header");
        if with.is_none() {
            assert_eq!(take(&body, &header(form)).unwrap().form.as_str(), form, "{name}");
        }
        if without.is_none() {
            assert_eq!(take(&body, &Headers::default()).unwrap().form.as_str(), form, "{name}");
        }
    }
}

/// P3, P4
#[test]
fn every_taken_payload_fits_its_form() {
    let custom_data = ["kommune", "form_class", "form_title", "sid_int", "is_test"].map(str::to_owned);
    for (name, id, shape) in all() {
        let Ok(incoming) = read(
            &payload(&name),
            &header(id),
            &LIMITS,
            &SiteRules {
                custom_data: &custom_data,
            },
            &|id| FORMS.get(id).cloned(),
        ) else {
            continue;
        };
        let checked =
            check(&incoming, &form(id), UnknownFields::Refuse).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        for remark in &checked.remarks {
            match remark {
                Remark::FileMissing { .. } => assert!(!checked.missing_content.is_empty(), "{name}"),
                Remark::CprInText { field } | Remark::TokenMasked { field } => {
                    assert_eq!(field, "beskrivelse", "{name}");
                }
                Remark::Missing { .. } => {
                    assert!(name.contains("kladde"), "{name}: {remark:?}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        let raw = serde_json::to_string(&checked.answers.raw).unwrap();
        for envelope in ["remote_addr", "127.0.0.1", "webform_id", "serial", "base64,iVBOR"] {
            assert!(!raw.contains(envelope), "{name}: {envelope}");
        }
        assert_eq!(
            shape.contains("customdata"),
            incoming.custom.contains_key("kommune"),
            "{name}"
        );
    }
}

/// P2
#[test]
fn one_submission_has_one_digest_within_its_shape_its_reload_and_its_cast() {
    for names in [
        &["013-", "017-"][..],
        &["022-", "031-", "033-", "130-"],
        &["040-", "044-"],
        &["045-", "052-", "128-"],
        &["069-", "073-", "127-"],
        &["074-", "082-", "129-", "075-", "076-", "079-"],
        &["009-", "102-"],
        &["002-", "003-"],
        &["010-", "011-", "103-", "104-"],
        &["014-", "015-"],
        &["023-", "024-", "028-"],
        &["041-", "042-", "043-"],
        &["046-", "047-"],
        &["060-", "061-"],
        &["066-", "067-"],
        &["070-", "071-"],
        &["098-", "099-"],
    ] {
        let digests: Vec<Vec<u8>> = names.iter().map(|name| digest(name)).collect();
        assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{names:?}");
    }
    for (one, other) in [
        ("001-", "097-"),
        ("002-", "004-"),
        ("022-", "040-"),
        ("065-", "069-"),
        ("013-", "014-"),
    ] {
        assert_ne!(digest(one), digest(other), "{one} {other}");
    }
}

fn digest(name: &str) -> Vec<u8> {
    let incoming = take(&payload(name), &Headers::default()).expect("taken");
    canonical(&form(incoming.form.as_str()), &checked(&incoming).answers)
}

#[test]
fn the_envelope_is_the_same_in_every_shape() {
    for names in [
        &["001-", "002-", "003-"][..],
        &["022-", "023-", "031-", "033-", "130-"],
        &["040-", "044-"],
        &["069-", "127-"],
    ] {
        let envelopes = names.iter().map(|name| {
            let incoming = take(&payload(name), &Headers::default()).unwrap();
            assert!(!incoming.is_draft());
            format!("{:?}", incoming.envelope)
        });
        let envelopes: Vec<String> = envelopes.collect();
        assert!(envelopes.windows(2).all(|pair| pair[0] == pair[1]), "{envelopes:#?}");
    }
    let envelope = take(&payload("040-"), &Headers::default()).unwrap().envelope;
    assert_eq!(envelope.uuid.as_deref(), Some("2493520f-1065-4c76-9f24-b775f6894a30"));
    assert_eq!(
        (envelope.sid.as_deref(), envelope.serial.as_deref()),
        (Some("7"), Some("3"))
    );
    assert_eq!(
        (envelope.entity_type.as_deref(), envelope.entity_id.as_deref()),
        (Some("node"), Some("1"))
    );
    assert_eq!(envelope.completed.unwrap().as_second(), 1_795_304_926);
    assert_eq!(envelope.langcode.as_deref(), Some("da"));
}

#[test]
fn drafts_are_told_by_the_envelope_or_the_event() {
    for name in ["059-", "060-", "061-", "065-", "066-", "067-"] {
        assert!(take(&payload(name), &Headers::default()).unwrap().is_draft(), "{name}");
    }
    let mut headers = header("ansoegning_foreningstilskud");
    assert!(!take(&payload("062-"), &headers).unwrap().is_draft());
    headers.event = Some("draft_created".to_owned());
    assert!(take(&payload("062-"), &headers).unwrap().is_draft());
}

/// P3
#[test]
fn the_token_that_remote_post_expanded_is_masked() {
    let incoming = take(&payload("014-"), &Headers::default()).unwrap();
    let checked = checked(&incoming);
    let text = format!("{:?}{}", incoming, serde_json::to_string(&checked.answers.raw).unwrap());
    assert!(!text.contains("XsnOsD_OwxDOuzV0OxFnorTmF4T6rfhL6mXGBVS7qFY"));
    let Some(Value::Text(description)) = checked.answers.get("beskrivelse") else {
        panic!("no text")
    };
    assert!(description.contains("Selvbetjening 3 *** \r\nRTL \u{202e}abc"));
    assert!(checked.remarks.contains(&Remark::TokenMasked {
        field: "beskrivelse".to_owned()
    }));
    assert!(checked.remarks.contains(&Remark::CprInText {
        field: "beskrivelse".to_owned()
    }));
}

#[test]
fn files_come_with_their_content_where_the_site_sent_it() {
    let with = checked(&take(&payload("002-"), &Headers::default()).unwrap());
    let file = with.answers.files()[0];
    assert_eq!(file.name.as_deref(), Some("hul i vejen æøå.png"));
    assert_eq!(file.mime.as_deref(), Some("image/png"));
    assert!(file.content.as_ref().unwrap().starts_with(b"\x89PNG"));
    assert!(with.missing_content.is_empty());
    assert_eq!(with.answers.raw["billede"]["included"], true);

    let without = checked(&take(&payload("004-"), &Headers::default()).unwrap());
    assert_eq!(without.missing_content[0].id.as_deref(), Some("1"));
    assert_eq!(without.answers.files()[0].name.as_deref(), Some("hul i vejen æøå.png"));

    let composite = checked(&take(&payload("046-"), &Headers::default()).unwrap());
    let missing: Vec<&str> = composite
        .missing_content
        .iter()
        .map(|file| file.field.as_str())
        .collect();
    assert_eq!(missing, ["bilagsliste.1.fil"]);
    // Three drawings, a photograph, the composite's file, the signature.
    assert_eq!(composite.answers.files().len(), 6);
    assert_eq!(composite.answers.raw["tegninger"][2]["name"], "note.txt");
    assert_eq!(composite.answers.raw["bilagsliste"][0]["fil"]["included"], false);
    assert_eq!(composite.answers.raw["underskrift"]["mime"], "image/png");
}

/// P2
#[test]
fn the_receipt_goes_to_the_address_that_the_form_names() {
    let incoming = take(&payload("013-"), &Headers::default()).unwrap();
    let form = form(incoming.form.as_str());
    assert_eq!(
        receipt_address(&checked(&incoming), &form).unwrap().expose(),
        "test+ae@example.com"
    );
    let none = take(
        b"{\"e_mail\":\"aase@example.com\\r\\nBcc: b@example.com\"}",
        &header(form.id.as_str()),
    )
    .unwrap();
    assert!(receipt_address(&checked(&none), &form).is_none());
}

#[test]
fn the_event_and_its_deadline_come_from_custom_data() {
    let incoming = take(&payload("043-"), &Headers::default()).unwrap();
    assert_eq!(
        incoming.custom_text("close").as_deref(),
        Some("2026-12-01T12:00:00+0100")
    );
    assert!(!incoming.answers.contains_key("close"));
    // Not listed in the site's `custom_data`: delivered as undeclared.
    assert_eq!(incoming.answers["form_class"], "event");
}

/// P5
#[test]
fn the_forms_of_the_payloads_load() {
    let declared = Declared {
        sites: vec!["eksempel".parse().unwrap()],
        departments: vec!["teknik-miljoe".parse().unwrap()],
        journal_targets: Vec::new(),
    };
    assert_eq!(FORMS.len(), 7);
    for form in FORMS.values() {
        let refused = form_check::check(form, &declared)
            .into_iter()
            .find(|fault| fault.weight == form_check::Weight::Refused);
        assert!(refused.is_none(), "{}: {refused:?}", form.id);
    }
}
