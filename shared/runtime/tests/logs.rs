//! What a process that has started its logs writes to standard error.
//!
//! The test runs itself again: logging is for a whole process, and is started once.

use std::process::Command;

/// Set in the second run.
const CHILD: &str = "TEST_LOGS_CHILD";

/// P1: no library's word below an error is written, by whichever way it logs; `KVIT_LOG=trace` changes nothing.
#[test]
fn a_process_never_writes_what_its_libraries_carry() {
    if std::env::var_os(CHILD).is_some() {
        return speak();
    }
    let run = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "a_process_never_writes_what_its_libraries_carry",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .env("KVIT_LOG", "trace,lapin=trace,tokio_postgres=trace")
        .output()
        .expect("it runs");
    let written = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{written}");
    assert!(!written.contains("CANARY"), "{written}");
    for said in ["lapin broke", "postgres broke", "a word of our own"] {
        let line = written
            .lines()
            .find(|line| line.contains(said))
            .unwrap_or_else(|| panic!("{said}: {written}"));
        serde_json::from_str::<serde_json::Value>(line).expect("JSON, as standard error is no terminal");
    }
}

fn speak() {
    runtime::logging::init();
    tracing::warn!(target: "lapin::channel", "unroutable: CANARY-1");
    tracing::trace!(target: "amq_protocol::frame::parsing", "frame: CANARY-2");
    log::debug!(target: "tokio_postgres::query", "executing statement with parameters: CANARY-3");
    log::warn!(target: "lapin::channel", "CANARY-4");
    log::trace!("CANARY-5");
    tracing::error!(target: "lapin::connection", "lapin broke");
    log::error!(target: "tokio_postgres::connection", "postgres broke");
    tracing::trace!(target: "kvit_intake", "a word of our own");
}
