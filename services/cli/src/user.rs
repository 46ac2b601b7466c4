//! `kvit user`: what a person needs to log in to the console.

use std::io::BufRead as _;

use runtime::{Exit, exit};
use serde_json::json;

use crate::app::print;
use crate::args::UserCommand;

/// Shorter ones are guessed.
const LEAST: usize = 12;

pub(crate) fn run(command: &UserCommand, json: bool) -> anyhow::Result<u8> {
    let UserCommand::Hash = command;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Exit::io)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.chars().count() < LEAST {
        let message = format!("the password on standard input has fewer than {LEAST} characters");
        return Err(Exit::data(anyhow::anyhow!(message)).into());
    }
    let hash = kvit_console::hash(password)?;
    print(json, &json!({"password_hash": hash}), || hash.clone())?;
    Ok(exit::OK)
}
