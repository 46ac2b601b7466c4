//! Whatever chance makes: nothing panics, nothing runs long, and the digest sees neither order nor emptiness.

use domain::form::UnknownFields;
use kvit_intake::check::{check, receipt_address};
use kvit_intake::digest::canonical;
use kvit_intake::shapes::{Headers, Incoming};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{FORMS, form, header, payload, take};

/// Keys that mean something, here or in the forms, and some that do not.
const KEYS: [&str; 30] = [
    "uuid",
    "sid",
    "serial",
    "token",
    "data",
    "entity",
    "webform_id",
    "in_draft",
    "created",
    "langcode",
    "notes",
    "uri",
    "navn",
    "e_mail",
    "adresse",
    "billede",
    "_billede",
    "billede__data",
    "deltagere",
    "antal",
    "alder",
    "cpr",
    "value",
    "target_id",
    "id",
    "name",
    "close",
    "0",
    "1",
    "item_id",
];

/// Texts that mean something.
const TEXTS: [&str; 12] = [
    "",
    "0",
    "1",
    "25.50",
    "skyggefelter_alt",
    "tilmelding_borgermoede",
    "010203-0000",
    "AAAA",
    "data:a/b;base64,AAAA",
    "XsnOsD_OwxDOuzV0OxFnorTmF4T6rfhL6mXGBVS7qFY",
    "2026-07-01T14:30:00+0200",
    "9f9f12c3-3507-4327-9fe1-cd42893b4a86",
];

fn a_key() -> impl Strategy<Value = String> {
    prop_oneof![8 => proptest::sample::select(&KEYS[..]).prop_map(str::to_owned), 1 => any::<String>()]
}

fn a_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        proptest::sample::select(&TEXTS[..]).prop_map(|text| json!(text)),
        any::<String>().prop_map(|text| json!(text)),
    ];
    scalar.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            proptest::collection::vec((a_key(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn a_message() -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::vec((a_key(), a_value()), 0..12).prop_map(|fields| fields.into_iter().collect())
}

fn all_forms() -> impl Strategy<Value = String> {
    let ids: Vec<String> = FORMS.keys().map(ToString::to_string).collect();
    proptest::sample::select(ids)
}

/// Does all that intake does with what was read.
fn through(incoming: &Incoming) {
    let form = form(incoming.form.as_str());
    for unknown in [UnknownFields::Deliver, UnknownFields::Drop, UnknownFields::Refuse] {
        if let Ok(checked) = check(incoming, &form, unknown) {
            let _ = canonical(&form, &checked.answers);
            let _ = receipt_address(&checked, &form);
        }
    }
}

fn digest(message: &Map<String, Value>, id: &str) -> Option<Vec<u8>> {
    let form = form(id);
    let incoming = take(&serde_json::to_vec(message).expect("JSON"), &header(id)).ok()?;
    let checked = check(&incoming, &form, UnknownFields::Deliver).ok()?;
    Some(canonical(&form, &checked.answers))
}

/// The same object with its keys backwards, in every object.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .rev()
                .map(|(key, value)| (key.clone(), reversed(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(reversed).collect()),
        scalar => scalar.clone(),
    }
}

/// Values for the fields of one form, as a site would send them.
fn a_registration() -> impl Strategy<Value = Map<String, Value>> {
    let text = || {
        prop_oneof![
            Just(json!("")),
            Just(Value::Null),
            any::<String>().prop_map(|text| json!(text))
        ]
    };
    let number = || {
        prop_oneof![
            Just(json!("")),
            (0..1000i32).prop_map(|n| json!(n.to_string())),
            (0..1000i32).prop_map(|n| json!(n))
        ]
    };
    let flag = || {
        proptest::sample::select(vec![
            json!(0),
            json!("0"),
            json!(false),
            json!(1),
            json!("1"),
            json!(true),
            json!(""),
        ])
    };
    let row = (text(), number(), flag(), text())
        .prop_map(|(navn, alder, vegetar, skole)| json!({"deltager_navn": navn, "alder": alder, "vegetar": vegetar, "skole": skole}));
    let fields = (
        text(),
        number(),
        proptest::collection::vec(row, 0..4),
        proptest::collection::vec(text(), 0..4),
        flag(),
    );
    fields.prop_map(|(navn, antal, deltagere, hold, samtykke)| {
        let message = json!({"navn": navn, "antal": antal, "deltagere": deltagere, "hold": hold, "samtykke": samtykke});
        message.as_object().expect("an object").clone()
    })
}

/// Without what says nothing, in every object.
fn without_empties(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !kvit_intake::coerce::is_empty(value));
            Value::Object(kept.map(|(key, value)| (key.clone(), without_empties(value))).collect())
        }
        Value::Array(items) => Value::Array(
            items
                .iter()
                .filter(|item| !kvit_intake::coerce::is_empty(item))
                .map(without_empties)
                .collect(),
        ),
        scalar => scalar.clone(),
    }
}

/// Every scalar as text, as Drupal reloads it.
fn reloaded(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| (key.clone(), reloaded(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(reloaded).collect()),
        Value::Null => json!(""),
        scalar => json!(kvit_intake::coerce::text(scalar)),
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..2000)) {
        for headers in [Headers::default(), header("skyggefelter_alt")] {
            if let Ok(incoming) = take(&body, &headers) {
                through(&incoming);
            }
        }
    }

    #[test]
    fn no_damage_to_a_real_message_makes_it_panic(
        name in proptest::sample::select(vec!["001-", "014-", "028-", "033-", "046-", "128-"]),
        at in any::<prop::sample::Index>(),
        damage in proptest::collection::vec(any::<u8>(), 0..4),
        length in 0usize..40,
    ) {
        let mut body = payload(name);
        let start = at.index(body.len());
        let end = (start + length).min(body.len());
        body.splice(start..end, damage);
        if let Ok(incoming) = take(&body, &Headers::default()) {
            through(&incoming);
        }
    }

    #[test]
    fn no_message_makes_it_panic(message in a_message(), id in all_forms()) {
        let body = serde_json::to_vec(&message).unwrap();
        for headers in [Headers::default(), header(&id)] {
            if let Ok(incoming) = take(&body, &headers) {
                through(&incoming);
            }
        }
    }

    /// P2
    #[test]
    fn the_digest_ignores_the_order_of_keys(message in a_message(), id in all_forms()) {
        let turned = reversed(&Value::Object(message.clone()));
        prop_assert_eq!(digest(&message, &id), digest(turned.as_object().unwrap(), &id));
    }

    /// P2
    #[test]
    fn the_digest_ignores_what_is_empty_and_how_it_is_written(message in a_registration()) {
        let id = "tilmelding_borgermoede";
        let value = Value::Object(message.clone());
        let expected = digest(&message, id);
        prop_assert!(expected.is_some());
        prop_assert_eq!(&expected, &digest(without_empties(&value).as_object().unwrap(), id));
        prop_assert_eq!(&expected, &digest(reloaded(&value).as_object().unwrap(), id));
    }

    /// P3
    #[test]
    fn every_key_of_a_taken_message_is_an_answer_or_known_to_be_none(message in a_registration(), extra in "[a-z]{3,9}_x") {
        let mut message = message;
        message.insert(extra.clone(), json!("noget"));
        let incoming = take(&serde_json::to_vec(&message).unwrap(), &header("tilmelding_borgermoede")).unwrap();
        let checked = check(&incoming, &form("tilmelding_borgermoede"), UnknownFields::Deliver).unwrap();
        prop_assert!(checked.drift);
        prop_assert_eq!(checked.answers.raw.len(), message.len());
        prop_assert_eq!(checked.answers.undeclared, vec![(extra, json!("noget"))]);
    }
}
