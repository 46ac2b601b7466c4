//! Serves the web page and the JSON API for operations.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    kvit_console::main().await
}
