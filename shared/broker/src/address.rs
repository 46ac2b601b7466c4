//! Where the broker is, without saying who we are there.

use std::net::IpAddr;

use lapin::uri::AMQPUri;
use url::{Host, Url};

/// Seconds between signs of life: a peer that is silent for twice as long is gone.
const HEARTBEAT: u16 = 10;
/// How long a TCP connection may take, in milliseconds.
const TCP_TIMEOUT: u64 = 10_000;

/// The most bytes of a frame. lapin keeps room for 32 frames in each direction of a connection, and RabbitMQ would agree to
/// 128 KiB: 8 MiB for each connection, idle or not.
const FRAME: u32 = 32 * 1024;

/// `host:port` of an AMQP URL, fit for messages: no user, no password, no virtual host.
#[must_use]
pub fn host_of(url: &str) -> String {
    Url::parse(url)
        .ok()
        .and_then(|url| Some(format!("{}:{}", url.host_str().unwrap_or("localhost"), port(&url)?)))
        .unwrap_or_else(|| "the broker (its URL cannot be read)".to_owned())
}

/// Whether the broker is on this machine, so that plaintext stays inside it (P12).
///
/// Only what cannot be another machine counts: `localhost`, 127.0.0.0/8, `::1`, and a URL without a host.
#[must_use]
pub fn is_local(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let Some(host) = host(&url) else { return true };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether the URL asks for TLS (`amqps`).
#[must_use]
pub fn is_encrypted(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "amqps")
}

fn port(url: &Url) -> Option<u16> {
    url.port().or(match url.scheme() {
        "amqp" => Some(5672),
        "amqps" => Some(5671),
        _ => None,
    })
}

/// The host without the brackets of an IPv6 address.
fn host(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain("") => None,
        Host::Domain(name) => Some(name.to_owned()),
        Host::Ipv4(ip) => Some(ip.to_string()),
        Host::Ipv6(ip) => Some(ip.to_string()),
    }
}

/// A URL read once, and the name under which we connect.
pub(crate) struct Endpoint {
    uri: Option<AMQPUri>,
    host: String,
    name: String,
}

impl Endpoint {
    pub(crate) fn new(url: &str, name: String) -> Self {
        Self {
            uri: read(url),
            host: host_of(url),
            name,
        }
    }

    /// The URL for lapin, or nothing when it could not be read.
    pub(crate) fn uri(&self) -> Option<AMQPUri> {
        self.uri.clone()
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Reads the URL as lapin does, except for the host: lapin takes an IPv6 address for "no host" and goes to localhost.
fn read(url: &str) -> Option<AMQPUri> {
    let mut uri: AMQPUri = url.parse().ok()?;
    if let Some(host) = host(&Url::parse(url).ok()?) {
        uri.authority.host = host;
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    uri.query.connection_timeout.get_or_insert(TCP_TIMEOUT);
    uri.query.frame_max.get_or_insert(FRAME);
    Some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_credentials() {
        let shown = [
            ("amqp://kvit:hemmelig@mq.example:5673/%2f", "mq.example:5673"),
            ("amqps://kvit:hemmelig@mq.example/kvit", "mq.example:5671"),
            ("amqp://kvit:hemmelig@[2001:db8::1]", "[2001:db8::1]:5672"),
            ("kvit:hemmelig@mq.example", "the broker (its URL cannot be read)"),
            ("amqp://kvit:hem/melig@mq", "the broker (its URL cannot be read)"),
        ];
        for (url, host) in shown {
            assert_eq!(host_of(url), host);
        }
    }

    /// P12
    #[test]
    fn only_this_machine_is_local() {
        for local in [
            "amqp://127.0.0.1",
            "amqp://a:b@localhost:5672/%2f",
            "amqp://LOCALHOST",
            "amqp://[::1]:5672",
            "amqp://127.8.9.1/",
            "amqp:///vhost",
        ] {
            assert!(is_local(local), "{local}");
        }
        for remote in [
            "amqp://mq.example",
            "amqp://10.0.0.1",
            "amqp://127.0.0.1.example.com",
            "amqp://localhost.example.com",
            "amqp://127.0.0.1%2eexample.com",
            "amqp://127.0.0.1@mq.example",
            "amqp://[2001:db8::1]",
            "amqp://[::ffff:10.0.0.1]",
            "not a url",
        ] {
            assert!(!is_local(remote), "{remote}");
        }
        assert!(is_encrypted("amqps://mq.example") && !is_encrypted("amqp://mq.example"));
    }

    #[test]
    fn an_ipv6_address_is_not_taken_for_localhost() {
        let uri = read("amqp://a:b@[2001:db8::1]:5673/kvit?heartbeat=60").unwrap();
        assert_eq!((uri.authority.host.as_str(), uri.authority.port), ("2001:db8::1", 5673));
        assert_eq!(uri.query.heartbeat, Some(60));
        assert_eq!(read("amqp://localhost").unwrap().query.heartbeat, Some(HEARTBEAT));
    }
}
