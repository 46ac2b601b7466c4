//! `kvit schedule run`: a schedule now, by the scheduler that has the keys; or, dry, what it would do.

use serde_json::{Value, json};

use crate::app::App;
use crate::table::{cell, table};

/// How many of those that stay are listed in words; JSON has all.
const SHOWN: usize = 100;

pub(crate) async fn run(app: &App, name: &str, dry_run: bool) -> anyhow::Result<()> {
    let answer = app
        .perform("schedule.run", json!({"name": name, "dry_run": dry_run}))
        .await?;
    app.print(&answer, || match (dry_run, name) {
        (true, "purge") => purge(&answer),
        (true, _) => extract(&answer),
        (false, _) => {
            let outcome = answer["outcome"].as_str().unwrap_or("it runs elsewhere");
            format!("{name}: {outcome}")
        }
    })
}

fn text(value: &Value) -> String {
    cell(value.as_str())
}

/// What the purge would delete, and for the rest, why not and when: submissions, what is kept of registrations, and
/// journal entries of closed cases.
fn purge(answer: &Value) -> String {
    let of = |some: &Value, keys: [&str; 4]| -> (usize, Vec<[String; 4]>) {
        let all = some.as_array().map_or(&[][..], Vec::as_slice);
        let row = |one: &Value| keys.map(|key| text(&one[key]));
        (all.len(), all.iter().take(SHOWN).map(row).collect())
    };
    let submissions = ["reference", "form", "at", "why"];
    let (goes, going) = of(&answer["goes"], submissions);
    let (stays, staying) = of(&answer["stays"], submissions);
    let entries = ["reference", "case", "at", "why"];
    let (journal_goes, entries_going) = of(&answer["journal"]["goes"], entries);
    let (journal_stays, entries_staying) = of(&answer["journal"]["stays"], entries);
    let kept = answer["kept"].as_array().map_or(&[][..], Vec::as_slice);
    let of_event = |one: &Value| [text(&one["event"]), one["registrations"].to_string(), text(&one["at"])];
    let kept: Vec<_> = kept.iter().map(of_event).collect();
    let of_submissions = ["reference", "form", "at the latest", "why"];
    let of_entries = ["reference", "case", "period over", "why"];
    [
        format!("{goes} would be deleted now"),
        table(of_submissions, &going, "–"),
        format!("\n{stays} would stay"),
        table(of_submissions, &staying, "–"),
        "\nkept of registrations until their event has been held".to_owned(),
        table(["event", "registrations", "until"], &kept, "–"),
        format!("\n{journal_goes} journal entries would be deleted now"),
        table(of_entries, &entries_going, "–"),
        format!("\n{journal_stays} journal entries of closed cases would stay"),
        table(of_entries, &entries_staying, "–"),
    ]
    .join("\n")
}

/// Which events would have a list made.
fn extract(answer: &Value) -> String {
    let due = answer["extracts"].as_array().into_iter().flatten();
    let rows: Vec<_> = due
        .map(|one| [text(&one["event"]), one["registrations"].to_string()])
        .collect();
    table(
        ["event", "registrations"],
        &rows,
        "no event has a registration that waits for a list",
    )
}
