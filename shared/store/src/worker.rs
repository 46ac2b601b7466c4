//! The threads that own the connections, and the grouping of commits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::engine::Connection;
use crate::{Options, StoreError, Tx, Url};

/// Tells the one who asked how it ended, after the commit.
pub(crate) type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// A job: runs in an open transaction, or is told why there is none; says whether it succeeded.
pub(crate) type Work = Box<dyn FnOnce(Result<&mut Tx<'_>, StoreError>) -> (bool, Reply) + Send>;

/// The most jobs that share a commit: bounds how long the first of them waits.
const GROUP: usize = 128;

/// Threads with a connection each, and the queue that they serve. They end when the pool is dropped.
pub(crate) struct Pool {
    queue: Sender<Work>,
}

impl Pool {
    pub(crate) fn start(url: &Url, options: Options, threads: usize, read_only: bool) -> Self {
        let (queue, jobs) = channel();
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..threads.max(1) {
            let worker = Worker {
                url: url.clone(),
                options,
                read_only,
                connection: None,
            };
            let jobs = Arc::clone(&jobs);
            let name = if read_only { "store-read" } else { "store-write" };
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || worker.serve(&jobs))
                .expect("a thread can be started");
        }
        Self { queue }
    }

    pub(crate) fn send(&self, work: Work) {
        if let Err(unsent) = self.queue.send(work) {
            let (_, reply) = (unsent.0)(Err(StoreError::Stopped));
            reply(Err(StoreError::Stopped));
        }
    }
}

struct Worker {
    url: Url,
    options: Options,
    read_only: bool,
    connection: Option<Connection>,
}

impl Worker {
    fn serve(mut self, jobs: &Mutex<Receiver<Work>>) {
        while let Some(group) = next_group(jobs) {
            self.run(group);
        }
    }

    fn run(&mut self, group: Vec<Work>) {
        let connection = match self.connection.take().map_or_else(|| self.open(), Ok) {
            Ok(connection) => self.connection.insert(connection),
            Err(error) => return refuse(group, &error),
        };
        // Jobs that have run wait here for the commit; jobs that have not are refused if there is none.
        let mut waiting = group.into_iter();
        let mut replies = Vec::new();
        let committed = connection.transact(self.read_only, |tx| {
            for work in waiting.by_ref() {
                replies.push(in_savepoint(tx, work)?);
            }
            Ok(())
        });
        if let Err(error) = &committed {
            refuse(waiting, error);
            if error.breaks_connection() {
                self.connection = None;
            }
        }
        for reply in replies {
            reply(committed.clone());
        }
    }

    fn open(&self) -> Result<Connection, StoreError> {
        Connection::open(&self.url, self.options, self.read_only)
    }
}

/// Waits for a job, and takes those that have gathered behind it.
fn next_group(jobs: &Mutex<Receiver<Work>>) -> Option<Vec<Work>> {
    let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
    let mut group = vec![jobs.recv().ok()?];
    while group.len() < GROUP
        && let Ok(work) = jobs.try_recv()
    {
        group.push(work);
    }
    Some(group)
}

/// Runs one job so that its failure undoes its own statements and no other job's.
fn in_savepoint(tx: &mut Tx<'_>, work: Work) -> Result<Reply, StoreError> {
    tx.batch("SAVEPOINT job")?;
    let ran = catch_unwind(AssertUnwindSafe(|| work(Ok(&mut *tx))));
    let Ok((succeeded, reply)) = ran else {
        // The one who asked learns of it by the dropped answer; the panic itself was printed by its hook.
        tx.batch("ROLLBACK TO SAVEPOINT job; RELEASE SAVEPOINT job")?;
        return Ok(Box::new(|_| ()));
    };
    let ended = tx.batch(if succeeded {
        "RELEASE SAVEPOINT job"
    } else {
        "ROLLBACK TO SAVEPOINT job; RELEASE SAVEPOINT job"
    });
    match ended {
        Ok(()) => Ok(reply),
        Err(error) => {
            reply(Err(error.clone()));
            Err(error)
        }
    }
}

fn refuse(group: impl IntoIterator<Item = Work>, error: &StoreError) {
    for work in group {
        let (_, reply) = work(Err(error.clone()));
        reply(Ok(()));
    }
}
