//! What operators get beside the programs is about what the programs really measure: alert rules, runbook, dashboard.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use runtime::metric::{Kind, METRICS};
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

/// Every rule of the file.
fn rules() -> Vec<Yaml> {
    let file = YamlLoader::load_from_str(&read("deploy/prometheus/kvit.rules.yml")).expect("YAML");
    let groups = file[0]["groups"].as_vec().expect("groups").clone();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_vec().expect("rules").clone())
        .collect()
}

/// Every name that a query may ask for: what is measured, as Prometheus stores it, what the rules record, and Prometheus' own.
fn known() -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["up".to_owned()].into();
    for metric in METRICS {
        if metric.kind == Kind::Histogram {
            names.extend(["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", metric.name)));
        } else {
            names.insert(metric.name.to_owned());
        }
    }
    names.extend(
        rules()
            .iter()
            .filter_map(|rule| rule["record"].as_str().map(str::to_owned)),
    );
    names
}

/// The metrics that a query asks for: words outside of quotes, braces and label lists that are neither functions nor keywords.
fn asked(query: &str) -> BTreeSet<String> {
    const WORDS: [&str; 6] = ["or", "and", "unless", "offset", "by", "bool"];
    let mut names = BTreeSet::new();
    let bytes = query.as_bytes();
    let (mut at, mut depth, mut listing) = (0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b')' => listing = false,
            c if depth == 0 && (c.is_ascii_alphabetic() || c == b'_') => {
                let end = query[at..]
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
                    .map_or(bytes.len(), |length| at + length);
                let (word, rest) = (&query[at..end], query[end..].trim_start());
                let is_function = rest.starts_with('(') || rest.starts_with("by ");
                if word == "by" {
                    listing = true;
                } else if !listing && !is_function && !WORDS.contains(&word) {
                    names.insert(word.to_owned());
                }
                at = end;
                continue;
            }
            b'0'..=b'9' => {
                // A number and its unit: 5m.
                at += query[at..].bytes().take_while(u8::is_ascii_alphanumeric).count();
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    names
}

#[test]
fn the_metrics_of_a_query_are_found() {
    let query = r#"clamp_min(max(delta(a_b[5m])), 0) / (max(increase(c{d="e"}[1h] offset 5m)) > 0) or sum by (le, f) (rate(kvit:x[5m])) == 1"#;
    assert_eq!(asked(query).into_iter().collect::<Vec<_>>(), ["a_b", "c", "kvit:x"]);
}

#[test]
fn every_rule_asks_for_what_is_measured() {
    let known = known();
    for rule in rules() {
        let query = rule["expr"].as_str().expect("an expression");
        let unknown: Vec<_> = asked(query).into_iter().filter(|name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?} in {query}");
    }
}

#[test]
fn every_alert_has_a_page_that_the_book_and_the_list_lead_to() {
    let (summary, list) = (read("docs/SUMMARY.md"), read("docs/runbook/index.md"));
    let mut alerts = 0;
    for rule in rules() {
        let Some(name) = rule["alert"].as_str() else { continue };
        let url = rule["annotations"]["runbook_url"].as_str().expect("a runbook_url");
        let page = url
            .rsplit('/')
            .next()
            .and_then(|page| page.strip_suffix(".html"))
            .expect("a page");
        let text = read(&format!("docs/runbook/{page}.md"));
        assert!(text.starts_with(&format!("# {name}\n")), "{page}");
        for heading in ["## What it means", "## What to do"] {
            assert!(text.contains(heading), "{page} lacks {heading}");
        }
        assert!(
            summary.contains(&format!("[{name}](runbook/{page}.md)")),
            "{name} is not in the book"
        );
        assert!(
            list.contains(&format!("[{name}]({page}.md)")),
            "{name} is not in the list"
        );
        assert!(rule["labels"]["severity"].as_str().is_some(), "{name} has no severity");
        alerts += 1;
    }
    let pages = std::fs::read_dir(root().join("docs/runbook"))
        .expect("the runbook")
        .count();
    assert_eq!(alerts, pages - 1, "a page of the runbook belongs to no alert");
}

#[test]
fn every_query_of_the_dashboard_asks_for_what_is_measured() {
    let known = known();
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/kvit.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut queries = 0;
    for panel in panels {
        for target in panel["targets"].as_array().expect("targets") {
            let query = target["expr"].as_str().expect("a query");
            let asked = asked(query);
            assert!(!asked.is_empty(), "{query} asks for nothing");
            let unknown: Vec<_> = asked.into_iter().filter(|name| !known.contains(name)).collect();
            assert!(unknown.is_empty(), "{unknown:?} in {query}");
            queries += 1;
        }
    }
    assert!(queries >= panels.len());
}
