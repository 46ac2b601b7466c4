//! Events, registrations and their deletion: each way has an event of its own, with a registration that stays and one
//! that is withdrawn.

use jiff::{SignedDuration, Timestamp};
use kvit_tests::console::form;
use kvit_tests::{Entity, Message, TestBed, kvit, opened, report, until};
use serde_json::{Value, json};
use vault::Code;

use super::{Ways, apart, same};
use crate::events::code_in;

const DEPARTMENT: &str = "teknik@kommune.example";
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A way's own.
struct Own {
    event: String,
    stays: String,
    goes: String,
}

fn registration(entity: u128, uuid: &str, completed: Timestamp) -> Message {
    let mut body = report(uuid, &json!({}));
    body["webform_id"] = json!("tilmelding_borgermoede");
    body["completed"] = json!(completed.as_second());
    (body["entity_type"], body["entity_id"]) = (json!("node"), json!(entity.to_string()));
    body["data"] = json!({
        "navn": "Ærø", "e_mail": format!("{uuid}@borger.example"), "antal": 1,
        "deltagere": [{"deltager_navn": "Ærø"}], "samtykke": "1"
    });
    Message::json(&body)
}

async fn register(bed: &TestBed) -> anyhow::Result<[Own; 3]> {
    let before = bed.clock().now() - HOUR * 100;
    let mut all = Vec::new();
    for entity in 1..=3_u128 {
        let mut ids = Vec::new();
        for number in 0..2 {
            let uuid = uuid::Uuid::from_u128(0xa000 + entity * 16 + number).to_string();
            bed.post(&registration(entity, &uuid, before)).await?;
            let shown = kvit(&bed.config(), &["submission", "show", &format!("eksempel/{uuid}")]).await?;
            ids.push(shown["id"].as_str().unwrap_or_default().to_owned());
        }
        let goes = ids.pop().expect("two were sent");
        all.push(Own {
            event: format!("eksempel/tilmelding_borgermoede/{entity}"),
            stays: ids.pop().expect("two were sent"),
            goes,
        });
    }
    Ok(all.try_into().unwrap_or_else(|_| unreachable!("there are three ways")))
}

/// A code out of the mails to the department, for each event.
async fn codes(
    bed: &TestBed,
    events: &[Own; 3],
    fits: impl AsyncFn(&str, &Code) -> anyhow::Result<bool>,
) -> anyhow::Result<[String; 3]> {
    until("each event's code has come", async || {
        let mut found = Vec::new();
        for mail in bed.mails_to(DEPARTMENT) {
            let text = match opened(&mail, bed.key("teknik-miljoe")) {
                Ok(inner) => inner.text("text/plain"),
                Err(_) => Entity::read(&mail.data).text("text/plain"),
            };
            found.extend(code_in(&text));
        }
        let mut codes = Vec::new();
        for own in events {
            for code in &found {
                if fits(&own.event, &Code::read(code)?).await? {
                    codes.push(code.clone());
                    break;
                }
            }
        }
        Ok(codes.try_into().ok())
    })
    .await
}

impl Ways<'_> {
    async fn schedule(&self, name: &str) -> anyhow::Result<()> {
        kvit(&self.bed.config(), &["schedule", "run", name]).await.map(drop)
    }

    /// An act on each way's event, with more arguments that are the same.
    async fn on_events(
        &mut self,
        name: &'static str,
        all: &[Own; 3],
        more: &[(&str, &str)],
    ) -> anyhow::Result<[Value; 2]> {
        let ways = [0, 1, 2].map(|way| {
            let mut command = vec![all[way].event.as_str()];
            let mut args = json!({"event": all[way].event});
            for (name, value) in more {
                command.extend([*name, *value]);
                args[name.trim_start_matches('-')] = json!(value);
            }
            apart(name, &command, args)
        });
        self.each(name, ways).await
    }

    /// A code that is given back by each way.
    async fn give_back(&mut self, name: &'static str, all: &[Own; 3], codes: &[String; 3]) -> anyhow::Result<()> {
        let ways = [0, 1, 2].map(|way| {
            let args = json!({"event": all[way].event, "code": codes[way]});
            apart(name, &[&all[way].event, &codes[way]], args)
        });
        let [said, answered] = self.each(name, ways).await?;
        assert_eq!(
            (&said["news"], &answered["news"]),
            (&json!(true), &json!(true)),
            "{name}"
        );
        Ok(())
    }

    /// From the registration to the department's word that it has deleted its copies.
    pub(super) async fn register(&mut self) -> anyhow::Result<()> {
        let bed = self.bed;
        let all = register(bed).await?;
        let ago = |hours: i32| (bed.clock().now() - HOUR * hours).to_string();
        let [said, answered] = self.on_events("event.set", &all, &[("--deadline", &ago(72))]).await?;
        assert_eq!(
            (&said["deadline_source"], &answered["deadline_source"]),
            (&json!("operator"), &json!("operator"))
        );
        let withdrawn = [0, 1, 2].map(|way| {
            let id = &all[way].goes;
            apart("registration.withdraw", &[id], json!({"id": id}))
        });
        let [said, answered] = self.each("registration.withdraw", withdrawn).await?;
        assert_eq!(
            (&said["withdrawn"], &answered["withdrawn"]),
            (&json!(true), &json!(true))
        );
        let [said, answered] = self
            .on_events("registration.export", &all, &[("--to", "teknik-miljoe")])
            .await?;
        assert_eq!(
            (&said["registrations"], &answered["registrations"]),
            (&json!(1), &json!(1))
        );
        let [said, answered] = self.on_events("event.cancel", &all, &[]).await?;
        assert!(said["cancelled_at"].is_string() && answered["cancelled_at"].is_string());
        let event = all[0].event.as_str();
        let page = format!("/events/show?{}", form(&[("event", event)]));
        self.sees("event.show", &["event", "show", event], json!({"event": event}), &page)
            .await?;

        self.schedule("extract").await?;
        let of_a_list = async |event: &str, code: &Code| {
            let lists = bed.ledger.extracts(Some(event.to_owned())).await?;
            anyhow::Ok(
                lists
                    .iter()
                    .any(|list| list.code.as_ref() == Some(&code.digest(&list.id))),
            )
        };
        let given = codes(bed, &all, of_a_list).await?;
        self.give_back("registration.confirm", &all, &given).await?;
        self.schedule("purge").await?;
        self.prove(&all).await?;

        for own in &all {
            kvit(&bed.config(), &["event", "set", &own.event, "--held", &ago(48)]).await?;
        }
        self.schedule("purge").await?;
        self.schedule("extract").await?;
        let of_a_notice = async |event: &str, code: &Code| {
            let row = bed.ledger.event(event.to_owned()).await?;
            anyhow::Ok(row.is_some_and(|row| row.erase_code.as_ref() == Some(&code.digest(&row.id))))
        };
        let given = codes(bed, &all, of_a_notice).await?;
        self.give_back("event.erased", &all, &given).await
    }

    /// The deletion of what was in a confirmed list has a certificate.
    async fn prove(&mut self, all: &[Own; 3]) -> anyhow::Result<()> {
        let bed = self.bed;
        until("all are deleted, and the evidence of it is signed", async || {
            let submissions = bed.submissions().await?;
            let gone = |id: &String| submissions.iter().any(|one| one.id == *id && one.state == "deleted");
            let all_gone = all.iter().all(|own| gone(&own.stays) && gone(&own.goes));
            Ok((all_gone && !bed.ledger.has_unsigned_leaves().await?).then_some(()))
        })
        .await?;
        let id = all[0].stays.as_str();
        let page = format!("/evidence/prove?id={id}");
        self.sees("evidence.prove", &["evidence", "prove", id], json!({"id": id}), &page)
            .await
    }

    /// A test mail that arrives.
    pub(super) async fn test_key(&mut self) -> anyhow::Result<()> {
        let (name, given) = same("key.test", &["key", "test", "social"], &json!({"department": "social"}));
        let [said, answered] = self.each(name, given).await?;
        assert_eq!((&said["state"], &answered["state"]), (&json!("done"), &json!("done")));
        Ok(())
    }
}
