//! What every row needs: a load, the services as processes, and a line that says what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use kvit_tests::{Engine, Message, Program, TestBed, report};
use serde_json::json;

/// The services, in the order in which they are started.
pub(crate) const SERVICES: [&str; 3] = ["kvit-intake", "kvit-mailer", "kvit-scheduler"];

/// How long the rest of a load may take once the faults are over.
pub(crate) const PATIENCE: Duration = Duration::from_mins(4);

/// Whether the suite runs as it is promised, and not scaled down.
pub(crate) fn is_full() -> bool {
    std::env::var("KVIT_FAULTS").as_deref() == Ok("full")
}

/// A few for every change, many for the figures.
pub(crate) fn scaled<T>(few: T, many: T) -> T {
    if is_full() { many } else { few }
}

/// What came of a row.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Messages that the site published.
    pub(crate) attempted: i64,
    /// Messages that the broker confirmed to the site.
    pub(crate) acknowledged: i64,
    /// Of those, messages of which nothing is known, and mails that went to nobody.
    pub(crate) lost: i64,
    /// Mails that went out more than once, byte for byte the same.
    pub(crate) duplicated: i64,
    /// Faults after which everything went on by itself.
    pub(crate) recovered: i64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "attempted {} | acknowledged {} | lost {} | duplicated {} | recovered {}",
            self.attempted, self.acknowledged, self.lost, self.duplicated, self.recovered
        )
    }
}

impl Tally {
    /// The line of a row that came through: of one that lost anything, the test has failed before.
    pub(crate) fn nothing_lost(sent: i64, duplicated: i64, recovered: i64) -> Self {
        Self {
            attempted: sent,
            acknowledged: sent,
            lost: 0,
            duplicated,
            recovered,
        }
    }

    /// Prints the row's line.
    pub(crate) fn say(&self, row: &str, engine: Engine) {
        println!("faults | {row} | {} | {self}", word(engine));
    }
}

pub(crate) fn word(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    }
}

/// The report of one citizen, who has an address of their own.
pub(crate) fn numbered(n: u32) -> Message {
    let uuid = uuid::Uuid::from_u128(0x4000 + u128::from(n)).to_string();
    Message::json(&report(&uuid, &json!({"e_mail": address(n)})))
}

pub(crate) fn address(n: u32) -> String {
    format!("c{n}@borger.example")
}

/// A message that cannot be taken.
pub(crate) fn malformed(n: u32) -> Message {
    Message::bytes(format!("{{\"no json {n}"))
}

/// What a site sends, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// How many reports the broker has confirmed; they are numbered from 0.
    pub(crate) reports: u32,
    /// How many malformed messages.
    pub(crate) malformed: u32,
}

impl Load {
    /// Publishes so many reports.
    pub(crate) async fn send(&mut self, bed: &TestBed, count: u32) -> anyhow::Result<()> {
        for _ in 0..count {
            bed.publish(&numbered(self.reports)).await?;
            self.reports += 1;
        }
        Ok(())
    }

    /// Publishes a message that cannot be taken.
    pub(crate) async fn send_malformed(&mut self, bed: &TestBed) -> anyhow::Result<()> {
        bed.publish(&malformed(self.malformed)).await?;
        self.malformed += 1;
        Ok(())
    }
}

/// The services of a bed, each a process.
pub(crate) struct Fleet<'b> {
    bed: &'b TestBed,
    programs: BTreeMap<&'static str, Program>,
    /// When each that was killed, or had ended itself, was gone.
    deaths: Vec<(String, Instant)>,
}

impl<'b> Fleet<'b> {
    /// Starts all of them.
    pub(crate) async fn start(bed: &'b TestBed) -> anyhow::Result<Self> {
        let mut fleet = Self {
            bed,
            programs: BTreeMap::new(),
            deaths: Vec::new(),
        };
        for name in SERVICES {
            fleet.start_one(name, &[]).await?;
        }
        Ok(fleet)
    }

    /// Starts one, which does not run, with this in its environment.
    pub(crate) async fn start_one(&mut self, name: &'static str, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        let program = self.bed.spawn_with(name, environment).await?;
        self.programs.insert(name, program);
        Ok(())
    }

    /// Kills one, if it runs.
    pub(crate) fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        if let Some(mut program) = self.programs.remove(name) {
            program.kill()?;
            self.deaths.push((name.to_owned(), Instant::now()));
        }
        Ok(())
    }

    /// When one was gone, each time.
    pub(crate) fn deaths(&self, name: &str) -> Vec<Instant> {
        let of_it = self.deaths.iter().filter(|(dead, _)| dead == name);
        of_it.map(|(_, at)| *at).collect()
    }

    /// Kills one and starts it again at once.
    pub(crate) async fn replace(&mut self, name: &'static str, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        self.kill(name)?;
        self.start_one(name, environment).await
    }

    /// One of them.
    pub(crate) fn get(&mut self, name: &str) -> anyhow::Result<&mut Program> {
        self.programs
            .get_mut(name)
            .with_context(|| format!("{name} does not run"))
    }

    /// Takes one out, to end it otherwise.
    pub(crate) fn take(&mut self, name: &str) -> anyhow::Result<Program> {
        self.programs
            .remove(name)
            .with_context(|| format!("{name} does not run"))
    }

    /// Fails where one has ended by itself.
    pub(crate) fn ensure_alive(&mut self) -> anyhow::Result<()> {
        self.programs.values_mut().try_for_each(Program::ensure_alive)
    }
}
