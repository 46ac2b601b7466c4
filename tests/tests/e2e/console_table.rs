//! The command, the page and the API do the same, action by action.

mod registrations;

use std::collections::BTreeSet;

use domain::Role;
use kvit_tests::console::Served;
use kvit_tests::{Message, Service, TestBed, kvit, report};
use operate::{ACTIONS, find};
use serde_json::{Value, json};

/// The three ways.
struct Ways<'b> {
    bed: &'b TestBed,
    console: Served,
    token: String,
    cookie: String,
    done: BTreeSet<&'static str>,
}

impl Ways<'_> {
    /// Does an action in each way: the command with its arguments, API and page with theirs. Each must be done. Gives what
    /// command and API answered.
    async fn each(&mut self, name: &'static str, ways: [(Vec<&str>, Value); 3]) -> anyhow::Result<[Value; 2]> {
        self.done.insert(name);
        let action = find(name).expect("an action of the table");
        let [(command, _), (_, api), (_, page)] = ways;
        let answered = self.console.api(&self.token, action, &api).await?;
        assert_eq!(answered.status, 200, "{name}: {}", answered.text);
        let fields: Vec<_> = page
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
            .collect();
        let shown = self
            .console
            .send(&self.cookie, &format!("/act/{name}"), &fields)
            .await?;
        assert_eq!(shown.status, 200, "{name}: {}", shown.text);
        let said = kvit(&self.bed.config(), &command).await?;
        Ok([said, answered.json()?])
    }

    /// The same for an action that changes nothing.
    async fn sees(&mut self, name: &'static str, command: &[&str], args: Value, page: &str) -> anyhow::Result<()> {
        self.done.insert(name);
        let action = find(name).expect("an action of the table");
        let answered = self.console.api(&self.token, action, &args).await?;
        assert_eq!(answered.status, 200, "{name}: {}", answered.text);
        if !command.is_empty() {
            let said = kvit(&self.bed.config(), command).await?;
            assert!(!keys(&said).is_empty(), "{name}: nothing is shown");
            assert_eq!(keys(&said), keys(&answered.json()?), "{name}");
        }
        let shown = self.console.page(&self.cookie, page).await?;
        assert_eq!(shown.status, 200, "{page}: {}", shown.text);
        Ok(())
    }
}

impl Ways<'_> {
    /// Duties: each way has a submission of its own.
    async fn decide(&mut self, ids: &[String]) -> anyhow::Result<()> {
        for (name, verb, state) in [
            ("duty.hold", "hold", "held"),
            ("duty.release", "release", "ready"),
            ("duty.retry", "retry", "ready"),
            ("duty.discard", "discard", "cancelled"),
        ] {
            let args = |id: &str| json!({"submission": id, "kind": "receipt", "why": "tried", "expect": "1"});
            let mut command = vec!["duty", verb, "--submission", ids[0].as_str(), "--kind", "receipt"];
            if verb == "discard" {
                command.extend(["--why", "tried"]);
            }
            let [said, answered] = self
                .each(
                    name,
                    [(command, Value::Null), (vec![], args(&ids[1])), (vec![], args(&ids[2]))],
                )
                .await?;
            assert_eq!((&said, &said["matched"]), (&answered, &json!(1)), "{name}");
            let duties = self.bed.duties().await?;
            let receipts: Vec<_> = duties.iter().filter(|duty| duty.kind == "receipt").collect();
            assert!(
                receipts.len() == 3 && receipts.iter().all(|duty| duty.state == state),
                "{name}: {receipts:?}"
            );
        }
        Ok(())
    }

    /// Quarantine: each way has a message of its own.
    async fn decide_quarantine(&mut self, aside: &[String]) -> anyhow::Result<()> {
        for (name, verb, from) in [("quarantine.retry", "retry", 0), ("quarantine.discard", "discard", 3)] {
            let mut command = vec!["quarantine", verb, aside[from].as_str()];
            if verb == "discard" {
                command.extend(["--why", "tried"]);
            }
            let args = |id: &str| json!({"id": id, "why": "tried"});
            let given = [
                (command, Value::Null),
                (vec![], args(&aside[from + 1])),
                (vec![], args(&aside[from + 2])),
            ];
            let [said, answered] = self.each(name, given).await?;
            assert_eq!(
                (&said["matched"], &answered["matched"]),
                (&json!(1), &json!(1)),
                "{name}"
            );
        }
        let discarded = self
            .bed
            .quarantine()
            .await?
            .iter()
            .filter(|row| row.state == "discarded")
            .count();
        assert_eq!(discarded, 3);

        Ok(())
    }

    /// The same thing three times: what the first did, the next do again.
    async fn alike(&mut self) -> anyhow::Result<()> {
        let (name, given) = same("schedule.run", &["schedule", "run", "keys"], &json!({"name": "keys"}));
        self.each(name, given).await?;
        Ok(())
    }

    /// One pause: each way pauses or resumes it in turn.
    async fn rest(&mut self) -> anyhow::Result<()> {
        for name in ["pause", "resume"] {
            let given = json!({"what": "department", "name": "social", "why": "tried"});
            let action = find(name).expect("an action of the table");
            let one: [&str; 3] = [name, "department", "social"];
            for way in 0..3 {
                if name == "resume" {
                    kvit(&self.bed.config(), &["pause", "department", "social", "--why", "tried"]).await?;
                }
                match way {
                    0 => drop(kvit(&self.bed.config(), &[&one[..], &["--why", "tried"]].concat()).await?),
                    1 => assert_eq!(self.console.api(&self.token, action, &given).await?.status, 200),
                    _ => {
                        let fields = [("what", "department"), ("name", "social"), ("why", "tried")];
                        assert_eq!(
                            self.console
                                .send(&self.cookie, &format!("/act/{name}"), &fields)
                                .await?
                                .status,
                            200
                        );
                    }
                }
                assert_eq!(
                    self.bed.ledger.pauses(self.bed.clock().now()).await?.len(),
                    usize::from(name == "pause")
                );
            }
            self.done.insert(name);
        }
        Ok(())
    }

    /// What changes nothing.
    async fn look(&mut self, id: &str) -> anyhow::Result<()> {
        self.sees("status", &["status"], json!({}), "/").await?;
        self.sees("submission.list", &["submission", "list"], json!({}), "/submissions")
            .await?;
        self.sees(
            "submission.show",
            &["submission", "show", id],
            json!({"id": id}),
            &format!("/submissions/show?id={id}"),
        )
        .await?;
        self.sees("quarantine.list", &["quarantine", "list"], json!({}), "/quarantine")
            .await?;
        self.sees("duty.list", &["duty", "list"], json!({}), "/duties").await?;
        self.sees("event.list", &["event", "list"], json!({}), "/events")
            .await?;
        self.sees("schedule.list", &["schedule", "list"], json!({}), "/schedules")
            .await?;
        self.sees(
            "schedule.history",
            &["schedule", "history", "keys"],
            json!({"name": "keys"}),
            "/schedules/show?name=keys",
        )
        .await?;
        self.sees("key.list", &["key", "list"], json!({}), "/keys").await?;
        self.sees("pause.list", &[], json!({}), "/pauses").await?;
        self.sees("evidence.list", &[], json!({}), "/evidence").await?;
        self.sees("act.list", &["act", "list"], json!({}), "/acts").await?;

        Ok(())
    }
}

impl Ways<'_> {
    /// Every act has a leaf that names who did it, whichever way it came.
    async fn is_recorded(&self) -> anyhow::Result<()> {
        let acted = self.bed.ledger.acted(ledger::ActFilter::default(), 1000).await?;
        for action in ACTIONS.iter().filter(|action| action.changes) {
            let event = match action.name {
                "pause" => "paused",
                "resume" => "resumed",
                name => name,
            };
            let person = if action.roles.contains(&Role::KeyAdmin) {
                "id-of-key-admin"
            } else {
                "id-of-operator"
            };
            let by = |actor: &str| {
                let acts = acted.iter().filter(|act| act.event == event);
                acts.filter(|act| act.actor.starts_with(actor)).count()
            };
            assert!(by("uid:") >= 1 && by(person) >= 2, "{event}: {acted:?}");
        }
        Ok(())
    }
}

/// What a value is made of: times differ from one moment to the next.
fn keys(value: &Value) -> Vec<String> {
    let first = value.get(0).unwrap_or(value);
    first
        .as_object()
        .map(|object| object.keys().cloned().collect())
        .unwrap_or_default()
}

/// The command of an action with its arguments, as one way of [`Ways::each`]; the API's and the page's arguments.
fn apart<'w>(name: &'static str, words: &[&'w str], args: Value) -> (Vec<&'w str>, Value) {
    (name.split('.').chain(words.iter().copied()).collect(), args)
}

fn same(name: &'static str, command: &[&'static str], args: &Value) -> (&'static str, [(Vec<&'static str>, Value); 3]) {
    (name, [(); 3].map(|()| (command.to_vec(), args.clone())))
}

/// G1: one table for command, page and API.
#[tokio::test(flavor = "multi_thread")]
async fn command_page_and_api_do_every_action_of_the_table_alike() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let services = bed.run(&[Service::Intake, Service::Scheduler]).await?;
    let console = Served::start(&bed).await?;
    for n in 0..3 {
        let uuid = uuid::Uuid::from_u128(0x9000 + n).to_string();
        bed.publish(&Message::json(&report(
            &uuid,
            &json!({"e_mail": format!("b{n}@borger.example")}),
        )))
        .await?;
        bed.publish(&Message::bytes(format!("{{{n}"))).await?;
        bed.publish(&Message::bytes(format!("[{n}"))).await?;
    }
    bed.until_arrived(9).await?;
    let ids: Vec<String> = bed.submissions().await?.into_iter().map(|one| one.id).collect();
    let aside: Vec<String> = bed.quarantine().await?.into_iter().map(|one| one.id).collect();
    let (token, cookie) = (console.token("operator").await?, console.log_in("operator").await?);
    let mut ways = Ways {
        bed: &bed,
        console,
        token,
        cookie,
        done: BTreeSet::new(),
    };

    ways.decide(&ids).await?;
    ways.decide_quarantine(&aside).await?;
    ways.alike().await?;
    ways.rest().await?;
    let mailer = bed.run(&[Service::Mailer]).await?;
    ways.register().await?;
    ways.look(&ids[0]).await?;

    (ways.token, ways.cookie) = (
        ways.console.token("key-admin").await?,
        ways.console.log_in("key-admin").await?,
    );
    let (certificate, _) = openpgp::generate("Social <social@kommune.example>", bed.clock().now(), None)?;
    std::fs::write(bed.path("new.asc"), &certificate)?;
    let file = bed.path("new.asc").display().to_string();
    let args = json!({"department": "social", "certificate": String::from_utf8(certificate)?});
    let add = vec!["key", "add", "social", file.as_str()];
    let [said, answered] = ways
        .each("key.add", [(add, Value::Null), (vec![], args.clone()), (vec![], args)])
        .await?;
    assert_eq!(said["fingerprint"], answered["fingerprint"]);
    ways.test_key().await?;
    ways.is_recorded().await?;

    let all: BTreeSet<_> = ACTIONS.iter().map(|action| action.name).collect();
    assert_eq!(ways.done, all, "an action without a row");
    mailer.stop().await?;
    services.stop().await
}
