//! `kvit submission`: try a message, send one, list and show.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use broker::Properties;
use domain::quarantine::QuarantineReason;
use domain::{Form, FormId, Remark, SiteId};
use kvit_intake::check::{Checked, check};
use kvit_intake::shapes::{self, Event, Headers, Limits, SiteRules};
use ledger::{SubmissionFilter, SubmissionView};
use runtime::{ConfigArgs, Exit, Health, exit};
use serde_json::json;

use crate::app::{App, unavailable};
use crate::args::SubmissionCommand;
use crate::table::{cell, table};

pub(crate) async fn run(config: &ConfigArgs, command: SubmissionCommand, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    match command {
        SubmissionCommand::Check { form, site, file } => try_message(&app, &form, site, &read(&file)?),
        SubmissionCommand::Send { site, form, file } => send(&app, &site, form, &read(&file)?).await,
        SubmissionCommand::List {
            site,
            form,
            state,
            since,
            limit,
        } => {
            let filter = SubmissionFilter {
                site: site.map(String::from),
                form: form.map(String::from),
                state: state.map(|state| state.to_string()),
                since,
                ..SubmissionFilter::default()
            };
            let found = app
                .ledger
                .submissions(filter, limit, app.clock.now())
                .await
                .map_err(unavailable)?;
            app.print(&found, || words(&found))?;
            Ok(exit::OK)
        }
        SubmissionCommand::Show { id } => {
            let view = show(&app, &id).await?;
            let view = view.ok_or_else(|| Exit::data(anyhow::anyhow!("no submission is known by that id")))?;
            app.print(&view, || timeline(&view))?;
            Ok(exit::OK)
        }
    }
}

pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(Exit::io)
            .context("reading standard input")?;
        return Ok(bytes);
    }
    std::fs::read(file)
        .map_err(Exit::io)
        .with_context(|| format!("reading {}", file.display()))
}

/// What becomes of a message that is not refused.
enum Fate {
    /// Ignored and counted: the outcome's word, and why.
    Counted(&'static str, &'static str),
    Taken(Checked),
}

/// What intake would do. Prints field paths of declared fields and counts, never a value.
fn try_message(app: &App, form: &FormId, site: Option<SiteId>, body: &[u8]) -> anyhow::Result<u8> {
    let config = &app.loaded.config;
    let has = |site: &SiteId| app.loaded.forms.get(site, form).cloned();
    let Some(site) = site.or_else(|| config.sites.keys().find(|site| has(site).is_some()).cloned()) else {
        return unknown_form(app, form);
    };
    let rules = config.sites.get(&site);
    let rules = rules.ok_or_else(|| Exit::data(anyhow::anyhow!("no site {site} is configured")))?;
    let Some(declared) = has(&site) else {
        return unknown_form(app, form);
    };
    if rules.require_sealed {
        return refused(app, QuarantineReason::NotSealed);
    }
    let limits = Limits {
        max_bytes: config.intake.max_message_bytes,
    };
    let custom = SiteRules {
        custom_data: &rules.custom_data,
    };
    let find = |id: &FormId| app.loaded.forms.get(&site, id).map(Arc::clone);
    let read = |headers: &Headers| shapes::read(body, headers, &limits, &custom, &find);
    // The body's own word first; the form that is asked about stands for x-kvit-form where the body names none.
    let named = Headers {
        form: Some(form.to_string()),
        ..Headers::default()
    };
    let incoming = read(&Headers::default()).or_else(|_| read(&named));
    let checked = incoming.and_then(|incoming| {
        if incoming.is_draft() {
            return Ok(Fate::Counted("draft", "a draft"));
        }
        if incoming.event == Some(Event::Deleted) {
            return Ok(Fate::Counted("deleted", "the site says that its own copy is gone"));
        }
        let declared = find(&incoming.form).unwrap_or_else(|| Arc::clone(&declared));
        let unknown = declared.unknown_fields.unwrap_or(rules.unknown_fields);
        check(&incoming, &declared, unknown).map(Fate::Taken)
    });
    match checked {
        Err(refusal) => refused(app, refusal.reason),
        Ok(Fate::Counted(outcome, why)) => {
            app.print(&json!({"outcome": outcome}), || {
                format!("would be ignored and counted: {why}")
            })?;
            Ok(exit::OK)
        }
        Ok(Fate::Taken(checked)) => {
            let remarks: Vec<_> = checked.remarks.iter().map(|found| remark(found, &declared)).collect();
            let files = checked.answers.files().len();
            let value = json!({
                "outcome": "accepted",
                "answered": checked.answers.declared.iter().filter(|(_, value)| !value.is_empty()).count(),
                "undeclared": checked.answers.undeclared.len(),
                "files": files,
                "files_without_content": checked.missing_content.len(),
                "form_drift": checked.drift,
                "remarks": remarks,
            });
            app.print(&value, || accepted(&value))?;
            Ok(exit::OK)
        }
    }
}

/// No site has the form: said beside what intake would do, for it may be a slip of the pen.
fn unknown_form(app: &App, form: &FormId) -> anyhow::Result<u8> {
    eprintln!("kvit: no form {form} is configured for the site: see kvit form list");
    refused(app, QuarantineReason::UnknownForm)
}

/// Says why, and that the data is refused.
fn refused(app: &App, reason: QuarantineReason) -> anyhow::Result<u8> {
    app.print(&json!({"outcome": "quarantined", "reason": reason.as_str()}), || {
        format!("would be quarantined: {reason}")
    })?;
    Ok(exit::DATA)
}

/// A remark without what the sender chose: only the path of a field that the form declares is shown.
fn remark(remark: &Remark, form: &Form) -> serde_json::Value {
    let (kind, field) = match remark {
        Remark::CprInText { field } => ("cpr_in_text", field),
        Remark::WrongType { field } => ("wrong_type", field),
        Remark::Missing { field } => ("missing", field),
        Remark::FileMissing { field } => ("file_missing", field),
        Remark::TokenMasked { field } => ("token_masked", field),
        Remark::Undeclared { field } => ("undeclared", field),
    };
    json!({"remark": kind, "field": is_declared(form, field).then_some(field)})
}

fn is_declared(form: &Form, path: &str) -> bool {
    let mut fields = &form.fields;
    for key in path.split('.') {
        if key.parse::<u32>().is_ok() {
            continue; // the place of one of several values
        }
        let Some(field) = fields.get(key) else { return false };
        fields = &field.fields;
    }
    true
}

fn accepted(value: &serde_json::Value) -> String {
    let mut text = format!(
        "would be accepted: {} fields answered, {} undeclared, {} files ({} without content)",
        value["answered"], value["undeclared"], value["files"], value["files_without_content"]
    );
    for remark in value["remarks"].as_array().into_iter().flatten() {
        let field = remark["field"]
            .as_str()
            .map(|field| format!(" in {field}"))
            .unwrap_or_default();
        let line = ["\nremark: ", remark["remark"].as_str().unwrap_or_default(), &field];
        text.extend(line);
    }
    text
}

async fn send(app: &App, site: &SiteId, form: Option<FormId>, body: &[u8]) -> anyhow::Result<u8> {
    if !app.loaded.config.sites.contains_key(site) {
        return Err(Exit::data(anyhow::anyhow!("no site {site} is configured")).into());
    }
    let link = worker::link(
        &app.loaded.config,
        "kvit submission send",
        Health::new().check("broker"),
    )?;
    link.declare_site(site);
    let properties = Properties {
        content_type: Some(media_type(body).to_owned()),
        headers: form
            .map(|form| BTreeMap::from([("x-kvit-form".to_owned(), form.to_string())]))
            .unwrap_or_default(),
        ..Properties::default()
    };
    let queue = broker::submissions_queue(site);
    link.publish("", &queue, body, &properties)
        .await
        .map_err(Exit::unavailable)
        .context("publishing the message")?;
    app.print(&json!({"queue": queue, "confirmed": true, "bytes": body.len()}), || {
        format!("the broker has the message in {queue} ({} bytes)", body.len())
    })?;
    Ok(exit::OK)
}

/// What a body says that it is: a site seals by OpenPGP, armored or not, and neither begins as JSON does.
fn media_type(body: &[u8]) -> &'static str {
    let is_packet = body.first().is_some_and(|first| first & 0x80 != 0);
    if is_packet || body.starts_with(b"-----BEGIN PGP MESSAGE-----") {
        "application/pgp-encrypted"
    } else {
        "application/json"
    }
}

/// By Kvit's id, the reference, or `SITE/UUID`.
pub(crate) async fn show(app: &App, id: &str) -> anyhow::Result<Option<SubmissionView>> {
    operate::look::find(&app.desk(), id).await
}

fn words(found: &[SubmissionView]) -> String {
    let rows: Vec<_> = found
        .iter()
        .map(|view| {
            [
                view.id.clone(),
                cell(view.reference.as_ref()),
                view.site.clone(),
                cell(view.form.as_ref()),
                view.version.to_string(),
                view.state.clone(),
                view.received_at.to_string(),
            ]
        })
        .collect();
    table(
        ["id", "reference", "site", "form", "version", "state", "received"],
        &rows,
        "no submission matches",
    )
}

/// The timeline of one submission in words.
pub(crate) fn timeline(view: &SubmissionView) -> String {
    let mut text = format!(
        "{} · {} · {}/{} · version {}\n{}: {}\n\n",
        cell(view.reference.as_ref()),
        view.id,
        view.site,
        cell(view.form.as_ref()),
        view.version,
        view.state,
        view.why
    );
    let rows: Vec<_> = view
        .duties
        .iter()
        .map(|duty| {
            [
                duty.role.clone(),
                duty.kind.clone(),
                duty.state.clone(),
                cell(duty.reason.as_ref()),
                duty.attempts.to_string(),
                cell(duty.done_at),
            ]
        })
        .collect();
    text += &table(
        ["mail", "duty", "state", "reason", "attempts", "done"],
        &rows,
        "no duty",
    );
    text += "\n\n";
    let leaves = view
        .evidence
        .iter()
        .map(|leaf| format!("{}  {}\n", leaf.at, leaf.event));
    text.extend(leaves);
    text + &format!("the site's own copy: {}", view.site_copy)
}
