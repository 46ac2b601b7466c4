//! The figures as people read them.

use std::fmt::Write as _;

use crate::{Figures, attachments, ceilings, drain, latency, load, sealing};

pub(crate) fn of(figures: &Figures) -> String {
    let mut text = String::new();
    if let Some(ceilings) = &figures.ceilings {
        text.push_str(&limits(ceilings));
    }
    if !figures.drain.is_empty() {
        text.push_str(&drains(&figures.drain));
    }
    if !figures.growth.is_empty() {
        text.push_str(&drains(&figures.growth));
    }
    if let Some(latency) = &figures.latency {
        let _ = writeln!(
            text,
            "Latency at {} a second, from publish to both mails accepted: p50 {} ms, p99 {} ms (at most {}), p99.9 {} ms, \
             longest {} ms, of {}.\n",
            latency.per_second,
            latency.p50_ms,
            latency.p99_ms,
            latency::BAR_P99_MS,
            latency.p999_ms,
            latency.most_ms,
            latency.submissions
        );
    }
    if let Some(large) = &figures.attachments {
        let _ = writeln!(
            text,
            "Attachments: {} submissions, {:.1} MB/s, {:.2} of the limit below (at least {}); CPU, ms a MB: {}; intake's peak {} \
             MB (at most {}).\n",
            large.submissions,
            large.megabytes_per_second,
            large.of_limit(),
            attachments::BAR_OF_LIMIT,
            shares(&large.cpu_ms_per_megabyte),
            large.intake_peak_bytes / 1_048_576,
            attachments::BAR_INTAKE_BYTES / 1_048_576
        );
        text.push_str(&limits(&large.limit));
    }
    if !figures.sealing.is_empty() {
        text.push_str(&sealing::table(&figures.sealing));
    }
    text
}

fn drains(drains: &[drain::Drain]) -> String {
    let mut text = format!(
        "Drain of submissions of {} bytes, each signed and encrypted to its department, with a receipt, until deleted.\n\n\
         | store | replicas | finished before | submissions | seconds | a second | CPU, µs a submission | by process | peak, MB |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |\n",
        load::BYTES
    );
    for drain in drains {
        let peaks: Vec<_> = drain
            .peak_bytes
            .iter()
            .map(|(name, bytes)| format!("{name} {}", bytes / 1_048_576))
            .collect();
        let _ = writeln!(
            text,
            "| {:?} | {} | {} | {} | {:.1} | {:.0} | {:.0} | {} | {} |",
            drain.engine,
            drain.replicas,
            drain.finished,
            drain.submissions,
            drain.seconds,
            drain.per_second,
            drain.cpu_us_in_all(),
            shares(&drain.cpu_us),
            peaks.join(", ")
        );
    }
    text.push('\n');
    text
}

fn shares(shares: &[(&str, f64)]) -> String {
    let shares: Vec<_> = shares
        .iter()
        .map(|(name, share)| format!("{name} {share:.0}"))
        .collect();
    shares.join(", ")
}

fn limits(ceilings: &ceilings::Ceilings) -> String {
    let mut text = format!(
        "Composite limit on {} cores: {:.1} submissions a second.\n\n\
         | operation, bare | a second | CPU, µs | times a submission |\n\
         | --- | ---: | ---: | ---: |\n",
        ceilings.cores, ceilings.composite
    );
    for one in &ceilings.operations {
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.0} | {:.0} |",
            one.operation, one.per_second, one.cpu_us, one.times
        );
    }
    let event = &ceilings.event;
    let _ = writeln!(
        text,
        "\nBeside the limit: {} events told to the site of each, bare, {:.0} µs each. With them it would be {:.1} a second.\n",
        event.times, event.cpu_us, ceilings.with_events
    );
    text
}
