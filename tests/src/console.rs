//! A console of one's own, and a person in front of it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use kvit_console::Console;
use runtime::{Context, Health, Loaded, Probes};
use serde_json::Value;

use crate::{Program, TestBed};

/// Every role, and the login of a person who has it; the last has it for one department alone.
pub const PEOPLE: [(&str, &str, &str); 6] = [
    ("viewer", "viewer", ""),
    ("operator", "operator", ""),
    ("key-admin", "key-admin", ""),
    ("officer", "officer", ""),
    ("department", "department", "\"social\""),
    ("social-operator", "operator", "\"social\""),
];

/// The password of all of them.
pub const PASSWORD: &str = "correct horse battery staple";

/// A console that serves.
pub struct Served {
    address: SocketAddr,
    context: Context,
    client: reqwest::Client,
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// Where it is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text).with_context(|| format!("reading {} {}", self.status, self.text))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.context.shutdown.cancel();
    }
}

impl Served {
    /// A console of this bed, where [`PEOPLE`] may log in.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub async fn start(bed: &TestBed) -> anyhow::Result<Self> {
        Self::start_at(bed, "127.0.0.1:0").await
    }

    /// As [`Served::start`], at this address: others must know it before.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub async fn start_at(bed: &TestBed, listen: &str) -> anyhow::Result<Self> {
        add_people(bed)?;
        let loaded = Loaded::load(&bed.config()).map_err(|findings| anyhow::anyhow!("{findings}"))?;
        let context = Context {
            clock: bed.clock().clone(),
            ..Context::new()
        };
        let console = Console::open(&Arc::new(loaded), &context)?;
        let router = runtime::probes::router(Health::new()).merge(console.router());
        let probes = Probes::bind_with(listen, router).await?;
        let address = probes.address();
        tokio::spawn(probes.serve(context.shutdown.clone()));
        tokio::spawn(console.run());
        Self::at(address, context)
    }

    /// A console that is a program of its own; [`add_people`] comes before its start.
    ///
    /// # Errors
    ///
    /// Where no client can be made.
    pub fn of(program: &Program) -> anyhow::Result<Self> {
        Self::at(program.address(), Context::new())
    }

    fn at(address: SocketAddr, context: Context) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            address,
            context,
            client,
        })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Asks, with these headers, and posts where there is a body.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub async fn ask(&self, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> anyhow::Result<Answer> {
        let mut request = match body {
            Some(body) => self.client.post(self.url(path)).body(body.to_owned()),
            None => self.client.get(self.url(path)),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await?,
        })
    }

    /// The cookie of a person who logs in at the page.
    ///
    /// # Errors
    ///
    /// Where the person is not let in.
    pub async fn log_in(&self, login: &str) -> anyhow::Result<String> {
        let body = form(&[("login", login), ("password", PASSWORD)]);
        let answer = self
            .ask("/login", &[("sec-fetch-site", "same-origin")], Some(&body))
            .await?;
        let cookie = answer.headers.get("set-cookie").context("a cookie")?.to_str()?;
        Ok(cookie.split(';').next().unwrap_or_default().to_owned())
    }

    /// The token of a program that logs in at the API.
    ///
    /// # Errors
    ///
    /// Where it is not let in.
    pub async fn token(&self, login: &str) -> anyhow::Result<String> {
        let body = serde_json::json!({"login": login, "password": PASSWORD}).to_string();
        let answer = self
            .ask("/api/v1/session", &[("content-type", "application/json")], Some(&body))
            .await?;
        let token = answer.json()?["token"].as_str().context("a token")?.to_owned();
        Ok(format!("Bearer {token}"))
    }

    /// A page, as a person with this cookie sees it.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub async fn page(&self, cookie: &str, path: &str) -> anyhow::Result<Answer> {
        self.ask(path, &[("cookie", cookie)], None).await
    }

    /// Sends a form of a page.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub async fn send(&self, cookie: &str, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let headers = [("cookie", cookie), ("sec-fetch-site", "same-origin")];
        self.ask(path, &headers, Some(&form(fields))).await
    }

    /// Asks the API.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub async fn api(&self, token: &str, action: &operate::Action, args: &Value) -> anyhow::Result<Answer> {
        let headers = [("authorization", token), ("content-type", "application/json")];
        if action.changes {
            return self.ask(&action.path(), &headers, Some(&args.to_string())).await;
        }
        let given = args.as_object().into_iter().flatten();
        let given: Vec<_> = given
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
            .collect();
        self.ask(&format!("{}?{}", action.path(), form(&given)), &headers, None)
            .await
    }
}

/// Lets [`PEOPLE`] log in to the consoles of this bed that are started from now on.
///
/// # Errors
///
/// Where the configuration cannot be written.
pub fn add_people(bed: &TestBed) -> anyhow::Result<()> {
    let hash = kvit_console::hash(PASSWORD)?;
    let users = PEOPLE.map(|(login, role, departments)| {
        format!(
            "[console.users.id-of-{login}]\nlogin = \"{login}\"\nrole = \"{role}\"\n\
             departments = [{departments}]\npassword_hash = \"{hash}\"\n"
        )
    });
    let text = std::fs::read_to_string(bed.config())? + &users.concat();
    Ok(std::fs::write(bed.config(), text)?)
}

/// The fields of a form, as browsers send them.
#[must_use]
pub fn form(fields: &[(&str, &str)]) -> String {
    let encoded = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}
