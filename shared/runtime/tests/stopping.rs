//! How a program ends on a signal. One test in a process of its own: a signal is for the whole process.

use std::process::{Command, id};

use runtime::until_done;
use tokio_util::sync::CancellationToken;

/// SIGTERM drains: the service is told, and what it does until it returns is still done.
#[tokio::test]
async fn a_service_finishes_what_is_in_hand_on_sigterm() {
    let shutdown = CancellationToken::new();
    let service = {
        let shutdown = shutdown.clone();
        async move {
            // The service runs, so its program listens for the signal already.
            tokio::task::yield_now().await;
            let sent = Command::new("kill").args(["-TERM", &id().to_string()]).status()?;
            assert!(sent.success());
            shutdown.cancelled().await;
            anyhow::bail!("drained")
        }
    };
    let ended = until_done(shutdown, service).await.expect_err("the service's own end");
    assert_eq!(ended.to_string(), "drained");
}
