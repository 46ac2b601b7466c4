//! Messages that could not be taken, and what a person decides about them.

use domain::SubmissionId;
use domain::quarantine::QuarantineReason;
use ledger::requests::{DESTROY_KEYS, Ids, RETRY_QUARANTINE};
use ledger::{QuarantineFilter, QuarantineRow};
use serde_json::{Value, json};

use crate::args::Matching;
use crate::duty::{about, expected, selected, undone, why};
use crate::{Because, Call, ask, data, times, unavailable, usage};

/// More than an operator can look at, and few enough for one list.
const MOST: u32 = 10_000;
/// So many are tried again by one request: intake answers it within the time that a command waits.
const TOGETHER: usize = 100;

pub(crate) async fn list(call: Call<'_>, args: Matching) -> anyhow::Result<Vec<QuarantineRow>> {
    let limit = args.limit.unwrap_or(MOST);
    let filter = filter(call, &args, args.id.clone(), !args.all && args.id.is_none())?;
    let found = call.desk.ledger.quarantined(filter, limit).await;
    Ok(found.map_err(unavailable)?)
}

fn filter(call: Call<'_>, args: &Matching, id: Option<String>, waiting: bool) -> anyhow::Result<QuarantineFilter> {
    if let Some(reason) = &args.reason
        && reason.parse::<QuarantineReason>().is_err()
    {
        let words = format!("there is no reason {reason:?}");
        return Err(usage(Because::NoSuchWord, &[("word", reason)], words));
    }
    if args.submission.is_some() || args.kind.is_some() || args.state.is_some() {
        return Err(usage(
            Because::NotOfQuarantine,
            &[],
            "a message in quarantine has no submission, kind or state to match",
        ));
    }
    let since = args.since.as_deref().map(|text| times::since(text, call.now()));
    Ok(QuarantineFilter {
        id,
        form: args.form.clone(),
        site: args.site.clone(),
        reason: args.reason.clone(),
        since: since.transpose()?,
        after: args.after.clone(),
        waiting,
        departments: call.actor.departments.clone(),
    })
}

/// One filter for each of the selected, or one for all that match: never everything by accident.
fn filters(call: Call<'_>, args: &Matching) -> anyhow::Result<Vec<QuarantineFilter>> {
    if !args.ids.is_empty() {
        let selected = selected(args).into_iter();
        return selected.map(|id| filter(call, args, Some(id.clone()), true)).collect();
    }
    let filter = filter(call, args, args.id.clone(), true)?;
    let everything = QuarantineFilter {
        waiting: true,
        after: filter.after.clone(),
        departments: filter.departments.clone(),
        ..QuarantineFilter::default()
    };
    if filter == everything {
        let words = "say which: an id, or --form, --site, --reason, --since";
        return Err(usage(Because::SayWhich, &[], words));
    }
    Ok(vec![filter])
}

/// Refuses what is nothing, or another number than the person saw.
fn counted(args: &Matching, matched: usize) -> anyhow::Result<()> {
    expected(args, matched)?;
    if args.id.is_some() && matched == 0 {
        return Err(data(
            Because::NotQuarantined,
            &[],
            "no message in quarantine has that id: see kvit quarantine list --all",
        ));
    }
    Ok(())
}

pub(crate) async fn retry(call: Call<'_>, args: Matching) -> anyhow::Result<Value> {
    // What is counted is what is tried: one that comes meanwhile is not among them.
    let mut found: Vec<SubmissionId> = Vec::new();
    for filter in filters(call, &args)? {
        found.extend(call.desk.ledger.quarantined_ids(filter).await.map_err(unavailable)?);
    }
    counted(&args, found.len())?;
    if args.dry_run || found.is_empty() {
        return Ok(json!({"matched": found.len(), "dry_run": args.dry_run}));
    }
    call.record(about(&args, found.len())).await?;
    let mut results = Vec::new();
    for some in found.chunks(TOGETHER) {
        let ids = Ids { ids: some.to_vec() };
        let mut answer = ask(call.desk, "intake", RETRY_QUARANTINE, &ids).await?;
        results.extend(answer["results"].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    Ok(json!({"matched": found.len(), "dry_run": false, "results": results}))
}

pub(crate) async fn discard(call: Call<'_>, args: Matching) -> anyhow::Result<Value> {
    let why = why(&args, true)?.unwrap_or_default();
    let filters = filters(call, &args)?;
    let (ledger, now) = (&call.desk.ledger, call.now());
    let mut matched = 0;
    for filter in &filters {
        matched += ledger.count_quarantined(filter.clone()).await.map_err(unavailable)?;
    }
    counted(&args, matched)?;
    if args.dry_run || matched == 0 {
        return Ok(json!({"matched": matched, "dry_run": args.dry_run}));
    }
    call.record(about(&args, matched)).await?;
    let discarded = ledger.discard_quarantined(filters, why, args.expect, now).await;
    let gone = discarded.map_err(undone)?;
    let matched = gone.len();
    // The content is gone with that; its keys go as soon as intake hears of it, and with the daily sweep otherwise.
    let args = serde_json::to_string(&Ids { ids: gone })?;
    ledger.ask(DESTROY_KEYS, args, now).await.map_err(unavailable)?;
    Ok(json!({"matched": matched, "dry_run": false}))
}
