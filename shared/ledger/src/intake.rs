//! Taking submissions: the one transaction. Those that come at the same time share it, and its statements.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::event::{Dated, Source, after_message};
use domain::{DutyKind, DutyState, SubmissionId};
use jiff::Timestamp;
use store::{Insert, StoreError, Tx, Value};

use crate::arrival::{arrive_all, event_dates, scope};
use crate::counter::{Counter, Counts};
use crate::duty::add::{Owed, add_duties};
use crate::lineage::{Sought, lineages};
use crate::outbox::{EventData, Leaf, SiteEvent, Told, leaf, leaves, tell};
use crate::{EventSaid, Ledger, Lineage, NewDuty, NewSubmission, ReceiptAddress};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is in the ledger.
    Accepted,
    /// Another replica recorded a version of it meanwhile, its address has had its receipts meanwhile, or its reference is
    /// taken: judge again.
    Overtaken,
}

/// A submission to be recorded.
pub(crate) struct Recording {
    new: NewSubmission,
    /// Whether it has fields that its form does not declare.
    drift: bool,
    now: Timestamp,
}

/// What a message is to be judged by.
pub(crate) struct Judging {
    identities: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    address: Option<ReceiptAddress>,
}

impl Ledger {
    /// Records a submission with its duties, payloads, leaves and counts: all of it, or nothing. `drift` says that it has
    /// fields that its form does not declare.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was recorded.
    pub async fn record(&self, new: NewSubmission, drift: bool, now: Timestamp) -> Result<Recorded, StoreError> {
        let recording = Recording { new, drift, now };
        if recording.new.arrival.was_quarantined.is_some() {
            // It touches a row of the quarantine, which none of the others does.
            let recorded = self.write(move |tx| record(tx, &[recording])).await?;
            return recorded.into_iter().next().ok_or(StoreError::Panicked);
        }
        self.batches.record.run(recording).await
    }

    /// What a message is judged by, at one moment: what is known under its identity (as [`Ledger::lineage`]), and how many
    /// receipts its address has had.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn standing(
        &self,
        identities: Vec<Vec<u8>>,
        answers: Vec<Vec<u8>>,
        address: Option<ReceiptAddress>,
    ) -> Result<(Lineage, i64), StoreError> {
        let judging = Judging {
            identities,
            answers,
            address,
        };
        self.batches.standing.run(judging).await
    }
}

/// See [`Ledger::standing`].
pub(crate) fn standing(tx: &mut Tx<'_>, judged: &[Judging]) -> Result<Vec<(Lineage, i64)>, StoreError> {
    let sought: Vec<Sought<'_>> = judged
        .iter()
        .map(|judging| Sought {
            identities: &judging.identities,
            answers: &judging.answers,
        })
        .collect();
    let known = lineages(tx, &sought)?;
    let receipts = Receipts::of(tx, judged.iter().filter_map(|judging| judging.address.as_ref()))?;
    let had = judged
        .iter()
        .map(|judging| judging.address.as_ref().map_or(0, |address| receipts.had(address)));
    Ok(known.into_iter().zip(had).collect())
}

/// When receipts went to addresses, by the addresses' digests.
struct Receipts(HashMap<Vec<u8>, Vec<i64>>);

impl Receipts {
    fn of<'a>(
        tx: &mut Tx<'_>,
        addresses: impl Iterator<Item = &'a ReceiptAddress> + Clone,
    ) -> Result<Self, StoreError> {
        let mut went: HashMap<Vec<u8>, Vec<i64>> = HashMap::new();
        let Some(since) = addresses.clone().map(|address| address.since).min() else {
            return Ok(Self(went));
        };
        let digests = addresses.flat_map(|address| &address.digests);
        // The sum is no column: the index of times alone would be read through for all addresses.
        let sql = "SELECT address, at FROM receipt_window WHERE address = ANY($1) AND at + 0 > $2";
        for keys in Value::lists(digests.map(Vec::as_slice)) {
            // One digest may be looked for in two statements.
            let mut found: HashMap<Vec<u8>, Vec<i64>> = HashMap::new();
            for row in tx.query(sql, &[keys, since.as_millisecond().into()])? {
                found.entry(row.blob(0)?.to_vec()).or_default().push(row.int(1)?);
            }
            went.extend(found);
        }
        Ok(Self(went))
    }

    fn had(&self, address: &ReceiptAddress) -> i64 {
        let since = address.since.as_millisecond();
        let went = address.digests.iter().filter_map(|digest| self.0.get(digest));
        let count = went.flatten().filter(|at| **at > since).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    fn add(&mut self, address: &ReceiptAddress, at: Timestamp) {
        let went = self.0.entry(address.digest.clone()).or_default();
        went.push(at.as_millisecond());
    }
}

/// See [`Ledger::record`].
pub(crate) fn record(tx: &mut Tx<'_>, new: &[Recording]) -> Result<Vec<Recorded>, StoreError> {
    let judged = judge(tx, new)?;
    let recorded = judged.iter().map(|judged| match judged {
        Judged::New | Judged::There => Recorded::Accepted,
        Judged::Overtaken => Recorded::Overtaken,
    });
    let recorded: Vec<Recorded> = recorded.collect();
    let taken: Vec<&Recording> = new
        .iter()
        .zip(judged)
        .filter_map(|(new, judged)| (judged == Judged::New).then_some(new))
        .collect();
    if taken.is_empty() {
        return Ok(recorded);
    }
    insert(tx, &taken)?;
    let owed = taken.iter().flat_map(|taken| {
        taken.new.duties.iter().map(|duty| Owed {
            submission: Some(taken.new.id),
            test: taken.new.arrival.test,
            duty,
            since: taken.now,
        })
    });
    add_duties(tx, &owed.collect::<Vec<_>>())?;
    count_receipts(tx, &taken)?;
    note_events(tx, &taken)?;
    count(tx, &taken)?;
    say(tx, &taken)?;
    Ok(recorded)
}

/// What a submission is when it is to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// What it was judged by still holds.
    New,
    /// It was recorded, and whoever did so was not told.
    There,
    /// See [`Recorded::Overtaken`].
    Overtaken,
}

/// Whether what each submission was judged by still holds; where it does, supersedes what came before.
fn judge(tx: &mut Tx<'_>, new: &[Recording]) -> Result<Vec<Judged>, StoreError> {
    let addresses = new.iter().filter_map(|recording| recording.new.receipt.as_ref());
    let locks = new.iter().map(|recording| recording.new.lock);
    tx.lock_all(locks.chain(addresses.clone().map(|address| address.lock)).collect())?;
    let mut receipts = Receipts::of(tx, addresses)?;
    let sought: Vec<Sought<'_>> = new
        .iter()
        .map(|recording| Sought {
            identities: &recording.new.identities,
            answers: &[],
        })
        .collect();
    let known = lineages(tx, &sought)?;
    let mut references = references_taken(tx, new)?;
    // Of two in one transaction the second is judged again, and then finds the first.
    let mut identities: HashSet<&[u8]> = HashSet::new();
    let mut superseded = Vec::new();
    let mut judged = Vec::with_capacity(new.len());
    for (Recording { new, now, .. }, known) in new.iter().zip(&known) {
        let own = || new.identities.iter().chain(&new.identity).map(Vec::as_slice);
        let has_room = new
            .receipt
            .as_ref()
            .is_none_or(|address| receipts.had(address) < address.most);
        let is_first = known.known.is_empty();
        let still_so = has_room
            && known.known.len() == new.known
            && !own().any(|identity| identities.contains(identity))
            && !(is_first && references.contains(new.reference.as_str()));
        if known.ids.contains(&new.id) {
            judged.push(Judged::There);
            continue;
        }
        if !still_so {
            judged.push(Judged::Overtaken);
            continue;
        }
        judged.push(Judged::New);
        identities.extend(own());
        references.insert(new.reference.as_str().to_owned());
        if let Some(address) = &new.receipt {
            receipts.add(address, *now);
        }
        if new.latest {
            superseded.extend(known.ids.iter().map(|id| (*id, new.brings_files, new.received_at)));
        }
    }
    supersede(tx, superseded)?;
    Ok(judged)
}

/// Which of the references of first versions others have already.
fn references_taken(tx: &mut Tx<'_>, new: &[Recording]) -> Result<HashSet<String>, StoreError> {
    let first = new.iter().filter(|recording| recording.new.known == 0);
    let mut taken = HashSet::new();
    for keys in Value::lists(first.map(|recording| recording.new.reference.as_str())) {
        for row in tx.query("SELECT reference FROM submission WHERE reference = ANY($1)", &[keys])? {
            taken.insert(row.text(0)?.to_owned());
        }
    }
    Ok(taken)
}

/// Earlier versions are no longer what is shown, and need not wait for files that came with a later one.
fn supersede(tx: &mut Tx<'_>, mut earlier: Vec<(SubmissionId, bool, Timestamp)>) -> Result<(), StoreError> {
    earlier.sort_unstable_by_key(|(id, ..)| *id); // all replicas reserve in one order
    for ids in Value::lists(earlier.iter().map(|(id, ..)| id.to_string())) {
        tx.reserve("submission", "id", &ids)?;
        tx.execute("UPDATE submission SET latest = 0 WHERE id = ANY($1)", &[ids])?;
    }
    for (id, brings_files, received_at) in earlier {
        if brings_files {
            discharge_files(tx, id, received_at)?;
        }
    }
    Ok(())
}

fn insert(tx: &mut Tx<'_>, taken: &[&Recording]) -> Result<(), StoreError> {
    let insert = Insert::into(
        "submission (id, reference, site, form, kind, department, version, latest, late, test, state, received_at, alarm_at,
             site_copy, site_uuid, sid, serial, identity, answers, fields, epoch, sequence, changed, event)",
    );
    let rows: Vec<_> = taken.iter().map(|taken| values_of(&taken.new)).collect();
    tx.insert(insert, &rows)
}

fn values_of(new: &NewSubmission) -> [Value; 24] {
    let [uuid, sid, serial] = new.arrival.ids.clone();
    [
        new.id.to_string().into(),
        new.reference.as_str().into(),
        new.arrival.site.as_str().into(),
        new.arrival.form.as_str().into(),
        new.kind.as_str().into(),
        new.department.as_str().into(),
        new.version.into(),
        new.latest.into(),
        new.late.into(),
        new.arrival.test.into(),
        "open".into(),
        new.received_at.as_millisecond().into(),
        new.alarm_at.as_millisecond().into(),
        "unknown".into(),
        uuid.into(),
        sid.into(),
        serial.into(),
        new.identity.clone().into(),
        new.answers.as_slice().into(),
        new.fields.as_slice().into(),
        new.epoch.into(),
        new.order.sequence.into(),
        new.order.changed.map(Timestamp::as_millisecond).into(),
        new.event.as_ref().map(|event| event.id.clone()).into(),
    ]
}

fn count_receipts(tx: &mut Tx<'_>, taken: &[&Recording]) -> Result<(), StoreError> {
    let receipts = taken
        .iter()
        .filter_map(|taken| Some((taken.new.receipt.as_ref()?, taken.now)));
    let row =
        |(receipt, now): (&ReceiptAddress, Timestamp)| [receipt.digest.as_slice().into(), now.as_millisecond().into()];
    tx.insert(
        Insert::into("receipt_window (address, at)"),
        &receipts.map(row).collect::<Vec<_>>(),
    )
}

/// Counts what arrived.
fn count(tx: &mut Tx<'_>, taken: &[&Recording]) -> Result<(), StoreError> {
    let mut counts = Counts::default();
    let arrivals: Vec<_> = taken.iter().map(|taken| (&taken.new.arrival, taken.now)).collect();
    arrive_all(tx, &arrivals, Counter::Accepted, &mut counts)?;
    for taken in taken.iter().filter(|taken| taken.drift) {
        counts.count(scope(&taken.new.arrival), Counter::FormDrift, 1);
    }
    counts.add(tx)
}

/// Writes their leaves, and puts on their way what their sites are told.
fn say(tx: &mut Tx<'_>, taken: &[&Recording]) -> Result<(), StoreError> {
    let ids: Vec<String> = taken.iter().map(|taken| taken.new.id.to_string()).collect();
    let mut said = Vec::with_capacity(taken.len());
    for (taken, id) in taken.iter().zip(&ids) {
        let notes = taken.new.notes.iter();
        let words = ["accepted"].iter().chain(notes);
        let first = said.len();
        said.extend(words.map(|word| Leaf::of(Some(id), word, taken.now)));
        said[first].mac = Some(&taken.new.mac);
    }
    leaves(tx, &said)?;
    let data = taken.iter().zip(ids).map(|(taken, id)| {
        let reference = taken.new.reference.to_string();
        EventData::of(&taken.new.arrival.ids, Some(id), Some(reference))
    });
    let data: Vec<EventData> = data.collect();
    let mut told = Vec::with_capacity(taken.len());
    for (taken, data) in taken.iter().zip(&data) {
        let held = taken.new.duties.iter().any(waits_for_somebody);
        let events = [SiteEvent::Accepted].into_iter().chain(held.then_some(SiteEvent::Held));
        told.extend(events.map(|event| Told {
            site: taken.new.arrival.site.as_str(),
            form: taken.new.arrival.form.as_str(),
            event,
            at: taken.now,
            data,
        }));
    }
    tell(tx, &told)
}

/// A registration's extract and a journal copy that may be marked wait by nature; a mail or a file does not.
fn waits_for_somebody(duty: &NewDuty) -> bool {
    duty.state == DutyState::Held && matches!(duty.kind, DutyKind::DepartmentMail | DutyKind::Files)
}

/// The content came with a later version: an earlier one need not wait for it. Its deletion follows with the sweep.
fn discharge_files(tx: &mut Tx<'_>, id: SubmissionId, now: Timestamp) -> Result<(), StoreError> {
    let id = id.to_string();
    let discharged = tx.execute(
        "UPDATE duty SET state = 'done', reason = NULL, done_at = $2
         WHERE submission = $1 AND kind = $3 AND state NOT IN ('done', 'cancelled')",
        &[
            id.as_str().into(),
            now.as_millisecond().into(),
            DutyKind::Files.as_str().into(),
        ],
    )?;
    if discharged > 0 {
        leaf(tx, Some(&id), "files_done", now, None, None)?;
    }
    Ok(())
}

/// Records what is known of events' dates after these messages: event by event in one order, and each by its messages as they
/// came.
fn note_events(tx: &mut Tx<'_>, taken: &[&Recording]) -> Result<(), StoreError> {
    let mut said: BTreeMap<&str, Vec<(&NewSubmission, &EventSaid)>> = BTreeMap::new();
    for taken in taken {
        if let Some(event) = &taken.new.event {
            said.entry(&event.id).or_default().push((&taken.new, event));
        }
    }
    said.values()
        .flatten()
        .try_for_each(|(new, said)| note_event(tx, new, said))
}

fn note_event(tx: &mut Tx<'_>, new: &NewSubmission, said: &EventSaid) -> Result<(), StoreError> {
    // Two registrations at once must not both replace the same dates.
    tx.execute(
        "INSERT INTO event (id, site, form) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
        &[
            said.id.as_str().into(),
            new.arrival.site.as_str().into(),
            new.arrival.form.as_str().into(),
        ],
    )?;
    tx.one_for_update("SELECT 1 FROM event WHERE id = $1", &[said.id.as_str().into()])?;
    let dates = after_message(event_dates(tx, &said.id)?, said.message, said.form);
    let at = |date: Option<Dated>| Value::from(date.map(|(at, _)| at.as_millisecond()));
    let by = |date: Option<Dated>| {
        Value::from(date.map(|(_, source)| match source {
            Source::Form => "form",
            Source::Message => "message",
            Source::Operator => "operator",
        }))
    };
    tx.execute(
        "UPDATE event SET deadline = $2, deadline_source = $3, held = $4, held_source = $5 WHERE id = $1",
        &[
            said.id.as_str().into(),
            at(dates.deadline),
            by(dates.deadline),
            at(dates.held),
            by(dates.held),
        ],
    )
    .map(drop)
}
