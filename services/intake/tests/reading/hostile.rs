//! Messages that try to be taken for something else.

use std::time::{Duration, Instant};

use domain::quarantine::QuarantineReason::{Malformed, TooLarge, UnknownForm};
use domain::{Remark, Value};
use kvit_intake::shapes::{Event, Headers, Limits, SiteRules, read};
use serde_json::{Value as Json, json};

use super::{FORMS, LIMITS, checked, form, header, made, payload, reason, take, take_made};

const TOKEN: &str = "XsnOsD_OwxDOuzV0OxFnorTmF4T6rfhL6mXGBVS7qFY";

fn bytes(message: &Json) -> Vec<u8> {
    serde_json::to_vec(message).expect("JSON")
}

#[test]
fn what_is_no_submission_is_malformed_and_what_names_no_form_is_unknown() {
    let none = Headers::default();
    let known = header("skyggefelter");
    for (body, without, with) in [
        ("{}", Some(Malformed), None),
        ("[]", Some(Malformed), None),
        (r#""[]""#, Some(Malformed), None),
        (r#""{\"notes\":\"a\"}""#, Some(UnknownForm), None),
        (r#""\"{}\"""#, Some(Malformed), Some(Malformed)),
        ("", Some(Malformed), Some(Malformed)),
        ("[1]", Some(Malformed), Some(Malformed)),
        ("[{}]", Some(Malformed), Some(Malformed)),
        ("null", Some(Malformed), Some(Malformed)),
        ("7", Some(Malformed), Some(Malformed)),
        (r#""hej""#, Some(Malformed), Some(Malformed)),
        (r#"{"notes":"a"}"#, Some(UnknownForm), None),
        (r#"{"webform_id":"ukendt","data":{}}"#, Some(UnknownForm), None),
        (r#"{"webform_id":"../../etc","navn":"a"}"#, Some(UnknownForm), None),
        (r#"{"webform_id":7,"navn":"a"}"#, Some(UnknownForm), None),
        (r#"{"webform_id":"skyggefelter"}"#, None, None),
        (r#"{"webform_id":"skyggefelter","data":[]}"#, None, None),
        (
            r#"{"entity":{"webform_id":[{"target_id":"skyggefelter"}]}}"#,
            Some(Malformed),
            Some(Malformed),
        ),
        (
            r#"{"entity":{"webform_id":[{"target_id":"skyggefelter"}]},"data":[]}"#,
            None,
            None,
        ),
        (
            r#"{"entity":{"webform_id":[{"target_id":"skyggefelter"}]},"data":"x"}"#,
            Some(Malformed),
            Some(Malformed),
        ),
        (
            r#"{"item_id":"1","name":"q","data":"s:2:\"{}\";","expire":"0","created":"1"}"#,
            Some(Malformed),
            Some(Malformed),
        ),
    ] {
        assert_eq!(reason(body.as_bytes(), &none), without, "{body} without a header");
        assert_eq!(reason(body.as_bytes(), &known), with, "{body} with a header");
    }
}

/// A form that declares `data` may get any text there.
#[test]
fn a_row_of_drupals_queue_is_told_from_a_form_with_a_field_called_data() {
    let body = br#"{"data":"s:2:\"{}\";","item_id":"1"}"#;
    assert_eq!(reason(body, &header("skyggefelter")), Some(Malformed));
    assert_eq!(take(body, &header("skyggefelter_alt")).unwrap().answers.len(), 2);
}

#[test]
fn the_header_stands_above_the_body() {
    let body = payload("001-");
    assert_eq!(reason(&body, &header("ukendt")), Some(UnknownForm));
    assert_eq!(reason(&body, &header("Å")), Some(UnknownForm));
    let mut headers = header("tomme_udeladt");
    headers.uuid = Some("10F5E3DC-6D4E-4C55-8B5C-4CD75E4E5A1F".to_owned());
    headers.event = Some("withdrawn".to_owned());
    let incoming = take(&body, &headers).unwrap();
    assert_eq!(incoming.form.as_str(), "tomme_udeladt");
    assert_eq!(
        incoming.envelope.uuid.as_deref(),
        Some("10f5e3dc-6d4e-4c55-8b5c-4cd75e4e5a1f")
    );
    assert_eq!(incoming.event, Some(Event::Withdrawn));
}

#[test]
fn a_refusal_says_the_form_where_it_is_known() {
    let refused = |body: &[u8], headers: &Headers| take(body, headers).unwrap_err().form.map(String::from);
    assert_eq!(refused(b"{", &header("skyggefelter")).as_deref(), Some("skyggefelter"));
    assert_eq!(refused(b"{", &Headers::default()), None);
    assert_eq!(
        refused(&payload("032-"), &Headers::default()).as_deref(),
        Some("tilmelding_borgermoede")
    );
    assert_eq!(refused(b"{", &header("ukendt")), None);
    let limits = Limits { max_bytes: 100 };
    let large = read(
        &payload("001-"),
        &header("skyggefelter"),
        &limits,
        &SiteRules::default(),
        &|id| FORMS.get(id).cloned(),
    );
    let large = large.unwrap_err();
    assert_eq!(
        (large.reason, large.form.map(String::from).as_deref()),
        (TooLarge, Some("skyggefelter"))
    );
}

#[test]
fn a_declared_field_of_an_envelope_name_is_an_answer_and_the_envelope_is_unknown() {
    let incoming = take(&payload("075-"), &Headers::default()).unwrap();
    assert_eq!(incoming.envelope.uuid, None);
    assert_eq!(incoming.envelope.created, None);
    assert_eq!(incoming.envelope.sid.as_deref(), Some("11"));
    assert_eq!(incoming.answers["uuid"], "ikke-et-uuid");
    assert_eq!(incoming.answers["notes"], "Borgerens egen note æøå");

    let stored = take(&payload("074-"), &Headers::default()).unwrap();
    assert_eq!(
        stored.envelope.uuid.as_deref(),
        Some("76e16a7c-5667-49e3-b3e4-f74784698488")
    );
    assert_eq!(stored.answers, incoming.answers);
}

/// Every name of the envelope's, `data`, and a text field called like a file's expansion.
#[test]
fn a_form_may_declare_every_name_of_the_envelope() {
    let answers = json!({
        "sid": "9", "serial": "x", "token": TOKEN, "webform_id": "anmeldelse_teknik_miljoe", "in_draft": 1, "langcode": "tlh",
        "data": "{\"navn\":\"x\"}", "completed": "2026-01-01", "uri": "https://example.com/", "billede": null,
        "_billede": "en tekst",
    });
    let envelope = json!({
        "uuid": "76e16a7c-5667-49e3-b3e4-f74784698488", "created": 1, "changed": 1, "current_page": "",
        "remote_addr": "127.0.0.1", "uid": 0, "entity_type": "", "entity_id": "", "locked": false, "sticky": false,
        "notes": "",
    });
    let mut flat = answers.as_object().unwrap().clone();
    flat.extend(envelope.as_object().unwrap().clone());
    // Without a header the form is whatever the citizen typed.
    let typed = json!({"webform_id": "skyggefelter_alt", "sid": "9"});
    assert_eq!(reason(&bytes(&typed), &Headers::default()), Some(UnknownForm));

    let incoming = take(&bytes(&Json::Object(flat.clone())), &header("skyggefelter_alt")).unwrap();
    assert_eq!(Json::Object(incoming.answers.clone()), answers);
    assert!(!incoming.is_draft());
    assert_eq!(
        incoming.envelope.uuid.as_deref(),
        Some("76e16a7c-5667-49e3-b3e4-f74784698488")
    );
    assert!(
        incoming.envelope.sid.is_none() && incoming.envelope.token.is_none() && incoming.envelope.langcode.is_none()
    );
    assert_eq!(checked(&incoming).remarks, []);

    let mut stored = envelope.as_object().unwrap().clone();
    stored.insert("webform_id".to_owned(), json!("skyggefelter_alt"));
    stored.insert("data".to_owned(), answers.clone());
    let stored = take(&bytes(&Json::Object(stored)), &Headers::default()).unwrap();
    assert_eq!(Json::Object(stored.answers), answers);

    flat.insert("billede".to_owned(), json!(7));
    flat.insert(
        "_billede".to_owned(),
        json!({"id": 7, "name": "a.png", "uri": "", "mime": "image/png", "uuid": "", "data": "AAAA"}),
    );
    let replaced = checked(&take(&bytes(&Json::Object(flat)), &header("skyggefelter_alt")).unwrap());
    assert_eq!(replaced.answers.files()[0].content.as_deref(), Some(&[0, 0, 0][..]));
    assert_eq!(replaced.answers.get("_billede"), Some(&Value::Empty));
}

#[test]
fn data_may_be_the_answers_or_a_group_of_that_name() {
    let form = made(
        "[fields.navn]\nlabel = { da = \"N\" }\n[fields.uuid]\nlabel = { da = \"U\" }\n[fields.data]\ntype = \"group\"\n\
         label = { da = \"D\" }\n[fields.data.fields.navn]\nlabel = { da = \"N\" }\n[fields.data.fields.alder]\nlabel = { da = \"A\" }\n",
    );
    let group = json!({"navn": "Bo", "alder": "7"});
    for message in [
        json!({"navn": "Åse", "data": group, "serial": "1", "webform_id": "prove"}),
        json!({"serial": "1", "webform_id": "prove", "data": {"navn": "Åse", "data": group, "uuid": ""}}),
        json!({"serial": "1", "webform_id": "prove", "data": {"navn": "Åse", "data": group}, "domain_id": "x"}),
        json!({"entity": {"uuid": [{"value": "u"}]}, "data": {"navn": "Åse", "data": group}}),
    ] {
        let incoming = take_made(&form, &message);
        assert_eq!(incoming.answers["navn"], "Åse", "{message}");
        assert_eq!(incoming.answers["data"], group, "{message}");
    }
    let flat = take_made(
        &form,
        &json!({"uuid": "borgerens", "data": group, "webform_id": "prove"}),
    );
    assert_eq!(
        (&flat.answers["uuid"], &flat.answers["data"]),
        (&json!("borgerens"), &group)
    );
    // A composite that the form does not know yet, beside answers that it does.
    let drift = take(
        &bytes(&json!({"webform_id": "tomme_udeladt", "navn": "Åse", "besked": "hej", "data": {"navn": "Bo"}})),
        &Headers::default(),
    );
    assert_eq!(drift.unwrap().answers["data"], json!({"navn": "Bo"}));
}

/// P3
#[test]
fn an_undeclared_field_that_cannot_be_the_envelopes_is_not_lost() {
    let message = json!({"webform_id": "tomme_udeladt", "uuid": "min egen", "created": "i går", "sid": "S-7", "in_draft": "måske"});
    let incoming = take(&bytes(&message), &Headers::default()).unwrap();
    assert_eq!(incoming.envelope.uuid, None);
    let checked = checked(&incoming);
    assert!(checked.drift);
    assert_eq!(checked.answers.undeclared.len(), 4);
}

/// P3
#[test]
fn custom_data_is_never_an_answer() {
    let listed = ["kommune".to_owned()];
    let site = SiteRules { custom_data: &listed };
    let message = json!({
        "kommune": "0000", "close": "2026-12-01", "deadline": "x", "event_held": "y", "kvit_event": "deleted",
        "webform_id": "tomme_udeladt", "navn": "Åse",
    });
    let enveloped = json!({"webform_id": "tomme_udeladt", "kvit_event": "deleted", "kommune": "1", "data": {"navn": "Åse", "close": "z"}});
    for message in [message, enveloped] {
        let incoming = read(&bytes(&message), &Headers::default(), &LIMITS, &site, &|id| {
            FORMS.get(id).cloned()
        })
        .unwrap();
        assert_eq!(incoming.answers.keys().collect::<Vec<_>>(), ["navn"], "{message}");
        assert_eq!(incoming.event, Some(Event::Deleted), "{message}");
        assert!(
            incoming.custom.contains_key("kommune") && incoming.custom.contains_key("close"),
            "{message}"
        );
    }
    let declares = made("[fields.deadline]\nlabel = { da = \"Frist\" }\n[fields.kvit_event]\nlabel = { da = \"K\" }\n");
    let incoming = take_made(&declares, &json!({"deadline": "snart", "kvit_event": "deleted"}));
    assert_eq!(incoming.answers.len(), 2);
    assert_eq!(incoming.event, None);
}

/// P3
#[test]
fn the_token_is_masked_wherever_it_stands() {
    let message = json!({
        "webform_id": "byggesag_bilag", "token": TOKEN, "skjult": format!("se {TOKEN}!"),
        "bilagsliste": [{"titel": format!("{TOKEN}{TOKEN}")}], "emner": {TOKEN: "x"},
        "ukendt": {"dybt": [[TOKEN]]}, TOKEN: "y", "fotos": [6],
        "_fotos": [{"id": 6, "name": format!("{TOKEN}.jpg"), "data": "AAAA"}],
    });
    let incoming = take(&bytes(&message), &Headers::default()).unwrap();
    let checked = checked(&incoming);
    let shown = format!("{incoming:?}{checked:?}{}", Json::Object(checked.answers.raw.clone()));
    assert!(!shown.contains(TOKEN), "{shown}");
    assert_eq!(checked.answers.raw["skjult"], "se ***!");
    assert_eq!(checked.answers.files()[0].name.as_deref(), Some("***.jpg"));
    for field in ["skjult", "bilagsliste", "emner", "ukendt"] {
        assert!(
            checked.remarks.contains(&Remark::TokenMasked {
                field: field.to_owned()
            }),
            "{field}"
        );
    }
    // A text that is no token masks nothing.
    let short = json!({"webform_id": "tomme_udeladt", "token": "e", "navn": "Hele"});
    assert_eq!(
        take(&bytes(&short), &Headers::default()).unwrap().answers["navn"],
        "Hele"
    );
}

#[test]
fn files_come_in_webform_5s_writing_too() {
    let content = json!({
        "webform_id": "tomme_udeladt", "fil": "12", "fil__name": "a.txt", "fil__mime": "text/plain", "fil__data": "aGVq",
        "navn__name": "et svar",
    });
    let checked = checked(&take(&bytes(&content), &Headers::default()).unwrap());
    let file = checked.answers.files()[0];
    assert_eq!((file.id.as_deref(), file.name.as_deref()), (Some("12"), Some("a.txt")));
    assert_eq!(file.content.as_deref(), Some(&b"hej"[..]));
    assert_eq!(
        checked.answers.undeclared,
        [("navn__name".to_owned(), json!("et svar"))]
    );
    assert!(!checked.answers.raw.contains_key("fil__data"));
}

#[test]
fn nothing_that_is_read_shows_an_answer_when_it_is_printed() {
    let message = json!({
        "webform_id": "byggesag_bilag", "token": TOKEN, "cpr": "010203-0000", "skjult": "kanariefugl", "fotos": 6,
        "_fotos": {"id": 6, "name": "kanariefugl.png", "data": "kanariefugl!"}, "areal": "kanariefugl",
    });
    let incoming = take(&bytes(&message), &Headers::default()).unwrap();
    let checked = checked(&incoming);
    let shown = format!("{incoming:?}{:?}{:?}{checked:?}", incoming.envelope, incoming.files);
    for secret in ["kanariefugl", "010203", "0102030000", TOKEN] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn the_largest_and_the_strangest_messages_are_read_within_a_second() {
    // A build that is not optimised needs a few.
    let most = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });
    let room = LIMITS.max_bytes;
    let filled = |head: &str, fill: &str, tail: &str| {
        let count = (room - head.len() - tail.len()) / fill.len();
        format!("{head}{}{tail}", fill.repeat(count)).into_bytes()
    };
    let many_keys: Vec<String> = (0..200_000).map(|n| format!("\"k{n}\":{n},")).collect();
    for (what, body) in [
        ("brackets", filled("", "[", "")),
        ("objects", filled("", "{\"a\":", "")),
        ("one text", filled("{\"navn\":\"", "a", "\"}")),
        ("digits", filled("{\"navn\":\"", "010203-000", "\"}")),
        ("escapes", filled("{\"navn\":\"", "\\\"", "\"}")),
        ("backslashes", filled("{\"navn\":\"", "\\\\", "\"}")),
        ("quotes", filled("", "\"", "")),
        ("zeros", filled("[", "0,", "0]")),
        ("keys", format!("{{{}\"navn\":1}}", many_keys.concat()).into_bytes()),
        (
            "a file",
            filled("{\"fil\":1,\"_fil\":{\"id\":1,\"data\":\"", "QUJD", "\"}}"),
        ),
    ] {
        let start = Instant::now();
        if let Ok(incoming) = take(&body, &header("tomme_udeladt")) {
            let _ = kvit_intake::digest::canonical(&form("tomme_udeladt"), &checked(&incoming).answers);
        }
        assert!(start.elapsed() < most, "{what}: {:?}", start.elapsed());
    }
}
