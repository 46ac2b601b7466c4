//! What Kvit costs. `make bench` runs it in release; `-- --json` prints the figures for programs, `-- drain …` only the
//! named parts, `-- --submissions N` fewer of them.
//!
//! *growth* is a part that only who names it gets: it takes half an hour.
//!
//! *sealing* measures encryption against a bare loop, so that the ratio says the same on any machine. *ceilings* measures
//! what cannot be left out, each bare and alone. *drain*, *postgres*, *latency* and *attachments* run the real programs
//! against a real broker and `smtp-sink`.
//!
//! Ends with 1 where a figure is beyond its bar.

mod attachments;
mod bars;
mod ceilings;
mod drain;
mod growth;
mod latency;
mod load;
mod process;
mod rig;
mod sealing;
mod table;

use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use crate::rig::Plan;

/// Everything that was measured.
#[derive(Default, Serialize)]
struct Figures {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sealing: Vec<sealing::Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ceilings: Option<ceilings::Ceilings>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drain: Vec<drain::Drain>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    growth: Vec<drain::Drain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<latency::Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachments: Option<attachments::Attachments>,
}

/// How long latency is measured.
const SECONDS: u64 = 30;
/// How many submissions with attachments are drained.
const LARGE: u64 = 200;

/// What the command line asks for.
struct Wanted {
    json: bool,
    submissions: u64,
    parts: Vec<String>,
}

impl Wanted {
    fn read(arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut wanted = Self {
            json: false,
            submissions: drain::SUBMISSIONS,
            parts: Vec::new(),
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => wanted.json = true,
                "--bench" => {} // `cargo bench` adds it
                "--submissions" => {
                    let count = arguments.next().context("--submissions wants a number")?;
                    wanted.submissions = count.parse().context("--submissions wants a number")?;
                }
                part => wanted.parts.push(part.to_owned()),
            }
        }
        Ok(wanted)
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let wanted = Wanted::read(std::env::args().skip(1))?;
    let mut figures = Figures::default();
    if wanted.wants("sealing") {
        figures.sealing = sealing::run()?;
    }
    if wanted.wants("ceilings") {
        figures.ceilings = Some(ceilings::run(&ceilings::Shape::small()).await?);
    }
    if wanted.wants("drain") {
        figures.drain.push(drain::run(Plan::SQLITE, wanted.submissions).await?);
    }
    if wanted.wants("postgres") {
        figures
            .drain
            .push(drain::run(Plan::POSTGRES, wanted.submissions).await?);
    }
    if wanted.parts.iter().any(|part| part == "growth") {
        figures.growth = growth::run(wanted.submissions).await?;
    }
    if wanted.wants("latency") {
        figures.latency = Some(latency::run(SECONDS).await?);
    }
    if wanted.wants("attachments") {
        figures.attachments = Some(attachments::run(LARGE).await?);
    }
    if wanted.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", table::of(&figures));
    }
    let missed = bars::missed(&figures);
    for bar in &missed {
        eprintln!("bench: {bar}");
    }
    Ok(if missed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
