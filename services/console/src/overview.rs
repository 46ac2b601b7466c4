//! The overview: the figures, what each kind of duty and each queue waits for, who works, and what rests.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use ledger::{StateCounts, WorkerRow};
use operate::look::Status;

use crate::auth::Signed;
use crate::cells::{age, link, plain, time};
use crate::live::{Rates, Snapshot};
use crate::pages::{Here, failed, shell};
use crate::queues::{Looked, Oldest, Queue};
use crate::view::{Cell, Overview, Shell, page};

pub(crate) async fn overview(State(console): Here, signed: Signed, headers: HeaderMap) -> Response {
    if signed.is_department() {
        return Redirect::to("/events").into_response();
    }
    let shell = shell(&console, &headers, Some(&signed), "overview");
    let snapshot = match console.live.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(error) => return failed(shell, &error, ""),
    };
    let status = &snapshot.status;
    let worker = |worker: &WorkerRow, meaning: Option<String>| {
        let seen = Cell {
            meaning,
            ..time(&console, worker.seen_at)
        };
        vec![plain(worker.service.as_str()), time(&console, worker.started_at), seen]
    };
    let living = status.workers.iter().map(|one| worker(one, None));
    let silent = status.silent.iter().map(|one| worker(one, Some(shell.say("silent"))));
    let rests = operate::pauses_seen(&console.desk, signed.actor(), status.paused.clone());
    let paused = rests.iter().map(|pause| {
        let who = pause.actor.as_deref().unwrap_or("–");
        vec![
            plain(shell.say(pause.what.as_str())),
            plain(pause.name.as_str()),
            plain(pause.why.as_str()),
            plain(console.door.name_of(who).unwrap_or(who)),
            pause.until.map_or_else(|| plain("–"), |until| time(&console, until)),
        ]
    });
    let looked = console.queues.looked();
    let overview = Overview {
        figures: figures(&snapshot),
        whole: status.difference.arrived == 0 && status.difference.accepted == 0,
        account: account(&shell, status),
        duties: duties(&shell, &snapshot),
        queues: looked.iter().flat_map(|looked| queues(&shell, looked)).collect(),
        unseen: unseen(looked.as_ref()),
        seen: looked.and_then(|looked| looked.at).map(|at| time(&console, at)),
        no_worker: status.workers.is_empty(),
        workers: living.chain(silent).collect(),
        paused: paused.collect(),
        shell,
    };
    page(StatusCode::OK, &overview)
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1}"))
}

/// The two equations with their numbers, and what each is off by.
fn account(shell: &Shell, status: &Status) -> [String; 2] {
    let figures = &status.figures;
    let about = [
        ("arrived", figures.arrived),
        ("accepted", figures.accepted),
        ("quarantined", figures.quarantined),
        ("duplicates", figures.duplicates.ignored),
        ("drafts", figures.drafts_ignored),
        ("open", figures.open),
        ("deleted", figures.deleted),
    ];
    let about = about.map(|(name, number)| (name, number.to_string()));
    let equations = [
        ("account-arrived", status.difference.arrived),
        ("account-accepted", status.difference.accepted),
    ];
    equations.map(|(name, off)| {
        let equation = shell.fill(name, &about);
        match off {
            0 => equation,
            off => format!("{equation}. {}", shell.fill("account-off", &[("off", off.to_string())])),
        }
    })
}

/// Name, number, whether it is bad.
fn figures(snapshot: &Snapshot) -> Vec<(&'static str, String, bool)> {
    let (figures, backlog) = (&snapshot.status.figures, &snapshot.backlog);
    let possible = figures.duplicates.possible_mail;
    let numbers = [
        ("arrived", figures.arrived, false),
        ("accepted", figures.accepted, false),
        ("open", figures.open, false),
        ("deleted", figures.deleted, false),
        ("quarantined", figures.quarantined, backlog.quarantine_waiting > 0),
        ("duplicates", figures.duplicates.ignored, false),
        ("possible-mail", possible, possible > 0),
        ("drafts", figures.drafts_ignored, false),
        ("late", backlog.missed, backlog.missed > 0),
    ];
    let mut shown: Vec<_> = numbers
        .map(|(name, number, bad)| (name, number.to_string(), bad))
        .to_vec();
    let rates = snapshot.rates.as_ref();
    shown.push(("rate-in", rate(rates.map(|rates| rates.submissions.0)), false));
    shown.push(("rate-out", rate(rates.map(|rates| rates.submissions.1)), false));
    shown
}

fn duties(shell: &Shell, snapshot: &Snapshot) -> Vec<Vec<Cell>> {
    let of_kind = |(kind, counts): (&String, &StateCounts)| {
        let oldest = snapshot.backlog.oldest_duties.get(kind).copied().unwrap_or_default();
        let rates = snapshot
            .rates
            .as_ref()
            .and_then(|Rates { duties, .. }| duties.get(kind));
        let mut cells = vec![Cell {
            href: Some(link("/duties", "kind", kind)),
            ..plain(shell.say(kind))
        }];
        let numbers = [counts.ready + counts.sending, counts.held, counts.failed];
        cells.extend(numbers.map(|number| plain(number.to_string())));
        cells.push(plain(age(oldest)));
        cells.push(plain(rate(rates.map(|rates| rates.0))));
        cells.push(plain(rate(rates.map(|rates| rates.1))));
        cells
    };
    let kinds: &BTreeMap<_, _> = &snapshot.status.figures.duties;
    kinds.iter().map(of_kind).collect()
}

fn queues(shell: &Shell, looked: &Looked) -> Vec<Vec<Cell>> {
    let row = |queue: &Queue| {
        let number = |number: Option<u32>| number.map_or_else(|| "–".to_owned(), |number| number.to_string());
        let waiting = match queue.waiting {
            Some(_) => plain(number(queue.waiting)),
            None => plain(shell.say("not-there")),
        };
        let oldest = match queue.oldest {
            None | Some(Oldest::None) => "–".to_owned(),
            Some(Oldest::Most(most)) => format!("≤ {}", age(most.as_secs().max(1))),
            Some(Oldest::Least(least)) => format!("≥ {}", age(least.as_secs().max(1))),
        };
        vec![
            plain(queue.name.as_str()),
            waiting,
            plain(oldest),
            plain(rate(queue.rates.map(|rates| rates.0))),
            plain(rate(queue.rates.map(|rates| rates.1))),
            plain(number(queue.consumers)),
        ]
    };
    looked.queues.iter().map(row).collect()
}

/// Why the queues are not seen, or not as they are now: a phrase.
fn unseen(looked: Option<&Looked>) -> Option<&'static str> {
    match looked {
        None => Some("broker-not-given"),
        Some(looked) if looked.away => Some("broker-away"),
        Some(looked) if looked.at.is_none() => Some("broker-not-yet"),
        Some(_) => None,
    }
}
