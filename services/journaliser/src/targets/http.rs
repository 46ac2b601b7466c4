//! What the journals that are reached by HTTP share: the client, and what a status means.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use domain::Reason;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode};
use runtime::Exit;
use runtime::config::JournalTarget;
use url::Url;

use super::Answer;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A server, and who Kvit is there.
#[derive(Clone)]
pub(crate) struct Server {
    client: Client,
    base: Url,
    credentials: Option<(String, String)>,
}

impl Server {
    /// The server that a target names; not yet connected to. No redirect is followed: an entry goes where the operator
    /// said, and nowhere else.
    ///
    /// # Errors
    ///
    /// Where the address or the certificates cannot be used (78).
    pub(crate) fn new(target: &JournalTarget) -> anyhow::Result<Self> {
        let text = target.url().map_err(Exit::config)?;
        let mut base = Url::parse(&text)
            .map_err(Exit::config)
            .context("reading a journal target's url")?;
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let credentials = (!base.username().is_empty())
            .then(|| (decoded(base.username()), decoded(base.password().unwrap_or_default())));
        let _ = (base.set_username(""), base.set_password(None));
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(target.timeout.unsigned_abs());
        if let Some(file) = &target.ca_file {
            builder = builder.tls_certs_merge(authorities(file)?);
        }
        Ok(Self {
            client: builder.build().map_err(Exit::config).context("making an HTTP client")?,
            base,
            credentials,
        })
    }

    /// A request about what lies below the server's base, by segments that are escaped here.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        let request = self.client.request(method, url);
        match &self.credentials {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}

fn authorities(file: &Path) -> anyhow::Result<Vec<Certificate>> {
    let pem = std::fs::read(file)
        .map_err(Exit::config)
        .context("reading a journal target's ca_file")?;
    let read = Certificate::from_pem_bundle(&pem).map_err(Exit::config);
    read.context("reading a journal target's ca_file")
}

/// Sends a request, and answers its response where the server did what was asked.
///
/// # Errors
///
/// What the failure means for the entry: an HTTP error is never success.
pub(crate) async fn done(request: RequestBuilder, accepted: &[u16]) -> Result<Response, Answer> {
    let response = request.send().await.map_err(|error| unreachable(&error))?;
    let status = response.status();
    if status.is_success() || accepted.contains(&status.as_u16()) {
        Ok(response)
    } else {
        Err(refusal(status))
    }
}

/// What a status means. Never a server's own words: they may show what was sent.
pub(crate) fn refusal(status: StatusCode) -> Answer {
    let code = status.as_u16();
    match code {
        401 | 403 | 407 => Answer::Away(Some(Reason::Http(code)), format!("it refuses the credentials ({code})")),
        507 => Answer::Away(Some(Reason::DiskFull), "its disk is full (507)".to_owned()),
        408 | 425 | 429 | 500..=599 => Answer::Away(None, format!("it answers {code}")),
        400..=499 => Answer::Refused(Reason::Http(code)),
        _ => Answer::Away(None, format!("it answers {code}, which says neither yes nor no")),
    }
}

fn unreachable(error: &reqwest::Error) -> Answer {
    if of_certificate(error) {
        return Answer::Away(
            Some(Reason::CertificateRefused),
            "its certificate is not trusted".to_owned(),
        );
    }
    let words = if error.is_timeout() {
        "it does not answer in time"
    } else {
        "it cannot be reached"
    };
    Answer::Away(None, words.to_owned())
}

/// Whether the connection failed because the server is not who it should be.
fn of_certificate(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<native_tls::Error>().is_some() {
            return true;
        }
        cause = error.source();
    }
    false
}
