//! The JSON API, made from the table of actions.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use operate::{ACTIONS, Action, Because, Refusal, perform};
use runtime::{Exit, exit};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::Console;
use crate::auth::{Refused, Signed};

/// The largest body: a certificate with many signatures.
pub(crate) const MOST: usize = 512 * 1024;

/// Adds every action of the table.
pub(crate) fn routes(mut router: Router<Arc<Console>>) -> Router<Arc<Console>> {
    for action in ACTIONS {
        let handler = move |state: State<Arc<Console>>, signed: Option<Extension<Signed>>, request: Request| {
            answer(action, state, signed, request)
        };
        let method = if action.changes { post(handler) } else { get(handler) };
        router = router.route(&action.path(), method);
    }
    router
}

async fn answer(
    action: &'static Action,
    State(console): State<Arc<Console>>,
    signed: Option<Extension<Signed>>,
    request: Request,
) -> Response {
    let Some(Extension(signed)) = signed else {
        return refused(StatusCode::UNAUTHORIZED, "log in: POST /api/v1/session");
    };
    let args = if request.method() == Method::POST {
        let body = axum::body::to_bytes(request.into_body(), MOST).await;
        match body.map(|body| {
            if body.is_empty() {
                Ok(json!({}))
            } else {
                serde_json::from_slice(&body)
            }
        }) {
            Ok(Ok(args)) => args,
            Ok(Err(_)) => return refused(StatusCode::BAD_REQUEST, "the body is not JSON"),
            Err(_) => return refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
        }
    } else {
        pairs(request.uri().query().unwrap_or_default().as_bytes())
    };
    match perform_bounded(&console, &signed, action, args).await {
        Ok(value) => Json(value).into_response(),
        Err(error) => refused(status_of(&error), &format!("{error:#}")),
    }
}

/// Does an action for whoever sent it, from a page or a program.
pub(crate) async fn perform_bounded(
    console: &Console,
    signed: &Signed,
    action: &'static Action,
    args: Value,
) -> anyhow::Result<Value> {
    if signed.actor().may(action)
        && let Err(why) = bounded(action, &args)
    {
        return Err(Exit::usage(Refusal::new(Because::SayHowMany, &[], why)).into());
    }
    perform(&console.desk, signed.actor(), action.name, args).await
}

/// A discard of many says how many, so that it is never of more than a person saw.
fn bounded(action: &Action, args: &Value) -> Result<(), &'static str> {
    let is_discard = action.name.ends_with(".discard");
    let is_one = args["id"].is_string();
    let counts = matches!(&args["dry_run"], Value::Bool(true)) || args["dry_run"] == "true";
    if is_discard && !is_one && !counts && args["expect"].is_null() {
        return Err("a discard of many wants the number that matches in expect: count with dry_run first");
    }
    Ok(())
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({"error": why}))).into_response()
}

/// The status of a failure.
pub(crate) fn status_of(error: &anyhow::Error) -> StatusCode {
    match exit::code_of(error) {
        operate::FORBIDDEN => StatusCode::FORBIDDEN,
        exit::USAGE => StatusCode::BAD_REQUEST,
        exit::DATA => StatusCode::UNPROCESSABLE_ENTITY,
        exit::UNAVAILABLE => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Names and values of a form or a query: empty ones are left out, and a name that comes again makes a list.
pub(crate) fn pairs(text: &[u8]) -> Value {
    let mut args = Map::new();
    for (name, value) in form_urlencoded::parse(text) {
        if value.is_empty() {
            continue;
        }
        let value = Value::String(value.into_owned());
        match args.get_mut(&*name) {
            None => drop(args.insert(name.into_owned(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(one) => *one = json!([one.take(), value]),
        }
    }
    Value::Object(args)
}

#[derive(Deserialize)]
pub(crate) struct Login {
    login: String,
    password: String,
}

/// A token for programs: `Authorization: Bearer TOKEN`.
pub(crate) async fn log_in(
    State(console): State<Arc<Console>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Json(given): Json<Login>,
) -> Response {
    let from = console.door.origin(from, &headers);
    let (now, who) = (console.desk.clock.now(), (given.login.as_str(), given.password));
    match console.door.log_in(from, who, now).await {
        Ok((token, person)) => Json(json!({"token": token, "role": person.actor.role})).into_response(),
        Err(Refused::Slow) => refused(
            StatusCode::TOO_MANY_REQUESTS,
            "too many tries: wait a quarter of an hour",
        ),
        Err(Refused::Wrong) => refused(StatusCode::UNAUTHORIZED, "no such login with this password"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_again_is_a_list_and_an_empty_value_is_none() {
        assert_eq!(
            pairs(b"ids=a&ids=b&ids=c&form=&why=x+y"),
            json!({"ids": ["a", "b", "c"], "why": "x y"})
        );
    }

    #[test]
    fn a_discard_of_many_says_how_many() {
        let discard = operate::find("duty.discard").unwrap();
        assert!(bounded(discard, &json!({"state": "held"})).is_err());
        for fine in [
            json!({"id": "x"}),
            json!({"dry_run": true}),
            json!({"ids": ["x"], "expect": "1"}),
        ] {
            assert!(bounded(discard, &fine).is_ok(), "{fine}");
        }
    }
}
