//! The built command, as an operator runs it: in a folder, with arguments, looking at output and exit status.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const OK: i32 = 0;
const USAGE: i32 = 64;
const DATA: i32 = 65;
const UNAVAILABLE: i32 = 69;
const CONFIG: i32 = 78;

/// A folder that `kvit init` made.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let made = kvit(&["init", folder.path().to_str().unwrap()]);
        assert_eq!(made.status.code(), Some(OK), "{}", words(&made));
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn kvit(&self, arguments: &[&str]) -> Output {
        let config = self.path().join("kvit.toml");
        let mut all = vec!["--config", config.to_str().unwrap()];
        all.extend(arguments);
        kvit(&all)
    }

    fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.kvit(&all);
        (output.status.code(), json(&output))
    }

    fn replace(&self, file: &str, from: &str, to: &str) -> usize {
        let file = self.path().join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        let at = text.find(from).unwrap();
        std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
        text[..at].matches('\n').count() + 1
    }
}

fn kvit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kvit"))
        .args(arguments)
        .env_remove("KVIT_CONFIG")
        .output()
        .unwrap()
}

fn words(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{out}{err}")
}

/// Standard output as the one JSON value that it must be.
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(output)))
}

fn exports() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/drupal/forms");
    let mut exports: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .collect();
    exports.sort();
    exports
}

#[test]
fn what_init_makes_passes_check_at_once() {
    let folder = Folder::new();
    let (code, checked) = folder.json(&["check"]);
    assert_eq!(code, Some(OK), "{checked}");
    assert_eq!(checked, serde_json::json!({"ok": true, "findings": []}));
    let flag = folder.kvit(&["--check-config"]);
    assert_eq!(flag.status.code(), Some(OK), "{}", words(&flag));
}

#[test]
fn init_says_what_it_made_and_refuses_to_do_it_twice() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("kvit");
    let made = json(&kvit(&["init", dir.to_str().unwrap(), "--json"]));
    for file in made["files"].as_array().unwrap() {
        assert!(Path::new(file.as_str().unwrap()).is_file(), "{file}");
    }
    let again = kvit(&["init", dir.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(USAGE));
    assert!(
        words(&again).contains("already has kvit.toml, secrets"),
        "{}",
        words(&again)
    );
}

#[test]
fn a_broken_configuration_is_named_by_file_and_line() {
    let folder = Folder::new();
    let line = folder.replace("kvit.toml", "prefetch = 64", "prefech = 64");
    let form = folder.replace(
        "forms/anmeldelse_teknik_miljoe.toml",
        "teknik-miljoe",
        "teknik-og-miljoe",
    );
    let checked = folder.kvit(&["check"]);
    assert_eq!(checked.status.code(), Some(CONFIG));
    let said = words(&checked);
    assert!(said.contains(&format!("kvit.toml:{line}: ")), "{said}");
    assert!(said.contains("(did you mean `prefetch`?)"), "{said}");
    assert!(
        said.contains(&format!("anmeldelse_teknik_miljoe.toml:{form}: ")),
        "{said}"
    );

    let (code, checked) = folder.json(&["check"]);
    assert_eq!((code, &checked["ok"]), (Some(CONFIG), &Value::Bool(false)));
    assert_eq!(checked["findings"][0]["line"], line);
    let other = folder.kvit(&["status"]);
    assert_eq!(other.status.code(), Some(CONFIG), "{}", words(&other));
}

/// G9
#[test]
fn a_controller_that_is_not_decided_refuses_to_start() {
    let folder = Folder::new();
    let line = folder.replace("kvit.toml", "name = \"Eksempel Kommune\"", "name = \"TODO\"");
    let checked = folder.kvit(&["check"]);
    assert_eq!(checked.status.code(), Some(CONFIG));
    assert!(
        words(&checked).contains(&format!("kvit.toml:{line}: ")),
        "{}",
        words(&checked)
    );
}

#[test]
fn a_certificate_that_cannot_be_used_is_data_refused() {
    let folder = tempfile::tempdir().unwrap();
    let made = "2020-01-01T00:00:00Z".parse().unwrap();
    let day = jiff::SignedDuration::from_hours(24);
    let (certificate, _) = openpgp::generate("Udløbet <u@eksempel.example>", made, Some(day)).unwrap();
    let file = folder.path().join("expired.asc");
    std::fs::write(&file, certificate).unwrap();
    let checked = kvit(&["key", "check", file.to_str().unwrap(), "--json"]);
    assert_eq!(checked.status.code(), Some(DATA));
    let value = json(&checked);
    assert_eq!((&value["state"], &value["usable"]), (&"expired".into(), &false.into()));
    assert_eq!(value["fingerprint"].as_str().unwrap().len(), 40);

    let configured = Folder::new();
    let added = configured.kvit(&["key", "add", "teknik-miljoe", file.to_str().unwrap()]);
    assert_eq!(added.status.code(), Some(DATA), "{}", words(&added));
}

#[test]
fn a_certificate_that_is_added_is_listed_beside_the_configured_one() {
    let folder = Folder::new();
    let file = folder.path().join("keys/intake.asc");
    let checked = folder.kvit(&["key", "check", file.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(OK), "{}", words(&checked));
    let (code, added) = folder.json(&["key", "add", "teknik-miljoe", file.to_str().unwrap()]);
    assert_eq!(code, Some(OK), "{added}");
    let (code, listed) = folder.json(&["key", "list"]);
    assert_eq!(code, Some(OK));
    let sources: Vec<_> = listed.as_array().unwrap().iter().map(|row| &row["source"]).collect();
    assert_eq!(sources, ["file", "added"]);
    assert_eq!(listed[1]["fingerprint"], added["fingerprint"]);
    assert_eq!(listed[0]["state"], "usable");
    let unknown = folder.kvit(&["key", "add", "ukendt", file.to_str().unwrap()]);
    assert_eq!(unknown.status.code(), Some(DATA));
    assert!(
        words(&unknown).contains("there are teknik-miljoe"),
        "{}",
        words(&unknown)
    );
}

#[test]
fn a_key_test_without_intake_says_what_to_start() {
    let tested = Folder::new().kvit(&["key", "test", "teknik-miljoe"]);
    assert_eq!(tested.status.code(), Some(UNAVAILABLE));
    assert!(words(&tested).contains("kvit up"), "{}", words(&tested));
}

#[test]
fn every_exported_webform_becomes_a_form_file_that_waits_for_decisions() {
    let folder = Folder::new();
    let example = folder.path().join("forms/anmeldelse_teknik_miljoe.toml");
    std::fs::remove_file(example).unwrap();
    let exports = exports();
    assert!(exports.len() >= 7, "{exports:?}");
    for export in &exports {
        // The second and later ones, while the first is undecided and the configuration does not load.
        let (code, written) = folder.json(&["form", "import", export.to_str().unwrap()]);
        assert_eq!(code, Some(OK), "{}: {written}", export.display());
        let file = written["file"].as_str().unwrap();
        assert!(Path::new(file).starts_with(folder.path().join("forms")), "{file}");
        let todos = written["todos"].as_array().unwrap().len();
        assert!(
            todos > 0 && std::fs::read_to_string(file).unwrap().contains("TODO"),
            "{file}"
        );

        let twice = folder.kvit(&["form", "import", export.to_str().unwrap()]);
        assert_eq!(twice.status.code(), Some(DATA), "{}", words(&twice));
        let (code, updated) = folder.json(&["form", "import", "--update", export.to_str().unwrap()]);
        assert_eq!((code, &updated["changed"]), (Some(OK), &false.into()), "{updated}");
    }
    assert_eq!(folder.kvit(&["check"]).status.code(), Some(CONFIG));
}

#[test]
fn a_form_is_imported_without_a_configuration_where_its_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("form.toml");
    let export = exports().remove(0);
    let export = export.to_str().unwrap();
    let missing = folder.path().join("kvit.toml");
    let missing = missing.to_str().unwrap();
    let refused = kvit(&["--config", missing, "form", "import", export]);
    assert_eq!(refused.status.code(), Some(CONFIG));
    assert!(words(&refused).contains("--out"), "{}", words(&refused));
    let written = kvit(&[
        "--config",
        missing,
        "form",
        "import",
        export,
        "--site",
        "eksempel",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(written.status.code(), Some(OK), "{}", words(&written));
    assert!(std::fs::read_to_string(out).unwrap().contains("site = \"eksempel\""));
}

#[test]
fn forms_are_listed_with_the_classes_of_their_fields() {
    let (code, listed) = Folder::new().json(&["form", "list"]);
    assert_eq!(code, Some(OK));
    assert_eq!(listed[0]["id"], "anmeldelse_teknik_miljoe");
    assert_eq!(listed[0]["department"], "teknik-miljoe");
    assert_eq!(listed[0]["classes"]["ordinary"], listed[0]["fields"]);
}

#[test]
fn a_schedule_says_when_it_runs_next_in_local_time() {
    let folder = Folder::new();
    let from = ["--from", "2026-10-24T12:00:00Z", "-n", "2"];
    let (code, next) = folder.json(&[&["schedule", "next", "keys"], &from[..]].concat());
    assert_eq!(code, Some(OK));
    assert_eq!(
        next,
        serde_json::json!([
            {"local": "2026-10-25T06:00:00+01:00", "utc": "2026-10-25T05:00:00Z"},
            {"local": "2026-10-26T06:00:00+01:00", "utc": "2026-10-26T05:00:00Z"},
        ])
    );
    let (_, expression) = folder.json(&[&["schedule", "next", "0 6 * * *"], &from[..]].concat());
    assert_eq!(expression, next);
    for wrong in ["nightly", "61 6 * * *"] {
        let refused = folder.kvit(&["schedule", "next", wrong]);
        assert_eq!(refused.status.code(), Some(USAGE), "{}", words(&refused));
    }
    let (code, listed) = folder.json(&["schedule", "list"]);
    assert_eq!(code, Some(OK));
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == "purge" && one["last"].is_null())
    );
}

#[test]
fn the_doctor_names_what_is_away_and_what_to_do() {
    let folder = Folder::new();
    let closed = "127.0.0.1:1";
    let broker = format!("broker.url=amqp://guest:hemmelig@{closed}");
    let relay = format!("smtp.url=smtp://{closed}");
    let examined = folder.kvit(&["--set", &broker, "--set", &relay, "doctor", "--json"]);
    assert_eq!(examined.status.code(), Some(UNAVAILABLE), "{}", words(&examined));
    let value = json(&examined);
    for (check, state) in [
        ("broker", "fail"),
        ("relay", "fail"),
        ("store", "ok"),
        ("vault and keys", "ok"),
    ] {
        let probes = value["checks"].as_array().unwrap();
        let probe = probes.iter().find(|probe| probe["check"] == check).unwrap();
        assert_eq!(probe["state"], state, "{probe}");
        assert_eq!(probe["next"].is_string(), state == "fail", "{probe}");
    }
    assert!(!words(&examined).contains("hemmelig"));

    folder.replace("kvit.toml", "prefetch = 64", "prefech = 64");
    assert_eq!(folder.kvit(&["doctor"]).status.code(), Some(CONFIG));
}

#[test]
fn what_is_no_command_is_a_mistake_of_usage() {
    let wrong: [&[&str]; 5] = [
        &[],
        &["frobnicate"],
        &["init"],
        &["key", "check"],
        &["quarantine", "discard"],
    ];
    for arguments in wrong {
        let output = kvit(arguments);
        assert_eq!(output.status.code(), Some(USAGE), "{arguments:?}: {}", words(&output));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

/// The promise is 50 ms; a machine that compiles at the same time gets ten times that.
#[test]
fn help_comes_at_once() {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let asked = Instant::now();
        let help = kvit(&["--help"]);
        best = best.min(asked.elapsed());
        assert_eq!(help.status.code(), Some(OK));
        assert!(words(&help).contains("Usage: kvit"));
    }
    println!("kvit --help took {best:?}");
    assert!(best < Duration::from_millis(500), "{best:?}");
}
