//! The console's part of the canary scan: every page that a person can get to, every answer of the API, and what each action
//! says on page and API, done or refused.
//!
//! What is meant to hold answers is not among it: lists and exports go to a department by mail, encrypted to it, and the
//! journal's bags into a folder.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use jiff::SignedDuration;
use kvit_tests::console::{Answer, PEOPLE, Served};
use kvit_tests::{TestBed, until};
use operate::{ACTIONS, find};
use serde_json::{Value, json};

use crate::canary::{EVENT, sightings};
use crate::console::PAGES;

/// Pages that no link leads to: forms do, and filters.
const BESIDE: [&str; 13] = [
    "/login",
    "/quarantine?all=true",
    "/submissions?state=deleted",
    "/submissions?form=anmeldelse_teknik_miljoe",
    "/duties?state=failed",
    "/duties?state=held",
    "/confirm?all-of=quarantine.retry&site=eksempel",
    "/confirm?all-of=quarantine.discard&site=eksempel",
    "/confirm?all-of=duty.retry&state=failed",
    "/confirm?all-of=duty.hold&state=failed",
    "/confirm?all-of=duty.release&state=held",
    "/confirm?all-of=duty.discard&state=failed",
    "/api/v1/openapi.json",
];

/// What was looked at, and the canaries that it showed.
#[derive(Default)]
struct Scan {
    looked_at: BTreeSet<String>,
    found: Vec<String>,
}

impl Scan {
    fn look(&mut self, place: &str, answer: &Answer) -> anyhow::Result<()> {
        ensure!(answer.status < 500, "{place}: {answer:?}");
        let text = format!("{:?}\n{}", answer.headers, answer.text);
        self.found.extend(sightings(place, &text));
        self.looked_at.insert(place.to_owned());
        Ok(())
    }

    /// Every page that this person gets to.
    async fn pages(&mut self, console: &Served, login: &str) -> anyhow::Result<()> {
        let cookie = console.log_in(login).await?;
        for (path, answer) in pages(console, &[("cookie", &cookie)]).await? {
            self.look(&format!("{login} {path}"), &answer)?;
        }
        Ok(())
    }

    /// What the API answers to this person who only looks, with each of these arguments.
    async fn api(&mut self, console: &Served, login: &str, given: &[Value]) -> anyhow::Result<()> {
        let token = console.token(login).await?;
        for action in ACTIONS.iter().filter(|action| !action.changes) {
            for args in given {
                let answer = console.api(&token, action, args).await?;
                self.look(&format!("{login} {} {args}", action.path()), &answer)?;
            }
        }
        Ok(())
    }

    /// What page and API say to this person's acts, each first without a word.
    async fn acts(&mut self, console: &Served, login: &str, acts: &[(&str, Value)]) -> anyhow::Result<()> {
        let (cookie, token) = (console.log_in(login).await?, console.token(login).await?);
        let named: BTreeSet<_> = acts.iter().map(|(name, _)| *name).collect();
        let bare = named.into_iter().map(|name| (name, json!({})));
        for (name, args) in bare.chain(acts.iter().cloned()) {
            let action = find(name).context("an action of the table")?;
            let fields: Vec<_> = args
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
                .collect();
            let shown = console.send(&cookie, &format!("/act/{name}"), &fields).await?;
            self.look(&format!("{login} /act/{name} {args}"), &shown)?;
            let answered = console.api(&token, action, &args).await?;
            self.look(&format!("{login} {} {args}", action.path()), &answered)?;
        }
        Ok(())
    }
}

/// Every page that whoever sends these headers gets to by links, from the lists, the overview and those that no link leads to.
pub(crate) async fn pages(console: &Served, headers: &[(&str, &str)]) -> anyhow::Result<BTreeMap<String, Answer>> {
    let mut to_come: Vec<String> = BESIDE.into_iter().chain(PAGES).map(str::to_owned).collect();
    to_come.push("/".to_owned());
    let mut been = BTreeMap::new();
    while let Some(path) = to_come.pop() {
        if been.contains_key(&path) {
            continue;
        }
        let answer = console.ask(&path, headers, None).await?;
        to_come.extend(links(&answer.text));
        been.insert(path, answer);
    }
    Ok(been)
}

/// The pages that a page leads to.
fn links(html: &str) -> impl Iterator<Item = String> {
    let addresses = html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let ours = addresses.filter(|address| address.starts_with('/') && !address.starts_with("/static/"));
    ours.map(|address| address.replace("&#38;", "&"))
}

/// Everything that a person may do, with what it is done to: what is there, what is not, and what is refused.
fn acts_of_an_operator(bed: &TestBed, of: &Things) -> Vec<(&'static str, Value)> {
    let now = bed.clock().now();
    let ago = (now - SignedDuration::from_hours(1)).to_string();
    let ahead = (now + SignedDuration::from_hours(500)).to_string();
    let rest = |name: &str| json!({"what": "department", "name": name, "why": "moved"});
    let coded = json!({"event": EVENT, "code": "ABCD-EFGH"});
    let mut acts = vec![
        ("duty.hold", json!({"submission": of.held})),
        ("duty.release", json!({"submission": of.held})),
        ("duty.retry", json!({"submission": of.held})),
        ("duty.retry", json!({"state": "no-state"})),
        (
            "duty.discard",
            json!({"submission": of.held, "why": "tried", "expect": "7"}),
        ),
        (
            "duty.discard",
            json!({"submission": of.held, "kind": "department_mail", "why": "tried", "expect": "1"}),
        ),
        ("quarantine.retry", json!({"id": of.aside})),
        ("quarantine.retry", json!({"site": "eksempel"})),
        ("quarantine.discard", json!({"id": of.aside, "why": "tried"})),
        ("quarantine.discard", json!({"reason": "malformed", "why": "tried"})),
        ("pause", rest("social")),
        ("pause", rest("nowhere")),
        ("resume", rest("social")),
        ("event.set", json!({"event": EVENT, "deadline": ahead, "held": ago})),
        ("event.set", json!({"event": EVENT, "deadline": ago, "held": ahead})),
        ("schedule.run", json!({"name": "purge", "dry_run": "true"})),
        ("schedule.run", json!({"name": "extract", "dry_run": "true"})),
    ];
    acts.extend(
        ["extract", "purge", "keys", "checkpoint", "nothing"].map(|name| ("schedule.run", json!({"name": name}))),
    );
    acts.extend([
        ("registration.export", json!({"event": EVENT, "to": "teknik-miljoe"})),
        ("registration.export", json!({"event": EVENT, "to": "nowhere"})),
        ("registration.confirm", coded.clone()),
        ("event.erased", coded),
        ("registration.withdraw", json!({"id": of.registration})),
        ("registration.withdraw", json!({"id": of.deleted})),
        ("event.cancel", json!({"event": EVENT})),
    ]);
    acts
}

fn acts_of_a_key_admin(certificate: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("key.test", json!({"department": "teknik-miljoe"})),
        ("key.test", json!({"department": "nowhere"})),
        ("key.add", json!({"department": "social", "certificate": certificate})),
        ("key.add", json!({"department": "social", "certificate": "none"})),
    ]
}

/// One of each, by its id.
struct Things {
    all: Vec<String>,
    held: String,
    registration: String,
    deleted: String,
    aside: String,
}

impl Things {
    async fn of(bed: &TestBed) -> anyhow::Result<Self> {
        let submissions = bed.submissions().await?;
        let quarantined = bed.quarantine().await?;
        let one = |is: &dyn Fn(&&ledger::SubmissionView) -> bool| {
            let found = submissions.iter().find(is).map(|view| view.id.clone());
            found.context("a submission of each kind")
        };
        let is_held = |duty: &ledger::DutyView| duty.kind == "department_mail" && duty.state == "held";
        let waits = quarantined.iter().find(|row| row.state == "waiting");
        let ids = submissions.iter().map(|view| view.id.clone());
        Ok(Self {
            all: ids.chain(quarantined.iter().map(|row| row.id.clone())).collect(),
            held: one(&|view| view.duties.iter().any(is_held))?,
            registration: one(&|view| view.state == "open" && view.kind.as_deref() == Some("registration"))?,
            deleted: one(&|view| view.state == "deleted")?,
            aside: waits.context("a message that waits in quarantine")?.id.clone(),
        })
    }
}

/// What the console shows of a bed with something of each kind, before and after everything was done that a person may do.
pub(crate) async fn scan(bed: &TestBed, console: &Served) -> anyhow::Result<Vec<String>> {
    let mut scan = Scan::default();
    let things = Things::of(bed).await?;
    let proof = json!({"id": things.deleted});
    let (prove, token) = (
        find("evidence.prove").context("an action")?,
        console.token("operator").await?,
    );
    until("a deletion is proven", async || {
        Ok((console.api(&token, prove, &proof).await?.status == 200).then_some(()))
    })
    .await?;
    let mut given = vec![json!({}), json!({"event": EVENT}), json!({"state": "no-state"})];
    given.extend(things.all.iter().map(|id| json!({"id": id})));
    for (login, ..) in PEOPLE {
        scan.pages(console, login).await?;
    }
    for login in ["operator", "department"] {
        scan.api(console, login, &given).await?;
    }

    let (certificate, _) = openpgp::generate("Social <social@kommune.example>", bed.clock().now(), None)?;
    let of_operators = acts_of_an_operator(bed, &things);
    let of_key_admins = acts_of_a_key_admin(&String::from_utf8(certificate)?);
    scan.acts(console, "operator", &of_operators).await?;
    scan.acts(console, "key-admin", &of_key_admins).await?;
    let tried: BTreeSet<_> = of_operators
        .iter()
        .chain(&of_key_admins)
        .map(|(name, _)| *name)
        .collect();
    let changing = ACTIONS.iter().filter(|action| action.changes);
    assert_eq!(tried, changing.map(|action| action.name).collect());
    // What was done, and what came of it.
    scan.pages(console, "operator").await?;
    scan.api(console, "operator", &given).await?;

    for page in PAGES.into_iter().chain(["/", "/keys-of-the-keyboard"]) {
        assert!(scan.looked_at.contains(&format!("operator {page}")), "{page}");
    }
    for page in ["/submissions/show?id=", "/events/show?event=", "/evidence/prove?id="] {
        let begins = format!("operator {page}");
        assert!(scan.looked_at.iter().any(|place| place.starts_with(&begins)), "{page}");
    }
    Ok(scan.found)
}
