//! The console in Debian's Chromium.

use std::path::Path;

use anyhow::ensure;
use domain::Pausable;
use kvit_tests::console::{PASSWORD, PEOPLE, Served};
use kvit_tests::{Message, Service, TestBed, report};
use ledger::Pause;
use operate::ACTIONS;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::purge::FORM;

/// G1: every page in both themes at 1280 and 360 pixels without a violation that axe knows; every action, and to each
/// role those that the table allows; the keyboard, the language, live updates, hostile words, and reading without
/// JavaScript. The pictures are in `target/console/`.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_works_at_the_console_in_chromium() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    bed.add_form("fest", FORM)?;
    let console = Served::start(&bed).await?;
    let services = bed.run(&[Service::Intake, Service::Mailer, Service::Scheduler]).await?;
    // What waits can be looked at.
    let now = bed.clock().now();
    let pause = Pause {
        what: Pausable::Department,
        name: "teknik-miljoe".into(),
        why: "a new certificate is on its way".into(),
        actor: None,
        since: now,
        until: None,
    };
    bed.ledger.pause(pause).await?;
    for n in 0..3 {
        let uuid = uuid::Uuid::from_u128(0xb000 + n).to_string();
        let address = json!({"e_mail": format!("b{n}@borger.example")});
        bed.publish(&Message::json(&report(&uuid, &address))).await?;
        bed.publish(&Message::bytes(format!("{{{n}"))).await?;
    }
    let mut registration = report("00000000-0000-4000-8000-00000000b0de", &json!({}));
    registration["webform_id"] = json!("fest");
    registration["data"] = json!({"navn": "A", "besked": "B", "e_mail": "b@borger.example"});
    bed.publish(&Message::json(&registration)).await?;
    bed.until_arrived(7).await?;
    let (certificate, _) = openpgp::generate("Social <social@kommune.example>", now, None)?;
    let actions = ACTIONS.iter().map(|action| {
        let roles: Vec<_> = action.roles.iter().map(|role| role.as_str()).collect();
        json!({"name": action.name, "changes": action.changes, "roles": roles})
    });
    let given = json!({
        "url": console.url(""),
        "password": PASSWORD,
        "people": PEOPLE.map(|(login, role, _)| [login, role]),
        "actions": actions.collect::<Vec<_>>(),
        "certificate": String::from_utf8(certificate)?,
    });
    in_chromium("console.mjs", given).await?;
    services.stop().await
}

/// Runs a script of the folder `browser`, which says by its end whether all held.
pub(crate) async fn in_chromium(script: &str, mut given: Value) -> anyhow::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    given["tools"] = json!(here.join("../.tools/browser"));
    given["chromium"] = json!("/usr/bin/chromium");
    given["out"] = json!(here.join("../target/console"));
    let done = Command::new("node")
        .arg(here.join("tests/e2e/browser").join(script))
        .arg(given.to_string())
        .kill_on_drop(true)
        .output()
        .await?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    ensure!(done.status.success(), "{said}");
    println!("{said}");
    Ok(())
}
