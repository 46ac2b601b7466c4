//! How many messages a queue's consumers are given ahead: few until they are seen to be small.
//!
//! The broker counts what it gives ahead by messages, not by bytes (RabbitMQ has no `prefetch_size`), and what it has given
//! lies in memory until its turn comes: 64 submissions with attachments are half a gigabyte. So a queue has one consumer that
//! is given few, and a second, on a channel of its own, that is given the rest while messages are small.

use tokio::sync::watch;

/// How many bytes may wait ahead where messages are small.
const ROOM: usize = 32 << 20;
/// How many messages wait ahead where they are not, or where that is not known yet.
const FEW: u16 = 4;

/// What was seen of one queue's messages, and what follows from it.
#[derive(Debug)]
pub(crate) struct Ahead {
    most: u16,
    /// How many small ones came one after the other, as far as that matters. Told where it becomes enough for the second
    /// consumer, or is no longer.
    small: watch::Sender<u16>,
}

impl Ahead {
    /// At most so many; 0 is taken as 1, since to the broker it would mean everything at once.
    pub(crate) fn new(most: u16) -> Self {
        Self {
            most: most.max(1),
            small: watch::Sender::new(0),
        }
    }

    /// How many messages the first consumer is given ahead, and how many the second: none where the first has all.
    pub(crate) fn prefetches(&self) -> (u16, u16) {
        let first = self.most.min(FEW);
        (first, self.most - first)
    }

    /// A message of so many bytes came.
    pub(crate) fn came(&self, bytes: usize) {
        let is_small = bytes <= ROOM / usize::from(self.most);
        self.count(|small| {
            if is_small {
                self.most.min(small.saturating_add(1))
            } else {
                0
            }
        });
    }

    /// What comes next may be of any size.
    pub(crate) fn forget(&self) {
        self.count(|_| 0);
    }

    fn count(&self, next: impl FnOnce(u16) -> u16) {
        self.small.send_if_modified(|small| {
            let before = std::mem::replace(small, next(*small));
            self.is_enough(before) != self.is_enough(*small)
        });
    }

    /// Where it is told how many small ones came.
    pub(crate) fn small(&self) -> watch::Receiver<u16> {
        self.small.subscribe()
    }

    /// Whether after so many small ones the second consumer is to be there.
    pub(crate) fn is_enough(&self, small: u16) -> bool {
        small >= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(ahead: &Ahead) -> bool {
        ahead.is_enough(*ahead.small().borrow())
    }

    #[test]
    fn a_second_consumer_is_wanted_after_as_many_small_ones_as_may_wait_and_until_a_large_one() {
        let ahead = Ahead::new(64);
        assert_eq!(ahead.prefetches(), (4, 60));
        for _ in 0..63 {
            ahead.came(2 << 10);
            assert!(!wanted(&ahead));
        }
        ahead.came(512 << 10);
        assert!(wanted(&ahead));
        ahead.came((512 << 10) + 1);
        assert!(!wanted(&ahead), "one large one is enough");
        for _ in 0..64 {
            ahead.came(2 << 10);
        }
        assert!(wanted(&ahead));
        ahead.forget();
        assert!(!wanted(&ahead));
    }

    #[test]
    fn the_first_has_all_where_that_is_few_and_never_none() {
        assert_eq!(Ahead::new(3).prefetches(), (3, 0));
        assert_eq!(Ahead::new(0).prefetches(), (1, 0));
    }
}
