//! Counting what arrives: repeats, drafts, deletions on the site, withdrawals. Each in one transaction with its effect.

use std::collections::BTreeMap;

use domain::event::{Dated, Dates, Source};
use domain::{DutyKind, SubmissionId};
use jiff::Timestamp;
use store::{Row, StoreError, Tx};

use crate::counter::{Counter, Counts, Scope};
use crate::duty::add::add_duty;
use crate::facts::SubmissionFacts;
use crate::outbox::{EventData, SiteEvent, Told, leaf, tell};
use crate::read::time;
use crate::{Arrival, Ledger, NewDuty};

/// Counts an arrival and what it came to, or moves that of a message that was put aside to where it belongs.
pub(crate) fn arrive(tx: &mut Tx<'_>, arrival: &Arrival, came_to: Counter, now: Timestamp) -> Result<(), StoreError> {
    let mut counts = Counts::default();
    arrive_all(tx, &[(arrival, now)], came_to, &mut counts)?;
    counts.add(tx)
}

/// As [`arrive`], of several that came to the same; the counts are the caller's to add.
pub(crate) fn arrive_all<'a>(
    tx: &mut Tx<'_>,
    arrivals: &[(&'a Arrival, Timestamp)],
    came_to: Counter,
    counts: &mut Counts<'a>,
) -> Result<(), StoreError> {
    // Sites in one order, so that no replica waits for one that waits for it.
    let mut sequences: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (arrival, now) in arrivals {
        match (arrival.was_quarantined, arrival.sequence) {
            (Some(id), _) => crate::quarantine::leave(tx, id, *now)?,
            (None, Some(sequence)) => sequences.entry(arrival.site.as_str()).or_default().push(sequence),
            (None, None) => {}
        }
        counts.count(scope(arrival), Counter::Arrived, 1);
        counts.count(scope(arrival), came_to, 1);
    }
    sequences
        .into_iter()
        .try_for_each(|(site, sequences)| note_sequences(tx, site, &sequences))
}

pub(crate) fn scope(arrival: &Arrival) -> Scope<'_> {
    Scope {
        site: arrival.site.as_str(),
        form: arrival.form.as_str(),
        test: arrival.test,
    }
}

/// Notes a site's running numbers, in the order in which they came; a number that skips some is a gap, and one that comes
/// late fills one.
fn note_sequences(tx: &mut Tx<'_>, site: &str, sequences: &[i64]) -> Result<(), StoreError> {
    let read = "SELECT highest, gaps FROM site_sequence WHERE site = $1";
    let mut known = tx.one_for_update(read, &[site.into()])?;
    let mut news = sequences.iter();
    if known.is_none()
        && let Some(first) = news.as_slice().first()
    {
        let begun = tx.execute(
            "INSERT INTO site_sequence (site, highest, gaps) VALUES ($1, $2, 0) ON CONFLICT (site) DO NOTHING",
            &[site.into(), (*first).into()],
        )?;
        // Another replica may have begun meanwhile; then the first is as the others.
        if begun > 0 {
            news.next();
        }
        known = tx.one_for_update(read, &[site.into()])?;
    }
    let Some(row) = known else { return Ok(()) };
    let before = (row.int(0)?, row.int(1)?);
    let after = news.fold(before, |(highest, gaps), sequence| {
        next_sequence(highest, gaps, *sequence)
    });
    if after == before {
        return Ok(());
    }
    let (highest, gaps) = after;
    tx.execute(
        "UPDATE site_sequence SET highest = $2, gaps = $3 WHERE site = $1",
        &[site.into(), highest.into(), gaps.into()],
    )
    .map(drop)
}

/// The highest number and the gaps below it, after one more. A site may send any number, so nothing may overflow.
fn next_sequence(highest: i64, gaps: i64, sequence: i64) -> (i64, i64) {
    if sequence > highest {
        let skipped = sequence.saturating_sub(highest).saturating_sub(1);
        (sequence, gaps.saturating_add(skipped))
    } else if sequence < highest && gaps > 0 {
        (highest, gaps - 1)
    } else {
        (highest, gaps)
    }
}

impl Ledger {
    /// Counts a message that changes nothing: a repeat, a draft. Tells the site of a repeat, by the site's own ids.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn count(
        &self,
        counter: Counter,
        arrival: Arrival,
        of: Option<SubmissionId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            arrive(tx, &arrival, counter, now)?;
            let Some(id) = of else { return Ok(()) };
            let row = tx.one(
                "SELECT reference FROM submission WHERE id = $1",
                &[id.to_string().into()],
            )?;
            let reference = row.map(|row| row.text(0).map(str::to_owned)).transpose()?;
            let data = EventData::of(&arrival.ids, Some(id.to_string()), reference);
            let told = Told {
                site: arrival.site.as_str(),
                form: arrival.form.as_str(),
                event: SiteEvent::Duplicate,
                at: now,
                data: &data,
            };
            tell(tx, &[told])
        })
        .await
    }

    /// The site says that its own copy is gone: recorded for every version, and counted as a repeat.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn site_copy_gone(
        &self,
        arrival: Arrival,
        mut ids: Vec<SubmissionId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        ids.sort_unstable(); // all replicas lock in one order
        self.write(move |tx| {
            for id in ids {
                let id = id.to_string();
                let changed = tx.execute(
                    "UPDATE submission SET site_copy = 'gone' WHERE id = $1 AND site_copy <> 'gone'",
                    &[id.as_str().into()],
                )?;
                if changed > 0 {
                    leaf(tx, Some(&id), "site_copy_gone", now, None, None)?;
                }
            }
            arrive(tx, &arrival, Counter::Duplicates, now)
        })
        .await
    }

    /// A known submission was withdrawn: recorded, counted as a repeat, and the notice to the department put on its
    /// way once; a registration is not kept for its event any more. Answers whether it was news.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn withdraw(
        &self,
        arrival: Arrival,
        mut ids: Vec<SubmissionId>,
        notice: Option<NewDuty>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        ids.sort_unstable(); // all replicas lock in one order
        self.write(move |tx| {
            let mut news = false;
            for id in &ids {
                news |= withdraw(tx, &id.to_string(), now)?;
            }
            arrive(tx, &arrival, Counter::Duplicates, now)?;
            if let (true, Some(duty)) = (news, notice) {
                add_duty(tx, None, &duty, now)?;
            }
            Ok(news)
        })
        .await
    }

    /// Whether this was said before of any of these.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn is_withdrawn(&self, ids: Vec<SubmissionId>) -> Result<bool, StoreError> {
        self.read(move |tx| {
            let mut all = !ids.is_empty();
            for id in ids {
                all &= was_withdrawn(tx, &id.to_string())?;
            }
            Ok(all)
        })
        .await
    }

    /// Whether the department has had a mail or a list with any of these.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn reached_department(&self, ids: Vec<SubmissionId>) -> Result<bool, StoreError> {
        self.read(move |tx| {
            for id in ids {
                let reached = tx.one(
                    "SELECT 1 FROM duty WHERE submission = $1 AND kind IN ('department_mail', 'extract')
                     AND (kind = 'department_mail' OR state = 'done') LIMIT 1",
                    &[id.to_string().into()],
                )?;
                // A list that is not confirmed may have been read all the same.
                let listed = tx.one(
                    "SELECT 1 FROM event_extracted WHERE submission = $1 LIMIT 1",
                    &[id.to_string().into()],
                )?;
                if reached.is_some() || listed.is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    /// What is recorded of an event's dates.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn event_dates(&self, id: String) -> Result<Dates<Dated>, StoreError> {
        self.read(move |tx| event_dates(tx, &id)).await
    }
}

fn was_withdrawn(tx: &mut Tx<'_>, id: &str) -> Result<bool, StoreError> {
    let known = tx.one(
        "SELECT 1 FROM leaf WHERE submission = $1 AND event = 'withdrawn'",
        &[id.into()],
    )?;
    Ok(known.is_some())
}

pub(crate) fn withdraw(tx: &mut Tx<'_>, id: &str, now: Timestamp) -> Result<bool, StoreError> {
    // Of two replicas that say so at once, the later one sees that it is said.
    SubmissionFacts::reserve(tx, id)?;
    if was_withdrawn(tx, id)? {
        return Ok(false);
    }
    leaf(tx, Some(id), "withdrawn", now, None, None)?;
    crate::registration::end_withdrawn(tx, id)?;
    // What is not kept for its event goes as a message does, with the sweep.
    tx.execute(
        "UPDATE submission SET late = 1 WHERE id = $1 AND kind = 'registration'",
        &[id.into()],
    )?;
    let cancelled = tx.execute(
        "UPDATE duty SET state = 'cancelled', done_at = $2
         WHERE submission = $1 AND kind = $3 AND state NOT IN ('done', 'cancelled')",
        &[
            id.into(),
            now.as_millisecond().into(),
            DutyKind::Extract.as_str().into(),
        ],
    )?;
    if cancelled > 0 {
        leaf(tx, Some(id), "extract_cancelled", now, Some("withdrawn"), None)?;
    }
    Ok(true)
}

pub(crate) fn event_dates(tx: &mut Tx<'_>, id: &str) -> Result<Dates<Dated>, StoreError> {
    let row = tx.one(
        "SELECT deadline, deadline_source, held, held_source FROM event WHERE id = $1",
        &[id.into()],
    )?;
    let Some(row) = row else { return Ok(Dates::default()) };
    let dated = |row: &Row, column: usize| -> Result<Option<Dated>, StoreError> {
        let source = match row.opt_text(column + 1)? {
            Some("operator") => Source::Operator,
            Some("message") => Source::Message,
            _ => Source::Form,
        };
        Ok(row.opt_int(column)?.map(|at| (time(at), source)))
    };
    Ok(Dates {
        deadline: dated(&row, 0)?,
        held: dated(&row, 2)?,
    })
}
