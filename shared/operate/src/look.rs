//! What a person sees: figures, submissions, pauses, evidence, and who did what. Ids, states and times, never content.

use std::cmp::Reverse;

use anyhow::Context as _;
use domain::{State, SubmissionId};
use evidence::{Certificate, logs_in};
use ledger::requests::{FIND_BY_UUID, SiteUuid};
use ledger::{ActFilter, ActRow, Figures, Pause, SubmissionFilter, SubmissionView, WorkerRow};
use runtime::Exit;
use serde::Serialize;
use serde_json::Value;
use worker::{HEARD, REMEMBERED};

use crate::args::{Acts, Id, Submissions};
use crate::{Because, Call, Desk, ask, data, forbidden, times, unavailable, usage};

/// So many workers that ended without saying so are shown: one that is started and killed again and again leaves many.
const SILENT: usize = 20;

/// The conservation figures, who works, and what rests.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// What the two equations are off by; 0 unless something is wrong.
    pub difference: Difference,
    /// Tests, counted apart.
    pub test: Figures,
    /// Who works.
    pub workers: Vec<WorkerRow>,
    /// Who worked within a day, is not heard of any more, and did not say that it ended; the last heard of first.
    pub silent: Vec<WorkerRow>,
    /// What a person has put to rest.
    pub paused: Vec<Pause>,
}

/// What the two equations are off by.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The first.
    pub arrived: i64,
    /// The second.
    pub accepted: i64,
}

/// How everything stands.
///
/// # Errors
///
/// Where the ledger is away (69).
pub async fn status(desk: &Desk) -> anyhow::Result<Status> {
    let (ledger, now) = (&desk.ledger, desk.clock.now());
    let known = ledger.workers(now - REMEMBERED).await.map_err(unavailable)?;
    let (workers, mut silent): (Vec<_>, Vec<_>) = known.into_iter().partition(|worker| worker.seen_at >= now - HEARD);
    silent.sort_by_key(|worker| Reverse(worker.seen_at));
    silent.truncate(SILENT);
    // Both count what is open, which takes a while where that is much.
    let (figures, test) =
        tokio::try_join!(ledger.figures(false, now), ledger.figures(true, now)).map_err(unavailable)?;
    Ok(Status {
        difference: Difference {
            arrived: figures.arrived_difference(),
            accepted: figures.accepted_difference(),
        },
        test,
        workers,
        silent,
        paused: ledger.pauses(now).await.map_err(unavailable)?,
        figures,
    })
}

pub(crate) async fn pauses(desk: &Desk) -> anyhow::Result<Vec<Pause>> {
    Ok(desk.ledger.pauses(desk.clock.now()).await.map_err(unavailable)?)
}

pub(crate) async fn submissions(call: Call<'_>, args: Submissions) -> anyhow::Result<Vec<SubmissionView>> {
    if let Some(state) = &args.state
        && state.parse::<State>().is_err()
    {
        let words = format!("there is no state {state:?}");
        return Err(usage(Because::NoSuchWord, &[("word", state)], words));
    }
    let since = args.since.as_deref().map(|text| times::since(text, call.now()));
    let filter = SubmissionFilter {
        site: args.site,
        form: args.form,
        state: args.state,
        since: since.transpose()?,
        after: args.after,
        departments: call.actor.departments.clone(),
    };
    let found = call
        .desk
        .ledger
        .submissions(filter, args.limit.unwrap_or(100), call.now());
    Ok(found.await.map_err(unavailable)?)
}

pub(crate) async fn submission(call: Call<'_>, args: Id) -> anyhow::Result<SubmissionView> {
    let found = find(call.desk, &args.id).await?;
    let view = found.ok_or_else(|| data(Because::NoSubmission, &[], "no submission is known by that id"))?;
    concerns(call, &view)?;
    Ok(view)
}

/// Refuses a submission of another department.
pub(crate) fn concerns(call: Call<'_>, view: &SubmissionView) -> anyhow::Result<()> {
    match view.department.as_ref().and_then(|id| id.parse().ok()) {
        Some(department) => call.concerns(&department),
        None if call.actor.departments.is_empty() => Ok(()),
        None => Err(forbidden(
            Because::DepartmentUnknown,
            &[],
            "it is not known which department it is for",
        )),
    }
}

/// A submission by Kvit's id, the reference, or `SITE/UUID`; the last needs the index key, which intake has.
///
/// # Errors
///
/// Where it is none of these (64), or the ledger or intake is away (69).
pub async fn find(desk: &Desk, id: &str) -> anyhow::Result<Option<SubmissionView>> {
    let (ledger, now) = (&desk.ledger, desk.clock.now());
    if let Ok(id) = id.parse::<SubmissionId>() {
        return Ok(ledger.show(id, now).await.map_err(unavailable)?);
    }
    if let Ok(reference) = id.parse::<domain::Reference>() {
        let found = ledger.show_reference(reference.into(), now).await;
        return Ok(found.map_err(unavailable)?);
    }
    let Some((site, uuid)) = id.split_once('/') else {
        let words = "give Kvit's id, the reference K-XXXX-XXXX, or SITE/UUID";
        return Err(usage(Because::IdForm, &[], words));
    };
    let site = site.parse().map_err(Exit::usage);
    let asked = SiteUuid {
        site: site.context("reading the site of SITE/UUID")?,
        uuid: uuid.to_owned(),
    };
    let answer = ask(desk, "intake", FIND_BY_UUID, &asked).await?;
    match answer["id"].as_str().and_then(|id| id.parse().ok()) {
        Some(id) => Ok(ledger.show(id, now).await.map_err(unavailable)?),
        None => Ok(None),
    }
}

/// A year's log.
#[derive(Debug, Serialize)]
pub struct LogRow {
    /// The first line of its checkpoints.
    pub origin: String,
    /// The key that verifies it, for whoever keeps it apart.
    pub verifier_key: String,
    /// The last checkpoint, signed.
    pub checkpoint: String,
}

pub(crate) fn evidence(desk: &Desk) -> anyhow::Result<Vec<LogRow>> {
    let mut rows = Vec::new();
    // A console on another machine than the scheduler has no folder, and a new Kvit no log yet.
    for log in logs_in(&desk.loaded.config.evidence.dir).unwrap_or_default() {
        let note = log.note().map_err(Exit::io)?.unwrap_or_default();
        rows.push(LogRow {
            origin: note.lines().next().unwrap_or_default().to_owned(),
            verifier_key: log.verifier_key().map_err(Exit::io)?.trim().to_owned(),
            checkpoint: note,
        });
    }
    Ok(rows)
}

/// The certificate of a deletion, as JSON.
pub(crate) async fn prove(call: Call<'_>, args: Id) -> anyhow::Result<Value> {
    let view = submission(call, args).await?;
    let dir = call.desk.loaded.config.evidence.dir.clone();
    let places = call
        .desk
        .ledger
        .evidence_places(view.id.clone())
        .await
        .map_err(unavailable)?;
    let made = tokio::task::spawn_blocking(move || Certificate::make_at(&dir, &view.id, &places)).await?;
    let certificate = made.map_err(Exit::data)?;
    Ok(serde_json::from_str(&certificate.to_json())?)
}

pub(crate) async fn acts(call: Call<'_>, args: Acts) -> anyhow::Result<Vec<ActRow>> {
    let since = args.since.as_deref().map(|text| times::since(text, call.now()));
    let filter = ActFilter {
        actor: args.actor,
        event: args.event,
        since: since.transpose()?,
        after: args.after.map(Into::into),
        of: call.concerned(),
    };
    let acted = call.desk.ledger.acted(filter, args.limit.unwrap_or(200)).await;
    Ok(acted.map_err(unavailable)?)
}
