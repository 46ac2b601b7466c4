use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::*;

const HEAD: &str = "\
# Metrics

<!-- Made from shared/runtime/src/metric.rs: KVIT_BLESS=1 cargo test -p kvit-runtime -->

Each service answers `/metrics` on its `listen` address, in Prometheus' text format; `kvit up` answers for all of them on
`console.listen`. Labels are ids of the configuration and words of Kvit's own. No label, and no other part, is a value that
a citizen gave. What is counted of submissions is read from the ledger every 15 seconds by the scheduler, so that a restart
changes nothing; run one scheduler, or take the `max` over several. Tests are counted apart and are not in these figures.

`deploy/prometheus/` has alert rules for them, each with its page in [the runbook](runbook/index.md), and `deploy/grafana/` a
dashboard.

| name | kind | by | labels | what |
| --- | --- | --- | --- | --- |
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn document() -> String {
    let mut text = HEAD.to_owned();
    for metric in METRICS {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            metric.name,
            metric.kind.as_str(),
            metric.by,
            labels.join(", "),
            metric.help
        )
        .expect("a text can be written to");
    }
    text
}

/// The committed list is the one of the code.
#[test]
fn the_list_of_metrics_is_documented() {
    let path = root().join("docs/metrics.md");
    let text = document();
    if std::env::var_os("KVIT_BLESS").is_some() {
        std::fs::write(&path, &text).expect("the document is written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/metrics.md is stale: KVIT_BLESS=1 cargo test -p kvit-runtime"
    );
}

#[test]
fn names_are_as_prometheus_wants_them_and_unique() {
    let mut seen = BTreeSet::new();
    for metric in METRICS {
        assert!(seen.insert(metric.name), "{} is there twice", metric.name);
        assert_eq!(
            metric.name.ends_with("_total"),
            metric.kind == Kind::Counter,
            "{}",
            metric.name
        );
        assert!(
            !metric.help.ends_with('.') && !metric.help.is_empty(),
            "{}",
            metric.name
        );
    }
}

/// What the services' code counts is in the list, and what is in the list is counted somewhere.
#[test]
fn what_is_counted_is_listed_and_the_other_way_round() {
    let mut named = BTreeSet::new();
    for top in ["services", "shared"] {
        for folder in std::fs::read_dir(root().join(top)).expect("the crates").flatten() {
            collect(&folder.path().join("src"), &mut named);
        }
    }
    let listed: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    let unlisted: Vec<_> = named.difference(&listed).collect();
    assert!(unlisted.is_empty(), "not in METRICS: {unlisted:?}");
    let uncounted: Vec<_> = listed.difference(&named).collect();
    assert!(uncounted.is_empty(), "counted nowhere: {uncounted:?}");
}

/// The names in a folder's sources: texts that begin as a metric's name does, but for what else is called so.
fn collect(folder: &Path, named: &mut BTreeSet<String>) {
    const OTHERS: [&str; 7] = [
        "kvit_",
        "kvit_event",
        "kvit_intake",
        "kvit_keys",
        "kvit_probe_test_seconds",
        "kvit_probe_test_total",
        "kvit_test",
    ];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, named);
            continue;
        }
        if path.ends_with("src/metric.rs") || path.ends_with("src/metric/tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for prefix in ["kvit_", "messaging_client_", "messaging_process_"] {
            for (at, _) in text.match_indices(&format!("\"{prefix}")) {
                let name: String = text[at + 1..]
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                    .collect();
                if text[at + 1 + name.len()..].starts_with('"') && !OTHERS.contains(&name.as_str()) {
                    named.insert(name);
                }
            }
        }
    }
}
