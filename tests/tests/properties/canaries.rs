//! P1: random answers, labels and file names are never in what goes to the relay, however written.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{File, Form, Language, Reason, Remark, Submission, Value};
use kvit_cli::demo::inbox::{Behaviour, Times};
use kvit_tests::{Message, Peers, Service, TestBed, report, seen};
use letter::{Notice, Parcel};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::desk::{Desk, a_form, a_submission};
use crate::fuzz;
use crate::wire::{Tap, Wire};

/// How many canaries one submission holds.
const CANARIES: usize = 12;

/// What differs from mail to mail.
#[derive(Debug, Clone)]
struct Draw {
    canaries: Vec<String>,
    /// Stands before each answer, so that canaries come at every column.
    before: String,
    files: usize,
    signed: bool,
    own_certificate: bool,
    english: bool,
    withdrawn: bool,
    late: bool,
    /// Small enough that the files make several mails.
    split: bool,
}

/// Sixteen letters and digits, some beyond ASCII.
fn a_canary() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-zA-Z0-9]{16}", 1 => "[a-zA-Z0-9]{5}[æøåÆØÅéß][a-zA-Z0-9]{4}[æøåÆØÅéß][a-zA-Z0-9]{5}"]
}

fn a_draw() -> impl Strategy<Value = Draw> {
    let canaries = proptest::collection::vec(a_canary(), CANARIES);
    let flags = proptest::collection::vec(any::<bool>(), 6);
    (canaries, "[a-z \n]{0,90}", 0usize..6, flags).prop_map(|(canaries, before, files, flags)| Draw {
        canaries,
        before,
        files,
        signed: flags[0],
        own_certificate: flags[1],
        english: flags[2],
        withdrawn: flags[3],
        late: flags[4],
        split: flags[5],
    })
}

impl Draw {
    fn form(&self) -> Form {
        let of = |n: usize| json!({"da": self.canaries[n], "en": self.canaries[n]});
        a_form(&json!({
            "tekst": {"label": of(0), "section": of(1)},
            "valg": {"label": {"da": "Valg"}, "options": {"a": of(2)}},
            "gruppe": {"label": {"da": "Gruppe"}, "type": "group", "multiple": true, "fields": {"et": {"label": of(3)}}},
            "filer": {"label": {"da": "Filer"}, "type": "file", "multiple": true},
            "tom": {"label": of(4)}
        }))
    }

    fn submission(&self) -> Submission {
        let text = |n: usize| Value::Text(format!("{}{}", self.before, self.canaries[n]));
        let file = |n: usize| {
            Value::File(File {
                id: None,
                name: Some(format!("{} {n}.pdf", self.canaries[9])),
                mime: Some("application/pdf".to_owned()),
                content: Some(format!("{n}{}", self.canaries[10]).repeat(400).into_bytes().into()),
            })
        };
        let declared = [
            ("tekst", text(5)),
            ("valg", Value::Text("a".to_owned())),
            (
                "gruppe",
                Value::List(vec![Value::Group(vec![("et".to_owned(), text(6))])]),
            ),
            ("filer", Value::List((0..self.files).map(file).collect())),
            ("tom", Value::Empty),
        ];
        let mut submission = a_submission();
        submission.answers.declared = declared.map(|(key, value)| (key.to_owned(), value)).to_vec();
        submission.answers.undeclared = vec![(self.canaries[7].clone(), json!({"a": self.canaries[8]}))];
        submission.answers.raw.insert("a".to_owned(), json!(self.canaries[11]));
        submission.remarks = vec![
            Remark::CprInText {
                field: "tekst".to_owned(),
            },
            Remark::Undeclared {
                field: self.canaries[7].clone(),
            },
        ];
        submission.language = if self.english { Language::En } else { Language::Da };
        submission.withdrawn = self.withdrawn;
        submission.late = self.late;
        submission
    }

    /// Whether a canary stands in the mails: file names and contents do where there are files.
    fn is_sent(&self, canary: usize) -> bool {
        self.files > 0 || !matches!(canary, 9 | 10)
    }
}

/// P1: the letters, over an SMTP connection.
#[test]
fn no_answer_label_or_file_name_is_in_the_stream_of_any_letter() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let desk = Desk::new();
    let wire = RefCell::new(runtime.block_on(Wire::open()).unwrap());
    let send = |parcel: &Parcel| {
        let sent = runtime.block_on(wire.borrow_mut().send(parcel));
        sent.map_err(|error| TestCaseError::fail(format!("{error:#}")))
    };
    fuzz(&a_draw(), |draw| {
        let (form, submission) = (draw.form(), draw.submission());
        let most = if draw.split { 50_000 } else { 20_000_000 };
        let mails = desk.department(&submission, &form, draw.signed, most).unwrap();
        let opened: Vec<u8> = mails.iter().flat_map(|mail| desk.open(mail)).collect();
        // The control: where there is no encryption, each is found.
        let sent: Vec<&str> = (0..CANARIES)
            .filter(|n| draw.is_sent(*n))
            .map(|n| draw.canaries[n].as_str())
            .collect();
        prop_assert_eq!(seen(&opened, &draw.canaries), sent);

        let sealing = desk.sealing(draw.signed);
        let receipt = desk.receipt(&submission, &form, draw.own_certificate.then_some(&sealing));
        let reference = submission.reference.clone();
        let notice = match draw.files {
            0 => Notice::ReceiptUndeliverable { reference },
            1 => Notice::Withdrawn { reference },
            _ => Notice::MailHeld {
                reference,
                reason: Reason::Expired,
            },
        };
        for parcel in mails.iter().chain([&receipt, &desk.notice(&notice, draw.late)]) {
            let stream = send(parcel)?;
            prop_assert!(
                stream.len() > parcel.mail.as_bytes().len(),
                "the stream was not written down"
            );
            prop_assert_eq!(
                seen(&stream, &draw.canaries),
                Vec::<&str>::new(),
                "in the {}",
                parcel.role
            );
        }
        Ok(())
    });
}

/// The form of the bed, its labels canaries.
fn kanarie(canaries: &[String]) -> String {
    format!(
        "id = \"kanarie\"\nsite = \"eksempel\"\ntitle = {{ da = \"Anmeldelse\" }}\ndepartment = \"teknik-miljoe\"\n\
         purpose = {{ da = \"at behandle din anmeldelse\" }}\nlegal_basis = [\"gdpr-6-1-e\"]\n\
         [fields.e_mail]\nlabel = {{ da = \"E-mail\" }}\ntype = \"email\"\n\
         [fields.navn]\nlabel = {{ da = \"{}\" }}\nsection = {{ da = \"{}\" }}\n\
         [fields.fil]\nlabel = {{ da = \"{}\" }}\ntype = \"file\"\n\
         [receipt]\nto = \"e_mail\"\n[journal]\nwhen = \"never\"\n",
        canaries[0], canaries[1], canaries[2]
    )
}

/// P1, P2, D3: the services themselves, from the site's queue to the relay, by the mailer's own connections.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_label_or_file_name_is_in_what_the_mailer_says() -> anyhow::Result<()> {
    let mut runner = TestRunner::default();
    let mut draw = || a_draw().new_tree(&mut runner).expect("a draw").current().canaries;
    let tap = Tap::new().await?;
    let bed = TestBed::prepare_with(&Peers {
        relay: Some(tap.port()?),
        ..Peers::default()
    })
    .await?;
    tap.carry_to(bed.inbox.address());
    let refuse = Behaviour::Refuse {
        recipients: vec!["nummer3@borger.example".to_owned()],
        code: 550,
        text: "5.1.1 no such mailbox".to_owned(),
    };
    bed.inbox.behave(refuse, Times::All);
    let mut canaries = draw();
    canaries.truncate(3);
    bed.add_form("kanarie", &kanarie(&canaries))?;
    let running = bed.run(&Service::ALL).await?;
    for n in 0..12 {
        let drawn = draw();
        let file = json!({"id": 1, "name": format!("{}.png", drawn[1]), "mime": "image/png",
                          "data": STANDARD.encode(drawn[2].repeat(50))});
        let mut message = report(&format!("5b5e4f3e-0000-4000-8000-0000000000{n:02}"), &json!({}));
        message["webform_id"] = json!("kanarie");
        message["data"] = json!({"e_mail": format!("nummer{n}@borger.example"), "navn": drawn[0], "fil": 1, "_fil": file,
                                 "uventet": drawn[3]});
        bed.publish(&Message::json(&message)).await?;
        canaries.extend_from_slice(&drawn[..4]);
    }
    bed.until_deleted(12).await?;
    // Twelve mails, eleven receipts, and the notice of the one that was refused.
    let mails = bed.inbox.wait_for(24, kvit_tests::DEADLINE).await?;
    running.stop().await?;

    let key = bed.key("teknik-miljoe");
    let opened: Vec<String> = mails
        .iter()
        .filter_map(|mail| kvit_tests::opened(mail, key).ok())
        .map(|entity| entity.text("text/plain"))
        .collect();
    let said = tap.take();
    // The controls: each canary was in a mail, as somebody who has the key sees, and the stream is whole.
    assert_eq!(seen(opened.concat().as_bytes(), &canaries).len(), canaries.len() - 12);
    assert_eq!(seen(&said, &["nummer1@borger.example".to_owned()]).len(), 1);
    assert_eq!(seen(&said, &canaries), Vec::<&str>::new());
    Ok(())
}
