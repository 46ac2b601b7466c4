//! G2: `kvit evidence` on a copied folder, without configuration, database or network.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use evidence::{Leaf, Log, LogKey, Signed};
use tempfile::TempDir;

/// A year's log, and the key and the checkpoint that an officer kept.
struct Office {
    dir: TempDir,
}

impl Office {
    fn new() -> Self {
        let office = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let signed = grow(&office.log(), 300);
        fs::copy(office.log().dir().join("verifier.key"), office.path("key")).unwrap();
        fs::write(office.path("kept"), signed.note).unwrap();
        office
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self) -> Log {
        Log::of_year(&self.path("evidence"), 2026)
    }

    /// `kvit evidence …` in this folder: its exit status, what it prints, and what it says is wrong.
    fn kvit(&self, line: &str) -> (i32, String, String) {
        let ran = Command::new(env!("CARGO_BIN_EXE_kvit"))
            .arg("evidence")
            .args(line.split(' '))
            .current_dir(self.dir.path())
            .env_remove("KVIT_CONFIG")
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
    }
}

/// Deletions of submissions that are called by their number.
fn grow(log: &Log, size: u64) -> Signed {
    let mut appender = log.append(None).unwrap();
    for index in 0..size {
        let leaf = Leaf {
            actor: None,
            at: "2026-11-22T10:00:00Z".parse().unwrap(),
            duty: None,
            event: "deleted".to_owned(),
            id: Some(index.to_string()),
            mac: None,
            rule: Some("discharged".to_owned()),
        };
        appender.push(leaf.to_bytes()).unwrap();
    }
    appender.sign("kvit.example/2026", &LogKey::from_seed([9; 32])).unwrap()
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[40] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_folder_that_holds_is_said_to_hold() {
    let office = Office::new();
    let (code, out, err) = office.kvit("verify evidence --key key --against kept");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("300 leaves, whole and signed; continues the kept checkpoint"),
        "{out}"
    );
    let (_, out, _) = office.kvit("verify evidence/2026 --key key --json");
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["logs"][0]["size"], 300);
    // The key may be given itself.
    let key = fs::read_to_string(office.path("key")).unwrap();
    assert_eq!(office.kvit(&format!("verify evidence --key {}", key.trim())).0, 0);
}

#[test]
fn every_fault_is_65_and_a_sentence() {
    let office = Office::new();
    let bundle = office.log().dir().join("tile/entries/000");
    flip(&bundle);
    let (code, out, err) = office.kvit("verify evidence --key key");
    assert_eq!((code, out.as_str()), (65, ""));
    assert!(err.contains("tile/entries/000"), "{err}");
    let (code, out, _) = office.kvit("verify evidence --key key --json");
    assert!(code == 65 && out.contains("\"valid\": false"), "{out}");
    flip(&bundle);

    // A shorter log, signed by the same key.
    fs::remove_dir_all(office.path("evidence")).unwrap();
    grow(&office.log(), 200);
    assert_eq!(office.kvit("verify evidence --key key").0, 0);
    let (code, _, err) = office.kvit("verify evidence --key key --against kept");
    assert!(code == 65 && err.contains("cut off"), "{err}");

    let stranger = LogKey::from_seed([1; 32]).verifier("kvit.example/2026").unwrap();
    let (code, _, err) = office.kvit(&format!("verify evidence --key {stranger}"));
    assert!(code == 65 && err.contains("no signature of the given key"), "{err}");
    assert_eq!(office.kvit("verify nowhere --key key").0, 65);
    assert_eq!(office.kvit("verify evidence --key nonsense").0, 64);
    assert_eq!(office.kvit("verify evidence --key key --against nowhere").0, 74);
}

/// D1
#[test]
fn a_deletion_certificate_is_accepted_without_the_folder_and_refused_when_changed() {
    let office = Office::new();
    let (code, _, err) = office.kvit("prove 7 --dir evidence --out certificate.json");
    assert_eq!((code, err.as_str()), (0, ""));
    fs::remove_dir_all(office.path("evidence")).unwrap();
    let (code, out, _) = office.kvit("verify certificate.json --key key --against kept");
    assert_eq!(code, 0);
    assert!(
        out.contains("submission 7 was recorded as deleted at 2026-11-22T10:00:00Z"),
        "{out}"
    );

    let certificate = fs::read_to_string(office.path("certificate.json")).unwrap();
    let changed = certificate.replace("\"submission\": \"7\"", "\"submission\": \"8\"");
    fs::write(office.path("certificate.json"), changed).unwrap();
    let (code, _, err) = office.kvit("verify certificate.json --key key");
    assert!(code == 65 && err.contains("not what its leaf says"), "{err}");
}

#[test]
fn what_is_not_in_the_log_has_no_certificate() {
    let office = Office::new();
    let (code, _, err) = office.kvit("prove 4711 --dir evidence");
    assert!(
        code == 65 && err.contains("holds nothing about this submission"),
        "{err}"
    );
}
