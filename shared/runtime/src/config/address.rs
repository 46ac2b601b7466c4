//! Addresses of brokers, relays and stores: which are taken, and which would carry data in plaintext to another machine
//! (P12).

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Component, Path, PathBuf};

use url::Url;

/// Why an address is not taken. It never shows the address, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an address at all.
    #[error("it is not a usable address")]
    NoAddress,
    /// Not AMQP.
    #[error("it must start with amqp:// or amqps://")]
    NotAmqp,
    /// Not SMTP.
    #[error("it must start with smtp://, smtps:// or smtp+starttls://")]
    NotSmtp,
    /// Not a store.
    #[error("it must start with sqlite: or postgres://")]
    NotAStore,
    /// Not HTTP.
    #[error("it must start with https://, or http:// on this machine")]
    NotHttp,
    /// HTTP in plaintext to another machine.
    #[error("it would carry journal entries in plaintext to another machine: use https://")]
    PlaintextHttp,
    /// Traces in plaintext to another machine.
    #[error("it would carry the ids and times of submissions in plaintext to another machine: use https://")]
    PlaintextTraces,
    /// AMQP in plaintext to another machine.
    #[error("it would carry submissions in plaintext to another machine: use amqps://")]
    PlaintextAmqp,
    /// SMTP in plaintext to another machine.
    #[error("it would carry mails in plaintext to another machine: use smtps:// or smtp+starttls://")]
    PlaintextSmtp,
    /// PostgreSQL without the promise of TLS to another machine.
    #[error("it may carry data in plaintext to another machine: add sslmode=require")]
    PlaintextStore,
    /// The vault is the store.
    #[error("it is the store's own file: the data keys must live apart from the data")]
    IsTheStore,
}

/// Whether a host is this machine itself: `localhost` or a loopback address.
#[must_use]
pub fn is_local(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback(),
        Ok(IpAddr::V6(address)) => address == Ipv6Addr::LOCALHOST,
        Err(_) => false,
    }
}

/// Judges a broker's address.
pub(super) fn amqp(text: &str) -> Result<(), Refusal> {
    match parsed(text)? {
        ("amqps", _) => Ok(()),
        ("amqp", host) if is_local(&host) => Ok(()),
        ("amqp", _) => Err(Refusal::PlaintextAmqp),
        _ => Err(Refusal::NotAmqp),
    }
}

/// Judges a relay's address.
pub(super) fn smtp(text: &str) -> Result<(), Refusal> {
    match parsed(text)? {
        ("smtps" | "smtp+starttls", _) => Ok(()),
        ("smtp", host) if is_local(&host) => Ok(()),
        ("smtp", _) => Err(Refusal::PlaintextSmtp),
        _ => Err(Refusal::NotSmtp),
    }
}

/// Judges an outside journal's address.
pub(super) fn http(text: &str) -> Result<(), Refusal> {
    match parsed(text)? {
        ("https", _) => Ok(()),
        ("http", host) if is_local(&host) => Ok(()),
        ("http", _) => Err(Refusal::PlaintextHttp),
        _ => Err(Refusal::NotHttp),
    }
}

/// Judges a collector's address.
pub(super) fn traces(text: &str) -> Result<(), Refusal> {
    http(text).map_err(|refusal| match refusal {
        Refusal::PlaintextHttp => Refusal::PlaintextTraces,
        other => other,
    })
}

fn parsed(text: &str) -> Result<(&str, String), Refusal> {
    let url = Url::parse(text).map_err(|_| Refusal::NoAddress)?;
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or(Refusal::NoAddress)?;
    let scheme = text.split(':').next().unwrap_or_default();
    Ok((scheme, host.to_owned()))
}

/// Judges a store's address.
pub(super) fn store(text: &str) -> Result<(), Refusal> {
    if let Some(file) = sqlite_file(text) {
        return if file.as_os_str().is_empty() {
            Err(Refusal::NoAddress)
        } else {
            Ok(())
        };
    }
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"))
        .ok_or(Refusal::NotAStore)?;
    if sslmode_is_require(rest)
        || postgres_hosts(rest)
            .iter()
            .all(|host| is_local(host) || host.starts_with('/'))
    {
        Ok(())
    } else {
        Err(Refusal::PlaintextStore)
    }
}

fn query(rest: &str) -> impl Iterator<Item = (String, String)> {
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    url::form_urlencoded::parse(query.as_bytes()).into_owned()
}

fn sslmode_is_require(rest: &str) -> bool {
    // The last one wins in PostgreSQL's clients.
    query(rest)
        .filter(|(key, _)| key == "sslmode")
        .last()
        .is_some_and(|(_, mode)| mode == "require")
}

/// Every host that a PostgreSQL address names: several may stand before the path, and more in the query.
/// None at all is the client's default, a socket of this machine.
fn postgres_hosts(rest: &str) -> Vec<String> {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let named = hosts.split(',').map(|host| {
        let bare = if host.starts_with('[') {
            host.split_inclusive(']').next()
        } else {
            host.split(':').next()
        };
        percent_decoded(bare.unwrap_or_default())
    });
    let queried = query(rest)
        .filter(|(key, _)| key == "host" || key == "hostaddr")
        .flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>());
    named.chain(queried).filter(|host| !host.is_empty()).collect()
}

/// A socket's folder is written `%2Fvar%2Frun` in the host's place.
fn percent_decoded(host: &str) -> String {
    let query = format!("h={}", host.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(query.as_bytes()).next();
    decoded.map_or_else(String::new, |(_, value)| value.into_owned())
}

fn sqlite_file(text: &str) -> Option<&Path> {
    let path = text.strip_prefix("sqlite:")?;
    Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
}

/// The address with a SQLite file's relative path made absolute against a folder.
pub(super) fn resolve_store(text: &str, base: &Path) -> String {
    match sqlite_file(text) {
        Some(path) if !path.as_os_str().is_empty() => format!("sqlite:{}", base.join(path).display()),
        _ => text.to_owned(),
    }
}

/// Whether two addresses are one SQLite file, however it is spelled.
///
/// On PostgreSQL the two are schemas of their own names, so that one address may serve both.
pub(super) fn same_store(a: &str, b: &str) -> bool {
    match (sqlite_file(a), sqlite_file(b)) {
        (Some(a), Some(b)) => canonical(a) == canonical(b),
        _ => false,
    }
}

/// The path without links where the file or its folder exists, and without `.` and `..` in any case.
fn canonical(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let plain = plain(path);
    match (
        plain.parent().and_then(|folder| folder.canonicalize().ok()),
        plain.file_name(),
    ) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => plain,
    }
}

fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P12
    #[test]
    fn plaintext_to_another_machine_is_refused() {
        assert_eq!(amqp("amqp://u:p@broker.example:5672/%2f"), Err(Refusal::PlaintextAmqp));
        assert_eq!(amqp("amqp://10.0.0.1/"), Err(Refusal::PlaintextAmqp));
        assert_eq!(amqp("amqp://localhost.example/"), Err(Refusal::PlaintextAmqp));
        assert_eq!(
            traces("http://otel.example:4318/v1/traces"),
            Err(Refusal::PlaintextTraces)
        );
        assert_eq!(smtp("smtp://relay.example:25"), Err(Refusal::PlaintextSmtp));
        for remote in [
            "postgres://u:p@db.example/kvit",
            "postgres://db.example/kvit?sslmode=prefer",
            "postgres://db.example/kvit?sslmode=require&sslmode=disable",
            "postgresql://127.0.0.1,db.example:5432/kvit",
            "postgres:///kvit?host=db.example",
            "postgres://u:p%40localhost@db.example/kvit",
        ] {
            assert_eq!(store(remote), Err(Refusal::PlaintextStore), "{remote}");
        }
    }

    /// P12
    #[test]
    fn plaintext_on_this_machine_and_tls_elsewhere_are_taken() {
        for right in [
            "amqp://guest:guest@127.0.0.1:5672/%2f",
            "amqp://localhost",
            "amqp://[::1]:5672/",
            "amqps://b.example",
        ] {
            assert_eq!(amqp(right), Ok(()), "{right}");
        }
        for right in [
            "smtp://127.0.0.1:25",
            "smtps://u:p@relay.example",
            "smtp+starttls://relay.example:587",
        ] {
            assert_eq!(smtp(right), Ok(()), "{right}");
        }
        for right in [
            "sqlite:kvit.db",
            "sqlite:///var/lib/kvit/kvit.db",
            "postgres://u:p@127.0.0.1:5432/kvit",
            "postgres://[::1]/kvit",
            "postgres://%2Fvar%2Frun%2Fpostgresql/kvit",
            "postgres:///kvit?host=/var/run/postgresql",
            "postgres://db.example/kvit?sslmode=require",
        ] {
            assert_eq!(store(right), Ok(()), "{right}");
        }
    }

    #[test]
    fn another_kind_of_address_is_refused_by_name() {
        assert_eq!(amqp("http://127.0.0.1"), Err(Refusal::NotAmqp));
        assert_eq!(amqp("127.0.0.1:5672"), Err(Refusal::NoAddress));
        assert_eq!(smtp("relay.example"), Err(Refusal::NoAddress));
        assert_eq!(store("mysql://127.0.0.1"), Err(Refusal::NotAStore));
        assert_eq!(store("sqlite:"), Err(Refusal::NoAddress));
    }

    #[test]
    fn one_file_is_known_however_it_is_spelled() {
        assert!(same_store("sqlite:/x/kvit.db", "sqlite:///x/./y/../kvit.db"));
        assert!(!same_store("sqlite:/x/kvit.db", "sqlite:/x/kvit-keys.db"));
        assert!(!same_store("postgres://127.0.0.1/kvit", "postgres://127.0.0.1/kvit"));
    }
}
