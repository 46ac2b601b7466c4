//! The operators' command.
//!
//! Every command that asks something takes `--json` and then prints one JSON value on standard output; words for people
//! go to standard output too, what is wrong to standard error (with `--json`, as `{"error": …}` on standard output
//! too). No command but `init`, `up`, `demo`, `doctor` and `restore` reads a
//! key: what needs one is asked of the service that has it, through the ledger.

pub mod demo;
pub mod form_import;

mod act;
mod app;
mod args;
mod check;
mod doctor;
mod duty;
mod event;
mod evidence;
mod form;
mod form_register;
mod generate;
mod init;
mod journal;
mod key;
mod pause;
mod quarantine;
mod registration;
mod request;
mod restore;
mod rotate;
mod run;
mod schedule;
mod status;
mod submission;
mod table;
mod up;
mod user;

use std::process::ExitCode;

use clap::Parser as _;
use runtime::exit;

use crate::args::{Arguments, Command};

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    runtime::harden();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no mistakes, and go to standard output.
            let _ = error.print();
            return if error.use_stderr() {
                exit::USAGE.into()
            } else {
                exit::OK.into()
            };
        }
    };
    let started = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let json = arguments.json;
    let outcome = match started {
        Ok(threads) => threads.block_on(run(arguments)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("kvit: {error:#}");
            if json {
                // With --json there is one value on standard output, whatever happened.
                let said = serde_json::json!({"error": format!("{error:#}"), "exit_status": exit::code_of(&error)});
                let _ = app::print(true, &said, String::new);
            }
            exit::exit_code(&error)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let Arguments {
        config,
        json,
        check_config,
        command,
    } = arguments;
    if check_config {
        return check::run(&config, json);
    }
    let Some(command) = command else {
        eprintln!("kvit: no command given; see kvit --help");
        return Ok(exit::USAGE);
    };
    match command {
        Command::Init(args) => init::run(&args, json),
        Command::Check => check::run(&config, json),
        Command::Doctor => doctor::run(&config, json).await,
        Command::Up => up::run(&config).await,
        Command::Demo(args) => demo::run(&args).await,
        Command::Form(args) => form::run(&config, args, json),
        Command::Key(args) => key::run(&config, args, json).await,
        Command::Schedule(args) => schedule::run(&config, args, json).await,
        Command::Act(args) => act::run(&config, args, json).await,
        Command::User(args) => user::run(&args, json),
        Command::Generate(args) => generate::run(&args),
        Command::Pause(args) => pause::pause(&config, args, json).await,
        Command::Resume(args) => pause::resume(&config, args, json).await,
        Command::Status => status::run(&config, json).await,
        Command::Submission(args) => submission::run(&config, args, json).await,
        Command::Quarantine(args) => quarantine::run(&config, args, json).await,
        Command::Duty(args) => duty::run(&config, args, json).await,
        Command::Event(args) => event::run(&config, args, json).await,
        Command::Registration(args) => registration::run(&config, args, json).await,
        Command::Evidence(args) => evidence::run(&config, args, json).await,
        Command::Restore(args) => restore::run(&config, args, json).await,
        Command::Journal(args) => journal::run(&config, args, json).await,
    }
}
