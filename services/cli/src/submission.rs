//! `kvit submission`: try a message, send one, list and show.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use broker::Properties;
use domain::{FormId, Remark, SiteId, SubmissionId};
use kvit_intake::check::check;
use kvit_intake::requests::{FIND_BY_UUID, SiteUuid};
use kvit_intake::shapes::{self, Headers, Limits, SiteRules};
use ledger::{SubmissionFilter, SubmissionView};
use runtime::{ConfigArgs, Exit, Health, exit};
use serde_json::json;

use crate::app::{App, unavailable};
use crate::args::SubmissionCommand;
use crate::request::ask;
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

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(Exit::io)
            .context("reading standard input")?;
        return Ok(bytes);
    }
    Ok(std::fs::read(file)
        .map_err(Exit::io)
        .with_context(|| format!("reading {}", file.display()))?)
}

/// What intake would do. Prints field paths of declared fields and counts, never a value.
fn try_message(app: &App, form: &FormId, site: Option<SiteId>, body: &[u8]) -> anyhow::Result<u8> {
    let config = &app.loaded.config;
    let has = |site: &SiteId| app.loaded.forms.get(site, form).cloned();
    let site = match site {
        Some(site) => site,
        None => config
            .sites
            .keys()
            .find(|site| has(site).is_some())
            .cloned()
            .ok_or_else(|| Exit::data(anyhow::anyhow!("no site has a form {form}: see kvit form list")))?,
    };
    let rules = config.sites.get(&site);
    let rules = rules.ok_or_else(|| Exit::data(anyhow::anyhow!("no site {site} is configured")))?;
    let declared =
        has(&site).ok_or_else(|| Exit::data(anyhow::anyhow!("site {site} has no form {form}: see kvit form list")))?;
    let headers = Headers {
        form: Some(form.to_string()),
        ..Headers::default()
    };
    let limits = Limits {
        max_bytes: config.intake.max_message_bytes,
    };
    let custom = SiteRules {
        custom_data: &rules.custom_data,
    };
    let find = |id: &FormId| app.loaded.forms.get(&site, id).map(Arc::clone);
    let checked = shapes::read(body, &headers, &limits, &custom, &find).and_then(|incoming| {
        if incoming.is_draft() {
            return Ok(None);
        }
        check(
            &incoming,
            &declared,
            declared.unknown_fields.unwrap_or(rules.unknown_fields),
        )
        .map(Some)
    });
    match checked {
        Err(refusal) => {
            let reason = refusal.reason.as_str();
            app.print(&json!({"outcome": "quarantined", "reason": reason}), || {
                format!("would be quarantined: {reason}")
            })?;
            Ok(exit::DATA)
        }
        Ok(None) => {
            app.print(&json!({"outcome": "draft"}), || {
                "would be ignored and counted: a draft".to_owned()
            })?;
            Ok(exit::OK)
        }
        Ok(Some(checked)) => {
            let remarks: Vec<_> = checked.remarks.iter().map(remark).collect();
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

/// A remark without what the sender chose: the path of an undeclared field holds the sender's own words.
fn remark(remark: &Remark) -> serde_json::Value {
    let (kind, field) = match remark {
        Remark::CprInText { field } => ("cpr_in_text", Some(field)),
        Remark::WrongType { field } => ("wrong_type", Some(field)),
        Remark::Missing { field } => ("missing", Some(field)),
        Remark::FileMissing { field } => ("file_missing", Some(field)),
        Remark::TokenMasked { field } => ("token_masked", Some(field)),
        Remark::Undeclared { .. } => ("undeclared", None),
    };
    json!({"remark": kind, "field": field})
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
        text += &format!("\nremark: {}{field}", remark["remark"].as_str().unwrap_or_default());
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
        content_type: Some("application/json".to_owned()),
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

/// By Kvit's id, the reference, or `SITE/UUID`; the last needs the index key, which intake has.
async fn show(app: &App, id: &str) -> anyhow::Result<Option<SubmissionView>> {
    let now = app.clock.now();
    if let Ok(id) = id.parse::<SubmissionId>() {
        return Ok(app.ledger.show(id, now).await.map_err(unavailable)?);
    }
    if let Ok(reference) = id.parse::<domain::Reference>() {
        return Ok(app
            .ledger
            .show_reference(reference.into(), now)
            .await
            .map_err(unavailable)?);
    }
    let Some((site, uuid)) = id.split_once('/') else {
        return Err(Exit::usage(anyhow::anyhow!(
            "give Kvit's id, the reference K-XXXX-XXXX, or SITE/UUID"
        ))
        .into());
    };
    let site = site
        .parse()
        .map_err(Exit::usage)
        .context("reading the site of SITE/UUID")?;
    let answer = ask(
        app,
        "intake",
        FIND_BY_UUID,
        &SiteUuid {
            site,
            uuid: uuid.to_owned(),
        },
    )
    .await?;
    match answer["id"].as_str().and_then(|id| id.parse().ok()) {
        Some(id) => Ok(app.ledger.show(id, now).await.map_err(unavailable)?),
        None => Ok(None),
    }
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
    for leaf in &view.evidence {
        text += &format!("{}  {}\n", leaf.at, leaf.event);
    }
    text + &format!("the site's own copy: {}", view.site_copy)
}
