//! What is said of an entry beside its content: Dublin Core, and PREMIS with what happened to it (J5).

use jiff::Timestamp;
use ledger::EvidenceView;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::bag::Bag;
use crate::entry::Entry;

const DUBLIN_CORE: &str = include_str!("describe/dublin-core.xml");
const PREMIS: &str = include_str!("describe/premis.xml");

/// A description that does not render: a fault of ours. Its cause could show a value, and is not kept.
#[derive(Debug, thiserror::Error)]
#[error("describing an entry")]
pub(crate) struct Undescribed;

#[derive(Serialize)]
struct DublinCore<'a> {
    theme: &'a str,
    reference: &'a str,
    id: String,
    kle: Option<&'a str>,
    controller: String,
    site: &'a str,
    form: &'a str,
    channel: &'static str,
    language: &'static str,
    received_at: String,
    version: u32,
}

#[derive(Serialize)]
struct Object {
    path: String,
    sha256: String,
    bytes: usize,
    mime: String,
    original: Option<String>,
}

/// Something that happened to an entry.
#[derive(Debug, Serialize)]
pub(crate) struct Event {
    id_type: &'static str,
    id: String,
    kind: String,
    at: String,
}

impl Event {
    pub(crate) fn new(kind: &str, at: Timestamp) -> Self {
        Self {
            id_type: "local",
            id: format!("{kind} {at}"),
            kind: kind.to_owned(),
            at: at.to_string(),
        }
    }

    /// A leaf of the evidence log, by its place where it is signed.
    pub(crate) fn of_evidence(leaf: &EvidenceView) -> Self {
        let event = Self::new(&leaf.event, leaf.at);
        match leaf.index {
            Some(index) => Self {
                id_type: "kvit evidence",
                id: index.to_string(),
                ..event
            },
            None => event,
        }
    }
}

/// The bag of one version: the answers, the document, the files, and what is said of them.
pub(crate) fn bag(entry: &Entry) -> Result<Bag, Undescribed> {
    let mut bag = Bag::new();
    let submission = &entry.submission;
    bag.note("Source-Organization", &entry.controller);
    bag.note("External-Identifier", submission.reference.as_str());
    bag.note("Internal-Sender-Identifier", &entry.id.to_string());
    bag.note("External-Description", entry.rule.theme.as_str());
    bag.note("Bagging-Date", &entry.now.strftime("%Y-%m-%d").to_string());
    bag.note("Bag-Software-Agent", concat!("Kvit ", env!("CARGO_PKG_VERSION")));
    let mut objects = Vec::new();
    let mut add = |name: &str, mime: &str, original: Option<&str>, content: &[u8]| {
        objects.push(object(format!("data/{name}"), mime, original, content));
        bag.add(name, content);
    };
    add("indsendelse.json", "application/json", None, &entry.record.answers);
    add("indsendelse.html", "text/html", None, entry.record.html.as_bytes());
    for file in &entry.record.files {
        add(&file.name, &file.mime, Some(&file.original), &file.content);
    }
    let mut events: Vec<Event> = entry.evidence.iter().map(Event::of_evidence).collect();
    events.push(Event::new("ingestion", entry.now));
    bag.tag("metadata/dublin-core.xml", dublin_core(entry)?);
    bag.tag("metadata/premis.xml", premis(&objects, &events)?);
    Ok(bag)
}

/// PREMIS of a whole entry: its events alone, since each version describes its own files.
pub(crate) fn events(events: &[Event]) -> Result<Vec<u8>, Undescribed> {
    premis(&[], events)
}

fn object(path: String, mime: &str, original: Option<&str>, content: &[u8]) -> Object {
    Object {
        path,
        sha256: hex::encode(Sha256::digest(content)),
        bytes: content.len(),
        mime: if mime.is_empty() {
            "application/octet-stream"
        } else {
            mime
        }
        .to_owned(),
        original: original.map(str::to_owned),
    }
}

fn dublin_core(entry: &Entry) -> Result<Vec<u8>, Undescribed> {
    let submission = &entry.submission;
    let view = DublinCore {
        theme: entry.rule.theme.as_str(),
        reference: submission.reference.as_str(),
        id: entry.id.to_string(),
        kle: entry.rule.kle.as_deref(),
        controller: entry.controller.clone(),
        site: submission.site.as_str(),
        form: submission.form.as_str(),
        channel: entry.channel,
        language: entry.language.code(),
        received_at: submission.received_at.to_string(),
        version: submission.version,
    };
    render(DUBLIN_CORE, &view)
}

fn premis(objects: &[Object], events: &[Event]) -> Result<Vec<u8>, Undescribed> {
    #[derive(Serialize)]
    struct View<'a> {
        objects: &'a [Object],
        events: &'a [Event],
    }
    render(PREMIS, &View { objects, events })
}

/// XML from a template, every value escaped; what XML cannot hold at all is left out.
pub(crate) fn render(template: &str, view: &impl Serialize) -> Result<Vec<u8>, Undescribed> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the default delimiters are valid"));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_debug(false);
    let xml = environment
        .render_str(template, Value::from(Serde(view)))
        .map_err(|_| Undescribed)?;
    let allowed = |c: &char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    let xml: String = xml
        .chars()
        .filter(allowed)
        .filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}'))
        .collect();
    Ok(xml.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_change_the_document() {
        let object = object("data/a".to_owned(), "", Some("<a>&\u{0}\u{ffff}\""), b"x");
        let xml = String::from_utf8(premis(&[object], &[]).unwrap()).unwrap();
        assert!(
            xml.contains("<premis:originalName>&lt;a&gt;&amp;&quot;</premis:originalName>"),
            "{xml}"
        );
        assert!(xml.contains("application&#x2f;octet-stream"), "{xml}");
    }
}
