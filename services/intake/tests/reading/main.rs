//! Reading and checking messages: what real sites sent, what hostile ones might, and whatever chance makes.

mod answers;
mod hostile;
mod payloads;
mod properties;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use domain::form::UnknownFields;
use domain::quarantine::QuarantineReason;
use domain::{Form, FormId};
use kvit_intake::check::{Checked, check};
use kvit_intake::shapes::{Headers, Incoming, Limits, Refusal, SiteRules, read};
use serde_json::Value;

/// The limit that the documentation shows.
const LIMITS: Limits = Limits { max_bytes: 16 << 20 };

/// The forms that the payloads belong to.
static FORMS: LazyLock<BTreeMap<FormId, Arc<Form>>> = LazyLock::new(|| {
    let files = std::fs::read_dir(data("forms"))
        .expect("the forms")
        .map(|entry| entry.expect("a file").path());
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a form file");
        let form: Form = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (form.id.clone(), Arc::new(form))
    };
    files
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .map(read)
        .collect()
});

fn data(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data")
        .join(folder)
}

fn form(id: &str) -> Arc<Form> {
    let id = id.parse().expect("an id");
    Arc::clone(FORMS.get(&id).unwrap_or_else(|| panic!("no form {id}")))
}

/// A form made for one test.
fn made(toml: &str) -> Arc<Form> {
    let head = "id = \"prove\"\nsite = \"eksempel\"\ntitle = { da = \"Prøve\" }\ndepartment = \"teknik-miljoe\"\n\
                purpose = { da = \"prøve\" }\nlegal_basis = [\"gdpr-6-1-e\"]\n";
    Arc::new(toml::from_str(&format!("{head}{toml}")).expect("a form"))
}

/// The bytes of the payload whose name begins like this.
fn payload(name: &str) -> Vec<u8> {
    let mut found = std::fs::read_dir(data("drupal"))
        .expect("the payloads")
        .map(|entry| entry.expect("a file").path());
    let path = found.find(|path| {
        path.file_name()
            .is_some_and(|file| file.to_string_lossy().starts_with(name))
    });
    std::fs::read(path.unwrap_or_else(|| panic!("no payload {name}"))).expect("a payload")
}

fn header(form: &str) -> Headers {
    Headers {
        form: Some(form.to_owned()),
        ..Headers::default()
    }
}

/// Reads with the forms of the payloads and a site without custom data.
fn take(body: &[u8], headers: &Headers) -> Result<Incoming, Refusal> {
    read(body, headers, &LIMITS, &SiteRules::default(), &|id| {
        FORMS.get(id).cloned()
    })
}

/// Reads a message for a form made by [`made`], with the form's name in its header.
fn take_made(form: &Arc<Form>, message: &Value) -> Incoming {
    let body = serde_json::to_vec(message).expect("JSON");
    read(&body, &header("prove"), &LIMITS, &SiteRules::default(), &|_| {
        Some(Arc::clone(form))
    })
    .expect("taken")
}

/// Why a message is refused.
fn reason(body: &[u8], headers: &Headers) -> Option<QuarantineReason> {
    take(body, headers).err().map(|refusal| refusal.reason)
}

/// Checks a message that must be taken, undeclared fields being delivered.
fn checked(incoming: &Incoming) -> Checked {
    check(incoming, &form(incoming.form.as_str()), UnknownFields::Deliver).expect("a message that is not strict")
}
