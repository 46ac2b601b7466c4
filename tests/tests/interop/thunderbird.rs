//! Thunderbird, the reader with a window: `make interop-thunderbird`, which installs it with a virtual screen.
//!
//! It takes a minute and some hundred megabytes of packages, so it is no part of `make test`. The picture of its window
//! stays in `target/thunderbird/window.png`, to be looked at.

use std::path::Path;
use std::process::Command;

use openpgp::SigningKey;
use serde_json::Value;

use crate::bed::{Bed, earlier, run};
use crate::certificates::Kind;
use crate::mails::{ANSWER, JSON_NAME, Letter, REFERENCE, files, samples};

/// P1
#[test]
#[ignore = "needs Thunderbird and a virtual screen: make interop-thunderbird"]
fn thunderbird_shows_the_protected_subject_the_answers_and_the_attachments() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/thunderbird");
    std::fs::create_dir_all(&folder).unwrap();
    let mut bed = Bed::new();
    // Thunderbird trusts a signature by the sender's address.
    let (certificate, secret) = openpgp::generate("Kommune <kvittering@eksempel.example>", earlier(), None).unwrap();
    bed.signer = SigningKey::read(&secret).unwrap();
    let key = Kind::Sequoia25519.make();
    let letter = Letter::Department { files: 5 };
    let mail = samples(&bed, bed.path(), Kind::Sequoia25519, &key, &[(letter, true)])
        .remove(0)
        .mail;
    for (name, content) in [
        ("key.asc", &key.secret),
        ("signer.asc", &certificate),
        ("mail.eml", &mail),
    ] {
        std::fs::write(folder.join(name), content).unwrap();
    }

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/thunderbird.py");
    let output = run(Command::new("python3").arg(script).arg(&folder)).unwrap();
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();

    println!("{seen:#}");
    let text = |name: &str| seen[name].as_str().unwrap_or_default().to_owned();
    assert!(
        text("subject").contains("Anmeldelse til Teknik & Miljø"),
        "{}",
        text("subject")
    );
    assert!(text("subject").contains(REFERENCE), "{}", text("subject"));
    assert!(text("body").contains(ANSWER.trim()), "{}", text("body"));
    assert!(text("encrypted").contains("encrypted-ok"), "{}", text("encrypted"));
    // Not only a good signature: the key that made it was accepted as verified.
    assert!(text("signed").contains("signed-verified"), "{}", text("signed"));
    let mut expected: Vec<&str> = files(letter).into_iter().map(|(name, _)| name).collect();
    expected.push(JSON_NAME);
    assert_eq!(seen["attachments"], Value::from(expected));
    println!("the window: {}", folder.join("window.png").display());
}
