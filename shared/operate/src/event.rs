//! The dates of events as an operator sets them, and the department's word that it has deleted its copies.

use domain::{FormId, Kind, SiteId};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use ledger::{EventRow, ExtractRow, SetEvent};
use runtime::Exit;
use serde::Serialize;
use serde_json::{Value, json};
use vault::Code;

use crate::args::{Coded, Dates, OfEvent};
use crate::times::{local, moment};
use crate::{Because, Call, Desk, data, forbidden, unavailable, usage};

/// After a cancellation, so many days count as the event having been held (E4).
const AFTER_CANCELLING: i64 = 14;

/// An event with its times in UTC and as the controller's clocks show them.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The event.
    #[serde(flatten)]
    pub row: EventRow,
    /// Its deadline by the controller's clocks.
    pub deadline_local: Option<String>,
    /// When it is held, by the controller's clocks.
    pub held_local: Option<String>,
    /// The controller's time zone.
    pub time_zone: String,
    /// Its lists; none where many events are shown.
    pub extracts: Vec<ExtractRow>,
}

impl Shown {
    fn new(desk: &Desk, row: EventRow, extracts: Vec<ExtractRow>) -> Self {
        let zone = &desk.loaded.config.controller.time_zone;
        Self {
            deadline_local: row.deadline.map(|at| local(at, zone)),
            held_local: row.held.map(|at| local(at, zone)),
            time_zone: zone.iana_name().unwrap_or("UTC").to_owned(),
            row,
            extracts,
        }
    }
}

/// Every event.
///
/// # Errors
///
/// Where the ledger is away (69).
pub async fn all(desk: &Desk) -> anyhow::Result<Vec<Shown>> {
    let events = desk.ledger.events().await.map_err(unavailable)?;
    Ok(events
        .into_iter()
        .map(|row| Shown::new(desk, row, Vec::new()))
        .collect())
}

pub(crate) async fn list(call: Call<'_>) -> anyhow::Result<Vec<Shown>> {
    let mut shown = all(call.desk).await?;
    shown.retain(|event| concerns(call, &event.row).is_ok());
    Ok(shown)
}

/// The event by its id or its opaque name.
///
/// # Errors
///
/// Where there is none (65).
pub async fn find(desk: &Desk, event: &str) -> anyhow::Result<EventRow> {
    let found = desk.ledger.event(event.to_owned()).await.map_err(unavailable)?;
    found.ok_or_else(|| {
        let words = format!("no event {event}: see kvit event list");
        data(Because::NoEvent, &[("event", event)], words)
    })
}

/// One event with its lists.
///
/// # Errors
///
/// Where there is none (65).
pub async fn show(desk: &Desk, event: &str) -> anyhow::Result<Shown> {
    let row = find(desk, event).await?;
    let extracts = desk.ledger.extracts(Some(row.id.clone())).await.map_err(unavailable)?;
    Ok(Shown::new(desk, row, extracts))
}

pub(crate) async fn one(call: Call<'_>, args: OfEvent) -> anyhow::Result<Shown> {
    let shown = show(call.desk, &args.event).await?;
    concerns(call, &shown.row)?;
    Ok(shown)
}

/// Refuses an event of another department; one whose form is no longer configured is nobody's in particular.
pub(crate) fn concerns(call: Call<'_>, event: &EventRow) -> anyhow::Result<()> {
    match call.department_of(&event.site, &event.form) {
        Some(department) => call.concerns(&department),
        None if call.actor.departments.is_empty() => Ok(()),
        None => Err(forbidden(
            Because::DepartmentUnknown,
            &[],
            "the event's form is not configured",
        )),
    }
}

/// What an act on an event is about, as the evidence has it: its opaque name, for its id may tell of a discreet form.
pub(crate) fn name(event: &EventRow) -> String {
    event.tag.clone().unwrap_or_else(|| "event".to_owned())
}

/// An event that nobody has registered for yet: `site/form` or `site/form/entity_id` of a registration form.
fn named(desk: &Desk, event: &str) -> anyhow::Result<(String, String)> {
    let mut parts = event.splitn(3, '/');
    let (site, form) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let parsed = site.parse::<SiteId>().ok().zip(form.parse::<FormId>().ok());
    let known = parsed.and_then(|(site, form)| desk.loaded.forms.get(&site, &form));
    match known {
        Some(known) if known.kind == Kind::Registration => Ok((site.to_owned(), form.to_owned())),
        Some(_) => {
            let words = format!("form {form} takes no registrations");
            Err(data(Because::NoRegistrations, &[("form", form)], words))
        }
        None => {
            let words = format!("no event {event}: give SITE/FORM or SITE/FORM/ENTITY, or see kvit event list");
            Err(data(Because::NoEvent, &[("event", event)], words))
        }
    }
}

pub(crate) async fn set(call: Call<'_>, args: Dates) -> anyhow::Result<Shown> {
    let Dates { event, deadline, held } = args;
    let desk = call.desk;
    if deadline.is_none() && held.is_none() {
        let words = "say what to set: --deadline, --held, or both";
        return Err(usage(Because::SayDates, &[], words));
    }
    let zone = &desk.loaded.config.controller.time_zone;
    let deadline = deadline.map(|text| moment(&text, zone)).transpose()?;
    let held = held.map(|text| moment(&text, zone)).transpose()?;
    let known = desk.ledger.event(event.clone()).await.map_err(unavailable)?;
    let (id, site, form) = if let Some(row) = &known {
        (row.id.clone(), row.site.clone(), row.form.clone())
    } else {
        let (site, form) = named(desk, &event)?;
        (event, site, form)
    };
    if let Some(department) = call.department_of(&site, &form) {
        call.concerns(&department)?;
    } else {
        call.concerns_all("an event whose form is not configured")?;
    }
    let closes = deadline.or(known.as_ref().and_then(|row| row.deadline));
    let ends = held.or(known.as_ref().and_then(|row| row.held));
    if closes.zip(ends).is_some_and(|(closes, ends)| ends < closes) {
        return Err(data(
            Because::HeldBeforeDeadline,
            &[],
            "the event would be held before its deadline, and its registrations deleted unseen",
        ));
    }
    call.record(known.as_ref().map_or_else(|| "event".to_owned(), name))
        .await?;
    let change = SetEvent {
        id,
        site,
        form,
        deadline,
        held,
        cancelled: false,
    };
    change_to(call, change).await
}

async fn change_to(call: Call<'_>, change: SetEvent) -> anyhow::Result<Shown> {
    let id = change.id.clone();
    let changed = call.desk.ledger.set_event(change, call.now()).await;
    changed.map_err(unavailable)?;
    show(call.desk, &id).await
}

/// Cancelled counts as the deadline, now; and the 14th day after as held (E4).
pub(crate) async fn cancel(call: Call<'_>, args: OfEvent) -> anyhow::Result<Shown> {
    let row = find(call.desk, &args.event).await?;
    concerns(call, &row)?;
    let now = call.now();
    if row.held.is_some_and(|held| held <= now) {
        return Err(data(Because::AlreadyHeld, &[], "the event has been held already"));
    }
    call.record(name(&row)).await?;
    let change = SetEvent {
        deadline: Some(row.deadline.map_or(now, |deadline| deadline.min(now))),
        held: Some(after_cancelling(now, &call.desk.loaded.config.controller.time_zone)?),
        id: row.id,
        site: row.site,
        form: row.form,
        cancelled: true,
    };
    change_to(call, change).await
}

fn after_cancelling(now: Timestamp, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    let later = now
        .to_zoned(zone.clone())
        .checked_add(Span::new().days(AFTER_CANCELLING))?;
    Ok(later.timestamp())
}

pub(crate) async fn erased(call: Call<'_>, args: Coded) -> anyhow::Result<Value> {
    let row = find(call.desk, &args.event).await?;
    concerns(call, &row)?;
    let code = Code::read(&args.code).map_err(Exit::usage)?;
    if row.erase_code.as_ref() != Some(&code.digest(&row.id)) {
        let words = format!("that is not the code of the notice to delete for {}", row.id);
        return Err(data(Because::WrongCode, &[("event", row.id.as_str())], words));
    }
    call.record(name(&row)).await?;
    let news = call.desk.ledger.event_erased(row.id.clone(), call.now()).await;
    Ok(json!({"event": row.id, "erased": true, "news": news.map_err(unavailable)?}))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E4
    #[test]
    fn a_cancelled_event_counts_as_held_on_the_fourteenth_day_by_the_local_clock() {
        let copenhagen = TimeZone::get("Europe/Copenhagen").unwrap();
        let now = "2026-10-20T10:00:00Z".parse().unwrap();
        let held = after_cancelling(now, &copenhagen).unwrap();
        assert_eq!(local(now, &copenhagen), "2026-10-20T12:00:00+02:00");
        assert_eq!(local(held, &copenhagen), "2026-11-03T12:00:00+01:00");
    }
}
