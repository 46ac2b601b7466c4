//! Takes submissions from the sites' queues, and records what is owed for each.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    runtime::start("kvit-intake", |config| config.intake.listen.as_str(), kvit_intake::run).await
}
