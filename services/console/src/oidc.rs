//! Logging in at an OpenID provider: the authorization code flow with PKCE, a state and a nonce.
//!
//! The provider is asked anew for each login, so that its keys are those of today, and nobody is let in while it is away.
//! A pending login belongs to one browser by its cookie, and is good once.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AsyncHttpClient, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    TokenResponse as _, http,
};
use operate::Actor;
use runtime::Exit;
use runtime::config::Oidc as Config;
use serde_json::{Map, Value};

use crate::auth::Person;

/// The cookie of a login that has begun.
pub(crate) const COOKIE: &str = "kvit-oidc";
/// Where the provider sends the browser back to.
pub(crate) const BACK: &str = "/login/oidc/done";
/// How long a person may take at the provider.
pub(crate) const TAKES: SignedDuration = SignedDuration::from_mins(10);
/// How long the provider may take for one answer.
const ANSWERS: Duration = Duration::from_secs(10);
/// So many logins may have begun at once.
const PENDING: usize = 1_000;
/// No answer of a provider is larger.
const LARGEST: usize = 1 << 20;
/// No name is longer.
const LONGEST: usize = 128;

/// Why nobody was let in; each is a phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The provider cannot be reached.
    Away,
    /// What came back is not the answer to a login that began here.
    Wrong,
    /// The person's groups have no role here.
    NoRole,
    /// Too many have begun from one address.
    Slow,
}

impl Refused {
    pub(crate) fn phrase(self) -> &'static str {
        match self {
            Self::Away => "oidc-away",
            Self::Wrong => "oidc-wrong",
            Self::NoRole => "oidc-no-role",
            Self::Slow => "too-many-tries",
        }
    }
}

/// With the endpoints that discovery gives, and where the browser is sent back to.
type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

struct Pending {
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    until: Timestamp,
}

/// The provider, and the logins that have begun at it.
pub(crate) struct Oidc {
    config: Config,
    issuer: IssuerUrl,
    back: RedirectUrl,
    secret: Option<ClientSecret>,
    http: Http,
    pending: Mutex<HashMap<String, Pending>>,
}

impl Oidc {
    /// Reads the configuration; the provider is not asked yet.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(ANSWERS)
            // A redirect would send the code elsewhere.
            .redirect(reqwest::redirect::Policy::none());
        let back = format!("{}{BACK}", config.public_url.trim_end_matches('/'));
        let secret = config.client_secret().map_err(Exit::config)?;
        Ok(Self {
            issuer: IssuerUrl::new(config.issuer.clone()).map_err(Exit::config)?,
            back: RedirectUrl::new(back).map_err(Exit::config)?,
            secret: secret.map(ClientSecret::new),
            http: Http(client.build().context("making the client for console.oidc")?),
            pending: Mutex::default(),
            config: config.clone(),
        })
    }

    /// Where the browser goes, and the state that its cookie keeps.
    pub(crate) async fn begin(&self, now: Timestamp) -> Result<(String, String), Refused> {
        let client = self.client().await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut request = client.authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            CsrfToken::new_random,
            Nonce::new_random,
        );
        for scope in &self.config.scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let (url, state, nonce) = request.set_pkce_challenge(challenge).url();
        let login = Pending {
            nonce,
            verifier,
            until: now + TAKES,
        };
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        remember(&mut pending, state.secret().clone(), login, now);
        Ok((url.into(), state.into_secret()))
    }

    /// Who came back with this state and code; `kept` is the state of the browser's cookie.
    pub(crate) async fn finish(
        &self,
        (state, code): (&str, String),
        kept: Option<&str>,
        now: Timestamp,
    ) -> Result<Person, Refused> {
        if kept != Some(state) {
            return Err(wrong("the browser did not begin this login"));
        }
        let login = self
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(state);
        let login = login.filter(|login| login.until > now);
        let login = login.ok_or_else(|| wrong("this login is over, or never began"))?;
        let client = self.client().await?;
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|_| wrong("the provider has no token endpoint"))?
            .set_pkce_verifier(login.verifier)
            .request_async(&self.http)
            .await
            // The provider's words may hold the code; which sort of refusal it is says enough.
            .map_err(|error| match error {
                openidconnect::RequestTokenError::Request(error) => away(&error.to_string()),
                _ => wrong("the provider did not take the code"),
            })?;
        let token = answer
            .id_token()
            .ok_or_else(|| wrong("the provider sent no ID token"))?;
        token
            .claims(&client.id_token_verifier(), &login.nonce)
            .map_err(|error| wrong(&error.to_string()))?;
        // Verified as a whole; the claims that the configuration names are read from it.
        let claims = claims(&token.to_string()).ok_or_else(|| wrong("the ID token has no claims"))?;
        self.person(&claims)
    }

    /// Who these claims are of, by the first group of the configuration that the person has.
    fn person(&self, claims: &Map<String, Value>) -> Result<Person, Refused> {
        let name = claims
            .get(&self.config.name_claim)
            .and_then(Value::as_str)
            .unwrap_or_default();
        if name.is_empty() || name.len() > LONGEST || name.chars().any(char::is_control) {
            return Err(wrong("the ID token has no usable name in console.oidc.name_claim"));
        }
        let groups: Vec<&str> = match claims.get(&self.config.groups_claim) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let granted = self
            .config
            .groups
            .iter()
            .find(|(group, _)| groups.contains(&group.as_str()));
        let Some((_, granted)) = granted else {
            tracing::warn!(
                "a login at the provider was refused: none of the person's groups is in console.oidc.groups"
            );
            return Err(Refused::NoRole);
        };
        Ok(Person {
            login: name.to_owned(),
            actor: Actor {
                // Nobody of the configuration has such an id.
                id: format!("oidc:{name}"),
                role: Some(granted.role),
                departments: granted.departments.clone(),
            },
            hash: None,
        })
    }

    /// This console as the provider's client; the provider is asked who it is.
    async fn client(&self) -> Result<Client, Refused> {
        let found = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http).await;
        let found = found.map_err(|error| away(&format!("{:#}", anyhow::Error::new(error))))?;
        let id = ClientId::new(self.config.client_id.clone());
        Ok(CoreClient::from_provider_metadata(found, id, self.secret.clone()).set_redirect_uri(self.back.clone()))
    }
}

/// Remembers a login that has begun. Where there are too many the oldest is forgotten, so that however many strangers
/// begin one, the person who does it now can end it.
fn remember(pending: &mut HashMap<String, Pending>, state: String, login: Pending, now: Timestamp) {
    pending.retain(|_, login| login.until > now);
    while pending.len() >= PENDING {
        let oldest = pending.iter().min_by_key(|(_, login)| login.until);
        let Some(oldest) = oldest.map(|(state, _)| state.clone()) else {
            break;
        };
        pending.remove(&oldest);
    }
    pending.insert(state, login);
}

fn away(why: &str) -> Refused {
    tracing::warn!(why, "the OpenID provider cannot be asked: nobody is logged in by it");
    Refused::Away
}

fn wrong(why: &str) -> Refused {
    tracing::warn!(why, "a login at the OpenID provider was refused");
    Refused::Wrong
}

/// The claims of a token; whoever asks has verified it.
fn claims(token: &str) -> Option<Map<String, Value>> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// The tree's own client of HTTP, as the protocol's crate asks for one.
struct Http(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = io::Error;
    type Future = BoxFuture<'c, io::Result<HttpResponse>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        self.fetch(request).boxed()
    }
}

impl Http {
    async fn fetch(&self, request: HttpRequest) -> io::Result<HttpResponse> {
        let failed = |error: reqwest::Error| io::Error::other(error.without_url());
        let (parts, body) = request.into_parts();
        let asked = self.0.request(parts.method, parts.uri.to_string());
        let asked = asked.headers(parts.headers).body(body);
        let mut answer = asked.send().await.map_err(failed)?;
        let mut response = http::Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            response = response.header(name, value);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST {
                return Err(io::Error::other("the answer is too large"));
            }
        }
        response.body(body).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests;
