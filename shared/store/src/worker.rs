//! The threads that own the connections, and the grouping of commits.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::engine::Connection;
use crate::{Options, StoreError, Tx, Url};

/// Tells the one who asked how it ended, after the commit.
pub(crate) type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// A job: runs in an open transaction, or is told why there is none; says whether it succeeded.
pub(crate) type Work = Box<dyn FnOnce(Result<&mut Tx<'_>, StoreError>) -> (bool, Reply) + Send>;

/// The most jobs that share a commit of SQLite: bounds how long the first of them waits.
///
/// PostgreSQL makes the commits of several connections durable together by itself; jobs that shared a transaction there
/// would hold each other's locks, and two such groups could wait for each other.
const GROUP: usize = 128;

/// The most reading jobs that share one look at SQLite: each transaction after another process's commit reads the pages
/// anew. Few, because a job may take long.
const READ_GROUP: usize = 16;

/// How long a thread and its connection wait for the next job, unless they are the last.
const IDLE: Duration = Duration::from_mins(1);

/// The queue, and as many threads with a connection each as have been needed at once. They end when the pool is dropped,
/// after the jobs that wait.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
    url: Url,
    options: Options,
    read_only: bool,
    most_threads: usize,
    group: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Work>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Pool {
    pub(crate) fn new(url: &Url, options: Options, threads: usize, read_only: bool) -> Self {
        let group = match (url.is_sqlite(), read_only) {
            (true, false) => GROUP,
            (true, true) => READ_GROUP,
            (false, _) => 1,
        };
        Self(Arc::new(Shared {
            queue: Mutex::default(),
            more: Condvar::new(),
            url: url.clone(),
            options,
            read_only,
            most_threads: threads.max(1),
            group,
        }))
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.0.url.is_sqlite()
    }

    pub(crate) fn send(&self, work: Work) {
        let mut queue = self.0.queue();
        queue.jobs.push_back(work);
        if queue.jobs.len() <= queue.idle || queue.threads == self.0.most_threads {
            self.0.more.notify_one();
            return;
        }
        queue.threads += 1;
        let shared = Arc::clone(&self.0);
        let name = if self.0.read_only { "store-read" } else { "store-write" };
        let started = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || Worker::serve(&shared));
        if started.is_err() {
            queue.threads -= 1;
            if queue.threads == 0 {
                let jobs = std::mem::take(&mut queue.jobs);
                drop(queue);
                let code = "no thread".to_owned();
                refuse(jobs, &StoreError::Unavailable { code });
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.queue().closed = true;
        self.0.more.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a job, and takes those that have gathered behind it. `None` ends the thread, which no longer counts.
    fn next_group(&self) -> Option<Vec<Work>> {
        let mut queue = self.queue();
        while queue.jobs.is_empty() {
            if queue.closed {
                queue.threads -= 1;
                return None;
            }
            queue.idle += 1;
            let waited = self.more.wait_timeout(queue, IDLE);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            if timeout.timed_out() && queue.jobs.is_empty() && queue.threads > 1 {
                queue.threads -= 1;
                return None;
            }
        }
        let size = queue.jobs.len().min(self.group);
        Some(queue.jobs.drain(..size).collect())
    }

    /// The next job for a group of so many already: what came while its transaction waited for another process's, or ran.
    /// A job that reads is not joined to a look that may be older than itself.
    fn one_more(&self, taken: usize) -> Option<Work> {
        if self.read_only || taken >= self.group {
            return None;
        }
        self.queue().jobs.pop_front()
    }
}

/// A thread of the pool.
struct Worker<'s> {
    shared: &'s Shared,
    connection: Option<Connection>,
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        // A thread that ends by itself has said so already; the place of one that panicked is given to another.
        if thread::panicking() {
            self.shared.queue().threads -= 1;
        }
    }
}

impl<'s> Worker<'s> {
    fn serve(shared: &'s Shared) {
        let mut worker = Self {
            shared,
            connection: None,
        };
        while let Some(group) = shared.next_group() {
            worker.run(group);
        }
    }

    fn run(&mut self, group: Vec<Work>) {
        let mut connection = match self.ready() {
            Ok(connection) => connection,
            Err(error) => return refuse(group, &error),
        };
        let mut tx = Tx::new(&mut connection);
        let mut taken = group.len();
        let mut more = || {
            let more = self.shared.one_more(taken);
            taken += usize::from(more.is_some());
            more
        };
        let mut group = VecDeque::from(group);
        if group.len() == 1 {
            group.extend(more());
        }
        match (group.len(), group.pop_front()) {
            (1, Some(work)) => alone(&mut tx, work),
            (_, first) => together(&mut tx, first.into_iter().chain(group), more, self.shared.read_only),
        }
        if !tx.is_broken() {
            self.connection = Some(connection);
        }
    }

    /// A connection with an open transaction. One that was lost while nobody used it is opened anew: no job had begun.
    fn ready(&mut self) -> Result<Connection, StoreError> {
        let Shared {
            url,
            options,
            read_only,
            ..
        } = self.shared;
        if let Some(mut connection) = self.connection.take() {
            let begun = connection.begin(*read_only).map(drop);
            match begun {
                Ok(()) => return Ok(connection),
                Err(error) if !error.breaks_connection() && connection.is_idle() => {
                    self.connection = Some(connection);
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        let mut connection = Connection::open(url, *options, *read_only)?;
        connection.begin(*read_only)?;
        Ok(connection)
    }
}

/// One job with a transaction of its own.
fn alone(tx: &mut Tx<'_>, work: Work) {
    let (kept, reply) = attempt(tx, work);
    if !kept {
        tx.roll_back();
        return reply(Ok(()));
    }
    let committed = tx.commit();
    if committed.is_err() {
        tx.roll_back();
    }
    reply(committed);
}

/// Several jobs with one commit, and those that come meanwhile; each in a savepoint, so that its failure undoes its own
/// statements and no other job's. Those that only read have nothing to undo.
fn together(
    tx: &mut Tx<'_>,
    mut group: impl Iterator<Item = Work>,
    mut more: impl FnMut() -> Option<Work>,
    read_only: bool,
) {
    let mut replies = Vec::new();
    let committed = loop {
        let Some(work) = group.next().or_else(&mut more) else {
            break tx.commit();
        };
        if read_only {
            replies.push(attempt(tx, work).1);
            continue;
        }
        if let Err(error) = tx.save() {
            refuse([work], &error);
            break Err(error);
        }
        let (kept, reply) = attempt(tx, work);
        replies.push(reply);
        if let Err(error) = tx.end_saved(kept) {
            break Err(error);
        }
    };
    if let Err(error) = &committed {
        tx.roll_back();
        refuse(group, error);
    }
    for reply in replies {
        reply(committed.clone());
    }
}

/// Runs a job. What it did is kept only where neither it nor any of its statements failed.
fn attempt(tx: &mut Tx<'_>, work: Work) -> (bool, Reply) {
    tx.take_failure();
    let ran = catch_unwind(AssertUnwindSafe(|| work(Ok(&mut *tx))));
    let Ok((succeeded, reply)) = ran else {
        // The one who asked learns of it by the dropped answer; the panic itself was printed by its hook.
        return (false, Box::new(|_| ()));
    };
    match tx.take_failure() {
        Some(failure) if succeeded => (false, Box::new(move |_| reply(Err(failure)))),
        _ => (succeeded, reply),
    }
}

fn refuse(group: impl IntoIterator<Item = Work>, error: &StoreError) {
    for work in group {
        let (_, reply) = work(Err(error.clone()));
        reply(Ok(()));
    }
}
