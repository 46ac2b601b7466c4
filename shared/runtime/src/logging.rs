//! Logs on standard error: what Kvit's own crates say, and of other crates nothing below an error.
//!
//! Libraries log what they carry: lapin an unroutable message with its body at WARN and its frames at TRACE,
//! `tokio_postgres` the parameters of its statements at DEBUG. What Kvit carries is personal, so a crate that is not
//! Kvit's is held at ERROR here, in code, whatever `KVIT_LOG` says.

use std::io::IsTerminal;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

/// The variable that filters: `info`, `debug`, `kvit_mailer=debug`, …
pub const VARIABLE: &str = "KVIT_LOG";

/// Kvit's own crates beside those whose names begin with `kvit`.
const OWN: [&str; 11] = [
    "broker", "domain", "evidence", "ledger", "letter", "openpgp", "runtime", "store", "vault", "worker", "kvit",
];

/// Starts logging: JSON unless standard error is a terminal. Starting twice does nothing.
pub fn init() {
    // A panic's text may quote what the program had in hand: only its place is said.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(target: "runtime::panic", place, "a part of the program panicked");
    }));
    let filter = std::env::var(VARIABLE).unwrap_or_default();
    let stderr = std::io::stderr;
    // A second start is a test's, or that of `kvit up`, in a process that logs already.
    let _ = if stderr().is_terminal() {
        people(&filter, stderr).try_init()
    } else {
        machines(&filter, stderr).try_init()
    };
}

/// Starts logging into a file, one JSON object a line. Starting twice does nothing.
pub fn init_into(file: std::fs::File) {
    let filter = std::env::var(VARIABLE).unwrap_or_default();
    let _ = machines(&filter, std::sync::Mutex::new(file)).try_init();
}

/// Lines for people.
fn people<W>(filter: &str, writer: W) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_target(true)
        .compact();
    Registry::default().with(layer.with_filter(chosen(filter).and(filter_fn(is_shown))))
}

/// One JSON object a line.
fn machines<W>(filter: &str, writer: W) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .json()
        .flatten_event(true);
    Registry::default().with(layer.with_filter(chosen(filter).and(filter_fn(is_shown))))
}

fn chosen(filter: &str) -> EnvFilter {
    let filter = if filter.trim().is_empty() { "info" } else { filter };
    EnvFilter::builder().parse(filter).unwrap_or_else(|error| {
        eprintln!("{VARIABLE} is not understood ({error}): logging at info");
        EnvFilter::new("info")
    })
}

fn is_shown(metadata: &Metadata<'_>) -> bool {
    *metadata.level() == Level::ERROR || is_own(metadata.target())
}

fn is_own(target: &str) -> bool {
    let name = target.split("::").next().unwrap_or_default();
    name.starts_with("kvit_") || name.starts_with("kvit-") || OWN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn canaries() {
        tracing::warn!(target: "lapin::channel", body = "CANARY-1", "unroutable message");
        tracing::trace!(target: "lapin::frames", "CANARY-2");
        tracing::trace!(target: "amq_protocol::frame", "CANARY-3");
        tracing::info!(target: "amq_protocol_types", "CANARY-4");
        tracing::debug!(target: "tokio_postgres::query", "executing with CANARY-5");
        tracing::info!(target: "lettre", "CANARY-6");
        tracing::warn!(target: "broker_of_somebody_else", "CANARY-7");
        tracing::error!(target: "lapin::connection", "the connection broke");
        tracing::trace!(target: "kvit_mailer::relay", bytes = 7, "a word of our own");
    }

    /// P1: the body of a message is in no log, at no level.
    #[test]
    fn a_library_never_logs_what_it_carries() {
        for filter in ["trace", "lapin=trace,amq_protocol=trace,info", "trace,lapin=warn"] {
            let (plain, json) = (Paper::default(), Paper::default());
            let (one, other) = (plain.clone(), json.clone());
            tracing::subscriber::with_default(people(filter, move || one.clone()), canaries);
            tracing::subscriber::with_default(machines(filter, move || other.clone()), canaries);
            for text in [plain.text(), json.text()] {
                assert!(!text.contains("CANARY"), "{filter}: {text}");
                assert!(text.contains("the connection broke"), "{filter}: {text}");
            }
        }
    }

    #[test]
    fn our_own_words_are_logged_as_the_filter_says() {
        let shown = |filter: &str| {
            let paper = Paper::default();
            let sheet = paper.clone();
            tracing::subscriber::with_default(machines(filter, move || sheet.clone()), canaries);
            paper.text().contains("a word of our own")
        };
        assert!(shown("trace"));
        assert!(shown("kvit_mailer=trace"));
        assert!(!shown(""));
        assert!(!shown("info"));
        assert!(!shown("not a filter=at=all"));
    }

    #[test]
    fn a_line_for_machines_is_json() {
        let paper = Paper::default();
        let sheet = paper.clone();
        tracing::subscriber::with_default(machines("info", move || sheet.clone()), || {
            tracing::info!(mail.bytes = 7, "mail accepted");
        });
        let line: serde_json::Value = serde_json::from_str(paper.text().trim()).expect("one JSON object");
        assert_eq!(
            (&line["message"], &line["mail.bytes"], &line["level"]),
            (&"mail accepted".into(), &7.into(), &"INFO".into())
        );
    }
}
