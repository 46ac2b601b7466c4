//! How many instructions the hot functions take, each for one submission, held against what was committed.
//!
//! Time on a shared machine says little about a change of a tenth; instructions counted by callgrind say it each time the
//! same. `make hot` builds this in release and runs it: the program runs itself under valgrind, each function so many times
//! and not at all, and the difference is what the function takes. More than a tenth above `baseline.json` fails;
//! `KVIT_BLESS=1 make hot` writes what was counted there.

mod functions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, ensure};

/// By how much a function may exceed its baseline, and below it invites a new one, in percent.
const TOLERANCE: u64 = 10;
/// How often each function runs while it is counted.
const TIMES: u64 = 32;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| one != "--bench").collect();
    match arguments.as_slice() {
        [] => compare(),
        [function, times] => {
            functions::run(function, times.parse().context("how many times")?)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => anyhow::bail!("either nothing, or a function and how many times it runs"),
    }
}

fn baseline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hot/baseline.json")
}

fn compare() -> anyhow::Result<ExitCode> {
    let mut counted = BTreeMap::new();
    for function in functions::NAMES {
        let (none, all) = (instructions(function, 0)?, instructions(function, TIMES)?);
        counted.insert(function.to_owned(), all.saturating_sub(none) / TIMES);
    }
    if std::env::var_os("KVIT_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&counted)?;
        std::fs::write(baseline(), text + "\n").context("writing the baseline")?;
    }
    let known = std::fs::read_to_string(baseline()).context("reading the baseline: KVIT_BLESS=1 make hot writes it")?;
    let known: BTreeMap<String, u64> = serde_json::from_str(&known).context("the baseline is no list of counts")?;
    println!("| function | instructions | baseline | |\n| --- | ---: | ---: | ---: |");
    let mut worse = Vec::new();
    for (function, now) in &counted {
        let before = *known
            .get(function)
            .with_context(|| format!("the baseline has no {function}"))?;
        println!("| {function} | {now} | {before} | {:+.1} % |", percent(*now, before));
        if *now * 100 > before * (100 + TOLERANCE) {
            worse.push(function.as_str());
        }
    }
    if worse.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "more than {TOLERANCE} % above the baseline: {}. Where that is worth it, KVIT_BLESS=1 make hot writes a new one.",
        worse.join(", ")
    );
    Ok(ExitCode::FAILURE)
}

#[expect(clippy::cast_precision_loss, reason = "a percentage")]
fn percent(now: u64, before: u64) -> f64 {
    100.0 * (now as f64 / before as f64 - 1.0)
}

/// All instructions of this program, in all its threads, when it runs a function so many times.
fn instructions(function: &str, times: u64) -> anyhow::Result<u64> {
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([function, &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .context("running valgrind (Debian's package of that name)")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{function} failed under valgrind:\n{said}");
    let counted = said.lines().find_map(|line| line.split("Collected :").nth(1));
    let counted = counted.with_context(|| format!("valgrind counted nothing:\n{said}"))?;
    Ok(counted.trim().parse()?)
}
