//! The operators' command: see what Kvit does, and act on it; and `kvit up`, everything in one process.

use std::process::ExitCode;

fn main() -> ExitCode {
    kvit_cli::main()
}
