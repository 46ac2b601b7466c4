//! The pages: each shows what an action of the table answers, and offers the actions that the person may do.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use operate::perform;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::Console;
use crate::api::{pairs, status_of};
use crate::auth::Signed;
use crate::cells::{acts, bulk, cell, facts_of, field, link, plain, rows_of, text_of, why};
use crate::tables::{self, Kind, OF_DUTIES, TABLES};
use crate::view::{Cell, List, Listed, Said, Shell, Show, page};
use crate::words;

/// So many rows a person reads on a page that can be filtered.
pub(crate) const ROWS: usize = 100;

pub(crate) type Here = State<Arc<Console>>;

/// The frame of a page.
pub(crate) fn shell(
    console: &Arc<Console>,
    headers: &HeaderMap,
    signed: Option<&Signed>,
    title: &'static str,
) -> Shell {
    let mut places = Vec::new();
    if let Some(signed) = signed {
        if !signed.is_department() {
            places.push(("", "overview", title == "overview"));
        }
        let seen = TABLES
            .iter()
            .filter(|table| operate::find(table.action).is_some_and(|action| signed.actor().may(action)));
        places.extend(seen.map(|table| (table.path, table.path, title == table.path)));
    }
    Shell {
        console: Arc::clone(console),
        language: words::language(headers, console.desk.loaded.config.controller.language),
        title,
        places,
        login: signed.map(|signed| signed.person.login.clone()),
        role: signed
            .and_then(|signed| signed.actor().role)
            .map(|role| role.to_string()),
    }
}

/// What went wrong, on a page.
pub(crate) fn failed(shell: Shell, error: &anyhow::Error, back: &str) -> Response {
    let status = status_of(error);
    let said = Said {
        error: Some(shell.refusal(error)),
        note: "",
        shell,
        lines: Vec::new(),
        lists: Vec::new(),
        back: back.to_owned(),
    };
    page(status, &said)
}

pub(crate) async fn list(
    State(console): Here,
    signed: Signed,
    headers: HeaderMap,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(table) = tables::at(&path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let shell = shell(&console, &headers, Some(&signed), table.path);
    let mut args = pairs(query.unwrap_or_default().as_bytes());
    if table.path == "submissions"
        && let Some(id) = args["id"].as_str()
    {
        return Redirect::to(&link("/submissions/show", "id", id)).into_response();
    }
    let after = text_of(&args["after"]);
    if let Value::Object(args) = &mut args {
        args.retain(|name, _| table.filters.iter().any(|(filter, _)| filter == name));
    }
    let hidden: Vec<_> = args
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), text_of(value)))
        .collect();
    let given = |name: &str| text_of(&args[name]);
    let filters = table.filters.iter();
    let filters = filters
        .map(|&(name, choices)| field(&shell, name, choices, given(name), true))
        .collect();
    if !table.filters.is_empty() {
        args["limit"] = ROWS.into();
        args["after"] = Some(after.as_str()).filter(|after| !after.is_empty()).into();
    }
    if let Some(id) = args["actor"].as_str().and_then(|login| console.door.id_of(login)) {
        args["actor"] = id.into();
    }
    let (rows, error, status) = match perform(&console.desk, signed.actor(), table.action, args).await {
        Ok(rows) => (rows, None, StatusCode::OK),
        Err(error) => (Value::Null, Some(shell.refusal(&error)), status_of(&error)),
    };
    let next = (!table.filters.is_empty()).then(|| last_of(&rows)).flatten();
    let rows = rows_of(&shell, &rows, table.columns);
    let list = List {
        path: table.path,
        filters,
        heads: table
            .columns
            .iter()
            .map(|(key, _)| shell.say(&format!("field-{key}")))
            .collect(),
        next: next.map(|last| address(table.path, &hidden, Some(&last))),
        start: (!after.is_empty()).then(|| address(table.path, &hidden, None)),
        rows,
        bulk: bulk(&shell, &signed, table.bulk),
        hidden,
        acts: acts(&shell, &signed, table.acts, &[]),
        error,
        shell,
    };
    page(status, &list)
}

/// What a list goes on after, where there may be more of it.
fn last_of(rows: &Value) -> Option<String> {
    let rows = rows.as_array().filter(|rows| rows.len() == ROWS)?;
    let last = rows.last()?;
    Some(text_of(if last["id"].is_null() {
        &last["seq"]
    } else {
        &last["id"]
    }))
}

/// The address of a list with its filters, and where it goes on.
fn address(path: &str, filters: &[(String, String)], after: Option<&str>) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(filters)
        .extend_pairs(after.map(|after| ("after", after)))
        .finish();
    let address = format!("/{path}?{query}");
    address.trim_end_matches('?').to_owned()
}

pub(crate) async fn submission(
    State(console): Here,
    signed: Signed,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let shell = shell(&console, &headers, Some(&signed), "submissions");
    let args = pairs(query.unwrap_or_default().as_bytes());
    let view = match perform(&console.desk, signed.actor(), "submission.show", args).await {
        Ok(view) => view,
        Err(error) => return failed(shell, &error, "submissions"),
    };
    let id = text_of(&view["id"]);
    if view["state"] == "quarantined" {
        let shell = self::shell(&console, &headers, Some(&signed), "quarantine");
        return set_aside(&console, &signed, shell, &view).await;
    }
    let facts = [
        ("id", Kind::Text),
        ("site", Kind::Text),
        ("form", Kind::Text),
        ("version", Kind::Text),
        ("state", Kind::Word),
        ("received_at", Kind::Time),
        ("deleted_at", Kind::Time),
        ("site_copy", Kind::Word),
        ("registration", Kind::Word),
    ];
    let columns = [
        ("kind", Kind::Word),
        ("role", Kind::Text),
        ("state", Kind::Word),
        ("reason", Kind::OfDuty),
        ("attempts", Kind::Text),
        ("next_at", Kind::Time),
        ("done_at", Kind::Time),
    ];
    let show = Show {
        heading: text_of(if view["reference"].is_null() {
            &view["id"]
        } else {
            &view["reference"]
        }),
        why: Some(why(&shell, &view)),
        facts: facts_of(&shell, &view, &facts),
        duties: rows_of(&shell, &view["duties"], &columns),
        bulk: bulk(&shell, &signed, OF_DUTIES),
        history: leaves(&shell, &view),
        prove: (view["state"] == "deleted").then(|| link("/evidence/prove", "id", &id)),
        decide: Vec::new(),
        id,
        lists: Vec::new(),
        acts: Vec::new(),
        shell,
    };
    page(StatusCode::OK, &show)
}

/// What happened to a submission.
fn leaves(shell: &Shell, view: &Value) -> Vec<Vec<Cell>> {
    let leaves = view["evidence"].as_array().into_iter().flatten().map(|leaf| {
        let columns = [("at", Kind::Time), ("event", Kind::Leaf), ("index", Kind::Text)];
        Vec::from(columns.map(|(key, kind)| cell(shell, leaf, key, kind)))
    });
    leaves.collect()
}

/// A message in quarantine: why it is there, and while it waits, what can be done with it.
async fn set_aside(console: &Arc<Console>, signed: &Signed, shell: Shell, view: &Value) -> Response {
    let id = text_of(&view["id"]);
    let args = json!({"id": id});
    let row = match perform(&console.desk, signed.actor(), "quarantine.list", args).await {
        Ok(rows) => rows[0].clone(),
        Err(error) => return failed(shell, &error, "quarantine"),
    };
    let facts = [
        ("id", Kind::Text),
        ("site", Kind::Text),
        ("form", Kind::Text),
        ("reason", Kind::Because),
        ("state", Kind::Word),
        ("bytes", Kind::Text),
        ("received_at", Kind::Time),
        ("decided_at", Kind::Time),
        ("why", Kind::Text),
    ];
    let of_list = tables::at("quarantine").map_or(&[][..], |table| table.bulk);
    let show = Show {
        heading: id.clone(),
        why: Some(why(&shell, view)),
        facts: facts_of(&shell, &row, &facts),
        duties: Vec::new(),
        bulk: Vec::new(),
        history: leaves(&shell, view),
        prove: None,
        decide: if row["state"] == "waiting" {
            bulk(&shell, signed, of_list)
        } else {
            Vec::new()
        },
        id,
        lists: Vec::new(),
        acts: Vec::new(),
        shell,
    };
    page(StatusCode::OK, &show)
}

pub(crate) async fn schedule(
    State(console): Here,
    signed: Signed,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let shell = shell(&console, &headers, Some(&signed), "schedules");
    let args = pairs(query.unwrap_or_default().as_bytes());
    let name = text_of(&args["name"]);
    let look = async {
        let runs = perform(&console.desk, signed.actor(), "schedule.history", args).await?;
        let all = perform(&console.desk, signed.actor(), "schedule.list", json!({})).await?;
        anyhow::Ok((runs, all))
    };
    let (runs, all) = match look.await {
        Ok(looked) => looked,
        Err(error) => return failed(shell, &error, "schedules"),
    };
    let mut rows = all.as_array().into_iter().flatten();
    let one = rows.find(|row| row["name"] == name.as_str()).unwrap_or(&Value::Null);
    let facts = [
        ("cron", Kind::Text),
        ("words", Kind::Cron),
        ("time_zone", Kind::Text),
        ("next", Kind::Time),
    ];
    let columns = [
        ("planned_at", Kind::Time),
        ("started_at", Kind::Time),
        ("ended_at", Kind::Time),
        ("seconds", Kind::Text),
        ("outcome", Kind::Run),
    ];
    let rows: Vec<_> = rows_of(&shell, &runs, &columns)
        .into_iter()
        .map(|row| row.cells)
        .collect();
    let history = Listed {
        name: shell.say("last-runs"),
        count: rows.len(),
        heads: columns.map(|(key, _)| shell.say(&format!("field-{key}"))).to_vec(),
        rows,
    };
    let of_schedules = tables::at("schedules").map_or(&[][..], |table| table.acts);
    let show = Show {
        heading: name.clone(),
        why: None,
        facts: facts_of(&shell, one, &facts),
        duties: Vec::new(),
        bulk: Vec::new(),
        history: Vec::new(),
        prove: None,
        decide: Vec::new(),
        lists: vec![history],
        acts: acts(&shell, &signed, of_schedules, &[("name", name.as_str())]),
        id: name,
        shell,
    };
    page(StatusCode::OK, &show)
}

pub(crate) async fn event(
    State(console): Here,
    signed: Signed,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let shell = shell(&console, &headers, Some(&signed), "events");
    let args = pairs(query.unwrap_or_default().as_bytes());
    let view = match perform(&console.desk, signed.actor(), "event.show", args).await {
        Ok(view) => view,
        Err(error) => return failed(shell, &error, "events"),
    };
    let facts = [
        ("tag", Kind::Text),
        ("deadline", Kind::Time),
        ("held", Kind::Time),
        ("cancelled_at", Kind::Time),
        ("open", Kind::Text),
        ("unextracted", Kind::Text),
        ("kept", Kind::Text),
        ("notified_at", Kind::Time),
        ("erased_at", Kind::Time),
    ];
    let extracts = view["extracts"].as_array().into_iter().flatten().map(|extract| {
        let covers = format!("{} → {}", text_of(&extract["covers"]), text_of(&extract["department"]));
        vec![
            cell(&shell, extract, "made_at", Kind::Time),
            plain(covers),
            cell(&shell, extract, "confirmed_at", Kind::Time),
        ]
    });
    let id = text_of(&view["id"]);
    let of_events = tables::at("events").map_or(&[][..], |table| table.acts);
    let show = Show {
        heading: id.clone(),
        why: None,
        facts: facts_of(&shell, &view, &facts),
        duties: Vec::new(),
        bulk: Vec::new(),
        history: extracts.collect(),
        prove: None,
        decide: Vec::new(),
        lists: Vec::new(),
        acts: acts(&shell, &signed, of_events, &[("event", id.as_str())]),
        id,
        shell,
    };
    page(StatusCode::OK, &show)
}

/// The certificate of a deletion, to keep.
pub(crate) async fn prove(
    State(console): Here,
    signed: Signed,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let args = pairs(query.unwrap_or_default().as_bytes());
    match perform(&console.desk, signed.actor(), "evidence.prove", args).await {
        Ok(certificate) => {
            let kept = [(
                header::CONTENT_DISPOSITION,
                "attachment; filename=\"deletion-certificate.json\"",
            )];
            (kept, axum::Json(certificate)).into_response()
        }
        Err(error) => failed(
            shell(&console, &headers, Some(&signed), "evidence"),
            &error,
            "submissions",
        ),
    }
}
