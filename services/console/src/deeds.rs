//! What a person does at the pages: an action, counted before and told of after; logging in and out; a language.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use operate::{Action, perform};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::api::{MOST, pairs, perform_bounded};
use crate::auth::{Refused, Signed, cookie};
use crate::cells::{cell, text_of};
use crate::oidc::{self, COOKIE};
use crate::pages::{Here, ROWS, failed, shell};
use crate::tables::{Kind, TABLES};
use crate::view::{Confirm, Keyboard, LetIn, Listed, LogIn, Said, Shell, page};
use crate::words::of_duty;
use crate::{Console, words};

/// What an action would do, counted, before it is done.
pub(crate) async fn confirm(
    State(console): Here,
    signed: Signed,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let shell = shell(&console, &headers, Some(&signed), "confirm");
    let query = query.unwrap_or_default();
    let mut given: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let all = given.iter().find(|(name, _)| name == "all-of").cloned();
    let selected = given.iter().find(|(name, _)| name == "do").cloned();
    given.retain(|(name, value)| name != "all-of" && name != "do" && !value.is_empty());
    if all.is_some() {
        given.retain(|(name, _)| name != "ids");
    } else if given.iter().any(|(name, _)| name == "ids") {
        // The selected are meant by their ids alone.
        given.retain(|(name, _)| name == "ids");
    } else {
        given.retain(|(name, _)| name == "id");
    }
    let action = all.or(selected).and_then(|(_, name)| operate::find(&name));
    // Only what can be counted without being done: a page that is looked at changes nothing.
    let counts = |action: &&Action| TABLES.iter().any(|table| table.bulk.contains(&action.name));
    let Some(action) = action.filter(counts) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let text = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&given)
        .finish();
    let mut args = pairs(text.as_bytes());
    args["dry_run"] = json!(true);
    let discards = action.name.ends_with(".discard");
    if discards {
        args["why"] = json!("counted");
    }
    match perform(&console.desk, signed.actor(), action.name, args).await {
        Ok(answer) => {
            let confirm = Confirm {
                shell,
                action: action.name,
                matched: answer["matched"].as_u64().unwrap_or_default(),
                discards,
                hidden: given,
            };
            page(StatusCode::OK, &confirm)
        }
        Err(error) => failed(shell, &error, ""),
    }
}

/// Does an action.
pub(crate) async fn act(
    State(console): Here,
    signed: Signed,
    headers: HeaderMap,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let shell = shell(&console, &headers, Some(&signed), "result");
    let Some(action) = operate::find(&name).filter(|action| action.changes) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if body.len() > MOST {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let args = pairs(&body);
    let back = back_to(action);
    match perform_bounded(&console, &signed, action, args).await {
        Ok(answer) => {
            let (note, error) = came_of(&shell, action, &answer);
            let mut said = Said {
                lines: Vec::new(),
                lists: Vec::new(),
                error,
                note,
                back: back.to_owned(),
                shell,
            };
            tell(&mut said, "field", &answer);
            page(StatusCode::OK, &said)
        }
        Err(error) => failed(shell, &error, back),
    }
}

/// What came of an action that was not refused: a phrase, or what is wrong all the same.
fn came_of(shell: &Shell, action: &Action, answer: &Value) -> (&'static str, Option<String>) {
    let results = answer["results"].as_array().into_iter().flatten();
    let taken = |result: &Value| matches!(result["outcome"].as_str(), Some("accepted" | "counted"));
    match (action.name, answer["state"].as_str()) {
        _ if answer["dry_run"] == true => ("nothing-was-done", None),
        ("key.test", Some("done")) => ("it-is-done", None),
        ("key.test", Some("ready" | "sending")) => ("test-mail-waits", None),
        ("key.test", Some(state)) => {
            let about = [
                ("state", shell.say(state)),
                ("reason", meaning(shell, &answer["reason"])),
            ];
            ("", Some(shell.fill("test-mail-not-sent", &about)))
        }
        ("quarantine.retry", _) if !results.into_iter().all(taken) => ("not-all-were-taken", None),
        _ => ("it-is-done", None),
    }
}

/// Why a duty is held, failed or cancelled: what it means, else its code.
fn meaning(shell: &Shell, reason: &Value) -> String {
    let reason = text_of(reason);
    shell.find(&of_duty(&reason)).unwrap_or(reason)
}

/// Lays out what an action answered: lists of things as tables, and the rest as lines.
fn tell(said: &mut Said, name: &str, answer: &Value) {
    for (key, value) in answer.as_object().into_iter().flatten() {
        let name = format!("{name}-{key}");
        let label = said.shell.say(&name);
        match value {
            Value::Object(_) => tell(said, &name, value),
            Value::Array(rows) if rows.iter().all(Value::is_object) => {
                let keys: Vec<_> = rows.first().and_then(Value::as_object).into_iter().flatten().collect();
                // What `because` says to programs stands under `why` in the person's language.
                let keys: Vec<_> = keys
                    .into_iter()
                    .map(|(key, _)| key.as_str())
                    .filter(|key| *key != "because")
                    .collect();
                let kind = |key: &str| match key {
                    "at" => Kind::Time,
                    "why" => Kind::Why,
                    "outcome" => Kind::Retried,
                    "goes" => Kind::Word,
                    _ => Kind::Text,
                };
                let row = |row: &Value| keys.iter().map(|key| cell(&said.shell, row, key, kind(key))).collect();
                let listed = Listed {
                    name: label,
                    count: rows.len(),
                    heads: keys.iter().map(|key| said.shell.say(&format!("field-{key}"))).collect(),
                    rows: rows.iter().take(ROWS).map(row).collect(),
                };
                said.lists.push(listed);
            }
            Value::Array(values) => {
                let texts: Vec<_> = values.iter().map(text_of).collect();
                said.lines.push((label, texts.join(" · ")));
            }
            other => {
                let text = match (key.as_str(), other) {
                    ("state", Value::String(state)) => said.shell.say(state),
                    ("reason", Value::String(_)) => meaning(&said.shell, other),
                    (_, Value::Bool(_)) => said.shell.say(&text_of(other)),
                    _ => text_of(other),
                };
                said.lines.push((label, text));
            }
        }
    }
}

/// The list that an action is done from.
fn back_to(action: &Action) -> &'static str {
    let table = TABLES.iter().find(|table| {
        let of_rows = table.bulk.contains(&action.name);
        of_rows || table.acts.iter().any(|(name, _)| *name == action.name)
    });
    table.map_or("", |table| table.path)
}

pub(crate) async fn keyboard(State(console): Here, signed: Option<Extension<Signed>>, headers: HeaderMap) -> Response {
    let signed = signed.map(|Extension(signed)| signed);
    let shell = shell(&console, &headers, signed.as_ref(), "keyboard");
    page(StatusCode::OK, &Keyboard { shell })
}

pub(crate) async fn login(State(console): Here, headers: HeaderMap) -> Response {
    let shell = shell(&console, &headers, None, "log-in");
    let log_in = LogIn {
        error: None,
        nobody: console.desk.loaded.config.console.users.is_empty() && console.oidc.is_none(),
        oidc: console.oidc.is_some(),
        shell,
    };
    page(StatusCode::OK, &log_in)
}

/// Sends the browser to the provider.
pub(crate) async fn begin_oidc(
    State(console): Here,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let Some(oidc) = &console.oidc else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let now = console.desk.clock.now();
    // Each asks the provider something: it is counted before.
    if !console.door.may_begin(console.door.origin(from, &headers), now) {
        return not_let_in(&console, &headers, oidc::Refused::Slow);
    }
    match oidc.begin(now).await {
        Ok((url, state)) => {
            let cookie = [(header::SET_COOKIE, console.door.pending_cookie(&state, from))];
            (cookie, Redirect::to(&url)).into_response()
        }
        Err(refused) => not_let_in(&console, &headers, refused),
    }
}

/// Lets in whom the provider sends back. The answer is a page that leads on, for a browser that comes from another site
/// does not show a session's cookie to where it is redirected.
pub(crate) async fn finish_oidc(
    State(console): Here,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(oidc) = &console.oidc else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let given = pairs(query.unwrap_or_default().as_bytes());
    let (state, code) = (text_of(&given["state"]), text_of(&given["code"]));
    let now = console.desk.clock.now();
    match oidc.finish((&state, code), cookie(&headers, COOKIE), now).await {
        Ok(person) => {
            let token = console.door.admit(console.door.origin(from, &headers), person, now);
            let cookies = [console.door.cookie(&token, from), console.door.pending_cookie("", from)];
            let shell = shell(&console, &headers, None, "log-in");
            let cookies = AppendHeaders(cookies.map(|cookie| (header::SET_COOKIE, cookie)));
            (cookies, page(StatusCode::OK, &LetIn { shell })).into_response()
        }
        Err(refused) => not_let_in(&console, &headers, refused),
    }
}

fn not_let_in(console: &Arc<Console>, headers: &HeaderMap, refused: oidc::Refused) -> Response {
    let status = match refused {
        oidc::Refused::Away => StatusCode::SERVICE_UNAVAILABLE,
        oidc::Refused::Wrong => StatusCode::UNAUTHORIZED,
        oidc::Refused::NoRole => StatusCode::FORBIDDEN,
        oidc::Refused::Slow => StatusCode::TOO_MANY_REQUESTS,
    };
    let log_in = LogIn {
        shell: shell(console, headers, None, "log-in"),
        error: Some(refused.phrase()),
        nobody: false,
        oidc: true,
    };
    page(status, &log_in)
}

pub(crate) async fn log_in(
    State(console): Here,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let given = pairs(&body);
    let who = (text_of(&given["login"]), text_of(&given["password"]));
    let now = console.desk.clock.now();
    let origin = console.door.origin(from, &headers);
    let (status, error) = match console.door.log_in(origin, (&who.0, who.1), now).await {
        Ok((token, _)) => {
            let cookie = [(header::SET_COOKIE, console.door.cookie(&token, from))];
            return (cookie, Redirect::to("/")).into_response();
        }
        Err(Refused::Wrong) => (StatusCode::UNAUTHORIZED, "wrong-password"),
        Err(Refused::Slow) => (StatusCode::TOO_MANY_REQUESTS, "too-many-tries"),
    };
    let log_in = LogIn {
        shell: shell(&console, &headers, None, "log-in"),
        error: Some(error),
        nobody: false,
        oidc: console.oidc.is_some(),
    };
    page(status, &log_in)
}

pub(crate) async fn log_out(
    State(console): Here,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    console.door.log_out(&headers);
    (
        [(header::SET_COOKIE, console.door.cookie("", from))],
        Redirect::to("/login"),
    )
        .into_response()
}

/// Keeps the language that a person chooses.
pub(crate) async fn language(body: Bytes) -> Response {
    let language = if pairs(&body)["language"] == "da" { "da" } else { "en" };
    let name = words::LANGUAGE;
    let cookie = format!("{name}={language}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}
