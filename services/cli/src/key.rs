//! `kvit key`: the departments' OpenPGP certificates. Nothing here reads a secret key.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use domain::DepartmentId;
use jiff::Timestamp;
use openpgp::{Certificate, CertificateState};
use operate::key::{Row, days, holds_secret};
use runtime::{Clock, ConfigArgs, Exit, exit};
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::{App, print};
use crate::args::KeyCommand;
use crate::check::meaning;
use crate::table::{cell, table};

pub(crate) async fn run(config: &ConfigArgs, command: KeyCommand, json: bool) -> anyhow::Result<u8> {
    match command {
        KeyCommand::List => list(&App::open(config, json)?).await,
        KeyCommand::Check { file } => check(&file, json),
        KeyCommand::Add { department, file } => add(&App::open(config, json)?, department, &file).await,
        KeyCommand::Rotate { purposes } => crate::rotate::run(&App::open(config, json)?, &purposes).await,
        KeyCommand::Test { department } => test(&App::open(config, json)?, department).await,
    }
}

async fn list(app: &App) -> anyhow::Result<u8> {
    let rows = operate::key::list(&app.desk()).await?;
    app.print(&rows, || words(app, &rows))?;
    Ok(exit::OK)
}

fn words(app: &App, rows: &[Row]) -> String {
    let below = |file: &PathBuf| {
        let file = file.strip_prefix(app.loaded.folder()).unwrap_or(file);
        file.display().to_string()
    };
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            [
                row.department
                    .as_ref()
                    .map_or_else(|| "(recovery)".to_owned(), ToString::to_string),
                row.fingerprint.clone(),
                row.state.to_owned(),
                cell(row.expires.map(|expires| expires.strftime("%Y-%m-%d").to_string())),
                cell(row.days_left),
                cell(row.algorithm.as_ref()),
                row.file.as_ref().map_or_else(|| "added".to_owned(), below),
            ]
        })
        .collect();
    table(
        [
            "department",
            "fingerprint",
            "state",
            "expires",
            "days left",
            "algorithm",
            "from",
        ],
        &cells,
        "no department has a certificate: mails to departments are held; see kvit key add",
    )
}

/// What a certificate's file holds.
#[derive(Debug, Serialize)]
struct Checked {
    file: PathBuf,
    state: &'static str,
    usable: bool,
    meaning: &'static str,
    fingerprint: Option<String>,
    user_ids: Vec<String>,
    algorithm: Option<String>,
    expires: Option<Timestamp>,
    days_left: Option<i64>,
    /// Whether the file holds a secret key too, which should never have left its owner.
    secret_key: bool,
}

impl Checked {
    fn new(file: &Path, bytes: &[u8], now: Timestamp) -> Self {
        let read = Certificate::read(bytes, None);
        let state = read
            .as_ref()
            .map_or_else(|state| *state, |certificate| certificate.state(now));
        let certificate = read.ok();
        let expires = certificate.as_ref().and_then(|certificate| certificate.expires(now));
        Self {
            file: file.to_owned(),
            state: state.as_str(),
            usable: state == CertificateState::Usable,
            meaning: meaning(state),
            fingerprint: certificate.as_ref().map(Certificate::fingerprint),
            user_ids: certificate.as_ref().map(Certificate::user_ids).unwrap_or_default(),
            algorithm: certificate.as_ref().map(Certificate::algorithm),
            days_left: expires.map(|expires| days(expires, now)),
            expires,
            secret_key: holds_secret(bytes),
        }
    }

    fn words(&self) -> String {
        let mut lines = vec![format!("{}: {}: {}", self.file.display(), self.state, self.meaning)];
        if let Some(fingerprint) = &self.fingerprint {
            lines.push(format!("fingerprint  {fingerprint}"));
        }
        // A key's owner writes these: no control character reaches the terminal.
        let user_ids = self.user_ids.iter().map(|id| id.escape_debug());
        lines.extend(user_ids.map(|id| format!("user id      {id}")));
        if let Some(algorithm) = &self.algorithm {
            lines.push(format!("algorithm    {algorithm}"));
        }
        if self.usable {
            let expires = match (self.expires, self.days_left) {
                (Some(expires), Some(days)) => format!("{expires} ({days} days left)"),
                _ => "never".to_owned(),
            };
            lines.push(format!("expires      {expires}"));
        }
        if self.secret_key {
            let warning = "warning: the file holds a secret key, which should not leave its owner: ask for the \
                           certificate alone";
            lines.push(warning.to_owned());
        }
        lines.join("\n")
    }
}

fn check(file: &Path, json: bool) -> anyhow::Result<u8> {
    let checked = Checked::new(file, &read(file)?, Clock::system().now());
    print(json, &checked, || checked.words())?;
    Ok(if checked.usable { exit::OK } else { exit::DATA })
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file)
        .map_err(Exit::io)
        .with_context(|| format!("reading {}", file.display()))
}

async fn add(app: &App, department: DepartmentId, file: &Path) -> anyhow::Result<u8> {
    let bytes = read(file)?;
    let refused = |why: &str| Exit::data(anyhow::anyhow!("{} is not added: {why}", file.display()));
    let checked = Checked::new(file, &bytes, app.clock.now());
    if app.loaded.config.departments.contains_key(&department) && !checked.usable {
        return Err(refused(checked.meaning).into());
    }
    // A binary file is written as text first; a secret key in it is left out by that.
    let armored = match Certificate::read(&bytes, None) {
        Ok(certificate) => certificate.armored().map_err(Exit::data)?,
        Err(_) => bytes,
    };
    let certificate = String::from_utf8(armored).map_err(|_| refused(checked.meaning))?;
    let given = json!({"department": department, "certificate": certificate});
    let mut value = app.perform("key.add", given).await?;
    value["secret_key"] = checked.secret_key.into();
    app.print(&value, || {
        let fingerprint = value["fingerprint"].as_str().unwrap_or_default();
        format!(
            "{department} has the certificate {fingerprint} from now on, recorded as an act of an operator.\n\
             intake takes it into use within seconds, and mails that were held for want of one go out;\n\
             to see that the department can read them: kvit key test {department}{}",
            if checked.secret_key {
                "\nwarning: the file holds a secret key, which was left out; it should not leave its owner"
            } else {
                ""
            }
        )
    })?;
    Ok(exit::OK)
}

async fn test(app: &App, department: DepartmentId) -> anyhow::Result<u8> {
    let value = app.perform("key.test", json!({"department": department})).await?;
    app.print(&value, || outcome(&department, &value))?;
    Ok(if value["state"] == "done" {
        exit::OK
    } else {
        exit::UNAVAILABLE
    })
}

fn outcome(department: &DepartmentId, mail: &Value) -> String {
    let text = |key: &str| mail[key].as_str();
    match text("state").unwrap_or_default() {
        "done" => format!(
            "the relay has accepted an encrypted test mail for {department}; ask the department whether it can read it"
        ),
        "ready" | "sending" => format!(
            "the test mail waits to be sent (kvit duty list {}): does kvit-mailer run, and is the relay there? kvit doctor",
            cell(text("duty"))
        ),
        state => format!("the test mail was not accepted: {state}, {}", cell(text("reason"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn made(valid_for: i64) -> (Vec<u8>, Vec<u8>, Timestamp) {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let lasts = SignedDuration::from_hours(valid_for * 24);
        let (certificate, secret) = openpgp::generate("Teknik <t@eksempel.example>", now, Some(lasts)).unwrap();
        (certificate, secret, now)
    }

    #[test]
    fn a_certificate_is_described_with_what_an_operator_must_compare() {
        let (certificate, _, now) = made(30);
        let checked = Checked::new(Path::new("a.asc"), &certificate, now);
        assert!(checked.usable && !checked.secret_key);
        assert_eq!(checked.days_left, Some(30));
        let words = checked.words();
        assert!(words.contains(checked.fingerprint.as_deref().unwrap()), "{words}");
        assert!(
            words.contains("Curve25519") && words.contains("30 days left"),
            "{words}"
        );
    }

    #[test]
    fn an_expired_certificate_is_not_usable() {
        let (certificate, _, now) = made(30);
        let later = now + SignedDuration::from_hours(31 * 24);
        let checked = Checked::new(Path::new("a.asc"), &certificate, later);
        assert_eq!((checked.state, checked.usable), ("expired", false));
    }

    #[test]
    fn a_secret_key_in_the_file_is_noticed_and_never_recorded() {
        let (_, secret, now) = made(30);
        assert!(Checked::new(Path::new("a.asc"), &secret, now).secret_key);
        let armored = Certificate::read(&secret, None).unwrap().armored().unwrap();
        assert!(!holds_secret(&armored));
        assert!(String::from_utf8(armored).unwrap().contains("PUBLIC KEY BLOCK"));
    }

    #[test]
    fn what_is_no_certificate_is_unreadable() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let checked = Checked::new(Path::new("a.asc"), b"no key", now);
        assert_eq!((checked.state, checked.fingerprint), ("unreadable", None));
    }
}
