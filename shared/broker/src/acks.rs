//! Acknowledgements of one channel: those that come together go together.
//!
//! A quorum queue writes down every acknowledgement that it is sent, and one that says "all up to here" is one. So what is
//! done at the same moment (handlers that shared a commit are) is gathered, and the unbroken row from the oldest message
//! on goes in one frame; the others go each by itself, so that no message waits for a slower one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lapin::Acker;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::task::yield_now;
use tracing::debug;

/// The answers to the messages of one channel with one consumer: their delivery tags count from 1 without a gap.
#[derive(Default)]
pub(crate) struct Acks {
    row: Mutex<Row<Acker>>,
    /// One turn after the other: the broker ends a channel on which a message is answered that "all up to here" covered.
    turn: tokio::sync::Mutex<()>,
}

/// Which messages are answered, and which are to be.
struct Row<A> {
    /// Every message up to this one is answered.
    answered: u64,
    /// Those beyond that are.
    beyond: BTreeSet<u64>,
    /// Those that are to be acknowledged.
    done: BTreeMap<u64, A>,
}

impl<A> Default for Row<A> {
    fn default() -> Self {
        Self {
            answered: 0,
            beyond: BTreeSet::new(),
            done: BTreeMap::new(),
        }
    }
}

impl Acks {
    /// Acknowledges a message, with others that are done by then.
    pub(crate) async fn ack(&self, tag: u64, acker: Acker) {
        self.row().done.insert(tag, acker);
        // Those who waited for the same commit run now.
        yield_now().await;
        let _turn = self.turn.lock().await;
        let (row, single) = self.row().take();
        if let Some(acker) = row {
            report(acker.ack(BasicAckOptions { multiple: true }).await);
        }
        for acker in single {
            report(acker.ack(BasicAckOptions::default()).await);
        }
    }

    /// Puts a message back, or gives it up.
    pub(crate) async fn nack(&self, tag: u64, acker: &Acker, requeue: bool) {
        let _turn = self.turn.lock().await;
        self.row().beyond.insert(tag);
        let options = BasicNackOptions {
            requeue,
            multiple: false,
        };
        report(acker.nack(options).await);
    }

    fn row(&self) -> MutexGuard<'_, Row<Acker>> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> Row<A> {
    /// What goes out now: the last of the row that all are done of, and those that stand alone.
    fn take(&mut self) -> (Option<A>, Vec<A>) {
        let mut row = None;
        loop {
            let next = self.answered + 1;
            if let Some(acker) = self.done.remove(&next) {
                row = Some(acker);
            } else if !self.beyond.remove(&next) {
                break;
            }
            self.answered = next;
        }
        let single = std::mem::take(&mut self.done);
        self.beyond.extend(single.keys());
        (row, single.into_values().collect())
    }
}

/// An answer that does not arrive means that the message comes again, which handlers must bear anyway.
fn report(answered: Result<bool, lapin::Error>) {
    match answered {
        Ok(true) => {}
        Ok(false) => debug!("the channel of a message is gone; it will come again"),
        Err(error) => debug!(%error, "the broker could not be answered; the message will come again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(row: &mut Row<u64>, tags: &[u64]) -> (Option<u64>, Vec<u64>) {
        row.done.extend(tags.iter().map(|tag| (*tag, *tag)));
        row.take()
    }

    #[test]
    fn a_row_goes_at_once_and_what_stands_alone_by_itself() {
        let mut row = Row::default();
        assert_eq!(done(&mut row, &[1, 2, 3]), (Some(3), vec![]));
        assert_eq!(done(&mut row, &[5, 7]), (None, vec![5, 7]));
        assert_eq!(done(&mut row, &[4]), (Some(4), vec![]), "5 is answered, 6 is not");
        assert_eq!(done(&mut row, &[6, 8]), (Some(8), vec![]), "7 is answered");
        assert_eq!(done(&mut row, &[]), (None, vec![]));
    }

    #[test]
    fn a_message_that_is_in_hand_is_never_covered() {
        let mut row = Row::default();
        for tag in 2..100 {
            assert_eq!(done(&mut row, &[tag]), (None, vec![tag]));
        }
        row.beyond.insert(100);
        assert_eq!(done(&mut row, &[1]), (Some(1), vec![]));
        assert_eq!(done(&mut row, &[101]), (Some(101), vec![]), "100 was put back");
    }
}
