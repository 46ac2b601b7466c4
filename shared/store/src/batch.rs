//! Inputs of one kind that gather while those before them are done, and are then done by one job.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use crate::{Store, StoreError, Tx};

/// What is done with the inputs that gathered: an output for each, in their order.
pub type BatchJob<I, O> = fn(&mut Tx<'_>, &[I]) -> Result<Vec<O>, StoreError>;

/// The most inputs of one job: bounds how long the first of them waits, and how much a statement holds.
const MOST: usize = 64;

/// How much longer inputs gather after a job that several shared: where there is much to do, a transaction's own cost is
/// shared by more. Where inputs come one by one, none waits.
const GATHERING: Duration = Duration::from_millis(20);

/// Does inputs of one kind together: a statement about many rows costs less than many statements.
///
/// One job of a batch runs at a time, so that the next inputs gather behind it. Where a job fails as it would again, or for
/// a row that another writer holds, each of its inputs is done alone, so that none fails for its neighbour; a store that is
/// away is said to all. Clones share what has gathered.
pub struct Batch<I, O>(Arc<Shared<I, O>>);

struct Shared<I, O> {
    store: Store,
    read_only: bool,
    job: BatchJob<I, O>,
    gathered: Mutex<Gathered<I, O>>,
    /// Said when as many wait as one job takes.
    enough: Notify,
}

/// What waits for the job that runs, and whether one does.
struct Gathered<I, O> {
    waiting: Vec<(I, Answer<O>)>,
    is_served: bool,
}

type Answer<O> = oneshot::Sender<Result<O, StoreError>>;

impl<I, O> Clone for Batch<I, O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Send + Sync + 'static, O: Send + 'static> Batch<I, O> {
    /// A batch whose job writes: see [`Store::write`].
    #[must_use]
    pub fn writing(store: &Store, job: BatchJob<I, O>) -> Self {
        Self::new(store, false, job)
    }

    /// A batch whose job only reads: see [`Store::read`]. It sees what was committed before an input came to it.
    #[must_use]
    pub fn reading(store: &Store, job: BatchJob<I, O>) -> Self {
        Self::new(store, true, job)
    }

    fn new(store: &Store, read_only: bool, job: BatchJob<I, O>) -> Self {
        Self(Arc::new(Shared {
            store: store.clone(),
            read_only,
            job,
            gathered: Mutex::new(Gathered {
                waiting: Vec::new(),
                is_served: false,
            }),
            enough: Notify::new(),
        }))
    }

    /// Does one input, together with those that came at the same time; answers after the commit. It is done also where
    /// nobody waits for the answer any more.
    ///
    /// # Errors
    ///
    /// What the job says of this input, or [`StoreError`] where the store could not be reached or did not commit.
    pub async fn run(&self, input: I) -> Result<O, StoreError> {
        let (answer, answered) = oneshot::channel();
        if self.0.gather(input, answer) {
            tokio::spawn(Serving(Some(Arc::clone(&self.0))).serve());
        }
        answered.await.unwrap_or(Err(StoreError::Panicked))
    }
}

/// Whoever serves, until it has ended. Where it is dropped before, by a panic or with its runtime, those who wait are told,
/// and the next input is served anew.
struct Serving<I, O>(Option<Arc<Shared<I, O>>>);

impl<I: Send + Sync + 'static, O: Send + 'static> Serving<I, O> {
    async fn serve(mut self) {
        if let Some(shared) = &self.0 {
            shared.serve().await;
        }
        drop(self.0.take());
    }
}

impl<I, O> Drop for Serving<I, O> {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            let mut gathered = shared.gathered();
            gathered.is_served = false;
            gathered.waiting.clear();
        }
    }
}

impl<I, O> Shared<I, O> {
    fn gathered(&self) -> MutexGuard<'_, Gathered<I, O>> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Send + Sync + 'static, O: Send + 'static> Shared<I, O> {
    /// Adds an input; whether nobody serves yet.
    fn gather(&self, input: I, answer: Answer<O>) -> bool {
        let mut gathered = self.gathered();
        gathered.waiting.push((input, answer));
        if gathered.waiting.len() == MOST {
            self.enough.notify_one();
        }
        !std::mem::replace(&mut gathered.is_served, true)
    }

    /// Does what has gathered, until nothing has.
    async fn serve(&self) {
        let mut shared = false;
        while let Some((inputs, answers)) = self.next(shared).await {
            let inputs: Arc<[I]> = inputs.into();
            shared = inputs.len() > 1;
            match self.attempt(&inputs, 0..inputs.len()).await {
                Err(error) if inputs.len() > 1 && self.is_of_one(&error) => {
                    for (at, answer) in answers.into_iter().enumerate() {
                        let done = self.attempt(&inputs, at..at + 1).await;
                        let output = done.and_then(|mut outputs| outputs.pop().ok_or(StoreError::Panicked));
                        let _ = answer.send(output); // whoever asked may have gone away
                    }
                }
                Err(error) => {
                    for answer in answers {
                        let _ = answer.send(Err(error.clone()));
                    }
                }
                Ok(outputs) => {
                    for (answer, output) in answers.into_iter().zip(outputs) {
                        let _ = answer.send(Ok(output));
                    }
                }
            }
        }
    }

    /// Whether an error may be about one of several inputs: on PostgreSQL a row of one may be held by another writer, while
    /// SQLite is busy for all.
    fn is_of_one(&self, error: &StoreError) -> bool {
        !error.is_transient() || (*error == StoreError::Busy && !self.store.is_sqlite())
    }

    /// The inputs of the next job, after one that several shared or not. `None` ends the serving.
    async fn next(&self, shared: bool) -> Option<(Vec<I>, Vec<Answer<O>>)> {
        if shared {
            let enough = async {
                while self.gathered().waiting.len() < MOST {
                    self.enough.notified().await;
                }
            };
            let _ = timeout(GATHERING, enough).await; // enough, or as many as came
        }
        let mut gathered = self.gathered();
        let count = gathered.waiting.len().min(MOST);
        gathered.is_served = count > 0;
        gathered.is_served.then(|| gathered.waiting.drain(..count).unzip())
    }

    async fn attempt(&self, inputs: &Arc<[I]>, part: Range<usize>) -> Result<Vec<O>, StoreError> {
        let (inputs, job) = (Arc::clone(inputs), self.job);
        let work = move |tx: &mut Tx<'_>| job(tx, &inputs[part]);
        if self.read_only {
            self.store.read(work).await
        } else {
            self.store.write(work).await
        }
    }
}
