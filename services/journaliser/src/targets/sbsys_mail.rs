//! SBSYS by its mail gateway: a mail with `os2forms.xml`, encrypted to the gateway where it has a certificate, else over
//! verified TLS alone.
//!
//! The gateway acknowledges nothing: what counts is that the relay has accepted the mail. Its `Message-ID` is the same
//! however often it goes out.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::cpr::Cpr;
use domain::{EmailAddress, Reason};
use letter::{GatewayInput, Letters};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use openpgp::{Certificate, CertificateState, Sealing};
use runtime::config::{CertificateFile, JournalTarget, Smtp};
use runtime::{Clock, Exit};
use serde::Serialize;
use tokio::time::timeout;

use super::{Answer, Receipt};
use crate::describe;
use crate::entry::Entry;

const XML: &str = include_str!("../describe/os2forms.xml");
/// How long the whole of one mail may take; a relay may think for ten minutes after its end.
const PATIENCE: Duration = Duration::from_mins(11);

/// The gateway.
pub(crate) struct SbsysMail {
    relay: AsyncSmtpTransport<Tokio1Executor>,
    letters: Arc<Letters>,
    from: Address,
    domain: String,
    to: EmailAddress,
    certificate: Option<CertificateFile>,
    template: String,
    clock: Clock,
}

impl SbsysMail {
    /// The gateway of a target.
    ///
    /// # Errors
    ///
    /// Where it could only be reached in plaintext, or the configuration cannot be used (78).
    pub(super) fn new(
        target: &JournalTarget,
        smtp: &Smtp,
        letters: Arc<Letters>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let text = smtp.url().map_err(Exit::config)?;
        let url = url::Url::parse(&text)
            .map_err(Exit::config)
            .context("reading smtp.url")?;
        if url.scheme() == "smtp" && target.certificate.is_none() {
            let why =
                "a journal target by mail without a certificate needs a relay over TLS: smtps:// or smtp+starttls://";
            return Err(Exit::config(anyhow::anyhow!(why)).into());
        }
        let to = target
            .mail
            .clone()
            .context("a journal target by mail has no address")
            .map_err(Exit::config)?;
        Ok(Self {
            relay: relay(&url)?,
            letters,
            from: smtp.bounce.expose().parse().map_err(Exit::config)?,
            domain: smtp.bounce.domain().to_owned(),
            to,
            certificate: target.certificate.clone(),
            template: target.case_template.clone().unwrap_or_default(),
            clock,
        })
    }

    pub(super) async fn put(&self, entry: Arc<Entry>) -> Answer {
        let (message_id, mail) = match self.compose(&entry) {
            Ok(composed) => composed,
            Err(answer) => return answer,
        };
        let Ok(to) = self.to.expose().parse::<Address>() else {
            return Answer::Refused(Reason::Undeliverable);
        };
        let Ok(envelope) = lettre::address::Envelope::new(Some(self.from.clone()), vec![to]) else {
            return Answer::Refused(Reason::Undeliverable);
        };
        match timeout(PATIENCE, self.relay.send_raw(&envelope, &mail)).await {
            Ok(Ok(_)) => Answer::Done(Receipt {
                reference: message_id,
                version: None,
            }),
            Ok(Err(error)) => failure(&error),
            Err(_) => Answer::Away(None, "the relay does not answer in time".to_owned()),
        }
    }

    pub(super) async fn probe(&self) -> Result<(), Answer> {
        if let Some(Err(state)) = self.certificate() {
            return Err(certificate_refused(state));
        }
        match timeout(Duration::from_secs(30), self.relay.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(error)) => Err(failure(&error)),
            Ok(Ok(false)) | Err(_) => Err(Answer::Away(None, "the relay cannot be reached".to_owned())),
        }
    }

    /// The gateway's certificate as it stands now, where one is configured.
    fn certificate(&self) -> Option<Result<Certificate, CertificateState>> {
        let file = self.certificate.as_ref()?;
        let read = std::fs::read(&file.file)
            .map_err(|_| CertificateState::Unreadable)
            .and_then(|bytes| Certificate::read(&bytes, Some(&file.fingerprint)));
        Some(read.and_then(|certificate| match certificate.state(self.clock.now()) {
            CertificateState::Usable => Ok(certificate),
            state => Err(state),
        }))
    }

    fn compose(&self, entry: &Entry) -> Result<(String, Vec<u8>), Answer> {
        let unmade = || Answer::Refused(Reason::Unreadable);
        let xml = describe::render(XML, &self.view(entry)).map_err(|_| unmade())?;
        let certificate = self.certificate().transpose().map_err(certificate_refused)?;
        let recipients: Vec<Certificate> = certificate.into_iter().collect();
        let sealing = Sealing {
            recipients: &recipients,
            signer: None,
            rfc9580: false,
            now: entry.now,
        };
        let message_id = format!("journal.{}@{}", entry.id.simple(), self.domain);
        let mut files = vec![("os2forms.xml".to_owned(), "application/xml".to_owned(), xml)];
        let record = &entry.record;
        files.push((
            "indsendelse.html".to_owned(),
            "application/octet-stream".to_owned(),
            record.html.clone().into(),
        ));
        files.extend(
            record
                .files
                .iter()
                .map(|file| (file.name.clone(), file.mime.clone(), file.content.clone())),
        );
        let input = GatewayInput {
            to: &self.to,
            reference: &entry.submission.reference,
            message_id: &message_id,
            date: entry.now,
            files: &files,
            sealing: (!recipients.is_empty()).then_some(&sealing),
        };
        let mail = self.letters.gateway(&input).map_err(|_| unmade())?;
        Ok((message_id, mail))
    }

    fn view<'a>(&'a self, entry: &'a Entry) -> View<'a> {
        let party = entry.parties.first().map(String::as_str).unwrap_or_default();
        let is_cpr = Cpr::parse(party).is_some();
        let is_cvr = !is_cpr && party.len() == 8 && party.bytes().all(|b| b.is_ascii_digit());
        View {
            id: entry.submission.form.as_str(),
            cpr: if is_cpr { party } else { "" },
            cvr: if is_cvr { party } else { "" },
            kle: entry.rule.kle.as_deref().unwrap_or_default(),
            template: &self.template,
            theme: entry.rule.theme.as_str(),
            reference: entry.submission.reference.as_str(),
            document: &entry.record.html,
        }
    }
}

#[derive(Serialize)]
struct View<'a> {
    id: &'a str,
    cpr: &'a str,
    cvr: &'a str,
    kle: &'a str,
    template: &'a str,
    theme: &'a str,
    reference: &'a str,
    document: &'a str,
}

fn relay(url: &url::Url) -> anyhow::Result<AsyncSmtpTransport<Tokio1Executor>> {
    let host = url.host_str().unwrap_or("127.0.0.1").trim_matches(['[', ']']);
    let tls = || TlsParameters::new(host.to_owned()).map_err(Exit::config);
    let (security, port) = match url.scheme() {
        "smtps" => (Tls::Wrapper(tls()?), 465),
        "smtp+starttls" => (Tls::Required(tls()?), 587),
        _ => (Tls::None, 25),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .port(url.port().unwrap_or(port))
        .tls(security)
        .timeout(Some(Duration::from_secs(30)));
    if !url.username().is_empty() {
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let password = decoded(url.password().unwrap_or_default());
        builder = builder.credentials(Credentials::new(decoded(url.username()), password));
    }
    Ok(builder.build())
}

fn certificate_refused(state: CertificateState) -> Answer {
    let why = format!("its certificate is {}", state.as_str());
    Answer::Away(Some(Reason::CertificateRefused), why)
}

/// What a relay's answer means: by its code, and never in its words.
fn failure(error: &lettre::transport::smtp::Error) -> Answer {
    match error.status().map(u16::from) {
        Some(code @ 500..600) => Answer::Refused(Reason::Smtp(code)),
        Some(code) => Answer::Away(None, format!("the relay answers {code}")),
        None if error.is_tls() => Answer::Away(
            Some(Reason::CertificateRefused),
            "the relay's certificate is not trusted".to_owned(),
        ),
        None => Answer::Away(None, "the relay cannot be reached".to_owned()),
    }
}
