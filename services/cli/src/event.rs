//! `kvit event`: the dates of events as an operator sets them, and the department's word that it has deleted its copies.

use domain::{FormId, Kind, SiteId};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use ledger::{EventRow, ExtractRow, SetEvent};
use runtime::{ConfigArgs, Exit, exit};
use serde::Serialize;
use serde_json::json;
use vault::Code;

use crate::app::{App, unavailable};
use crate::args::EventCommand;
use crate::table::{cell, table};

/// After a cancellation, so many days count as the event having been held (E4).
const AFTER_CANCELLING: i64 = 14;

pub(crate) async fn run(config: &ConfigArgs, command: EventCommand, json: bool) -> anyhow::Result<u8> {
    let app = App::open(config, json)?;
    match command {
        EventCommand::List => {
            let events = app.ledger.events().await.map_err(unavailable)?;
            let shown: Vec<Shown> = events
                .into_iter()
                .map(|row| Shown::new(&app, row, Vec::new()))
                .collect();
            app.print(&shown, || list(&shown))?;
        }
        EventCommand::Show { event } => show(&app, &event).await?,
        EventCommand::Set { event, deadline, held } => set(&app, &event, deadline.as_deref(), held.as_deref()).await?,
        EventCommand::Cancel { event } => cancel(&app, &event).await?,
        EventCommand::Erased { event, code } => erased(&app, &event, &code).await?,
    }
    Ok(exit::OK)
}

/// An event with its times in UTC and as the controller's clocks show them.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    row: EventRow,
    deadline_local: Option<String>,
    held_local: Option<String>,
    time_zone: String,
    extracts: Vec<ExtractRow>,
}

impl Shown {
    fn new(app: &App, row: EventRow, extracts: Vec<ExtractRow>) -> Self {
        let zone = &app.loaded.config.controller.time_zone;
        Self {
            deadline_local: row.deadline.map(|at| local(at, zone)),
            held_local: row.held.map(|at| local(at, zone)),
            time_zone: zone.iana_name().unwrap_or("UTC").to_owned(),
            row,
            extracts,
        }
    }

    fn words(&self) -> String {
        let row = &self.row;
        let mut lines = vec![
            format!("{} · {}", row.id, cell(row.tag.as_ref())),
            format!(
                "deadline  {}",
                dated(self.deadline_local.as_ref(), row.deadline_source.as_ref())
            ),
            format!(
                "held      {}",
                dated(self.held_local.as_ref(), row.held_source.as_ref())
            ),
        ];
        lines.extend(row.cancelled_at.map(|at| format!("cancelled {at}")));
        lines.push(format!(
            "{} registrations are kept, {} of them in no confirmed extract; of {} only the address is left",
            row.open, row.unextracted, row.kept
        ));
        lines.extend(self.extracts.iter().map(|extract| {
            let confirmed = match (extract.confirmed_at, extract.confirm.as_str()) {
                (Some(at), _) => format!("confirmed {at}"),
                (None, "none") => "an export, which confirms nothing".to_owned(),
                (None, _) => "not confirmed".to_owned(),
            };
            format!(
                "list of {} to {} made {}: mail {}, {confirmed}",
                extract.covers, extract.department, extract.made_at, extract.mail
            )
        }));
        lines.extend(row.notified_at.map(|at| match row.erased_at {
            Some(erased) => format!("the department was told to delete {at}, and has {erased}"),
            None => format!("the department was told to delete {at}, and has not said that it has"),
        }));
        lines.join("\n")
    }
}

fn dated(time: Option<&String>, source: Option<&String>) -> String {
    match time {
        Some(time) => format!("{time} (by {})", cell(source)),
        None => "–".to_owned(),
    }
}

fn list(events: &[Shown]) -> String {
    let rows: Vec<_> = events
        .iter()
        .map(|event| {
            [
                event.row.id.clone(),
                cell(event.row.tag.as_ref()),
                cell(event.deadline_local.as_ref()),
                cell(event.held_local.as_ref()),
                event.row.open.to_string(),
                event.row.unextracted.to_string(),
                event.row.kept.to_string(),
            ]
        })
        .collect();
    table(
        ["event", "name", "deadline", "held", "kept", "unextracted", "addresses"],
        &rows,
        "no event",
    )
}

/// RFC 3339 with the offset that holds then.
fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// A time with an offset, or local time in the controller's zone. What the spring change skips is as much later, and of
/// what autumn repeats the first counts.
pub(crate) fn moment(text: &str, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let wrong = "give a time as 2026-12-01T23:59 in local time, or with an offset as 2026-12-01T23:59:00+01:00";
    let civil: DateTime = text.parse().map_err(|_| Exit::usage(anyhow::anyhow!(wrong)))?;
    Ok(civil.to_zoned(zone.clone()).map_err(Exit::usage)?.timestamp())
}

/// The event by its id or its opaque name.
pub(crate) async fn find(app: &App, event: &str) -> anyhow::Result<EventRow> {
    let found = app.ledger.event(event.to_owned()).await.map_err(unavailable)?;
    found.ok_or_else(|| Exit::data(anyhow::anyhow!("no event {event}: see kvit event list")).into())
}

async fn show(app: &App, event: &str) -> anyhow::Result<()> {
    let row = find(app, event).await?;
    let extracts = app.ledger.extracts(Some(row.id.clone())).await.map_err(unavailable)?;
    let shown = Shown::new(app, row, extracts);
    app.print(&shown, || shown.words())
}

/// An event that nobody has registered for yet: `site/form` or `site/form/entity_id` of a registration form.
fn named(app: &App, event: &str) -> anyhow::Result<(String, String)> {
    let refused = |why: String| Exit::data(anyhow::anyhow!(why));
    let mut parts = event.splitn(3, '/');
    let (site, form) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let parsed = site.parse::<SiteId>().ok().zip(form.parse::<FormId>().ok());
    let known = parsed.and_then(|(site, form)| app.loaded.forms.get(&site, &form));
    match known {
        Some(known) if known.kind == Kind::Registration => Ok((site.to_owned(), form.to_owned())),
        Some(_) => Err(refused(format!("form {form} takes no registrations")).into()),
        None => Err(refused(format!(
            "no event {event}: give SITE/FORM or SITE/FORM/ENTITY, or see kvit event list"
        ))
        .into()),
    }
}

async fn set(app: &App, event: &str, deadline: Option<&str>, held: Option<&str>) -> anyhow::Result<()> {
    if deadline.is_none() && held.is_none() {
        return Err(Exit::usage(anyhow::anyhow!("say what to set: --deadline, --held, or both")).into());
    }
    let zone = &app.loaded.config.controller.time_zone;
    let deadline = deadline.map(|text| moment(text, zone)).transpose()?;
    let held = held.map(|text| moment(text, zone)).transpose()?;
    let known = app.ledger.event(event.to_owned()).await.map_err(unavailable)?;
    let (id, site, form) = if let Some(row) = &known {
        (row.id.clone(), row.site.clone(), row.form.clone())
    } else {
        let (site, form) = named(app, event)?;
        (event.to_owned(), site, form)
    };
    let closes = deadline.or(known.as_ref().and_then(|row| row.deadline));
    let ends = held.or(known.as_ref().and_then(|row| row.held));
    if closes.zip(ends).is_some_and(|(closes, ends)| ends < closes) {
        let message = "the event would be held before its deadline, and its registrations deleted unseen";
        return Err(Exit::data(anyhow::anyhow!(message)).into());
    }
    let change = SetEvent {
        id: id.clone(),
        site,
        form,
        deadline,
        held,
        cancelled: false,
    };
    record(app, change).await
}

async fn record(app: &App, change: SetEvent) -> anyhow::Result<()> {
    let id = change.id.clone();
    app.ledger
        .set_event(change, app.clock.now())
        .await
        .map_err(unavailable)?;
    show(app, &id).await
}

/// Cancelled counts as the deadline, now; and the 14th day after as held (E4).
async fn cancel(app: &App, event: &str) -> anyhow::Result<()> {
    let row = find(app, event).await?;
    let now = app.clock.now();
    if row.held.is_some_and(|held| held <= now) {
        return Err(Exit::data(anyhow::anyhow!("the event has been held already")).into());
    }
    let change = SetEvent {
        deadline: Some(row.deadline.map_or(now, |deadline| deadline.min(now))),
        held: Some(after_cancelling(now, &app.loaded.config.controller.time_zone)?),
        id: row.id,
        site: row.site,
        form: row.form,
        cancelled: true,
    };
    record(app, change).await
}

fn after_cancelling(now: Timestamp, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    let later = now
        .to_zoned(zone.clone())
        .checked_add(Span::new().days(AFTER_CANCELLING))?;
    Ok(later.timestamp())
}

async fn erased(app: &App, event: &str, code: &str) -> anyhow::Result<()> {
    let row = find(app, event).await?;
    let code = Code::read(code).map_err(Exit::usage)?;
    if row.erase_code.as_ref() != Some(&code.digest(&row.id)) {
        let message = format!("that is not the code of the notice to delete for {}", row.id);
        return Err(Exit::data(anyhow::anyhow!(message)).into());
    }
    let news = app
        .ledger
        .event_erased(row.id.clone(), app.clock.now())
        .await
        .map_err(unavailable)?;
    app.print(&json!({"event": row.id, "erased": true, "news": news}), || {
        let word = if news { "recorded" } else { "known already" };
        format!("{word}: the department has deleted its copies of {}", row.id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copenhagen() -> TimeZone {
        TimeZone::get("Europe/Copenhagen").unwrap()
    }

    /// E4: right across both daylight-saving changes.
    #[test]
    fn a_time_without_an_offset_is_local_on_both_sides_of_a_change() {
        for (given, utc) in [
            ("2026-12-01T23:59", "2026-12-01T22:59:00Z"),
            ("2026-07-01T23:59:00", "2026-07-01T21:59:00Z"),
            ("2026-03-29T01:59", "2026-03-29T00:59:00Z"),
            ("2026-03-29T02:30", "2026-03-29T01:30:00Z"), // does not exist: 03:30
            ("2026-03-29T03:00", "2026-03-29T01:00:00Z"),
            ("2026-10-25T02:30", "2026-10-25T00:30:00Z"), // exists twice: the first
            ("2026-10-25T03:00", "2026-10-25T02:00:00Z"),
            ("2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00Z"),
        ] {
            assert_eq!(moment(given, &copenhagen()).unwrap().to_string(), utc, "{given}");
        }
        assert!(moment("tomorrow", &copenhagen()).is_err());
    }

    /// E4
    #[test]
    fn a_cancelled_event_counts_as_held_on_the_fourteenth_day_by_the_local_clock() {
        let now = "2026-10-20T10:00:00Z".parse().unwrap();
        let held = after_cancelling(now, &copenhagen()).unwrap();
        assert_eq!(local(now, &copenhagen()), "2026-10-20T12:00:00+02:00");
        assert_eq!(local(held, &copenhagen()), "2026-11-03T12:00:00+01:00");
    }
}
