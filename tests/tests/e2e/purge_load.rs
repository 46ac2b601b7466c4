//! The purge at the size of its promise: 100,000 registrations in under 60 seconds, beside an intake that goes on taking
//! 50 a second, in flat memory. `make purge` measures that in release; the suite runs the same with few.

use std::collections::BTreeMap;
use std::iter::once;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use domain::event::Dates;
use domain::lineage::Order;
use domain::{DutyId, DutyKind, DutyState, Kind, Reference, SubmissionId};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use kvit_scheduler::requests::RUN_SCHEDULE;
use kvit_tests::{Engine, Message, Peers, Program, TestBed, report, until, within};
use ledger::{Arrival, EventSaid, KeptRegistration, Ledger, NewDuty, NewExtract, NewSubmission, Payload, SetEvent};
use runtime::Loaded;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use store::StoreError;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vault::{Purpose, Vault};

use crate::purge::{FORM, file};

/// The event whose list is confirmed, and the one that nobody has a list of.
pub(crate) const EVENTS: [&str; 2] = ["eksempel/fest/1", "eksempel/fest/2"];
/// How many stand in one list.
const LISTED: usize = 1000;
/// So many are made at the same time.
pub(crate) const AT_ONCE: usize = 128;
/// Submissions a second that intake takes meanwhile.
const RATE: u32 = 50;
/// The promises.
const BAR: Duration = Duration::from_mins(1);
const BAR_P99: Duration = Duration::from_secs(1);
/// By how much the scheduler's own memory may differ between the purge's beginning and its end.
const FLAT: u64 = 32 << 20;
/// No schedule comes by itself.
pub(crate) const NEVER: &str = "[schedules]\npurge = \"0 0 1 1 *\"\nextract = \"0 0 1 1 *\"\n[scheduler]";

/// How many registrations; `make purge` asks for the number of the promise.
fn asked() -> Option<usize> {
    std::env::var("KVIT_PURGE_REGISTRATIONS").ok()?.parse().ok()
}

fn payload(owner: Uuid, context: Uuid, key: &vault::DataKey) -> anyhow::Result<Payload> {
    Ok(Payload {
        owner,
        purpose: Purpose::Registration.as_str().to_owned(),
        sealed: key.seal(context.as_bytes(), &[7; 600])?,
    })
}

/// A registration as intake records it, with these duties beside its extract.
async fn register(
    ledger: &Ledger,
    vault: &Vault,
    n: usize,
    beside: Vec<NewDuty>,
    now: Timestamp,
) -> anyhow::Result<SubmissionId> {
    let (id, duty) = (SubmissionId::new(), DutyId::new());
    let keys = vault.create(id.0, &[Purpose::Registration], now).await?;
    let digest = Sha256::digest(n.to_be_bytes()).to_vec();
    let number = u32::try_from(n)?.to_be_bytes();
    let reference = Reference::from_random([0, number[0], number[1], number[2], number[3]]);
    let far: Timestamp = "2099-01-15T22:59:00Z".parse()?;
    let new = NewSubmission {
        id,
        reference,
        arrival: Arrival {
            site: "eksempel".parse()?,
            form: "fest".parse()?,
            test: false,
            ids: [None, None, None],
            sequence: None,
            was_quarantined: None,
        },
        kind: Kind::Registration,
        department: "teknik-miljoe".parse()?,
        version: 1,
        latest: true,
        late: false,
        received_at: now,
        alarm_at: now + SignedDuration::from_hours(24),
        identity: Some(digest.clone()),
        identities: vec![digest.clone()],
        answers: digest.clone(),
        fields: digest.clone(),
        epoch: vault::epoch_of(now),
        order: Order::default(),
        known: 0,
        lock: i64::try_from(n)?,
        event: Some(EventSaid {
            id: EVENTS[n % 2].to_owned(),
            message: Dates::default(),
            form: Dates {
                deadline: Some(far),
                held: Some(far),
            },
        }),
        duties: once(NewDuty {
            id: duty,
            kind: DutyKind::Extract,
            role: "extract".to_owned(),
            department: Some("teknik-miljoe".parse()?),
            state: DutyState::Held,
            reason: None,
            expires_at: None,
            payload: Some(payload(id.0, duty.0, &keys[0])?),
        })
        .chain(beside)
        .collect(),
        brings_files: false,
        notes: Vec::new(),
        mac: digest,
        receipt: None,
    };
    ledger.record(new, false, now).await?;
    Ok(id)
}

/// A confirmed list of these, with what is kept of each.
async fn list(ledger: &Ledger, vault: &Vault, covers: Vec<SubmissionId>, now: Timestamp) -> anyhow::Result<()> {
    let id = Uuid::now_v7();
    let kept = stream::iter(covers.clone()).map(|submission| async move {
        let owner = Uuid::now_v7();
        let keys = vault.create(owner, &[Purpose::Registration], now).await?;
        let payload = payload(owner, owner, &keys[0])?;
        anyhow::Ok(KeptRegistration { submission, payload })
    });
    let new = NewExtract {
        id,
        event: EVENTS[0].to_owned(),
        department: "teknik-miljoe".parse()?,
        test: false,
        confirm: "mail",
        code: None,
        mail: NewDuty {
            id: DutyId::new(),
            kind: DutyKind::Notice,
            role: "department".to_owned(),
            department: Some("teknik-miljoe".parse()?),
            state: DutyState::Done,
            reason: None,
            expires_at: None,
            payload: None,
        },
        kept: kept.buffered(AT_ONCE).try_collect().await?,
        covers,
        alone: true,
    };
    ensure!(ledger.record_extract(new, now).await?, "it is the only list");
    ledger.confirm_extract(id.to_string(), "mail", now).await?;
    Ok(())
}

/// So many registrations for two events, half of them, those with even numbers, in confirmed lists; each with these duties
/// beside its extract.
pub(crate) async fn fill(
    bed: &TestBed,
    many: usize,
    beside: fn(usize) -> Vec<NewDuty>,
    now: Timestamp,
) -> anyhow::Result<()> {
    let loaded = Loaded::load(&bed.config()).map_err(|findings| anyhow::anyhow!("{findings}"))?;
    let keys = worker::Keys {
        registration: true,
        ..worker::Keys::default()
    };
    let (ledger, vault) = (bed.ledger.clone(), worker::vault(&loaded.config, keys)?);
    let made = stream::iter(0..many).map(|n| register(&ledger, &vault, n, beside(n), now));
    let ids: Vec<SubmissionId> = made.buffered(AT_ONCE).try_collect().await?;
    let listed: Vec<_> = ids.into_iter().step_by(2).collect();
    for some in listed.chunks(LISTED) {
        list(&ledger, &vault, some.to_vec(), now).await?;
    }
    Ok(())
}

/// When the ledger showed each numbered submission, asked for every 10 ms by the row's number, which costs nothing.
async fn watch(bed: &TestBed, seen: &mut BTreeMap<i64, Instant>, ended: &CancellationToken) -> anyhow::Result<()> {
    let store = file(&bed.path("kvit.db"))?;
    let (mut after, mut ticks) = (0, interval(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !ended.is_cancelled() {
        ticks.tick().await;
        let read = store.read(move |tx| {
            let sql = "SELECT rowid, sequence FROM submission WHERE rowid > $1 ORDER BY rowid";
            let rows = tx.query(sql, &[after.into()])?;
            rows.iter().map(|row| Ok((row.int(0)?, row.opt_int(1)?))).collect()
        });
        let rows: Result<Vec<(i64, Option<i64>)>, StoreError> = read.await;
        let now = Instant::now();
        for (row, number) in rows? {
            after = after.max(row);
            seen.extend(number.map(|number| (number, now)));
        }
    }
    Ok(())
}

fn numbered(n: u32) -> Message {
    let uuid = Uuid::from_u128(0x9000_0000 + u128::from(n)).to_string();
    Message::json(&report(&uuid, &json!({"e_mail": format!("p{n}@borger.example")})))
        .with("x-kvit-sequence", n.to_string())
}

/// Publishes at the rate until `ended`, and says when each was.
async fn load(bed: &TestBed, ended: &CancellationToken) -> anyhow::Result<Vec<Instant>> {
    let mut published = Vec::new();
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !ended.is_cancelled() {
        ticks.tick().await;
        published.push(Instant::now());
        bed.publish(&numbered(u32::try_from(published.len())?)).await?;
    }
    Ok(published)
}

/// What the purge took.
struct Purged {
    lasted: Duration,
    /// The scheduler's own memory at the beginning, and the most of each half.
    memory: [u64; 3],
    outcome: String,
}

async fn purge(bed: &TestBed, scheduler: &Program) -> anyhow::Result<Purged> {
    let now = bed.clock().now();
    let at = Some(now - SignedDuration::from_hours(1));
    for id in EVENTS {
        let set = SetEvent {
            id: id.to_owned(),
            site: "eksempel".to_owned(),
            form: "fest".to_owned(),
            deadline: at,
            held: at,
            cancelled: false,
        };
        bed.ledger.set_event(set, now).await?;
    }
    let before = scheduler.resident_bytes()?.1;
    let (began, mut samples) = (Instant::now(), Vec::new());
    let request = bed
        .ledger
        .ask(RUN_SCHEDULE, json!({"name": "purge"}).to_string(), now)
        .await?;
    let answer = within(Duration::from_mins(8), "the purge is done", async || {
        samples.push(scheduler.resident_bytes()?.1);
        Ok(bed.ledger.answered(request).await?)
    })
    .await?;
    let lasted = began.elapsed();
    let (first, second) = samples.split_at(samples.len() / 2);
    let most = |half: &[u64]| half.iter().copied().max().unwrap_or(before);
    Ok(Purged {
        lasted,
        memory: [before, most(first), most(second)],
        outcome: answer,
    })
}

/// E1, E3: everything of two events goes, listed or not, while intake takes on; no key, no payload, no kept address is
/// left of them.
#[tokio::test(flavor = "multi_thread")]
async fn many_registrations_go_at_once_while_intake_takes_on() -> anyhow::Result<()> {
    let many = asked().unwrap_or(600);
    let bed = TestBed::prepare_with(&Peers {
        engine: Engine::Sqlite,
        ..Peers::default()
    })
    .await?;
    bed.configure("[scheduler]", NEVER)?;
    bed.add_form("fest", FORM)?;
    fill(&bed, many, |_| Vec::new(), bed.clock().now()).await?;
    let mut programs = Vec::new();
    for name in ["kvit-scheduler", "kvit-intake", "kvit-mailer"] {
        programs.push(bed.spawn_with(name, &[]).await?);
    }
    for program in &mut programs {
        program.until_ready().await?;
    }
    let (ended, seen_all, mut seen) = (CancellationToken::new(), CancellationToken::new(), BTreeMap::new());
    let work = async {
        // The load runs when the purge begins.
        until("intake takes", async || {
            Ok((bed.figures().await?.accepted > i64::try_from(many)? + 20).then_some(()))
        })
        .await?;
        let purged = purge(&bed, &programs[0]).await?;
        ended.cancel();
        anyhow::Ok(purged)
    };
    let publishing = async {
        let published = load(&bed, &ended).await?;
        let count = i64::try_from(published.len())?;
        until("all are taken", async || {
            Ok((bed.figures().await?.accepted == i64::try_from(many)? + count).then_some(()))
        })
        .await?;
        seen_all.cancel();
        anyhow::Ok(published)
    };
    let (purged, published, ()) = tokio::try_join!(work, publishing, watch(&bed, &mut seen, &seen_all))?;

    let mut took = Vec::new();
    for (number, published) in (1_i64..).zip(&published) {
        let shown = seen.get(&number).with_context(|| format!("{number} was never seen"))?;
        took.push(shown.duration_since(*published));
    }
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    let span = published[published.len() - 1].duration_since(published[0]);
    let rate = f64::from(u32::try_from(published.len())?) / span.as_secs_f64();
    let mega = purged.memory.map(|bytes| bytes >> 20);
    println!(
        "purge | {many} registrations in {:.1} s | intake meanwhile: {} taken, {rate:.0} a second, p99 {} ms, most {} ms \
         | scheduler's own memory: {} MB before, at most {} and then {} MB",
        purged.lasted.as_secs_f32(),
        took.len(),
        p99.as_millis(),
        took.last().map_or(0, Duration::as_millis),
        mega[0],
        mega[1],
        mega[2],
    );
    assert!(purged.outcome.contains("submissions deleted"), "{}", purged.outcome);
    assert!(purged.memory[2] <= purged.memory[1] + FLAT, "memory grows: {mega:?} MB");
    if asked().is_some() {
        assert!(purged.lasted < BAR, "{:?}", purged.lasted);
        assert!(p99 < BAR_P99, "{p99:?}");
    }
    bed.until_deleted(i64::try_from(many + published.len())?).await?;
    for (store, sql) in [
        (true, "SELECT 1 FROM registration LIMIT 1"),
        (true, "SELECT 1 FROM payload WHERE purpose = 'registration' LIMIT 1"),
        (false, "SELECT 1 FROM data_key WHERE purpose = 'registration' LIMIT 1"),
    ] {
        let folder = bed.path("");
        let left = if store {
            bed.stores().ask_ledger(&folder, sql).await?
        } else {
            bed.stores().ask_keys(&folder, sql).await?
        };
        assert!(left.is_empty(), "{sql}");
    }
    Ok(())
}
