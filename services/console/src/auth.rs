//! Who is there: local users with argon2, sessions, and a name from a proxy that is trusted.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, Salt};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Redirect;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use domain::Role;
use jiff::{SignedDuration, Timestamp};
use operate::Actor;
use runtime::Exit;
use runtime::config::Console as Config;
use tokio::sync::Semaphore;

use crate::oidc;

/// The session's cookie.
pub(crate) const COOKIE: &str = "kvit";
/// So many failed logins of one name, or from one address, are let happen within [`WINDOW`].
const FAILURES: usize = 10;
const WINDOW: SignedDuration = SignedDuration::from_mins(15);
/// So many sessions at once: more are nobody's.
const SESSIONS: usize = 10_000;
/// No login is longer.
const LONGEST: usize = 256;
/// argon2 takes 19 MB each.
const AT_ONCE: usize = 2;

/// The argon2id hash of a password, as `password_hash` of a user holds it.
///
/// # Errors
///
/// Where the machine gives no randomness.
pub fn hash(password: &str) -> anyhow::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("drawing a salt: {error}"))?;
    let text = STANDARD_NO_PAD.encode(random);
    let salt = Salt::from_b64(&text).map_err(|error| anyhow::anyhow!("drawing a salt: {error}"))?;
    let hashed = Argon2::default().hash_password(password.as_bytes(), salt);
    Ok(hashed
        .map_err(|error| anyhow::anyhow!("hashing the password: {error}"))?
        .to_string())
}

/// A person of the configuration.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) login: String,
    pub(crate) actor: Actor,
    pub(crate) hash: Option<String>,
}

/// How a request said who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The browser adds it by itself: the request may be another page's doing.
    Ambient,
    /// A program added it on purpose.
    Bearer,
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) person: Arc<Person>,
    pub(crate) how: How,
}

/// Pages are for those who are known; whoever is not, logs in. (The guard has said who it is.)
impl<S: Sync> FromRequestParts<S> for Signed {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Redirect> {
        let signed = parts.extensions.get::<Self>().cloned();
        signed.ok_or_else(|| Redirect::to("/login"))
    }
}

/// Why nobody was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No such name with this password.
    Wrong,
    /// Too many tries.
    Slow,
}

/// Lets people in.
pub(crate) struct Door {
    people: Vec<Arc<Person>>,
    proxies: Vec<IpAddr>,
    user_header: Option<String>,
    lasts: SignedDuration,
    /// What a password is compared with where nobody has the name, so that it takes as long.
    nobody: String,
    sessions: Mutex<HashMap<String, (Arc<Person>, Timestamp)>>,
    failures: Mutex<HashMap<String, Vec<Timestamp>>>,
    hashing: Semaphore,
}

impl Door {
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let mut people = Vec::new();
        for (id, user) in &config.users {
            let hash = user.password_hash().map_err(Exit::config)?;
            if let Some(hash) = &hash {
                PasswordHash::new(hash).map_err(|_| {
                    Exit::config(anyhow::anyhow!("console.users.{id}: that is no hash of kvit user hash"))
                })?;
            }
            people.push(Arc::new(Person {
                login: user.login.clone(),
                actor: Actor {
                    id: id.clone(),
                    role: Some(user.role),
                    departments: user.departments.clone(),
                },
                hash,
            }));
        }
        let proxies = config.proxies.iter().map(|proxy| proxy.parse::<IpAddr>());
        Ok(Self {
            people,
            proxies: proxies.collect::<Result<_, _>>().context("reading console.proxies")?,
            user_header: config.user_header.clone(),
            lasts: config.session,
            nobody: hash("nobody")?,
            sessions: Mutex::default(),
            failures: Mutex::default(),
            hashing: Semaphore::new(AT_ONCE),
        })
    }

    /// Whether it was asked by a proxy that speaks TLS with the browser.
    pub(crate) fn is_proxied(&self, from: SocketAddr) -> bool {
        self.proxies.contains(&from.ip().to_canonical())
    }

    /// Whether an address may speak plaintext with the console: this machine and the proxies.
    pub(crate) fn admits(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        from.is_loopback() || self.proxies.contains(&from)
    }

    /// Where a request comes from: a trusted proxy says it in the last entry of `X-Forwarded-For`, which it adds itself.
    pub(crate) fn origin(&self, from: SocketAddr, headers: &HeaderMap) -> IpAddr {
        if !self.is_proxied(from) {
            return from.ip();
        }
        let all = headers.get_all("x-forwarded-for").iter().next_back();
        let last = all.and_then(|value| value.to_str().ok()?.rsplit(',').next());
        last.and_then(|text| text.trim().parse().ok()).unwrap_or(from.ip())
    }

    /// The id that the evidence has of a login.
    pub(crate) fn id_of(&self, login: &str) -> Option<&str> {
        let person = self.people.iter().find(|person| person.login == login)?;
        Some(&person.actor.id)
    }

    /// The login of an id that the evidence has.
    pub(crate) fn name_of(&self, id: &str) -> Option<&str> {
        let person = self.people.iter().find(|person| person.actor.id == id)?;
        Some(&person.login)
    }

    /// Who sends a request.
    pub(crate) fn who(&self, from: SocketAddr, headers: &HeaderMap, now: Timestamp) -> Option<Signed> {
        if let Some(name) = &self.user_header
            && self.is_proxied(from)
            && let Some(login) = headers.get(name.as_str())
        {
            let login = login.to_str().ok()?;
            let person = self.people.iter().find(|person| person.login == login)?;
            return Some(Signed {
                person: Arc::clone(person),
                how: How::Ambient,
            });
        }
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let (token, how) = match bearer {
            Some(token) => (token, How::Bearer),
            None => (cookie(headers, COOKIE)?, How::Ambient),
        };
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let (person, until) = sessions.get(token)?;
        (*until > now).then(|| Signed {
            person: Arc::clone(person),
            how,
        })
    }

    /// A session's token for a name and a password.
    pub(crate) async fn log_in(
        &self,
        from: IpAddr,
        (login, password): (&str, String),
        now: Timestamp,
    ) -> Result<(String, Arc<Person>), Refused> {
        if login.len() > LONGEST {
            return Err(Refused::Wrong);
        }
        let keys = [format!("from {from}"), format!("as {login}")];
        if keys.iter().any(|key| self.failed(key, now) >= FAILURES) {
            return Err(Refused::Slow);
        }
        // A try counts before its outcome is known, so that many at once are no more than one after another.
        for key in &keys {
            self.fail(key, now);
        }
        let person = self.people.iter().find(|person| person.login == login);
        let known = person.and_then(|person| person.hash.clone());
        let is_known = known.is_some();
        let hash = known.unwrap_or_else(|| self.nobody.clone());
        let permit = self.hashing.acquire().await;
        let verified = tokio::task::spawn_blocking(move || {
            PasswordHash::new(&hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        let verified = verified.await.unwrap_or(false);
        drop(permit);
        match person {
            Some(person) if is_known && verified => {
                for key in &keys {
                    self.forgive(key);
                }
                Ok((self.begin(person, now), Arc::clone(person)))
            }
            _ => Err(Refused::Wrong),
        }
    }

    /// Whether an address may begin a login at the OpenID provider: as often as it may fail with a password, and counted
    /// apart from that, for any page can make a browser begin one. A login that ends well takes its try back.
    pub(crate) fn may_begin(&self, from: IpAddr, now: Timestamp) -> bool {
        let key = begun(from);
        if self.failed(&key, now) >= FAILURES {
            return false;
        }
        self.fail(&key, now);
        true
    }

    /// A session's token for a person whom the OpenID provider has vouched for.
    pub(crate) fn admit(&self, from: IpAddr, person: Person, now: Timestamp) -> String {
        self.forgive(&begun(from));
        self.begin(&Arc::new(person), now)
    }

    fn begin(&self, person: &Arc<Person>, now: Timestamp) -> String {
        let mut random = [0; 32];
        getrandom::fill(&mut random).expect("the machine gives randomness, as it did for the salt");
        let token = URL_SAFE_NO_PAD.encode(random);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, (_, until)| *until > now);
        if sessions.len() >= SESSIONS {
            sessions.clear();
        }
        sessions.insert(token.clone(), (Arc::clone(person), now + self.lasts));
        token
    }

    /// Ends the session that a request has.
    pub(crate) fn log_out(&self, headers: &HeaderMap) {
        if let Some(token) = cookie(headers, COOKIE) {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.remove(token);
        }
    }

    fn failed(&self, key: &str, now: Timestamp) -> usize {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now - WINDOW;
        failures
            .get(key)
            .map_or(0, |times| times.iter().filter(|at| **at > since).count())
    }

    fn fail(&self, key: &str, now: Timestamp) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now - WINDOW;
        failures.retain(|_, times| times.last().is_some_and(|at| *at > since));
        let times = failures.entry(key.to_owned()).or_default();
        times.retain(|at| *at > since);
        times.push(now);
    }

    /// Takes a try back that was none of a stranger's.
    fn forgive(&self, key: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = failures.get_mut(key) {
            times.pop();
        }
    }

    /// The cookie of a login that has begun at an OpenID provider, which sends the browser back from another site.
    pub(crate) fn pending_cookie(&self, state: &str, from: SocketAddr) -> String {
        let secure = if self.is_proxied(from) { "; Secure" } else { "" };
        let age = if state.is_empty() { 0 } else { oidc::TAKES.as_secs() };
        let name = oidc::COOKIE;
        format!("{name}={state}; Path=/login/oidc; HttpOnly; SameSite=Lax; Max-Age={age}{secure}")
    }

    /// The session's cookie; over TLS it is for TLS alone.
    pub(crate) fn cookie(&self, token: &str, from: SocketAddr) -> String {
        let secure = if self.is_proxied(from) { "; Secure" } else { "" };
        let age = if token.is_empty() { 0 } else { self.lasts.as_secs() };
        format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
    }
}

/// What the logins are counted under that an address begins at the OpenID provider.
fn begun(from: IpAddr) -> String {
    format!("oidc from {from}")
}

impl Signed {
    /// The actor.
    pub(crate) fn actor(&self) -> &Actor {
        &self.person.actor
    }

    /// Whether this is a department's person, who sees events alone.
    pub(crate) fn is_department(&self) -> bool {
        self.actor().role == Some(Role::Department)
    }
}

/// A cookie of a request.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(header::COOKIE).iter();
    all.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use runtime::config::User;

    use super::*;

    fn door(proxies: &[&str]) -> Door {
        let anna = User {
            login: "anna".to_owned(),
            role: Role::Viewer,
            departments: Vec::new(),
            password_hash: None,
            password_hash_file: None,
        };
        Door::open(&Config {
            proxies: proxies.iter().map(|proxy| (*proxy).to_owned()).collect(),
            user_header: Some("x-remote-user".to_owned()),
            users: [("op-1".to_owned(), anna)].into_iter().collect(),
            ..Config::default()
        })
        .unwrap()
    }

    /// G1: what a stranger writes into a header is not believed, and a stranger does not speak plaintext with it at all.
    #[test]
    fn a_proxy_alone_says_where_a_request_comes_from() {
        let door = door(&["10.0.0.2"]);
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "203.0.113.9".parse().unwrap());
        headers.append("x-forwarded-for", "198.51.100.1, 192.0.2.7".parse().unwrap());
        for (from, origin, admitted) in [
            ("10.0.0.2:4000", "192.0.2.7", true),
            ("[::ffff:10.0.0.2]:4000", "192.0.2.7", true),
            ("127.0.0.1:4000", "127.0.0.1", true),
            ("10.0.0.3:4000", "10.0.0.3", false),
        ] {
            let from: SocketAddr = from.parse().unwrap();
            assert_eq!(door.origin(from, &headers).to_string(), origin, "{from}");
            assert_eq!(door.admits(from.ip()), admitted, "{from}");
        }
        headers.append("x-remote-user", "anna".parse().unwrap());
        let who = |from: &str| door.who(from.parse().unwrap(), &headers, Timestamp::UNIX_EPOCH);
        assert_eq!(who("10.0.0.2:4000").unwrap().actor().id, "op-1");
        assert!(who("127.0.0.1:4000").is_none() && who("10.0.0.3:4000").is_none());
        let nothing = door.origin("10.0.0.2:4000".parse().unwrap(), &HeaderMap::new());
        assert_eq!(nothing.to_string(), "10.0.0.2");
    }

    /// G1: one address cannot begin logins at the provider without end, nor keep others or passwords from theirs.
    #[tokio::test]
    async fn an_address_begins_few_logins_at_the_provider() {
        let door = door(&[]);
        let now = Timestamp::UNIX_EPOCH;
        let [one, other]: [IpAddr; 2] = ["192.0.2.7", "192.0.2.8"].map(|from| from.parse().unwrap());
        for _ in 0..FAILURES {
            assert!(door.may_begin(one, now));
        }
        assert!(!door.may_begin(one, now));
        assert!(door.may_begin(other, now));
        let tried = door.log_in(one, ("anna", "guessed".to_owned()), now).await;
        assert_eq!(tried.err(), Some(Refused::Wrong));
        let person = Person {
            login: "op-7".to_owned(),
            actor: Actor::of_machine("oidc:op-7".to_owned()),
            hash: None,
        };
        door.admit(one, person, now);
        assert!(door.may_begin(one, now) && !door.may_begin(one, now));
        assert!(door.may_begin(one, now + WINDOW));
    }
}
