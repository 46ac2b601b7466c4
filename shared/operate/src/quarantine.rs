//! Messages that could not be taken, and what a person decides about them.

use domain::SubmissionId;
use domain::quarantine::QuarantineReason;
use ledger::requests::{DESTROY_KEYS, Ids, RETRY_QUARANTINE};
use ledger::{QuarantineFilter, QuarantineRow};
use serde_json::{Value, json};

use crate::args::Matching;
use crate::duty::{about, expected, why};
use crate::{Because, Call, ask, data, times, unavailable, usage};

/// More than an operator can look at, and few enough for one answer.
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
        waiting,
        departments: call.actor.departments.clone(),
    })
}

/// One filter for each of the selected, or one for all that match: never everything by accident.
fn filters(call: Call<'_>, args: &Matching) -> anyhow::Result<Vec<QuarantineFilter>> {
    if !args.ids.is_empty() {
        let each = args.ids.iter().map(|id| filter(call, args, Some(id.clone()), true));
        return each.collect();
    }
    let filter = filter(call, args, args.id.clone(), true)?;
    let everything = QuarantineFilter {
        waiting: true,
        departments: filter.departments.clone(),
        ..QuarantineFilter::default()
    };
    if filter == everything {
        let words = "say which: an id, or --form, --site, --reason, --since";
        return Err(usage(Because::SayWhich, &[], words));
    }
    Ok(vec![filter])
}

/// What is meant, counted, and refused where that is nothing or another number than the person saw.
async fn chosen(call: Call<'_>, args: &Matching) -> anyhow::Result<(Vec<QuarantineFilter>, Vec<SubmissionId>)> {
    let filters = filters(call, args)?;
    let mut ids = Vec::new();
    for filter in &filters {
        let rows = call.desk.ledger.quarantined(filter.clone(), MOST).await;
        for row in rows.map_err(unavailable)? {
            ids.push(row.id.parse()?);
        }
    }
    expected(args, ids.len())?;
    if args.id.is_some() && ids.is_empty() {
        return Err(data(
            Because::NotQuarantined,
            &[],
            "no message in quarantine has that id: see kvit quarantine list --all",
        ));
    }
    Ok((filters, ids))
}

pub(crate) async fn retry(call: Call<'_>, args: Matching) -> anyhow::Result<Value> {
    let (_, found) = chosen(call, &args).await?;
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
    let (filters, found) = chosen(call, &args).await?;
    if args.dry_run || found.is_empty() {
        return Ok(json!({"matched": found.len(), "dry_run": args.dry_run}));
    }
    call.record(about(&args, found.len())).await?;
    let (ledger, now) = (&call.desk.ledger, call.now());
    let mut gone = Vec::new();
    for filter in filters {
        let discarded = ledger.discard_quarantined(filter, why.clone(), now).await;
        gone.extend(discarded.map_err(unavailable)?);
    }
    let matched = gone.len();
    // The content is gone with that; its keys go as soon as intake hears of it, and with the daily sweep otherwise.
    let args = serde_json::to_string(&Ids { ids: gone })?;
    ledger.ask(DESTROY_KEYS, args, now).await.map_err(unavailable)?;
    Ok(json!({"matched": matched, "dry_run": false}))
}
