//! Growth: the drain with more in the queue, with more in the ledger, and with more replicas.

use store::{Store, StoreError};

use crate::drain::{self, Drain};
use crate::rig::Plan;

/// What is left of the rate where there is a hundred times as much in the queue, or a million in the ledger.
pub(crate) const BAR: f64 = 0.9;
/// How many wait in the queue. The first is the measure of the others, and of the drains with a full ledger.
const QUEUED: [u64; 3] = [1_000, 10_000, 100_000];
/// How many the ledger has finished.
const FINISHED: [u64; 2] = [100_000, 1_000_000];
/// How many processes of intake, and of mailer.
const REPLICAS: [usize; 2] = [2, 4];
/// How many finished submissions are written in one transaction.
const CHUNK: u64 = 20_000;

/// Drains again and again; `submissions` is how many are drained where the queue's length is not what is looked at.
pub(crate) async fn run(submissions: u64) -> anyhow::Result<Vec<Drain>> {
    let mut drains = Vec::new();
    for queued in QUEUED {
        drains.push(drain::run(Plan::SQLITE, queued).await?);
    }
    for finished in [0].into_iter().chain(FINISHED) {
        let plan = Plan {
            finished,
            ..Plan::SQLITE
        };
        drains.push(drain::run(plan, submissions).await?);
    }
    for replicas in REPLICAS {
        let plan = Plan {
            replicas,
            ..Plan::SQLITE
        };
        drains.push(drain::run(plan, submissions).await?);
    }
    Ok(drains)
}

/// Which part of the rate is left of it, by what there is more of.
pub(crate) fn shares(drains: &[Drain]) -> Vec<(String, f64)> {
    let rate = |at: usize| drains.get(at).map(|drain| drain.per_second);
    let (queue, ledger) = (QUEUED.len(), QUEUED.len() + FINISHED.len());
    let share = |more: Option<f64>, few: Option<f64>| more.zip(few).map(|(more, few)| more / few);
    let queued = share(rate(queue - 1), rate(0)).map(|share| ("the rate's part with a long queue".to_owned(), share));
    let finished =
        share(rate(ledger), rate(queue)).map(|share| ("the rate's part with a full ledger".to_owned(), share));
    queued.into_iter().chain(finished).collect()
}

/// Writes so many finished submissions: each with two mails that are done and an identity of this epoch, which a repeat is
/// recognised by. Their evidence is in last year's log, so that nobody makes its files anew.
pub(crate) async fn finish(ledger: &Store, count: u64, epoch: i64) -> Result<(), StoreError> {
    for first in (0..count).step_by(usize::try_from(CHUNK).unwrap_or(1)) {
        let last = count.min(first + CHUNK) - 1;
        let between = format!("WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})");
        ledger
            .write(move |tx| {
                for insert in INSERTS {
                    let insert = insert.replace("WITH n", &between).replace("EPOCH", &epoch.to_string());
                    tx.execute(&insert, &[])?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
    }
    if count == 0 {
        return Ok(());
    }
    let leaves = i64::try_from(count).unwrap_or(i64::MAX) * LEAVES;
    ledger
        .write(move |tx| {
            tx.execute(
                "INSERT INTO evidence_log (year, origin, size, signed, mailed)
                 VALUES (2025, 'kommune.example/kvit/2025', $1, $1, $1)",
                &[leaves.into()],
            )
            .map(drop)
        })
        .await
}

/// How many leaves a finished submission has.
const LEAVES: i64 = 5;

/// A finished submission's rows. `n(i)` are its numbers.
const INSERTS: [&str; 3] = [
    "INSERT INTO submission (id, reference, site, form, kind, department, version, latest, late, test, state, received_at,
         alarm_at, deleted_at, rule, site_copy, identity, answers, fields, epoch)
     WITH n SELECT printf('01900000-0000-7000-8000-%012x', i), printf('ALT-%08d', i), 'eksempel', 'hul_i_vejen', 'message',
         'vej', 1, 1, 0, 0, 'deleted', 1748000000000 + i, 1748000000000 + i, 1748000060000 + i, 'delivered', 'unknown',
         randomblob(32), randomblob(32), randomblob(64), EPOCH FROM n",
    "INSERT INTO duty (id, submission, kind, role, department, state, attempts, created_at, done_at, test)
     WITH n SELECT printf('01900000-0000-7000-900%d-%012x', m, i), printf('01900000-0000-7000-8000-%012x', i),
         CASE m WHEN 0 THEN 'department_mail' ELSE 'receipt' END, CASE m WHEN 0 THEN 'department' ELSE 'receipt' END, 'vej',
         'done', 1, 1748000000000 + i, 1748000030000 + i, 0 FROM n, (SELECT 0 AS m UNION ALL SELECT 1)",
    "INSERT INTO leaf (submission, event, at, log_year, log_index)
     WITH n SELECT printf('01900000-0000-7000-8000-%012x', i), 'deleted', 1748000060000 + i, 2025, 5 * i + m
         FROM n, (SELECT 0 AS m UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4)",
];
