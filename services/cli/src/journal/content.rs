//! What a caseworker saved from the department's mail, or corrects: read, held against the form, and sealed.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Form, FormId, Reference, SiteId, Submission, SubmissionId};
use jiff::Timestamp;
use kvit_intake::check::check;
use kvit_intake::digest;
use kvit_intake::shapes::{self, Headers, Limits, SiteRules};
use kvit_journaliser::requests::{self, Content};
use ledger::NewCase;
use runtime::Exit;
use serde_json::Value;

use super::args::ContentArgs;
use super::{asked, find, sealed};
use crate::app::App;

/// Journalises what was saved, checked against the keyed digest of what was delivered while that lives.
pub(super) async fn add(app: &App, reference: &str, args: &ContentArgs, case: Option<NewCase>) -> anyhow::Result<()> {
    let shown = crate::submission::show(app, reference).await?;
    let shown = shown
        .with_context(|| format!("no submission is known by {reference}: nothing says when it was received"))
        .map_err(Exit::data)?;
    let known = |what: &str| {
        Exit::data(anyhow::anyhow!(
            "the submission {reference} has no {what}: it was never taken"
        ))
    };
    let whose = Whose {
        id: shown.id.parse()?,
        reference: shown.reference.as_deref().ok_or_else(|| known("reference"))?.parse()?,
        site: shown.site.parse()?,
        form: shown.form.as_deref().ok_or_else(|| known("form"))?.parse()?,
        received_at: shown.received_at,
        version: u32::try_from(shown.version).unwrap_or(1),
    };
    let content = read(app, args, &whose, case)?;
    let sealed = sealed::to_journal(app, &content).await?;
    app.record("journal.add", whose.id.to_string()).await?;
    let answer = asked(app, requests::ADD, &requests::Sealed { sealed }).await?;
    app.print(&answer, || {
        let checked = match answer["checked"].as_bool() {
            Some(true) => "it is what was delivered",
            _ => "it could not be checked: what was delivered is recognised no more",
        };
        let done = if answer["news"] == true {
            "journalised"
        } else {
            "in the journal already"
        };
        format!("{done}: {reference}; {checked}")
    })
}

/// Adds a corrected version to an entry (C1).
pub(super) async fn correct(app: &App, id: &str, args: &ContentArgs) -> anyhow::Result<()> {
    let entry = find(app, id).await?;
    let whose = Whose {
        id: entry.id.parse()?,
        reference: entry.reference.parse()?,
        site: entry.site.parse()?,
        form: entry.form.parse()?,
        received_at: entry.received_at,
        version: u32::try_from(entry.versions + 1).unwrap_or(1),
    };
    let content = read(app, args, &whose, None)?;
    let sealed = sealed::to_journal(app, &content).await?;
    let asked_for = requests::Correct {
        entry: entry.id.clone(),
        sealed,
    };
    app.record("journal.correct", entry.id.clone()).await?;
    let answer = asked(app, requests::CORRECT, &asked_for).await?;
    app.print(&answer, || {
        format!(
            "corrected: {} has version {}; {} is told",
            entry.reference,
            answer["version"],
            answer["told"].as_str().unwrap_or_default()
        )
    })
}

/// What the ledger knows of the submission.
struct Whose {
    id: SubmissionId,
    reference: Reference,
    site: SiteId,
    form: FormId,
    received_at: Timestamp,
    version: u32,
}

fn read(app: &App, args: &ContentArgs, whose: &Whose, case: Option<NewCase>) -> anyhow::Result<Content> {
    let form = app.loaded.forms.get(&whose.site, &whose.form).cloned();
    let form = form
        .with_context(|| format!("form {} of site {} is not configured any more", whose.form, whose.site))
        .map_err(Exit::data)?;
    let bytes = crate::submission::read(&args.file)?;
    let mut answers: Value = serde_json::from_slice(&bytes).map_err(|_| {
        Exit::data(anyhow::anyhow!(
            "the answers are not JSON: give the mail's indsendelse.json"
        ))
    })?;
    let mut attachments = Vec::new();
    for path in &args.attachments {
        let content = std::fs::read(path)
            .map_err(Exit::io)
            .with_context(|| format!("reading {}", path.display()))?;
        attachments.push((name_of(path), STANDARD.encode(content)));
    }
    let missing = include(&mut answers, &mut attachments);
    if missing > 0 || !attachments.is_empty() {
        let message = format!(
            "{missing} attachments that the answers name are not given, and {} are given that they do not name",
            attachments.len()
        );
        return Err(Exit::data(anyhow::anyhow!(message)).into());
    }
    let checked = checked(app, &form, whose, answers.to_string().as_bytes())?;
    let language = app.loaded.config.controller.language;
    Ok(Content {
        canonical: STANDARD.encode(digest::canonical(&form, &checked.answers)),
        submission: Submission {
            id: whose.id,
            reference: whose.reference.clone(),
            site: whose.site.clone(),
            form: whose.form.clone(),
            version: whose.version,
            received_at: whose.received_at,
            language,
            answers: checked.answers,
            remarks: checked.remarks,
            changed: Vec::new(),
            withdrawn: false,
            late: false,
            test: false,
        },
        case: case.map(|case| (case.number, case.title)),
    })
}

fn checked(app: &App, form: &Arc<Form>, whose: &Whose, body: &[u8]) -> anyhow::Result<kvit_intake::check::Checked> {
    let rules = app.loaded.config.sites.get(&whose.site);
    let rules = rules.ok_or_else(|| Exit::data(anyhow::anyhow!("no site {} is configured", whose.site)))?;
    let headers = Headers {
        form: Some(form.id.to_string()),
        ..Headers::default()
    };
    // Attachments in base64 are a third larger than intake took them.
    let limits = Limits {
        max_bytes: app.loaded.config.intake.max_message_bytes * 2,
    };
    let site = SiteRules {
        custom_data: &rules.custom_data,
    };
    let find = |id: &FormId| app.loaded.forms.get(&whose.site, id).map(Arc::clone);
    let refused =
        |refusal: shapes::Refusal| Exit::data(anyhow::anyhow!("the answers cannot be taken: {}", refusal.reason));
    let incoming = shapes::read(body, &headers, &limits, &site, &find).map_err(refused)?;
    let unknown = form.unknown_fields.unwrap_or(rules.unknown_fields);
    Ok(check(&incoming, form, unknown).map_err(refused)?)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Puts each attachment into the answer that names it, and takes it off the list. Answers how many were not given.
fn include(value: &mut Value, attachments: &mut Vec<(String, String)>) -> usize {
    match value {
        Value::Array(items) => items.iter_mut().map(|item| include(item, attachments)).sum(),
        Value::Object(members) if members.get("included") == Some(&Value::Bool(true)) => {
            let name = members.get("name").and_then(Value::as_str).unwrap_or_default();
            let Some(at) = attachments.iter().position(|(given, _)| given == name) else {
                return 1;
            };
            let (_, content) = attachments.remove(at);
            members.insert("data".to_owned(), content.into());
            members.remove("included");
            0
        }
        Value::Object(members) => members.iter_mut().map(|(_, value)| include(value, attachments)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_attachment_goes_into_the_answer_that_names_it() {
        let mut answers =
            json!({"a": [{"id": "1", "name": "hul.png", "included": true}], "b": {"name": "x", "included": false}});
        let mut given = vec![("hul.png".to_owned(), "aGVq".to_owned())];
        assert_eq!(include(&mut answers.clone(), &mut Vec::new()), 1);
        assert_eq!(include(&mut answers, &mut given), 0);
        assert!(given.is_empty());
        assert_eq!(answers["a"][0], json!({"id": "1", "name": "hul.png", "data": "aGVq"}));
    }
}
