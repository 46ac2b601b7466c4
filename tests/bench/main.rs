//! What Kvit costs beside what its libraries cost: measured against a bare loop, so that the ratio says the same on any
//! machine. `make bench` runs it; `-- --json` prints the figures for programs.
//!
//! Ends with 1 where a ratio is above its bar.

mod sealing;

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    // `cargo bench` adds `--bench`, which says nothing here.
    let json = std::env::args().any(|argument| argument == "--json");
    let rows = sealing::run()?;
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", sealing::table(&rows));
    }
    let within = rows.iter().all(|row| row.ratio <= sealing::BAR);
    Ok(if within { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
