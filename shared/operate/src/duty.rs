//! Duties: what a person decides about them.

use std::collections::BTreeSet;

use domain::{DutyKind, DutyState, Reason};
use ledger::{DecideError, Decision, DutyFilter, DutyRow, as_expected};
use serde_json::{Value, json};

use crate::args::Matching;
use crate::{Because, Call, data, times, unavailable, usage};

pub(crate) async fn list(call: Call<'_>, args: Matching) -> anyhow::Result<Vec<DutyRow>> {
    let limit = args.limit.unwrap_or(100);
    let filter = filter(call, &args, args.id.clone())?;
    Ok(call.desk.ledger.duties(filter, limit).await.map_err(unavailable)?)
}

/// A word that is no state matches nothing by mistake: it is refused.
fn word<T: std::str::FromStr>(name: &str, text: Option<&String>) -> anyhow::Result<Option<String>> {
    match text {
        Some(text) if text.parse::<T>().is_err() => {
            let words = format!("there is no {name} {text:?}");
            Err(usage(Because::NoSuchWord, &[("word", text)], words))
        }
        text => Ok(text.cloned()),
    }
}

fn filter(call: Call<'_>, args: &Matching, id: Option<String>) -> anyhow::Result<DutyFilter> {
    let since = args.since.as_deref().map(|text| times::since(text, call.now()));
    Ok(DutyFilter {
        id,
        submission: args.submission.clone(),
        kind: word::<DutyKind>("kind", args.kind.as_ref())?,
        state: word::<DutyState>("state", args.state.as_ref())?,
        reason: word::<Reason>("reason", args.reason.as_ref())?,
        form: args.form.clone(),
        site: args.site.clone(),
        since: since.transpose()?,
        after: args.after.clone(),
        departments: call.actor.departments.clone(),
    })
}

/// One filter for each of the selected, or one for all that match.
fn filters(call: Call<'_>, args: &Matching) -> anyhow::Result<Vec<DutyFilter>> {
    if !args.ids.is_empty() {
        let selected = selected(args).into_iter();
        return selected.map(|id| filter(call, args, Some(id.clone()))).collect();
    }
    let filter = filter(call, args, args.id.clone())?;
    let everything = DutyFilter {
        after: filter.after.clone(),
        departments: filter.departments.clone(),
        ..DutyFilter::default()
    };
    if filter == everything {
        let message = "say which: an id, or --kind, --state, --reason, --form, --site, --submission, --since";
        return Err(usage(Because::SayWhich, &[], message));
    }
    Ok(vec![filter])
}

pub(crate) async fn decide(call: Call<'_>, args: Matching) -> anyhow::Result<Value> {
    let decision = match call.action.name {
        "duty.hold" => Decision::Hold,
        "duty.release" => Decision::Release,
        "duty.discard" => Decision::Discard,
        _ => Decision::Retry,
    };
    let why = why(&args, decision == Decision::Discard)?;
    let filters = filters(call, &args)?;
    let ledger = &call.desk.ledger;
    let mut matched = 0;
    for filter in &filters {
        let count = ledger.count_decidable(filter.clone(), decision).await;
        matched += count.map_err(unavailable)?;
    }
    expected(&args, matched)?;
    if args.id.is_some() && matched == 0 {
        let words = "no duty with that id is in a state for this: see kvit duty list";
        return Err(data(Because::NoDuty, &[], words));
    }
    if !args.dry_run && matched > 0 {
        call.record(about(&args, matched)).await?;
        let changed = ledger.decide(filters, decision, why, args.expect, call.now()).await;
        matched = changed.map_err(undone)?;
    }
    Ok(json!({"matched": matched, "dry_run": args.dry_run}))
}

/// The reason that a discard wants.
pub(crate) fn why(args: &Matching, wanted: bool) -> anyhow::Result<Option<String>> {
    let why = args.why.as_deref().map(str::trim).filter(|why| !why.is_empty());
    if wanted && why.is_none() {
        return Err(usage(Because::SayWhy, &[], "--why is empty: say why, for the record"));
    }
    Ok(why.map(str::to_owned))
}

/// The selected, each once.
pub(crate) fn selected(args: &Matching) -> BTreeSet<&String> {
    args.ids.iter().collect()
}

/// Refuses where another number matches than the person saw: before the act is recorded. What comes between that and the
/// act itself, the ledger refuses.
pub(crate) fn expected(args: &Matching, matched: usize) -> anyhow::Result<()> {
    as_expected(args.expect, matched).map_err(undone)
}

/// What the ledger did not do, because another number matches than the person saw, or the store did not.
pub(crate) fn undone(error: DecideError) -> anyhow::Error {
    let (matched, expected) = match error {
        DecideError::CountChanged { matched, expected } => (matched.to_string(), expected.to_string()),
        DecideError::Store(error) => return unavailable(error).into(),
    };
    let message = format!("{matched} match now, and not {expected}: nothing was done; look again");
    let about = [("matched", matched.as_str()), ("expected", expected.as_str())];
    data(Because::CountChanged, &about, message)
}

/// What an act is about, as the evidence has it: ids and words of the configuration, never a person's words.
pub(crate) fn about(args: &Matching, matched: usize) -> String {
    let known = |text: &&String| {
        text.len() <= 64
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    if let Some(id) = args.id.as_ref().filter(known) {
        return id.clone();
    }
    let parts = [
        ("submission", &args.submission),
        ("kind", &args.kind),
        ("state", &args.state),
        ("reason", &args.reason),
        ("form", &args.form),
        ("site", &args.site),
    ];
    let mut words: Vec<String> = parts
        .into_iter()
        .filter_map(|(name, part)| part.as_ref().filter(known).map(|part| format!("{name} {part}")))
        .collect();
    words.push(format!("matched {matched}"));
    words.join(", ")
}
