//! The bars that the figures are held against.

use crate::rig::Engine;
use crate::{Figures, attachments, growth, latency, sealing};

/// Submissions a second that a drain never falls below on two cores.
const LEAST: f64 = 400.0;
/// The part of the composite limit that a drain reaches.
const OF_LIMIT: f64 = 0.6;
/// The part of SQLite's rate that PostgreSQL reaches.
const OF_SQLITE: f64 = 0.7;

/// In words, which bars the figures miss; what was not measured is not judged.
pub(crate) fn missed(figures: &Figures) -> Vec<String> {
    let mut missed = Vec::new();
    let mut hold = |name: &str, figure: f64, least: f64| {
        if figure < least {
            missed.push(format!("{name} is {figure:.2}, below {least:.2}"));
        }
    };
    let rate = |engine| {
        let drain = figures
            .drain
            .iter()
            .find(|drain| drain.engine == engine && drain.replicas == 1);
        drain.map(|drain| drain.per_second)
    };
    if let Some(sqlite) = rate(Engine::Sqlite) {
        hold("submissions drained a second", sqlite, LEAST);
        if let Some(ceilings) = &figures.ceilings {
            hold(
                "the drain's part of the composite limit",
                sqlite / ceilings.composite,
                OF_LIMIT,
            );
        }
        if let Some(postgres) = rate(Engine::Postgres) {
            hold("PostgreSQL's part of SQLite's rate", postgres / sqlite, OF_SQLITE);
        }
    }
    if let Some(large) = &figures.attachments {
        let name = "attachments' part of their composite limit";
        hold(name, large.of_limit(), attachments::BAR_OF_LIMIT);
    }
    for (name, share) in growth::shares(&figures.growth) {
        hold(&name, share, growth::BAR);
    }
    for row in &figures.sealing {
        if row.ratio > sealing::BAR {
            missed.push(format!(
                "sealing for {} takes {:.2} times the bare loop",
                row.certificate, row.ratio
            ));
        }
    }
    if let Some(latency) = &figures.latency
        && latency.p99_ms >= latency::BAR_P99_MS
    {
        missed.push(format!("the 99th percentile is {} ms", latency.p99_ms));
    }
    if let Some(large) = &figures.attachments
        && large.intake_peak_bytes >= attachments::BAR_INTAKE_BYTES
    {
        missed.push(format!(
            "intake had {} MB resident",
            large.intake_peak_bytes / 1_048_576
        ));
    }
    missed
}
