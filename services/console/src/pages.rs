//! The pages: each shows what an action of the table answers, and offers the actions that the person may do.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use operate::perform;
use serde_json::Value;

use crate::Console;
use crate::api::{pairs, status_of};
use crate::auth::Signed;
use crate::cells::{acts, age, bulk, cell, facts_of, field, link, plain, rows_of, text_of, time};
use crate::tables::{self, Kind, OF_DUTIES, TABLES};
use crate::view::{Cell, List, Overview, Said, Shell, Show, page};
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
        shell,
        error: Some(format!("{error:#}")),
        lines: Vec::new(),
        lists: Vec::new(),
        back: back.to_owned(),
    };
    page(status, &said)
}

pub(crate) async fn overview(State(console): Here, signed: Signed, headers: HeaderMap) -> Response {
    if signed.is_department() {
        return Redirect::to("/events").into_response();
    }
    let shell = shell(&console, &headers, Some(&signed), "overview");
    let snapshot = match console.live.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(error) => return failed(shell, &error, ""),
    };
    let (status, backlog) = (&snapshot.status, &snapshot.backlog);
    let figures = &status.figures;
    let rate = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1}"));
    let numbers = [
        ("arrived", figures.arrived, false),
        ("accepted", figures.accepted, false),
        ("open", figures.open, false),
        ("deleted", figures.deleted, false),
        ("quarantined", figures.quarantined, backlog.quarantine_waiting > 0),
        ("duplicates", figures.duplicates.ignored, false),
        (
            "possible-mail",
            figures.duplicates.possible_mail,
            figures.duplicates.possible_mail > 0,
        ),
        ("drafts", figures.drafts_ignored, false),
        ("late", backlog.missed, backlog.missed > 0),
    ];
    let mut shown: Vec<_> = numbers
        .map(|(name, number, bad)| (name, number.to_string(), bad))
        .to_vec();
    shown.push(("rate-in", rate(snapshot.rates.map(|rates| rates.0)), false));
    shown.push(("rate-out", rate(snapshot.rates.map(|rates| rates.1)), false));
    let queues = figures.duties.iter().map(|(kind, counts)| {
        let oldest = backlog.oldest_duties.get(kind).copied().unwrap_or_default();
        let numbers = [counts.ready + counts.sending, counts.held, counts.failed];
        let mut cells = vec![Cell {
            href: Some(link("/duties", "kind", kind)),
            ..plain(shell.say(kind))
        }];
        cells.extend(numbers.map(|number| plain(number.to_string())));
        cells.push(plain(age(oldest)));
        cells
    });
    let workers = status.workers.iter().map(|worker| {
        let (started, seen) = (time(&console, worker.started_at), time(&console, worker.seen_at));
        vec![plain(worker.service.as_str()), started, seen]
    });
    let paused = status.paused.iter().map(|pause| {
        let who = pause.actor.as_deref().unwrap_or("–");
        vec![
            plain(shell.say(pause.what.as_str())),
            plain(pause.name.as_str()),
            plain(pause.why.as_str()),
            plain(console.door.name_of(who).unwrap_or(who)),
            pause.until.map_or_else(|| plain("–"), |until| time(&console, until)),
        ]
    });
    let overview = Overview {
        figures: shown,
        whole: status.difference.arrived == 0 && status.difference.accepted == 0,
        queues: queues.collect(),
        workers: workers.collect(),
        paused: paused.collect(),
        shell,
    };
    page(StatusCode::OK, &overview)
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
    }
    let (rows, error, status) = match perform(&console.desk, signed.actor(), table.action, args).await {
        Ok(rows) => (rows, None, StatusCode::OK),
        Err(error) => (Value::Null, Some(format!("{error:#}")), status_of(&error)),
    };
    let rows = rows_of(&shell, &rows, table.columns);
    let list = List {
        path: table.path,
        filters,
        heads: table
            .columns
            .iter()
            .map(|(key, _)| shell.say(&format!("field-{key}")))
            .collect(),
        more: !table.filters.is_empty() && rows.len() == ROWS,
        rows,
        bulk: bulk(&shell, &signed, table.bulk),
        hidden,
        acts: acts(&shell, &signed, table.acts, &[]),
        error,
        shell,
    };
    page(status, &list)
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
        ("reason", Kind::Because),
        ("attempts", Kind::Text),
        ("next_at", Kind::Time),
        ("done_at", Kind::Time),
    ];
    let leaves = view["evidence"].as_array().into_iter().flatten().map(|leaf| {
        let columns = [("at", Kind::Time), ("event", Kind::Word), ("index", Kind::Text)];
        Vec::from(columns.map(|(key, kind)| cell(&shell, leaf, key, kind)))
    });
    let show = Show {
        heading: text_of(if view["reference"].is_null() {
            &view["id"]
        } else {
            &view["reference"]
        }),
        why: view["why"].as_str().map(str::to_owned),
        facts: facts_of(&shell, &view, &facts),
        duties: rows_of(&shell, &view["duties"], &columns),
        bulk: bulk(&shell, &signed, OF_DUTIES),
        history: leaves.collect(),
        prove: (view["state"] == "deleted").then(|| link("/evidence/prove", "id", &id)),
        acts: Vec::new(),
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
        acts: acts(&shell, &signed, of_events, &[("event", id.as_str())]),
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
