//! Runs of schedules, workers' heartbeats, certificates given at run time, and requests between programs.

use domain::DepartmentId;
use jiff::Timestamp;
use serde::Serialize;
use store::{Row, StoreError};
use uuid::Uuid;

use crate::read::time;
use crate::{Ledger, WorkerId};

/// One run of a schedule.
#[derive(Debug, Clone, Serialize)]
pub struct RunRow {
    /// The schedule.
    pub schedule: String,
    /// The time that it was planned for.
    pub planned_at: Timestamp,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How, in plain words.
    pub outcome: Option<String>,
}

/// A running process.
#[derive(Debug, Clone, Serialize)]
pub struct WorkerRow {
    /// Its id.
    pub id: String,
    /// Its service.
    pub service: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// The ids of the keys that it wraps with, as `PURPOSE=ID` with blanks between them.
    pub keys: Option<String>,
}

/// Something that a program without keys asks of the service that has them.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its id.
    pub id: Uuid,
    /// What is asked.
    pub kind: String,
    /// With what, as JSON.
    pub args: String,
    /// The answer, as JSON, once there is one.
    pub result: Option<String>,
}

fn request(row: &Row) -> Result<Request, StoreError> {
    Ok(Request {
        id: row.parse(0)?,
        kind: row.text(1)?.to_owned(),
        args: row.text(2)?.to_owned(),
        result: row.opt_text(3)?.map(str::to_owned),
    })
}

impl Ledger {
    /// Says that a worker lives.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then the store cannot be written.
    pub async fn beat(&self, worker: WorkerId, service: &'static str, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "INSERT INTO worker (id, service, started_at, seen_at) VALUES ($1, $2, $3, $3)
                 ON CONFLICT (id) DO UPDATE SET seen_at = $3",
                &[worker.0.to_string().into(), service.into(), now.as_millisecond().into()],
            )
            .map(drop)
        })
        .await
    }

    /// Says which keys a worker wraps with.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn wraps_with(&self, worker: WorkerId, keys: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE worker SET keys = $2 WHERE id = $1",
                &[worker.0.to_string().into(), keys.into()],
            )
            .map(drop)
        })
        .await
    }

    /// Says that a worker has ended; forgets those not heard of for a day.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn leave(&self, worker: WorkerId, stale: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "DELETE FROM worker WHERE id = $1 OR seen_at < $2",
                &[worker.0.to_string().into(), stale.as_millisecond().into()],
            )
            .map(drop)
        })
        .await
    }

    /// Workers heard of since a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn workers(&self, since: Timestamp) -> Result<Vec<WorkerRow>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT id, service, started_at, seen_at, keys FROM worker WHERE seen_at >= $1 ORDER BY service, id",
                &[since.as_millisecond().into()],
            )?;
            rows.iter()
                .map(|row| {
                    Ok(WorkerRow {
                        id: row.text(0)?.to_owned(),
                        service: row.text(1)?.to_owned(),
                        started_at: time(row.int(2)?),
                        seen_at: time(row.int(3)?),
                        keys: row.opt_text(4)?.map(str::to_owned),
                    })
                })
                .collect()
        })
        .await
    }

    /// Takes a planned run for this worker: once for each planned time, across replicas and restarts.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn begin_run(
        &self,
        schedule: &'static str,
        planned: Timestamp,
        worker: WorkerId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let begun = tx.execute(
                "INSERT INTO run (schedule, planned_at, worker, started_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (schedule, planned_at) DO NOTHING",
                &[
                    schedule.into(),
                    planned.as_millisecond().into(),
                    worker.0.to_string().into(),
                    now.as_millisecond().into(),
                ],
            )?;
            Ok(begun > 0)
        })
        .await
    }

    /// Says how a run ended.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn end_run(
        &self,
        schedule: &'static str,
        planned: Timestamp,
        outcome: String,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE run SET ended_at = $3, outcome = $4 WHERE schedule = $1 AND planned_at = $2",
                &[
                    schedule.into(),
                    planned.as_millisecond().into(),
                    now.as_millisecond().into(),
                    outcome.into(),
                ],
            )
            .map(drop)
        })
        .await
    }

    /// The newest runs of a schedule.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn runs(&self, schedule: String, limit: u32) -> Result<Vec<RunRow>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT schedule, planned_at, started_at, ended_at, outcome FROM run WHERE schedule = $1
                 ORDER BY planned_at DESC LIMIT $2",
                &[schedule.into(), limit.into()],
            )?;
            rows.iter()
                .map(|row| {
                    Ok(RunRow {
                        schedule: row.text(0)?.to_owned(),
                        planned_at: time(row.int(1)?),
                        started_at: time(row.int(2)?),
                        ended_at: row.opt_int(3)?.map(time),
                        outcome: row.opt_text(4)?.map(str::to_owned),
                    })
                })
                .collect()
        })
        .await
    }

    /// When the last run of a schedule that ended well was planned for, and when it ended; none whose outcome begins with
    /// `failed` did.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn last_good_run(
        &self,
        schedule: &'static str,
        failed: &'static str,
    ) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        self.read(move |tx| {
            // The newest first, as the key has them: all of them are looked at only where none was good.
            let row = tx.one(
                "SELECT planned_at, ended_at FROM run
                 WHERE schedule = $1 AND ended_at IS NOT NULL AND outcome NOT LIKE $2
                 ORDER BY planned_at DESC LIMIT 1",
                &[schedule.into(), format!("{failed}%").into()],
            )?;
            row.map(|row| Ok((time(row.int(0)?), time(row.int(1)?)))).transpose()
        })
        .await
    }

    /// When the first run of a schedule was planned for.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn first_planned(&self, schedule: &'static str) -> Result<Option<Timestamp>, StoreError> {
        self.read(move |tx| {
            let row = tx.one(
                "SELECT MIN(planned_at) FROM run WHERE schedule = $1",
                &[schedule.into()],
            )?;
            Ok(row.map_or(Ok(None), |row| row.opt_int(0))?.map(time))
        })
        .await
    }

    /// Records a certificate for a department, pinned by its fingerprint, as an audited act.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn add_certificate(
        &self,
        department: DepartmentId,
        fingerprint: String,
        armored: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "INSERT INTO certificate (department, fingerprint, armored, added_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (department, fingerprint) DO UPDATE SET armored = $3, added_at = $4",
                &[
                    department.as_str().into(),
                    fingerprint.into(),
                    armored.into(),
                    now.as_millisecond().into(),
                ],
            )?;
            crate::outbox::leaf(tx, None, "certificate_added", now, Some(department.as_str()), None)
        })
        .await
    }

    /// Certificates recorded at run time: department, fingerprint, armoured key.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn certificates(&self) -> Result<Vec<(String, String, Vec<u8>)>, StoreError> {
        self.read(|tx| {
            let rows = tx.query(
                "SELECT department, fingerprint, armored FROM certificate ORDER BY department, added_at",
                &[],
            )?;
            rows.iter()
                .map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned(), row.blob(2)?.to_vec())))
                .collect()
        })
        .await
    }

    /// Asks something of the service that has the keys.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn ask(&self, kind: &'static str, args: String, now: Timestamp) -> Result<Uuid, StoreError> {
        let id = Uuid::now_v7();
        self.write(move |tx| {
            tx.execute(
                "INSERT INTO request (id, kind, args, state, created_at) VALUES ($1, $2, $3, 'open', $4)",
                &[
                    id.to_string().into(),
                    kind.into(),
                    args.into(),
                    now.as_millisecond().into(),
                ],
            )
            .map(|_| id)
        })
        .await
    }

    /// Open requests of these kinds, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn asked(&self, kinds: &'static [&'static str], since: Timestamp) -> Result<Vec<Request>, StoreError> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT id, kind, args, result FROM request WHERE state = 'open' AND created_at >= $1 ORDER BY created_at",
                &[since.as_millisecond().into()],
            )?;
            let all: Vec<Request> = rows.iter().map(request).collect::<Result<_, _>>()?;
            Ok(all.into_iter().filter(|request| kinds.contains(&request.kind.as_str())).collect())
        })
        .await
    }

    /// Answers a request; its arguments go with that.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn answer(&self, id: Uuid, result: String, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE request SET state = 'done', args = '{}', result = $2, done_at = $3 WHERE id = $1 AND state = 'open'",
                &[id.to_string().into(), result.into(), now.as_millisecond().into()],
            )
            .map(drop)
        })
        .await
    }

    /// The answer to a request, once there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn answered(&self, id: Uuid) -> Result<Option<String>, StoreError> {
        self.read(move |tx| {
            let row = tx.one(
                "SELECT result FROM request WHERE id = $1 AND state = 'done'",
                &[id.to_string().into()],
            )?;
            Ok(row.and_then(|row| row.opt_text(0).ok().flatten().map(str::to_owned)))
        })
        .await
    }

    /// Forgets requests older than this.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn forget_requests(&self, before: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "DELETE FROM request WHERE created_at < $1",
                &[before.as_millisecond().into()],
            )
            .map(drop)
        })
        .await
    }
}
