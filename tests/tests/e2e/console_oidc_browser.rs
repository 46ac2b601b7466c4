//! Logging in at an OpenID provider in Debian's Chromium; the provider is a real one, with pages of its own.

use std::net::TcpListener;

use kvit_tests::console::Served;
use serde_json::json;

use crate::console_browser::in_chromium;
use crate::console_oidc::{Provider, trusting};

/// G1: a person is sent to the provider, logs in there, comes back with the role of a group, acts, and logs out; the browser's
/// own rules for cookies between two sites hold, for `localhost` and `127.0.0.1` are two. Whom no group lets in is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_at_the_provider_in_chromium() -> anyhow::Result<()> {
    // The provider must know where it sends people back to before the console starts, and the console where the provider is.
    let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let url = format!("http://{listen}");
    let provider = Provider::serving(&format!("{url}/login/oidc/done"), "localhost", true).await?;
    let bed = trusting(&provider, &url).await?;
    let _console = Served::start_at(&bed, &listen).await?;
    in_chromium("oidc.mjs", json!({"url": url, "issuer": provider.issuer})).await?;
    let acted = bed.ledger.acted(ledger::ActFilter::default(), 10).await?;
    assert!(acted.iter().any(|act| act.actor == "oidc:op-7"), "{acted:?}");
    Ok(())
}
