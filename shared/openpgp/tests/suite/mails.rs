//! The sealed mail: RFC 3156 to the letter, nothing readable on the wire, and no other way to make one.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use crate::common::{Gpg, department, key, mailbox, outer, sealing};
use domain::EmailAddress;
use openpgp::{Mailbox, NotSealed, Outer, SealError, SealedMail, UnsealKey};

const INNER: &str =
    "Content-Type: text/plain; charset=utf-8\r\nSubject: Anmeldelse\r\n\r\nHul i vejen på Østergade\r\n";

static FROM: LazyLock<Mailbox> = LazyLock::new(mailbox);
static TO: LazyLock<EmailAddress> = LazyLock::new(department);

fn composed<'a>(change: impl FnOnce(&mut Outer<'a>)) -> Result<String, SealError> {
    let (certificate, _) = key("Afdeling");
    let mut outer: Outer<'a> = outer(&FROM, &TO);
    change(&mut outer);
    let mail = SealedMail::compose(&outer, INNER.as_bytes(), &sealing(&[certificate]))?;
    Ok(String::from_utf8(mail.into_bytes()).unwrap())
}

/// The armored message in a mail.
fn message(mail: &str) -> &str {
    let from = mail.find("-----BEGIN PGP MESSAGE-----").unwrap();
    let to = mail.find("-----END PGP MESSAGE-----").unwrap() + "-----END PGP MESSAGE-----".len();
    &mail[from..to]
}

fn stored(mail: &str) -> Result<SealedMail, NotSealed> {
    SealedMail::from_stored(mail.as_bytes().to_vec())
}

/// P1
#[test]
fn the_mail_is_pgp_mime_and_gnupg_opens_it() {
    let (from, to, (certificate, secret)) = (mailbox(), department(), key("Afdeling"));
    let mail = SealedMail::compose(&outer(&from, &to), INNER.as_bytes(), &sealing(&[certificate])).unwrap();
    let text = String::from_utf8(mail.as_bytes().to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let (fixed, content_type) = head.split_once("MIME-Version: 1.0\r\n").unwrap();
    assert_eq!(
        fixed,
        "Date: Sat, 21 Nov 2026 12:00:00 +0000\r\n\
         From: \"Eksempel Kommune\"\r\n <kvittering@eksempel.example>\r\n\
         To: teknik@eksempel.example\r\n\
         Reply-To: teknik@eksempel.example\r\n\
         Subject: Formular K-7Q4M-2XRD\r\n\
         Message-ID: <1f2e3d@kvit.eksempel.example>\r\n"
    );
    assert!(content_type.starts_with("Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\";"));
    assert!(body.contains("Content-Type: application/pgp-encrypted\r\n") && body.contains("\r\n\r\nVersion: 1\r\n"));
    assert!(body.contains("name=\"encrypted.asc\"") && body.contains("filename=\"encrypted.asc\""));

    let gpg = Gpg::new();
    gpg.import(&secret);
    assert_eq!(
        gpg.run(&["--decrypt"], message(&text).as_bytes()).stdout,
        INNER.as_bytes()
    );
    assert_eq!(
        UnsealKey::read(&secret)
            .unwrap()
            .open(message(&text).as_bytes(), 1000)
            .unwrap(),
        INNER.as_bytes()
    );
}

/// P1
#[test]
fn pythons_strictest_parser_reads_the_mail_without_a_defect() {
    const CHECK: &str = r#"
import email, email.policy, sys
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.strict)
assert mail.get_content_type() == "multipart/encrypted", mail.get_content_type()
assert mail.get_param("protocol") == "application/pgp-encrypted"
version, message = mail.iter_parts()
assert version.get_content_type() == "application/pgp-encrypted"
assert version.get_payload().strip() == "Version: 1"
assert message.get_filename() == "encrypted.asc"
assert message.get_payload().startswith("-----BEGIN PGP MESSAGE-----")
for part in mail.walk():
    assert not part.defects, part.defects
for name, value in mail.items():
    assert not value.defects, (name, value.defects)
sys.stdout.write(mail["From"].addresses[0].display_name + "\n" + mail["Subject"] + "\n" + mail["References"])
"#;
    let from = Mailbox::parse("Rådhuset i Blåbærkøbing, \"veje\" <a@b.example>").unwrap();
    let subject = "Formular på dansk med en meget, meget lang tekst om Østergade og 🫐";
    let (to, (certificate, _)) = (department(), key("Afdeling"));
    let references = ["a@b.example".to_owned(), "c@d.example".to_owned()];
    let outer = Outer {
        subject,
        references: &references,
        auto_submitted: true,
        ..outer(&from, &to)
    };
    let mail = SealedMail::compose(&outer, INNER.as_bytes(), &sealing(&[certificate])).unwrap();
    assert!(SealedMail::from_stored(mail.as_bytes().to_vec()).is_ok());

    let mut python = Command::new("python3")
        .args(["-X", "utf8", "-c", CHECK])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    python.stdin.take().unwrap().write_all(mail.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let name = from.name.as_deref().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{name}\n{subject}\n<a@b.example> <c@d.example>")
    );
}

/// P1
#[test]
fn every_line_ends_with_crlf_and_is_short() {
    let inner = "x".repeat(300_000);
    let (from, to, (certificate, _)) = (mailbox(), department(), key("Afdeling"));
    let mail = SealedMail::compose(&outer(&from, &to), inner.as_bytes(), &sealing(&[certificate])).unwrap();
    let text = str::from_utf8(mail.as_bytes()).unwrap();
    assert!(text.ends_with("--\r\n"));
    for line in text.split("\r\n") {
        assert!(
            line.len() <= 78 && line.is_ascii() && !line.contains(['\r', '\n']),
            "{line}"
        );
    }
}

/// P1
#[test]
fn nothing_of_the_content_is_readable() {
    let mail = composed(|_| {}).unwrap();
    for canary in [
        "Hul",
        "vejen",
        "Anmeldelse",
        "Østergade",
        "SHVsIGkgdmVq",
        "dWwgaSB2ZWpl",
        "bCBpIHZlamVu",
    ] {
        assert!(!mail.contains(canary), "{canary}");
    }
}

/// P1
#[test]
fn a_value_that_could_add_a_header_is_refused() {
    for bad in [
        "\r\nBcc: x@y.example",
        "a\nb",
        "a\rb",
        "a\0b",
        "a\u{85}b",
        "a\u{2028}b",
        "\u{7f}",
        "\t",
    ] {
        let refused =
            |result: Result<String, SealError>| assert!(matches!(result, Err(SealError::Header(_))), "{bad:?}");
        refused(composed(|outer| outer.subject = bad));
        refused(composed(|outer| outer.message_id = bad));
        let id = format!("{bad}@kvit.example");
        refused(composed(|outer| outer.message_id = &id));
        let references = ["a@b.example".to_owned(), id.clone()];
        refused(composed(|outer| outer.references = &references));
        let named = Mailbox {
            name: Some(bad.to_owned()),
            ..mailbox()
        };
        refused(composed(|outer| outer.from = &named));
    }
    for bad in ["", "no-at-sign", "a@b@c", "<a@b>", "a b@c"] {
        assert!(
            matches!(
                composed(|outer| outer.message_id = bad),
                Err(SealError::Header("message identifier"))
            ),
            "{bad:?}"
        );
    }
}

/// P1
#[test]
fn what_was_composed_is_taken_back_from_the_store() {
    let references = ["a@b.example".to_owned()];
    let plain = composed(|_| {}).unwrap();
    let full = composed(|outer| {
        outer.references = &references;
        outer.auto_submitted = true;
        outer.subject = "Blåbær";
    });
    let bare = composed(|outer| outer.reply_to = None).unwrap();
    for mail in [plain, full.unwrap(), bare] {
        assert_eq!(stored(&mail).unwrap().as_bytes(), mail.as_bytes());
    }
    let idn = EmailAddress::parse("søren@blåbærgrød.example").unwrap();
    assert!(stored(&composed(|outer| outer.to = &idn).unwrap()).is_ok());
}

/// P1
#[test]
fn a_plaintext_mail_in_the_store_is_refused() {
    let mail = composed(|_| {}).unwrap();
    let (head, _) = mail.split_once("\r\n\r\n").unwrap();
    let plain_head = &head[..head.find("Content-Type").unwrap()];
    for wrong in [
        String::new(),
        "hej".to_owned(),
        format!("{plain_head}Content-Type: text/plain\r\n\r\nHul i vejen\r\n"),
        format!("{head}\r\n\r\nHul i vejen\r\n"),
        format!("{head}\r\n\r\n"),
        head.to_owned(),
        mail.replace("multipart/encrypted", "multipart/mixed"),
        mail.replace("multipart/encrypted", "multipart/alternative"),
        mail.replacen(
            "Content-Type: multipart",
            "Content-Type: text/plain\r\nContent-Type: multipart",
            1,
        ),
    ] {
        assert!(
            matches!(stored(&wrong), Err(NotSealed::Header | NotSealed::Parts)),
            "{wrong}"
        );
    }
}

/// P1
#[test]
fn something_more_beside_the_openpgp_message_is_refused() {
    let mail = composed(|_| {}).unwrap();
    let boundary = &mail[mail.find("boundary=\"").unwrap() + 10..][..34];
    let closing = format!("--{boundary}--\r\n");
    let another = format!("--{boundary}\r\nContent-Type: text/plain\r\n\r\nHul i vejen\r\n{closing}");
    let first = format!("\r\n\r\n--{boundary}\r\n");
    for wrong in [
        mail.replace(&closing, &another),
        format!("{mail}efterord\r\n"),
        mail.replacen(&first, &format!("\r\n\r\nforord\r\n--{boundary}\r\n"), 1),
        mail.replacen(
            &first,
            &format!("\r\n\r\n{}", another.replace(&closing, &first[4..])),
            1,
        ),
        mail.replace("Version: 1\r\n", "Version: 1\r\nHul i vejen\r\n"),
        mail.replace("OpenPGP encrypted message", "Hul i vejen"),
        mail.replace("application/octet-stream; ", "text/plain; "),
        mail.replace("filename=\"encrypted.asc\"", "filename=\"0101700000.pdf\""),
    ] {
        assert_ne!(wrong, mail);
        assert!(matches!(stored(&wrong), Err(NotSealed::Parts)), "{wrong}");
    }
}

/// A message that a key opens, and a password too.
fn also_by_password(content: &[u8]) -> String {
    let (_, secret) = key("Afdeling");
    let gpg = Gpg::new();
    gpg.import(&secret);
    let arguments = [
        "--passphrase",
        "1234",
        "--armor",
        "--symmetric",
        "--encrypt",
        "-r",
        "Afdeling",
    ];
    String::from_utf8(gpg.run(&arguments, content).stdout).unwrap()
}

/// P1
#[test]
fn a_second_part_that_is_not_encrypted_is_refused() {
    use sequoia_openpgp::serialize::stream::{Armorer, Encryptor, LiteralWriter, Message};

    let mail = composed(|_| {}).unwrap();
    let with = |content: &str| mail.replace(message(&mail), content.trim_end().replace('\n', "\r\n").as_str());
    let finish = |message: Message<'_>| {
        let mut literal = LiteralWriter::new(message).build().unwrap();
        literal.write_all(b"Hul i vejen").unwrap();
        literal.finalize().unwrap();
    };
    let mut literal = Vec::new();
    finish(Armorer::new(Message::new(&mut literal)).build().unwrap());
    let mut password = Vec::new();
    let armorer = Armorer::new(Message::new(&mut password)).build().unwrap();
    finish(Encryptor::with_passwords(armorer, ["1234"]).build().unwrap());

    let also_by_password = also_by_password(b"Hul i vejen");

    let lines: Vec<&str> = message(&mail).split("\r\n").collect();
    let changed = |change: &dyn Fn(&mut Vec<&str>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        lines.join("\n")
    };
    for content in [
        "Hul i vejen".to_owned(),
        String::from_utf8(literal).unwrap(),
        String::from_utf8(password).unwrap(),
        also_by_password,
        changed(&|lines| lines.insert(1, "Comment: Hul i vejen")),
        changed(&|lines| lines[1] = "Comment: Hul i vejen"),
        changed(&|lines| lines[1] = " "),
        changed(&|lines| lines.insert(4, "Hul i vejen")),
        changed(&|lines| lines.insert(4, "")),
        changed(&|lines| lines.insert(0, "Hul i vejen")),
        changed(&|lines| lines.push("Hul i vejen")),
        changed(&|lines| lines.extend(lines.clone())),
        changed(&|lines| lines.truncate(2)),
        changed(&|lines| drop(lines.drain(2..lines.len() - 1))),
        changed(&|lines| drop(lines.drain(5..7))),
        changed(&|lines| {
            lines.remove(2);
        }),
    ] {
        let wrong = with(&content);
        assert_ne!(wrong, mail);
        assert!(matches!(stored(&wrong), Err(NotSealed::Content(_))), "{wrong}");
    }
}

/// P1
#[test]
fn a_header_that_a_sealed_mail_does_not_have_is_refused() {
    let mail = composed(|_| {}).unwrap();
    for wrong in [
        format!("X-Navn: Aase\r\n{mail}"),
        format!("Bcc: x@y.example\r\n{mail}"),
        mail.replacen("Subject: ", "Subject: Hul\r\nSubject: ", 1),
        mail.replacen("To: teknik@eksempel.example\r\n", "", 1),
        mail.replacen("Message-ID", "Message-Id", 1),
        mail.replacen("MIME-Version: 1.0\r\n", "", 1),
        format!(" foldet\r\n{mail}"),
    ] {
        assert_ne!(wrong, mail);
        assert!(matches!(stored(&wrong), Err(NotSealed::Header)), "{wrong}");
    }
    for wrong in [
        mail.replace("\r\n", "\n"),
        mail.replacen("Formular", "For\0mular", 1),
        mail.replacen("Formular", &"x".repeat(1000), 1),
        format!("{mail}\r"),
        format!("{mail}\n"),
        mail.replacen("\r\n", "\r\r\n", 1),
        mail.replacen("\r\n", "\n\r", 1),
        mail.replacen("Formular", "For\rmular", 1).replacen("\r\n", "\n", 1),
    ] {
        assert!(matches!(stored(&wrong), Err(NotSealed::Lines)));
    }
    assert!(matches!(SealedMail::from_stored(vec![0xff; 10]), Err(NotSealed::Lines)));
}

/// P1
#[test]
fn a_stored_mail_that_was_cut_short_is_refused_wherever_it_was_cut() {
    let mail = composed(|_| {}).unwrap();
    for length in 0..mail.len() {
        assert!(stored(&mail[..length]).is_err(), "{length}");
    }
}

#[test]
fn nothing_of_a_mail_is_shown() {
    let mail = stored(&composed(|_| {}).unwrap()).unwrap();
    assert_eq!(
        format!("{mail:?}"),
        format!("SealedMail({} octets)", mail.as_bytes().len())
    );
}
