//! What lapin logs of a message that comes back, and that Kvit's logging keeps it out.
//!
//! A program logs for the whole process, so each case is a process of its own: this test binary once more, with a word in
//! its environment that makes [`publishes_to_nobody`] do something.

use std::process::{Command, Stdio};
use std::sync::Arc;

use broker::{Link, Options, Properties, PublishError};
use kvit_cli::demo::rabbit::PrivateRabbit;
use tracing_subscriber::filter::LevelFilter;

/// The variables that the child reads.
const URL: &str = "KVIT_TEST_BROKER_URL";
const LOGGING: &str = "KVIT_TEST_LOGGING";

/// What no log may hold, as text, and as lapin prints bytes.
const CANARY: &str = "kanariefugl";

fn holds_the_canary(log: &str) -> bool {
    let bytes: Vec<String> = CANARY.bytes().map(|byte| byte.to_string()).collect();
    let hex = CANARY
        .bytes()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    log.contains(CANARY) || log.contains(&bytes.join(", ")) || log.to_lowercase().contains(&hex)
}

/// The child: does nothing unless told to.
#[tokio::test(flavor = "multi_thread")]
async fn publishes_to_nobody() -> anyhow::Result<()> {
    let (Ok(url), Ok(logging)) = (std::env::var(URL), std::env::var(LOGGING)) else {
        return Ok(());
    };
    match logging.as_str() {
        "kvit" => runtime::logging::init(),
        _ => tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_writer(std::io::stderr)
            .init(),
    }
    let name = "kvit-test".to_owned();
    let link = Link::new(
        url,
        Options {
            declare: true,
            name,
            on_state: Arc::new(|_| {}),
        },
    );
    let properties = Properties {
        message_id: Some(CANARY.to_owned()),
        headers: [("x-kvit-uuid".to_owned(), CANARY.to_owned())].into(),
        ..Properties::default()
    };
    let body = format!("{{\"navn\":\"{CANARY}\"}}");
    let sent = link.publish("", "kvit.nobody", body.as_bytes(), &properties).await;
    assert!(matches!(sent, Err(PublishError::Unroutable { .. })), "{sent:?}");
    Ok(())
}

/// What the child writes on standard error.
fn log_of_a_child(url: &str, logging: &str) -> anyhow::Result<String> {
    let child = Command::new(std::env::current_exe()?)
        .args(["--exact", "publishes_to_nobody", "--nocapture"])
        .env(URL, url)
        .env(LOGGING, logging)
        .env("KVIT_LOG", "trace,lapin=trace,amq_protocol=trace")
        .stdin(Stdio::null())
        .output()?;
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    Ok(String::from_utf8_lossy(&child.stderr).into_owned())
}

/// D1: what a site sent is in none of our logs.
#[test]
fn a_message_that_comes_back_is_in_no_log() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let rabbit = PrivateRabbit::start(dir.path())?;

    // The trap is real, and this test would see somebody fall in.
    assert!(holds_the_canary(&log_of_a_child(&rabbit.url(), "bare")?));

    let log = log_of_a_child(&rabbit.url(), "kvit")?;
    assert!(log.contains("broker up"), "{log}");
    assert!(!holds_the_canary(&log), "{log}");
    Ok(())
}
