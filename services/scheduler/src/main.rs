//! Dispatches what is due, finishes what was cut short, runs the schedules, and tells the sites.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    runtime::start(
        "kvit-scheduler",
        |config| config.scheduler.listen.as_str(),
        kvit_scheduler::run,
    )
    .await
}
