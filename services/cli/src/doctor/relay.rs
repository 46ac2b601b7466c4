//! The relay: a conversation up to the point where a mail would begin.

use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::Ehlo;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use runtime::Loaded;
use tokio::time::timeout;
use url::Url;

use super::Probe;

const CHECK: &str = "relay";
/// How long the conversation may take.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn probe(loaded: &Loaded) -> Vec<Probe> {
    let smtp = &loaded.config.smtp;
    let Some(url) = smtp.url().ok().and_then(|text| Url::parse(&text).ok()) else {
        return Vec::new(); // a finding of the configuration
    };
    let server = Server::new(&url);
    let spoken = timeout(PATIENCE, speak(&server, &url, smtp.bounce.domain())).await;
    let spoken = spoken.unwrap_or_else(|_| Err(Fault::new("does not answer", "is it an SMTP server? see its log")));
    match spoken {
        Err(fault) => vec![Probe::fail(
            CHECK,
            format!("{}:{} {}", server.host, server.port, fault.found),
            fault.next,
        )],
        Ok(offers) => judged(&server, &offers, smtp.max_message_bytes),
    }
}

/// Where the relay is, and how it is spoken to.
struct Server {
    host: String,
    port: u16,
    scheme: String,
}

impl Server {
    fn new(url: &Url) -> Self {
        let port = match url.scheme() {
            "smtps" => 465,
            "smtp+starttls" => 587,
            _ => 25,
        };
        Self {
            host: url
                .host_str()
                .unwrap_or("127.0.0.1")
                .trim_matches(['[', ']'])
                .to_owned(),
            port: url.port().unwrap_or(port),
            scheme: url.scheme().to_owned(),
        }
    }
}

/// What went wrong, and what to do. A relay's own words are never shown: it may quote what it was told.
struct Fault {
    found: String,
    next: String,
}

impl Fault {
    fn new(found: &str, next: &str) -> Self {
        Self {
            found: found.to_owned(),
            next: next.to_owned(),
        }
    }

    fn of(doing: &str, error: &lettre::transport::smtp::Error, next: &str) -> Self {
        let code = error.status().map(u16::from).filter(|code| *code > 0);
        let why = code.map_or_else(
            || "the connection failed".to_owned(),
            |code| format!("it answers {code}"),
        );
        Self::new(&format!("{doing}: {why}"), next)
    }
}

/// Connects, encrypts and logs in as configured; answers the relay's greeting after that.
async fn speak(server: &Server, url: &Url, hello: &str) -> Result<Response, Fault> {
    let hello = ClientId::Domain(hello.to_owned());
    let tls = || {
        TlsParameters::new(server.host.clone()).map_err(|_| {
            Fault::new(
                "cannot be spoken to by TLS",
                "see whether this machine has its certificates",
            )
        })
    };
    let implicit = if server.scheme == "smtps" { Some(tls()?) } else { None };
    let address = (server.host.as_str(), server.port);
    let mut smtp = AsyncSmtpConnection::connect_tokio1(address, Some(PATIENCE), &hello, implicit, None)
        .await
        .map_err(|error| {
            Fault::of(
                "cannot be reached",
                &error,
                "start the relay, or correct [smtp] url: scheme, host, port",
            )
        })?;
    if server.scheme == "smtp+starttls" {
        smtp.starttls(tls()?, &hello).await.map_err(|error| {
            Fault::of(
                "does not do STARTTLS",
                &error,
                "does it offer STARTTLS, with a certificate that this machine trusts?",
            )
        })?;
    }
    if !url.username().is_empty() {
        let password = url.password().unwrap_or_default();
        let credentials = Credentials::new(decoded(url.username()), decoded(password));
        smtp.auth(DEFAULT_MECHANISMS, &credentials)
            .await
            .map_err(|error| Fault::of("refuses the login", &error, "correct user and password in [smtp] url"))?;
    }
    let greeting = smtp.command(Ehlo::new(hello)).await.map_err(|error| {
        Fault::of(
            "refuses EHLO",
            &error,
            "does it know the domain of [smtp] bounce? see its log",
        )
    })?;
    let _ = smtp.quit().await;
    Ok(greeting)
}

fn decoded(text: &str) -> String {
    // As a query's value is decoded, but for the plus sign, which stands for itself in a user's name.
    let pair = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

fn judged(server: &Server, greeting: &Response, max_bytes: usize) -> Vec<Probe> {
    let how = match server.scheme.as_str() {
        "smtps" => "TLS",
        "smtp+starttls" => "STARTTLS",
        _ => "this machine, without TLS",
    };
    let offers: Vec<&str> = greeting.message().skip(1).collect();
    let mut probes = vec![Probe::ok(
        CHECK,
        format!("{}:{} answers ({how})", server.host, server.port),
    )];
    let size = offers
        .iter()
        .find_map(|offer| offer.strip_prefix("SIZE ")?.trim().parse::<usize>().ok());
    probes.push(match size.filter(|size| *size > 0) {
        Some(size) if size < max_bytes => Probe::warn(
            "relay's size limit",
            format!("it takes {size} bytes, smtp.max_message_bytes is {max_bytes}"),
            format!("set smtp.max_message_bytes to {size} at most: larger mails to departments are then split"),
        ),
        Some(size) => Probe::ok(
            "relay's size limit",
            format!("it takes {size} bytes, and {max_bytes} is the most that it gets"),
        ),
        None => Probe::ok(
            "relay's size limit",
            format!("it names none; {max_bytes} bytes is the most that it gets"),
        ),
    });
    probes
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn server() -> Server {
        Server::new(&Url::parse("smtp://127.0.0.1:2525").unwrap())
    }

    fn greeting(size: &str) -> Response {
        format!("250-relay.example\r\n250-{size}\r\n250 8BITMIME\r\n")
            .parse()
            .unwrap()
    }

    #[test]
    fn a_relay_that_takes_less_than_it_may_get_is_worth_a_look() {
        let judge = |size: &str| judged(&server(), &greeting(size), 1000)[1].state;
        assert_eq!(judge("SIZE 999"), State::Warn);
        assert_eq!(judge("SIZE 1000"), State::Ok);
        assert_eq!(judge("SIZE 0"), State::Ok);
        assert_eq!(judge("DSN"), State::Ok);
    }

    #[test]
    fn a_password_is_read_as_the_mailer_reads_it() {
        assert_eq!(decoded("hem%40lig+1"), "hem@lig+1");
    }
}
