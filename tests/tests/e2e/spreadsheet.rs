//! The list of registrations as `LibreOffice` reads it: what a department's own program shows, and runs nothing of.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use jiff::SignedDuration;
use kvit_tests::{Message, TestBed, kvit, opened, report, until};
use serde_json::json;

const DEPARTMENT: &str = "teknik@kommune.example";
const EVENT: &str = "eksempel/tilmelding_borgermoede";

/// What a spreadsheet would run, were it not text.
const NAMES: [&str; 7] = [
    "=HYPERLINK(\"http://x.example\";\"klik\")",
    "+1+2",
    "-1+2",
    "@SUM(1;2)",
    "\t=1+2",
    "\r=1+2",
    "Åse <Ærø> & Søn",
];

fn registration(number: usize, name: &str, completed: i64) -> Message {
    let mut body = report(&format!("7b5e4f3e-0000-4000-8000-00000000000{number}"), &json!({}));
    body["webform_id"] = json!("tilmelding_borgermoede");
    body["completed"] = json!(completed);
    body["data"] = json!({
        "navn": name, "e_mail": format!("b{number}@borger.example"), "antal": number, "pris": "125.50",
        "deltagere": [{"deltager_navn": name, "alder": "7", "vegetar": "1", "skole": "nord"}], "samtykke": "1"
    });
    Message::json(&body)
}

/// The whole workbook as `LibreOffice` holds it, in its own XML.
fn as_libreoffice_reads(xlsx: &[u8], folder: &Path) -> anyhow::Result<String> {
    fs::write(folder.join("liste.xlsx"), xlsx)?;
    let profile = format!("-env:UserInstallation=file://{}", folder.join("profile").display());
    let output = Command::new("soffice")
        .args([&profile, "--headless", "--convert-to", "fods", "--outdir"])
        .arg(folder)
        .arg(folder.join("liste.xlsx"))
        .stdin(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(folder.join("liste.fods")).context("LibreOffice wrote nothing")
}

fn is_installed() -> bool {
    let asked = Command::new("soffice")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// E1: formulas stay text, umlauts and markup are themselves, groups are a sheet of their own.
#[tokio::test(flavor = "multi_thread")]
async fn libreoffice_opens_the_list_and_finds_no_formula_in_it() -> anyhow::Result<()> {
    if !is_installed() {
        eprintln!("spreadsheet: LibreOffice is skipped: not installed (make setup)");
        return Ok(());
    }
    let (bed, running) = TestBed::start().await?;
    let completed = bed.clock().now() - SignedDuration::from_hours(2);
    for (number, name) in NAMES.iter().enumerate() {
        bed.post(&registration(number, name, completed.as_second())).await?;
    }
    let passed = (bed.clock().now() - SignedDuration::from_hours(1)).to_string();
    kvit(&bed.config(), &["event", "set", EVENT, "--deadline", &passed]).await?;
    kvit(&bed.config(), &["schedule", "run", "extract"]).await?;
    let mail = until("the list", async || Ok(bed.mails_to(DEPARTMENT).pop())).await?;
    let inner = opened(&mail, bed.key("teknik-miljoe"))?;
    let xlsx = inner
        .file("tilmeldinger.xlsx")
        .context("a spreadsheet")?
        .content
        .clone();
    running.stop().await?;

    let folder = bed.path("libreoffice");
    fs::create_dir_all(&folder)?;
    let read = tokio::task::spawn_blocking(move || as_libreoffice_reads(&xlsx, &folder)).await??;
    assert!(!read.contains("table:formula"), "a cell is run");
    assert_eq!(
        read.matches("<table:table ").count(),
        2,
        "the registrations, and their participants"
    );
    for text in [
        "+1+2",
        "-1+2",
        "@SUM(1;2)",
        "=HYPERLINK(",
        "Åse &lt;Ærø&gt; &amp; Søn",
        "Nordskolen",
    ] {
        assert!(read.contains(text), "{text} is not shown");
    }
    assert!(read.contains("office:value=\"125.5\""), "a number is a number");
    Ok(())
}
