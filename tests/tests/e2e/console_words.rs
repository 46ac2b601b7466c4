//! The language of a page.

use kvit_tests::console::{Served, form};
use kvit_tests::{Message, Service, TestBed, report};
use serde_json::json;

/// G1: what is kept, why, and what refuses an action stand in the language that a person reads, with what to do next.
#[tokio::test(flavor = "multi_thread")]
async fn reasons_and_refusals_stand_in_the_language_of_the_page() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let console = Served::start(&bed).await?;
    let services = bed.run(&[Service::Intake]).await?;
    let body = report(
        "00000000-0000-4000-8000-0000000000da",
        &json!({"e_mail": "b@borger.example"}),
    );
    bed.publish(&Message::json(&body)).await?;
    bed.publish(&Message::bytes("{")).await?;
    bed.until_arrived(2).await?;
    let id = bed.only_submission().await?.id;
    let cookie = console.log_in("operator").await?;
    for (language, kept, aside, refused) in [
        (
            "da",
            "Bevares, indtil denne pligt er løst: mail til afdeling (klar).",
            "spørg webstedet, og kassér den",
            "Ingen pligt med det id er i en tilstand, hvor det kan gøres: se listen over pligter.",
        ),
        (
            "en",
            "Kept until this duty is discharged: department mail (ready).",
            "ask the site, then discard it",
            "No duty with that id is in a state for this: see the list of duties.",
        ),
    ] {
        let cookie = format!("{cookie}; lang={language}");
        for (path, words) in [
            ("/submissions", kept),
            (&format!("/submissions/show?id={id}"), kept),
            ("/quarantine", aside),
        ] {
            let page = console.page(&cookie, path).await?;
            assert!(page.text.contains(words), "{path} {}", page.text);
        }
        let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
        let nothing = form(&[("id", "00000000-0000-4000-8000-000000000000")]);
        let answer = console.ask("/act/duty.release", &headers, Some(&nothing)).await?;
        assert!(answer.status == 422 && answer.text.contains(refused), "{}", answer.text);
    }
    services.stop().await
}
