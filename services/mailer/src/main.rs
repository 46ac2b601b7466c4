//! Sends the sealed mails of the duty ledger through the configured relay.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    runtime::start("kvit-mailer", |config| config.mailer.listen.as_str(), kvit_mailer::run).await
}
