//! Writes what belongs to a case into the journals that its form names.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    runtime::start(
        "kvit-journaliser",
        |config| config.journaliser.listen.as_str(),
        kvit_journaliser::run,
    )
    .await
}
