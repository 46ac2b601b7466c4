//! `kvit evidence`: checks the signed log offline, proves a deletion, copies the log. Reads no private key.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use evidence::{Certificate, Certified, Log, Signed, Trust, Verified, logs_in, verify_folder};
use runtime::{ConfigArgs, Exit, exit};
use serde_json::{Value, json};

use crate::app::{App, print};
use crate::args::EvidenceCommand;

pub(crate) async fn run(config: &ConfigArgs, command: EvidenceCommand, json: bool) -> anyhow::Result<u8> {
    match command {
        EvidenceCommand::Verify { path, key, against } => verify(&path, &key, &against, json),
        EvidenceCommand::Prove { id, out, dir } => {
            let certificate = if let Some(dir) = dir {
                Certificate::make(&dir, &id)
            } else {
                let app = App::open(config, json)?;
                let view = crate::submission::show(&app, &id).await?;
                let view = view.ok_or_else(|| Exit::data(anyhow!("no submission is known by that id")))?;
                Certificate::make(&app.loaded.config.evidence.dir, &view.id)
            };
            write(&certificate.map_err(refused)?, out.as_deref(), json)
        }
        EvidenceCommand::Export { dir } => export(&App::open(config, json)?, &dir),
        EvidenceCommand::Key => keys(&App::open(config, json)?),
    }
}

/// What was found false is data refused (65); what could not be read is not (74).
fn refused(error: impl Into<anyhow::Error>) -> Exit {
    let error = error.into();
    if error.chain().any(<dyn Error>::is::<io::Error>) {
        Exit::io(error)
    } else {
        Exit::data(error)
    }
}

fn verify(path: &Path, keys: &[String], against: &[PathBuf], json: bool) -> anyhow::Result<u8> {
    let trust = trust(keys)?;
    let found = kept(against, &trust).and_then(|kept| found(path, &trust, &kept).map_err(Into::into));
    match found {
        Ok((value, words)) => {
            print(json, &value, || words)?;
            Ok(exit::OK)
        }
        Err(error) => {
            if json {
                print(
                    true,
                    &json!({"valid": false, "fault": format!("{error:#}")}),
                    String::new,
                )?;
            }
            Err(error)
        }
    }
}

/// What is proved, as JSON and in words.
fn found(path: &Path, trust: &Trust, kept: &[Signed]) -> Result<(Value, String), Exit> {
    if path.is_file() {
        let json = fs::read(path)
            .with_context(|| format!("reading {}", path.display()))
            .map_err(Exit::io)?;
        let certificate = Certificate::read(&json).map_err(refused)?;
        let certified = certificate.verify(trust, kept).map_err(refused)?;
        return Ok((certified_json(&certified), certified_words(&certified)));
    }
    let logs = verify_folder(path, trust, kept).map_err(refused)?;
    let value = json!({"valid": true, "logs": logs.iter().map(log_json).collect::<Vec<_>>()});
    let words: Vec<_> = logs.iter().map(log_words).collect();
    Ok((value, words.join("\n")))
}

fn log_json(log: &Verified) -> Value {
    let checkpoint = &log.signed.checkpoint;
    json!({
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "note": log.signed.note,
        "continues": log.continues,
    })
}

fn log_words(log: &Verified) -> String {
    let checkpoint = &log.signed.checkpoint;
    let kept = match log.continues {
        0 => "compared with no kept checkpoint: that nothing was cut off or replaced is not shown".to_owned(),
        1 => "continues the kept checkpoint".to_owned(),
        count => format!("continues the {count} kept checkpoints"),
    };
    format!(
        "{}: {} leaves, whole and signed; {kept}",
        checkpoint.origin, checkpoint.size
    )
}

fn certified_json(certified: &Certified) -> Value {
    let events: Vec<_> = certified
        .events
        .iter()
        .map(|leaf| json!({"at": leaf.at, "event": leaf.event, "rule": leaf.rule}))
        .collect();
    let notes: Vec<_> = certified.checkpoints.iter().map(|signed| &signed.note).collect();
    json!({
        "valid": true,
        "submission": certified.submission,
        "deleted_at": certified.deletion.at,
        "rule": certified.deletion.rule,
        "events": events,
        "checkpoints": notes,
    })
}

fn certified_words(certified: &Certified) -> String {
    let rule = certified.deletion.rule.as_deref().unwrap_or("none");
    let mut words = format!(
        "the certificate holds: submission {} was recorded as deleted at {} (rule: {rule})\n",
        certified.submission, certified.deletion.at
    );
    for leaf in &certified.events {
        let _ = writeln!(words, "{}  {}", leaf.at, leaf.event);
    }
    for signed in &certified.checkpoints {
        let checkpoint = &signed.checkpoint;
        let _ = writeln!(
            words,
            "in {}, signed over {} leaves",
            checkpoint.origin, checkpoint.size
        );
    }
    words + "what this proves, and what not, stands in the certificate"
}

/// Verifier keys, each given itself or as a file that holds some.
fn trust(given: &[String]) -> anyhow::Result<Trust> {
    let mut texts = Vec::new();
    for key in given {
        texts.push(match fs::read_to_string(key) {
            Ok(text) => text,
            Err(_) => key.clone(),
        });
    }
    let trust = texts.join("\n").parse();
    trust.map_err(Exit::usage).context("reading --key")
}

fn kept(paths: &[PathBuf], trust: &Trust) -> anyhow::Result<Vec<Signed>> {
    let mut kept = Vec::new();
    for path in paths {
        let place = || format!("reading the kept checkpoint {}", path.display());
        let note = fs::read_to_string(path).with_context(place).map_err(Exit::io)?;
        let signed = trust.open(&note).map_err(anyhow::Error::from);
        kept.push(signed.with_context(place).map_err(Exit::data)?);
    }
    Ok(kept)
}

fn write(certificate: &Certificate, out: Option<&Path>, json: bool) -> anyhow::Result<u8> {
    let Some(out) = out else {
        // The certificate is JSON whichever way it is printed.
        print(true, certificate, String::new)?;
        return Ok(exit::OK);
    };
    fs::write(out, certificate.to_json() + "\n")
        .with_context(|| format!("writing {}", out.display()))
        .map_err(Exit::io)?;
    print(json, &json!({"certificate": out}), || {
        format!("wrote {}", out.display())
    })?;
    Ok(exit::OK)
}

fn export(app: &App, to: &Path) -> anyhow::Result<u8> {
    if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Exit::data(anyhow!("{} is not empty: nothing was copied", to.display())).into());
    }
    let mut copied = Vec::new();
    for log in logs_in(&app.loaded.config.evidence.dir).map_err(refused)? {
        let name = log.dir().file_name().unwrap_or_default();
        let signed = log.copy_to(&Log::at(to.join(name))).map_err(refused)?;
        copied.extend(signed.map(|signed| signed.checkpoint));
    }
    if copied.is_empty() {
        return Err(Exit::data(anyhow!(
            "there is no evidence yet in {}",
            app.loaded.config.evidence.dir.display()
        ))
        .into());
    }
    let value: Vec<_> = copied
        .iter()
        .map(|checkpoint| json!({"origin": checkpoint.origin, "size": checkpoint.size}))
        .collect();
    app.print(&value, || {
        let lines = copied
            .iter()
            .map(|log| format!("{}: {} leaves copied", log.origin, log.size));
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(exit::OK)
}

fn keys(app: &App) -> anyhow::Result<u8> {
    let mut keys = Vec::new();
    for log in logs_in(&app.loaded.config.evidence.dir).map_err(refused)? {
        keys.push(log.verifier_key().map_err(refused)?.trim().to_owned());
    }
    if keys.is_empty() {
        return Err(Exit::data(anyhow!(
            "there is no evidence log yet: the scheduler begins one with the first event, and writes its verifier key"
        ))
        .into());
    }
    app.print(&keys, || keys.join("\n"))?;
    Ok(exit::OK)
}
