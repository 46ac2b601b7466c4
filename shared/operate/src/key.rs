//! The departments' OpenPGP certificates. Nothing here reads a secret key.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::DepartmentId;
use jiff::Timestamp;
use ledger::requests::{KEY_TEST, OfDepartment as Asked};
use ledger::{DutyFilter, DutyRow};
use openpgp::{Certificate, CertificateState};
use runtime::Exit;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use worker::{Certificates, Listed};

use crate::args::{Adding, OfDepartment};
use crate::registration::is_configured;
use crate::{Because, Call, Desk, ask, away, data, unavailable};

/// How long the test mail's way to the relay is watched.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A certificate as a person sees it.
#[derive(Debug, Serialize)]
pub struct Row {
    /// `None` for the recovery certificate.
    pub department: Option<DepartmentId>,
    /// The fingerprint that it must have.
    pub fingerprint: String,
    /// Whether it can be used now.
    pub state: &'static str,
    /// When it can no longer be.
    pub expires: Option<Timestamp>,
    /// Whole days until then.
    pub days_left: Option<i64>,
    /// What it is.
    pub algorithm: Option<String>,
    /// `None` where `kvit key add` recorded it.
    pub file: Option<PathBuf>,
    /// `file`, or `added`.
    pub source: &'static str,
}

impl Row {
    fn new(listed: Listed, now: Timestamp) -> Self {
        Self {
            department: listed.department,
            fingerprint: listed.fingerprint,
            state: listed.state.as_str(),
            days_left: listed.expires.map(|expires| days(expires, now)),
            expires: listed.expires,
            algorithm: listed.algorithm,
            source: if listed.file.is_some() { "file" } else { "added" },
            file: listed.file,
        }
    }
}

/// Whole days that are left.
#[must_use]
pub fn days(expires: Timestamp, now: Timestamp) -> i64 {
    expires.duration_since(now).as_hours() / 24
}

/// Every certificate.
///
/// # Errors
///
/// Where the ledger is away (69).
pub async fn list(desk: &Desk) -> anyhow::Result<Vec<Row>> {
    let certificates = Certificates::new(Arc::clone(&desk.loaded));
    certificates.refresh(&desk.ledger).await.map_err(unavailable)?;
    let now = desk.clock.now();
    let listed = certificates.list(now).into_iter();
    Ok(listed.map(|one| Row::new(one, now)).collect())
}

/// Whether an armored file has a secret key in it.
#[must_use]
pub fn holds_secret(bytes: &[u8]) -> bool {
    const MARK: &[u8] = b"PRIVATE KEY BLOCK";
    bytes.windows(MARK.len()).any(|window| window == MARK)
}

/// A certificate that was recorded.
#[derive(Debug, Serialize)]
pub(crate) struct Recorded {
    department: DepartmentId,
    fingerprint: String,
    expires: Option<Timestamp>,
    added_at: Timestamp,
    /// Whether there was a secret key too, which was left out and should never have left its owner.
    secret_key: bool,
}

pub(crate) async fn add(call: Call<'_>, args: Adding) -> anyhow::Result<Recorded> {
    let Adding {
        department,
        certificate,
    } = args;
    is_configured(call, &department)?;
    call.concerns(&department)?;
    let (now, bytes) = (call.now(), certificate.as_bytes());
    let refused = |state: CertificateState| {
        let words = format!("the certificate is not added: it is {}", state.as_str());
        data(Because::CertificateRefused, &[("state", state.as_str())], words)
    };
    let certificate = Certificate::read(bytes, None).map_err(refused)?;
    let state = certificate.state(now);
    if state != CertificateState::Usable {
        return Err(refused(state));
    }
    let armored = certificate
        .armored()
        .map_err(Exit::data)
        .context("writing the certificate as text")?;
    let fingerprint = certificate.fingerprint();
    call.record(format!("{department} {fingerprint}")).await?;
    let added = call
        .desk
        .ledger
        .add_certificate(department.clone(), fingerprint.clone(), armored, now)
        .await;
    added.map_err(unavailable)?;
    Ok(Recorded {
        department,
        fingerprint,
        expires: certificate.expires(now),
        added_at: now,
        secret_key: holds_secret(bytes),
    })
}

pub(crate) async fn test(call: Call<'_>, args: OfDepartment) -> anyhow::Result<Value> {
    let department = args.department;
    is_configured(call, &department)?;
    call.concerns(&department)?;
    call.record(department.to_string()).await?;
    let asked = Asked {
        department: department.clone(),
    };
    let answer = ask(call.desk, "intake", KEY_TEST, &asked).await?;
    if let Some(reason) = answer["reason"].as_str() {
        let words = format!(
            "{department} cannot be written to ({reason}): see kvit key list, then give it a certificate with kvit key add"
        );
        let about = [("department", department.as_str()), ("reason", reason)];
        return Err(data(Because::NotWritable, &about, words));
    }
    let Some(duty) = answer["duty"].as_str() else {
        let error = answer["error"].as_str().unwrap_or("the answer cannot be read");
        let words = format!("intake made no test mail: {error}");
        return Err(away(Because::NoTestMail, &[("why", error)], words));
    };
    let settled = watch(call.desk, duty).await?;
    Ok(json!({
        "department": department,
        "duty": duty,
        "state": settled.state,
        "reason": settled.reason,
        "fingerprints": answer["fingerprints"],
        "signed": answer["signed"],
    }))
}

/// The mail's duty once it is settled, or as it stands when patience ends.
async fn watch(desk: &Desk, duty: &str) -> anyhow::Result<DutyRow> {
    let asked = Instant::now();
    loop {
        let filter = DutyFilter {
            id: Some(duty.to_owned()),
            ..DutyFilter::default()
        };
        let found = desk.ledger.duties(filter, 1).await.map_err(unavailable)?;
        let row = found.into_iter().next().context("the test mail's duty is gone")?;
        let on_its_way = matches!(row.state.as_str(), "ready" | "sending");
        if !on_its_way || asked.elapsed() > PATIENCE {
            return Ok(row);
        }
        sleep(LOOK).await;
    }
}
