//! Messages that nearly are what a real site sent: their trees and their bytes changed by chance.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use domain::form::UnknownFields;
use domain::{Form, FormId};
use kvit_intake::check::{check, receipt_address};
use kvit_intake::digest::canonical;
use kvit_intake::json::{MAX_DEPTH, parse};
use kvit_intake::shapes::{Headers, Incoming, Limits, SiteRules, read};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::{fuzz, within};

const LIMITS: Limits = Limits { max_bytes: 16 << 20 };

/// Far above what a message of this size takes, in a debug build on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

static FORMS: LazyLock<BTreeMap<FormId, Arc<Form>>> = LazyLock::new(|| {
    let read = |path: PathBuf| {
        let form: Form = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        (form.id.clone(), Arc::new(form))
    };
    files("forms", "toml").into_iter().map(read).collect()
});

/// What real sites sent, those of a size that leaves time for many.
static PAYLOADS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let bodies = files("drupal", "body")
        .into_iter()
        .map(|path| std::fs::read(path).unwrap());
    bodies.filter(|body| body.len() < 200_000).collect()
});

/// The trees of those that are JSON.
static TREES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let trees = PAYLOADS.iter().filter_map(|body| serde_json::from_slice(body).ok());
    trees.collect()
});

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data").join(folder);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|ext| ext == ending))
        .collect();
    found.sort();
    found
}

/// One change of a tree.
#[derive(Debug, Clone)]
enum Change {
    Replace(Value),
    Remove,
    Rename(String),
    IntoList,
    IntoObject(String),
    AsText,
    Deepen(usize),
    Repeat(usize),
}

fn a_value() -> impl Strategy<Value = Value> {
    let texts = vec![
        "",
        "0",
        "1e999",
        "-0",
        "25.50",
        "010203-0000",
        "0102030000",
        "null",
        "\0",
        "\r\n.\r\n",
        "{}",
        "[]",
        "[current-user:mail]",
        "data:image/png;base64,AAAA",
        "data:;base64,",
        "a@b.example\r\nBcc: c@d.example",
        "9f9f12c3-3507-4327-9fe1-cd42893b4a86",
        "2026-07-01T14:30:00+0200",
        "99999999999999999999",
        "\u{feff}",
        "\u{202e}",
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| json!(number)),
        any::<u64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        proptest::sample::select(texts).prop_map(|text| json!(text)),
        any::<String>().prop_map(|text| json!(text)),
        Just(json!([])),
        Just(json!({})),
    ]
}

fn a_key() -> impl Strategy<Value = String> {
    let known = vec![
        "data",
        "entity",
        "uuid",
        "sid",
        "token",
        "value",
        "target_id",
        "webform_id",
        "in_draft",
        "changed",
        "langcode",
        "id",
        "name",
        "uri",
        "mime",
        "_billede",
        "billede__data",
        "billede__name",
        "e_mail",
        "navn",
        "deltagere",
        "0",
        "",
        "kvit_event",
        "close",
    ];
    prop_oneof![4 => proptest::sample::select(known).prop_map(str::to_owned), 1 => any::<String>()]
}

fn a_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => a_value().prop_map(Change::Replace),
        2 => Just(Change::Remove),
        2 => a_key().prop_map(Change::Rename),
        1 => Just(Change::IntoList),
        1 => a_key().prop_map(Change::IntoObject),
        1 => Just(Change::AsText),
        1 => (1..2 * MAX_DEPTH).prop_map(Change::Deepen),
        1 => (2..40usize).prop_map(Change::Repeat),
    ]
}

/// A real message with its tree changed in up to six places.
fn a_changed_tree() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<Index>(), a_change()), 1..7);
    (any::<Index>(), changes).prop_map(|(which, changes)| {
        let mut tree = which.get::<Value>(TREES.as_slice()).clone();
        for (place, change) in changes {
            let pointers = pointers(&tree);
            apply(&mut tree, place.get::<String>(&pointers), change);
        }
        serde_json::to_vec(&tree).unwrap()
    })
}

/// A real message with its bytes changed in up to four places.
fn changed_bytes() -> impl Strategy<Value = Vec<u8>> {
    let damage = (any::<Index>(), 0usize..40, proptest::collection::vec(any::<u8>(), 0..6));
    (any::<Index>(), proptest::collection::vec(damage, 1..5)).prop_map(|(which, damages)| {
        let mut body = which.get::<Vec<u8>>(PAYLOADS.as_slice()).clone();
        for (at, length, damage) in damages {
            let start = at.index(body.len() + 1);
            let end = (start + length).min(body.len());
            body.splice(start..end, damage);
        }
        body
    })
}

/// Where everything in a tree is, as JSON pointers.
fn pointers(tree: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut at = 0;
    while at < found.len() {
        let here = found[at].clone();
        match tree.pointer(&here) {
            Some(Value::Object(fields)) => {
                let escaped = |key: &String| key.replace('~', "~0").replace('/', "~1");
                found.extend(fields.keys().map(|key| format!("{here}/{}", escaped(key))));
            }
            Some(Value::Array(items)) => found.extend((0..items.len()).map(|index| format!("{here}/{index}"))),
            _ => {}
        }
        at += 1;
    }
    found
}

fn apply(tree: &mut Value, pointer: &str, change: Change) {
    if matches!(change, Change::Remove | Change::Rename(_)) {
        let Some((parent, key)) = pointer.rsplit_once('/') else {
            return;
        };
        if let Some(Value::Object(fields)) = tree.pointer_mut(parent) {
            let old = fields.shift_remove(&key.replace("~1", "/").replace("~0", "~"));
            if let (Change::Rename(new), Some(old)) = (change, old) {
                fields.insert(new, old);
            }
        }
        return;
    }
    let Some(here) = tree.pointer_mut(pointer) else { return };
    let old = here.take();
    *here = match change {
        Change::Replace(new) => new,
        Change::IntoList => json!([old]),
        Change::IntoObject(key) => Value::Object([(key, old)].into_iter().collect()),
        Change::AsText => Value::String(old.to_string()),
        Change::Deepen(depth) => (0..depth).fold(old, |inner, _| json!([inner])),
        Change::Repeat(count) => Value::Array(vec![old; count]),
        Change::Remove | Change::Rename(_) => old,
    };
}

/// Everything that intake does with a message before it composes; a digest for each form of unknown fields.
fn through(body: &[u8], headers: &Headers) -> Vec<Vec<u8>> {
    let read = read(body, headers, &LIMITS, &SiteRules::default(), &|id| {
        FORMS.get(id).cloned()
    });
    let Ok(incoming) = read else { return Vec::new() };
    let Some(form) = FORMS.get(&incoming.form) else {
        return Vec::new();
    };
    let checked = |unknown| digest(&incoming, form, unknown);
    [UnknownFields::Deliver, UnknownFields::Drop, UnknownFields::Refuse]
        .into_iter()
        .filter_map(checked)
        .collect()
}

fn digest(incoming: &Incoming, form: &Form, unknown: UnknownFields) -> Option<Vec<u8>> {
    let checked = check(incoming, form, unknown).ok()?;
    let _ = receipt_address(&checked, form);
    Some(canonical(form, &checked.answers))
}

fn never_falls_over(body: &[u8]) -> Result<(), TestCaseError> {
    let form = Headers {
        form: Some("anmeldelse_teknik_miljoe".to_owned()),
        ..Headers::default()
    };
    for headers in [Headers::default(), form] {
        let first = within(LONGEST, || through(body, &headers))?;
        prop_assert_eq!(first, through(body, &headers), "the same message is read in two ways");
    }
    Ok(())
}

/// P3
#[test]
fn no_change_of_a_real_messages_tree_brings_intake_down() {
    fuzz(&a_changed_tree(), |body| never_falls_over(&body));
}

/// P3
#[test]
fn no_change_of_a_real_messages_bytes_brings_intake_down() {
    fuzz(&changed_bytes(), |body| never_falls_over(&body));
}

/// P3: the limits before the parser let nothing through that it reads otherwise.
#[test]
fn what_the_limits_let_through_is_what_the_parser_reads() {
    let texts = prop_oneof![
        2 => changed_bytes(),
        1 => a_changed_tree(),
        2 => "[\\[\\]{}\",:\\\\u0-9a-e \n-]{0,60}".prop_map(String::into_bytes),
    ];
    fuzz(&texts, |body| {
        let parsed = within(LONGEST, || parse(&body, LIMITS.max_bytes))?;
        let known: Result<Value, _> = serde_json::from_slice(&body);
        if let Ok(parsed) = parsed {
            prop_assert_eq!(Some(parsed), known.ok());
        }
        Ok(())
    });
}
