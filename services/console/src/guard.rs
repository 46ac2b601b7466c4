//! What holds for every request: who sends it, that it is no other page's doing, and what the browser may do with the
//! answer.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Console;
use crate::auth::{How, Signed};

/// Nothing but our own files, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(crate) async fn guard(
    State(console): State<Arc<Console>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    if !console.door.admits(from.ip()) {
        return (StatusCode::FORBIDDEN, "come through the proxy, which speaks TLS\n").into_response();
    }
    let signed = console.door.who(from, request.headers(), console.desk.clock.now());
    let is_static = request.uri().path().starts_with("/static/");
    let mut response = if request.method().is_safe() || is_own(request.headers(), signed.as_ref()) {
        if let Some(signed) = signed {
            request.extensions_mut().insert(signed);
        }
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "this came from another page: nothing was done\n").into_response()
    };
    let caching = if is_static { "max-age=3600" } else { "no-store" };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, caching),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static("same-origin"));
    }
    response
}

/// Whether a request that changes something comes from a page of ours, or from a program that says on purpose who it is.
fn is_own(headers: &HeaderMap, signed: Option<&Signed>) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    if let Some(origin) = text("origin") {
        let host = text("host").unwrap_or_default();
        return origin
            .split_once("://")
            .is_some_and(|(_, rest)| !host.is_empty() && rest == host);
    }
    // No browser of today: a program, which must not be let in by what a browser adds by itself.
    headers.get(header::COOKIE).is_none() && signed.is_none_or(|signed| signed.how == How::Bearer)
}
