//! What a text must look like, by the `format` that its key's schema names.

use std::path::Path;
use std::str::FromStr;

use domain::EmailAddress;
use jiff::tz::TimeZone;

use super::{address, parse, secret};

/// The text as it is used: paths are made absolute against the configuration's folder.
pub(super) fn resolved(format: &str, text: &str, base: &Path) -> String {
    match format {
        "path" if !text.is_empty() => base.join(text).display().to_string(),
        "store-url" => address::resolve_store(text, base),
        _ => text.to_owned(),
    }
}

/// What is wrong with the text, if anything. Never shows the text.
pub(super) fn fault(format: &str, text: &str) -> Option<String> {
    let refusal = match format {
        "amqp-url" => address::amqp(text).err(),
        "smtp-url" => address::smtp(text).err(),
        "store-url" => address::store(text).err(),
        "http-url" => address::http(text).err(),
        "traces-url" => address::traces(text).err(),
        _ => None,
    };
    if let Some(refusal) = refusal {
        return Some(refusal.to_string());
    }
    let (fits, words) = match format {
        "path" => (!text.is_empty(), "it is empty"),
        "key" => (secret::key_of(text).is_some(), "it is not 32 bytes in base64"),
        "keys" => (
            secret::keys_of(text).is_some(),
            "it is not 32 bytes in base64, or several such, a line each",
        ),
        "duration" => (
            parse::iso_duration(text).is_some(),
            "it is not an ISO 8601 duration such as PT30S or P5D",
        ),
        "cron" => (is_cron(text), "it is not a cron expression of five fields"),
        "time-zone" => (
            TimeZone::get(text).is_ok(),
            "it is not a time zone such as Europe/Copenhagen",
        ),
        "email" => (EmailAddress::parse(text).is_ok(), "it is not a usable mail address"),
        "mailbox" => (
            is_mailbox(text),
            "it is not a sender such as Eksempel Kommune <post@eksempel.example>",
        ),
        "listen" => (is_listen(text), "it is not an address and port such as 127.0.0.1:9101"),
        "fingerprint" => (
            is_fingerprint(text),
            "it is not a fingerprint of 40 or 64 hexadecimal digits",
        ),
        _ => (true, ""),
    };
    (!fits).then(|| words.to_owned())
}

fn is_cron(text: &str) -> bool {
    text.split_whitespace().count() == 5 && croner::Cron::from_str(text).is_ok()
}

fn is_mailbox(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => match rest.trim_end().strip_suffix('>') {
            Some(address) => address,
            None => return false,
        },
        None => text,
    };
    !text.chars().any(char::is_control) && EmailAddress::parse(address).is_ok()
}

/// A host and a port; which hosts exist is seen when it is bound.
fn is_listen(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// The host of a listening address.
pub(super) fn listen_host(text: &str) -> &str {
    text.rsplit_once(':').map_or(text, |(host, _)| host)
}

fn is_fingerprint(text: &str) -> bool {
    let digits: Vec<char> = text.chars().filter(|c| *c != ' ').collect();
    matches!(digits.len(), 40 | 64) && digits.iter().all(char::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_takes_what_the_contract_shows() {
        for (format, text) in [
            ("duration", "PT30S"),
            ("cron", "*/5 * * * *"),
            ("cron", "0 6 * * *"),
            ("time-zone", "Europe/Copenhagen"),
            ("email", "bounce@eksempel.example"),
            ("mailbox", "Eksempel Kommune <kvittering@eksempel.example>"),
            ("mailbox", "kvittering@eksempel.example"),
            ("listen", "127.0.0.1:9101"),
            ("listen", "[::1]:9101"),
            ("fingerprint", "0123 4567 89ab cdef 0123 4567 89AB CDEF 0123 4567"),
            ("key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"),
        ] {
            assert_eq!(fault(format, text), None, "{format} {text}");
        }
    }

    #[test]
    fn each_format_refuses_what_is_not_it() {
        for (format, text) in [
            ("duration", "30s"),
            ("cron", "0 0 6 * * *"),
            ("cron", "61 * * * *"),
            ("cron", "@daily"),
            ("time-zone", "Europe/Kobenhavn"),
            ("email", "bounce"),
            ("mailbox", "Eksempel <kvittering"),
            ("mailbox", "Eksempel\r\nBcc: x <kvittering@eksempel.example>"),
            ("listen", "9101"),
            ("listen", "127.0.0.1:99999"),
            ("fingerprint", "0123"),
            ("key", "AAAA"),
            ("path", ""),
        ] {
            assert!(fault(format, text).is_some(), "{format} {text}");
        }
    }

    #[test]
    fn relative_paths_are_relative_to_the_configuration() {
        let base = Path::new("/etc/kvit");
        assert_eq!(resolved("path", "secrets/mail.key", base), "/etc/kvit/secrets/mail.key");
        assert_eq!(resolved("path", "/run/secrets/mail", base), "/run/secrets/mail");
        assert_eq!(
            resolved("store-url", "sqlite:kvit.db", base),
            "sqlite:/etc/kvit/kvit.db"
        );
        assert_eq!(
            resolved("store-url", "postgres://localhost/kvit", base),
            "postgres://localhost/kvit"
        );
    }
}
