//! Answers against their form: what is coerced, what is remarked upon, what a strict form refuses.

use domain::form::UnknownFields;
use domain::quarantine::QuarantineReason::{InvalidField, MissingField, UnknownField};
use domain::{Form, Remark, Value};
use kvit_intake::check::{Checked, check};
use kvit_intake::digest::{canonical, field_canonicals};
use serde_json::{Value as Json, json};
use std::sync::Arc;

use super::{made, take_made};

fn a_form() -> Arc<Form> {
    let fields = [
        ("tekst", "text"),
        ("mail", "email"),
        ("tlf", "phone"),
        ("cpr", "cpr"),
        ("cvr", "cvr"),
        ("tal", "number"),
        ("ja", "boolean"),
        ("dato", "date"),
        ("fil", "file"),
    ];
    let fields = fields.map(|(key, kind)| format!("[fields.{key}]\nlabel = {{ da = \"{key}\" }}\ntype = \"{kind}\"\n"));
    let group = "[fields.rækker]\nlabel = { da = \"r\" }\ntype = \"group\"\nmultiple = true\n[fields.rækker.fields.navn]\n\
                 label = { da = \"n\" }\nrequired = true\n[fields.rækker.fields.alder]\nlabel = { da = \"a\" }\ntype = \"number\"\n\
                 [fields.rækker.fields.fil]\nlabel = { da = \"f\" }\ntype = \"file\"\n[fields.valg]\nlabel = { da = \"v\" }\nmultiple = true\n\
                 [fields.sum]\nlabel = { da = \"s\" }\ncomputed = true\n";
    made(&format!("{}{group}", fields.concat()).replace("rækker", "raekker"))
}

fn checked(message: &Json) -> Checked {
    let form = a_form();
    check(&take_made(&form, message), &form, UnknownFields::Deliver).expect("not strict")
}

fn value(message: &Json, key: &str) -> Value {
    checked(message).answers.get(key).expect("declared").clone()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// P4
#[test]
fn values_are_coerced_to_their_declared_type() {
    for (message, expected) in [
        (json!({"tekst": "a\0\u{1b}\r\n"}), text("a\0\u{1b}\r\n")),
        (json!({"tekst": 25.5}), text("25.5")),
        (json!({"tekst": true}), text("1")),
        (json!({"tekst": ["a"]}), text("a")),
        (json!({"tekst": null}), Value::Empty),
        (json!({"tekst": [["", null], []]}), Value::Empty),
        (json!({"cpr": "010203-0000"}), text("0102030000")),
        (json!({"cpr": "610203 0000"}), text("6102030000")),
        (json!({"tal": "25.50"}), Value::Number("25.5".to_owned())),
        (json!({"tal": 1e3}), Value::Number("1000".to_owned())),
        (json!({"ja": "1"}), Value::Boolean(true)),
        (json!({"ja": ""}), Value::Boolean(false)),
        (json!({"ja": 0}), Value::Boolean(false)),
        (
            json!({"dato": "2026-07-01T14:30:00+0200"}),
            text("2026-07-01T14:30:00+0200"),
        ),
        (json!({"valg": "a"}), Value::List(vec![text("a")])),
        (json!({"valg": ["a", "", 1]}), Value::List(vec![text("a"), text("1")])),
        (
            json!({"valg": {"10": "b", "3": "a"}}),
            Value::List(vec![text("a"), text("b")]),
        ),
    ] {
        let key = message.as_object().unwrap().keys().next().unwrap();
        assert_eq!(value(&message, key), expected, "{message}");
        assert_eq!(checked(&message).remarks, [], "{message}");
    }
}

/// P3
#[test]
fn a_value_of_another_type_is_delivered_with_a_remark_and_refused_when_strict() {
    let mut strict = (*a_form()).clone();
    strict.strict = true;
    let strict = Arc::new(strict);
    for (message, expected) in [
        (json!({"mail": "aase"}), text("aase")),
        (json!({"tlf": "ring til mor"}), text("ring til mor")),
        (json!({"cpr": "320203-0000"}), text("320203-0000")),
        (json!({"cvr": "123"}), text("123")),
        (json!({"tal": "mange"}), text("mange")),
        (json!({"tal": true}), Value::Boolean(true)),
        (json!({"ja": "ja"}), text("ja")),
        (json!({"ja": 2}), text("2")),
        (json!({"dato": "i morgen"}), text("i morgen")),
        (json!({"fil": "tegning.pdf"}), text("tegning.pdf")),
        (json!({"tekst": {"value": "a"}}), Value::Other(json!({"value": "a"}))),
        (json!({"tekst": ["a", "b"]}), Value::List(vec![text("a"), text("b")])),
        (json!({"raekker": "en tekst"}), Value::List(vec![text("en tekst")])),
    ] {
        let key = message.as_object().unwrap().keys().next().unwrap();
        let done = checked(&message);
        assert_eq!(done.answers.get(key), Some(&expected), "{message}");
        assert_eq!(done.remarks, [Remark::WrongType { field: key.clone() }], "{message}");
        assert_eq!(done.answers.raw[key], message[key], "{message}");
        let refusal = check(&take_made(&strict, &message), &strict, UnknownFields::Deliver).unwrap_err();
        assert_eq!(refusal.reason, InvalidField, "{message}");
        assert_eq!(refusal.form.as_ref(), Some(&strict.id));
    }
}

#[test]
fn rows_of_a_group_follow_the_form_and_untouched_ones_are_left_out() {
    let message =
        json!({"raekker": [{"alder": "", "navn": ""}, {"alder": "9", "navn": "Ida", "ny": "x"}, {"alder": 4}]});
    let done = checked(&message);
    let row = |navn: Value, alder: &str| {
        vec![
            ("navn".to_owned(), navn),
            ("alder".to_owned(), Value::Number(alder.to_owned())),
            ("fil".to_owned(), Value::Empty),
        ]
    };
    let mut first = row(text("Ida"), "9");
    first.push(("ny".to_owned(), text("x")));
    assert_eq!(
        done.answers.get("raekker"),
        Some(&Value::List(vec![
            Value::Group(first),
            Value::Group(row(Value::Empty, "4"))
        ]))
    );
    assert_eq!(
        done.remarks,
        [
            Remark::Undeclared {
                field: "raekker.1.ny".to_owned()
            },
            Remark::Missing {
                field: "raekker.2.navn".to_owned()
            }
        ]
    );
    assert_eq!(done.answers.raw, *message.as_object().unwrap());
    assert!(done.drift);
    let single = checked(&json!({"raekker": {"navn": "Ida"}}));
    assert!(matches!(single.answers.get("raekker"), Some(Value::List(rows)) if rows.len() == 1));
}

#[test]
fn a_group_whose_fields_are_numbered_is_no_list() {
    let form = made(
        "[fields.skema]\nlabel = { da = \"S\" }\ntype = \"group\"\n[fields.skema.fields.0]\nlabel = { da = \"0\" }\n\
         [fields.skema.fields.1]\nlabel = { da = \"1\" }\n",
    );
    let group = |message| {
        check(&take_made(&form, &message), &form, UnknownFields::Refuse)
            .unwrap()
            .answers
    };
    let listed = group(json!({"skema": ["3", "1"]}));
    let keyed = group(json!({"skema": {"1": "1", "0": "3"}}));
    assert_eq!(listed.declared, keyed.declared);
    assert_eq!(
        listed.get("skema"),
        Some(&Value::Group(vec![
            ("0".to_owned(), text("3")),
            ("1".to_owned(), text("1"))
        ]))
    );
}

/// P3
#[test]
fn undeclared_fields_are_delivered_dropped_or_refused() {
    let form = a_form();
    let message =
        json!({"tekst": "a", "ny": {"b": 1}, "tom": "", "raekker": [{"navn": "Ida", "skjult": "x", "tom": []}]});
    let with = |unknown| check(&take_made(&form, &message), &form, unknown);

    let delivered = with(UnknownFields::Deliver).unwrap();
    assert_eq!(delivered.answers.undeclared, [("ny".to_owned(), json!({"b": 1}))]);
    assert!(delivered.drift);
    assert!(
        delivered
            .remarks
            .contains(&Remark::Undeclared { field: "ny".to_owned() })
    );

    let dropped = with(UnknownFields::Drop).unwrap();
    let raw = Json::Object(dropped.answers.raw);
    assert!(
        raw.get("ny").is_none() && raw["raekker"][0].get("skjult").is_none(),
        "{raw}"
    );
    assert!(dropped.answers.undeclared.is_empty() && dropped.remarks.is_empty() && dropped.drift);

    assert_eq!(with(UnknownFields::Refuse).unwrap_err().reason, UnknownField);
    let empty = take_made(&form, &json!({"ny": "", "anden": [null]}));
    assert!(!check(&empty, &form, UnknownFields::Refuse).unwrap().drift);
}

#[test]
fn a_missing_required_field_is_remarked_upon_and_refused_when_strict() {
    let mut form = (*made("[fields.navn]\nlabel = { da = \"N\" }\nrequired = true\n")).clone();
    let missing = [Remark::Missing {
        field: "navn".to_owned(),
    }];
    for message in [json!({}), json!({"navn": ""}), json!({"navn": [null]})] {
        form.strict = false;
        let lenient = Arc::new(form.clone());
        let done = check(&take_made(&lenient, &message), &lenient, UnknownFields::Deliver).unwrap();
        assert_eq!(done.remarks, missing, "{message}");
        form.strict = true;
        let strict = Arc::new(form.clone());
        let refusal = check(&take_made(&strict, &message), &strict, UnknownFields::Deliver).unwrap_err();
        assert_eq!(refusal.reason, MissingField, "{message}");
    }
}

/// P4
#[test]
fn a_cpr_number_is_flagged_wherever_it_is_not_declared() {
    for (message, field) in [
        (json!({"tekst": "mit nr. er 010203-0000."}), "tekst"),
        (json!({"tekst": {"value": ["0102030000"]}}), "tekst"),
        (json!({"tekst": 1_002_030_000}), "tekst"),
        (json!({"tlf": "010203 0000"}), "tlf"),
        (json!({"tal": "mit er 010203-0000"}), "tal"),
        (json!({"raekker": [{"navn": "010203-0000"}]}), "raekker.1.navn"),
        (json!({"ny": {"a": [{"b": "010203 - 0000"}]}}), "ny"),
        (
            json!({"fil": {"id": 1, "name": "010203-0000.pdf", "data": "AAAA"}}),
            "fil",
        ),
    ] {
        let flagged = Remark::CprInText {
            field: field.to_owned(),
        };
        assert!(checked(&message).remarks.contains(&flagged), "{message}");
    }
    for message in [
        json!({"cpr": "010203-0000"}),
        json!({"tekst": "ordre 1234567890123, 2026-11-22 10:00"}),
        json!({"fil": "data:image/png;base64,0102030000AA"}),
    ] {
        let flagged = checked(&message)
            .remarks
            .iter()
            .any(|remark| matches!(remark, Remark::CprInText { .. }));
        assert!(!flagged, "{message}");
    }
}

#[test]
fn a_file_without_readable_content_is_missing() {
    let missing = |message: &Json| {
        let done = checked(message);
        (
            done.missing_content.len(),
            done.remarks.contains(&Remark::WrongType {
                field: "fil".to_owned(),
            }),
        )
    };
    assert_eq!(missing(&json!({"fil": 3})), (1, false));
    assert_eq!(missing(&json!({"fil": 0})), (0, false));
    assert_eq!(missing(&json!({"fil": ""})), (0, false));
    assert_eq!(
        missing(&json!({"fil": 3, "_fil": {"id": 3, "name": "a", "data": ""}})),
        (1, false)
    );
    assert_eq!(
        missing(&json!({"fil": 3, "_fil": {"id": 3, "name": "a", "data": "*"}})),
        (1, true)
    );
    assert_eq!(
        missing(&json!({"fil": "3", "_fil": {"id": 3, "name": "a", "data": "AAAA"}})),
        (0, false)
    );
    assert_eq!(
        missing(&json!({"fil": 3, "_fil": {"id": 4, "name": "a", "data": "AAAA"}})),
        (1, true),
        "a second file"
    );
    assert_eq!(
        missing(&json!({"_fil": {"id": 4, "name": "a", "data": "AAAA"}})),
        (0, false)
    );
    assert_eq!(missing(&json!({"fil": "data:image/png;base64,AAAA"})), (0, false));
    let only_content = checked(&json!({"tekst": "a", "_fil": {"id": 4, "name": "a", "data": "AAAA"}}));
    assert_eq!(only_content.answers.raw["fil"]["included"], true);
    let inside =
        checked(&json!({"raekker": [{"navn": "x", "fil": 4}], "_fil": {"id": 4, "name": "a", "data": "AAAA"}}));
    assert!(inside.missing_content.is_empty());
}

fn digest(message: &Json) -> Vec<u8> {
    canonical(&a_form(), &checked(message).answers)
}

/// P2
#[test]
fn the_digest_sees_the_answers_and_nothing_else() {
    let base = json!({"tekst": "a", "tal": "25.50", "ja": 0, "cpr": "010203-0000", "raekker": [{"navn": "Ida", "alder": "9"}]});
    for same in [
        json!({"raekker": [{"alder": 9, "navn": "Ida", "fil": null}, {"navn": ""}], "cpr": "0102030000", "ja": false, "tal": 25.5, "tekst": "a"}),
        json!({"tekst": "a", "tal": "25.5", "cpr": "010203 0000", "raekker": {"navn": "Ida", "alder": 9}, "sum": "98", "ny": "x"}),
    ] {
        assert_eq!(digest(&base), digest(&same), "{same}");
    }
    let changed = |key: &str, to: Json| {
        let mut message = base.clone();
        message[key] = to;
        message
    };
    for other in [
        changed("tekst", json!("b")),
        changed("tekst", json!("a ")),
        changed("tal", json!("25.51")),
        changed("ja", json!(1)),
        changed("cpr", json!(null)),
        changed("raekker", json!([{"navn": "Ida", "alder": "9"}, {"navn": "Bo"}])),
        changed("fil", json!(3)),
        changed("valg", json!(["a"])),
    ] {
        assert_ne!(digest(&base), digest(&other), "{other}");
    }
    let (with, without) = (
        json!({"fil": 3, "_fil": {"id": 3, "name": "a", "data": "AAAA"}}),
        json!({"fil": 3}),
    );
    assert_ne!(
        digest(&with),
        digest(&without),
        "the content that came later makes a new version"
    );
    assert_ne!(digest(&json!({"valg": ["a", "b"]})), digest(&json!({"valg": ["ab"]})));
    assert_ne!(
        digest(&json!({"valg": ["at1:b"]})),
        digest(&json!({"valg": ["a", "b"]}))
    );
}

#[test]
fn what_changed_is_found_field_by_field() {
    let form = a_form();
    let fields = |message: &Json| field_canonicals(&form, &checked(message).answers);
    let before = fields(&json!({"tekst": "a", "tal": "1.0", "sum": "x"}));
    let after = fields(&json!({"tekst": "b", "tal": 1, "sum": "y", "ja": true}));
    let changed: Vec<&str> = before
        .iter()
        .zip(&after)
        .filter(|(a, b)| a.1 != b.1)
        .map(|(a, _)| a.0.as_str())
        .collect();
    assert_eq!(changed, ["tekst", "ja"]);
}
