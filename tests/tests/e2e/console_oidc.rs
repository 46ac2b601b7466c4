//! Logging in at an OpenID provider, which is a real one.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use kvit_tests::TestBed;
use kvit_tests::console::{Answer, Served};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use url::Url;

const BACK: &str = "https://kvit.example/login/oidc/done";
const SECRET: &str = "a secret of the test, and of nobody else";

/// A provider of the test's own.
pub(crate) struct Provider {
    child: Child,
    /// Open for as long as it may say something.
    _output: Lines<BufReader<ChildStdout>>,
    /// As its discovery document has it.
    pub(crate) issuer: String,
    client: reqwest::Client,
}

impl Provider {
    async fn start() -> anyhow::Result<Self> {
        Self::serving(BACK, "127.0.0.1", false).await
    }

    /// One that sends people back to this address, and is reached by this name of this machine; with pages of its own, or
    /// with [`Provider::log_in`] in their place.
    pub(crate) async fn serving(back: &str, host: &str, pages: bool) -> anyhow::Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tools = here.join("../.tools/oidc");
        let given = json!({"tools": tools, "back": back, "secret": SECRET, "host": host, "pages": pages});
        let mut child = Command::new("node")
            .arg(here.join("tests/e2e/browser/provider.mjs"))
            .arg(given.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("its output")?).lines();
        let port = output.next_line().await?.context("scripts/oidc-tools installs it")?;
        Ok(Self {
            child,
            _output: output,
            issuer: format!("http://{host}:{port}"),
            client: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()?,
        })
    }

    /// Where the provider sends a person back to who logs in there, as a browser meets it.
    async fn log_in(&self, at: Url, who: &str) -> anyhow::Result<Url> {
        let (mut at, mut cookies) = (at, Vec::<String>::new());
        for _ in 0..6 {
            if at.path().starts_with("/interaction/") {
                at.query_pairs_mut().append_pair("as", who);
            }
            let asked = self.client.get(at.clone()).header("cookie", cookies.join("; "));
            let answer = asked.send().await?;
            for set in answer.headers().get_all("set-cookie") {
                cookies.push(set.to_str()?.split(';').next().unwrap_or_default().to_owned());
            }
            let to = answer.headers().get("location").map(|to| to.to_str()).transpose()?;
            let Some(to) = to.map(str::to_owned) else {
                anyhow::bail!("{at}: {}", answer.text().await?);
            };
            at = at.join(&to)?;
            if at.as_str().starts_with(BACK) {
                return Ok(at);
            }
        }
        anyhow::bail!("the provider never sends back")
    }
}

/// A bed whose console trusts this provider, and is reached at this address.
pub(crate) async fn trusting(provider: &Provider, public_url: &str) -> anyhow::Result<TestBed> {
    let bed = TestBed::prepare().await?;
    std::fs::write(bed.path("oidc.secret"), SECRET)?;
    let text = format!(
        "\n[console.oidc]\nissuer = \"{}\"\nclient_id = \"kvit\"\n\
         client_secret_file = \"oidc.secret\"\npublic_url = \"{public_url}\"\nscopes = [\"groups\"]\n\
         [console.oidc.groups.kvit-operators]\nrole = \"operator\"\n\
         [console.oidc.groups.kvit-social]\nrole = \"department\"\ndepartments = [\"social\"]\n",
        provider.issuer
    );
    std::fs::OpenOptions::new()
        .append(true)
        .open(bed.config())?
        .write_all(text.as_bytes())?;
    Ok(bed)
}

/// A console that trusts this provider.
async fn console(provider: &Provider) -> anyhow::Result<(TestBed, Served)> {
    let bed = trusting(provider, "https://kvit.example").await?;
    let console = Served::start(&bed).await?;
    Ok((bed, console))
}

/// A login that has begun: where the browser goes, and the cookie that it keeps.
async fn begin(console: &Served) -> anyhow::Result<(Url, String)> {
    let answer = console.page("", "/login/oidc").await?;
    ensure!(answer.status == 303, "{answer:?}");
    let set = answer.headers["set-cookie"].to_str()?;
    ensure!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
    let cookie = set.split(';').next().unwrap_or_default().to_owned();
    Ok((answer.headers["location"].to_str()?.parse()?, cookie))
}

async fn finish(console: &Served, back: &Url, cookie: &str) -> anyhow::Result<Answer> {
    let path = format!("/login/oidc/done?{}", back.query().unwrap_or_default());
    console.page(cookie, &path).await
}

/// The session's cookie of an answer that let somebody in.
fn session(answer: &Answer) -> anyhow::Result<String> {
    ensure!(answer.status == 200, "{answer:?}");
    let set = answer.headers.get_all("set-cookie").iter();
    let set = set
        .filter_map(|value| value.to_str().ok())
        .find(|set| set.starts_with("kvit="));
    let set = set.context("a session")?;
    ensure!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    Ok(set.split(';').next().unwrap_or_default().to_owned())
}

/// A URL whose query says something else.
fn instead(url: &Url, key: &str, value: &str) -> Url {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mut changed = url.clone();
    changed.query_pairs_mut().clear().extend_pairs(
        pairs
            .iter()
            .map(|(name, old)| (name.as_str(), if name == key { value } else { old })),
    );
    changed
}

/// G1: a person has the role of a group, acts under a stable name, and nobody without a group gets in.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_at_the_provider_and_has_the_role_of_a_group() -> anyhow::Result<()> {
    let provider = Provider::start().await?;
    let (bed, console) = console(&provider).await?;
    assert!(console.page("", "/login").await?.text.contains("href=\"/login/oidc\""));

    let (at, cookie) = begin(&console).await?;
    for asked in ["code_challenge_method=S256", "nonce=", "state=", "scope=openid+groups"] {
        assert!(at.as_str().contains(asked), "{at}");
    }
    let back = provider.log_in(at, "op-7").await?;
    let operator = session(&finish(&console, &back, &cookie).await?)?;
    let again = finish(&console, &back, &cookie).await?;
    assert_eq!(again.status, 401, "a login is good once");
    let pause = [("what", "department"), ("name", "social"), ("why", "moved")];
    assert_eq!(console.send(&operator, "/act/pause", &pause).await?.status, 200);
    let acted = bed.ledger.acted(ledger::ActFilter::default(), 10).await?;
    assert!(acted.iter().any(|act| act.actor == "oidc:op-7"), "{acted:?}");
    assert_eq!(console.send(&operator, "/logout", &[]).await?.status, 303);
    assert_eq!(console.page(&operator, "/").await?.status, 303);

    let (at, cookie) = begin(&console).await?;
    let back = provider.log_in(at, "dep-3").await?;
    let department = session(&finish(&console, &back, &cookie).await?)?;
    assert_eq!(console.page(&department, "/events").await?.status, 200);
    assert_eq!(console.send(&department, "/act/pause", &pause).await?.status, 403);

    for nobody in ["guest-1", "none-1"] {
        let (at, cookie) = begin(&console).await?;
        let back = provider.log_in(at, nobody).await?;
        let answer = finish(&console, &back, &format!("{cookie}; lang=en")).await?;
        assert_eq!(answer.status, 403, "{nobody}");
        assert!(
            answer.text.contains("none of your groups has a role"),
            "{}",
            answer.text
        );
    }
    Ok(())
}

/// G1: what was not asked for by this browser, for this console and this login is refused.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_login_is_refused() -> anyhow::Result<()> {
    let provider = Provider::start().await?;
    let (_bed, console) = console(&provider).await?;
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    for (what, key, value) in [
        ("another nonce", "nonce", "guessed"),
        ("another verifier", "code_challenge", challenge),
        ("another client", "client_id", "another"),
        ("another state", "state", "guessed"),
    ] {
        let (at, cookie) = begin(&console).await?;
        let back = provider.log_in(instead(&at, key, value), "op-7").await?;
        let answer = finish(&console, &back, &cookie).await?;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
    }
    let (at, _) = begin(&console).await?;
    let back = provider.log_in(at, "op-7").await?;
    let (_, others) = begin(&console).await?;
    for cookie in ["", others.as_str()] {
        assert_eq!(finish(&console, &back, cookie).await?.status, 401, "another browser");
    }
    let (at, cookie) = begin(&console).await?;
    let back = provider.log_in(at, "op-7").await?;
    let forged = instead(&back, "code", "guessed");
    assert_eq!(finish(&console, &forged, &cookie).await?.status, 401, "another code");
    Ok(())
}

/// G1: nobody is let in by a provider that does not answer; local users are.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_lets_nobody_in() -> anyhow::Result<()> {
    let mut provider = Provider::start().await?;
    let (_bed, console) = console(&provider).await?;
    let (at, cookie) = begin(&console).await?;
    let back = provider.log_in(at, "op-7").await?;
    provider.child.kill().await?;
    for answer in [
        finish(&console, &back, &cookie).await?,
        console.page("", "/login/oidc").await?,
    ] {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.headers.get("set-cookie").is_none(), "{answer:?}");
    }
    assert_eq!(console.page(&console.log_in("viewer").await?, "/").await?.status, 200);
    Ok(())
}
