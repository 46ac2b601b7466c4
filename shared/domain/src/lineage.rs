//! Repeats, corrections and the order between them: what a message is to those that came before it.
//!
//! A repeat arrives late by nature, so arrival alone never makes a known content new again; only the site's own order
//! (`x-kvit-sequence`, else `changed`) does (A → B → A).

use jiff::Timestamp;

/// What the site says about a version's place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Order {
    /// The site's own counter.
    pub sequence: Option<i64>,
    /// When the site changed it, to the second.
    pub changed: Option<Timestamp>,
}

impl Order {
    /// How this one stands to another by the site's word; `None` where the two cannot be compared.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self.sequence, other.sequence) {
            (Some(mine), Some(theirs)) => Some(mine.cmp(&theirs)),
            _ => Some(self.changed?.cmp(&other.changed?)),
        }
    }
}

/// A version that is already known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its number.
    pub version: u32,
    /// Whether its answers are those of the message in hand.
    pub same_answers: bool,
    /// Its place in the site's order.
    pub order: Order,
    /// Whether it is the one that reference and `SITE/UUID` show.
    pub latest: bool,
}

/// What a message is to the versions before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The first of its kind.
    First,
    /// The same again.
    Duplicate,
    /// Another version.
    Version {
        /// Its number.
        number: u32,
        /// Whether it supersedes what came before; an older one supersedes nothing.
        latest: bool,
    },
}

/// Judges a message against every version that is known under its identity.
#[must_use]
pub fn judge(known: &[Known], incoming: Order) -> Verdict {
    let Some(number) = known.iter().map(|version| version.version).max() else {
        return Verdict::First;
    };
    let current = known.iter().find(|version| version.latest).or(known.last());
    let order = current.and_then(|current| incoming.compare(&current.order));
    if known.iter().any(|version| version.same_answers) {
        let current_is_same = current.is_some_and(|current| current.same_answers);
        let strictly_later = order == Some(std::cmp::Ordering::Greater);
        if current_is_same || !strictly_later {
            return Verdict::Duplicate;
        }
    }
    Verdict::Version {
        number: number.saturating_add(1),
        latest: order != Some(std::cmp::Ordering::Less),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(second: i64) -> Order {
        Order {
            sequence: None,
            changed: Some(Timestamp::from_second(second).expect("a time")),
        }
    }

    fn known(version: u32, same_answers: bool, order: Order, latest: bool) -> Known {
        Known {
            version,
            same_answers,
            order,
            latest,
        }
    }

    /// P2
    #[test]
    fn the_first_is_first_and_the_same_again_is_a_duplicate() {
        assert_eq!(judge(&[], changed(5)), Verdict::First);
        for order in [changed(4), changed(5), changed(6), Order::default()] {
            assert_eq!(judge(&[known(1, true, changed(5), true)], order), Verdict::Duplicate);
        }
    }

    #[test]
    fn other_answers_are_a_version_and_an_older_one_supersedes_nothing() {
        let one = [known(1, false, changed(5), true)];
        for (order, latest) in [
            (changed(4), false),
            (changed(5), true),
            (changed(6), true),
            (Order::default(), true),
        ] {
            assert_eq!(judge(&one, order), Verdict::Version { number: 2, latest });
        }
    }

    #[test]
    fn an_answer_taken_back_is_a_version_only_when_the_site_says_it_is_later() {
        let both = [known(1, true, changed(5), false), known(2, false, changed(6), true)];
        assert_eq!(judge(&both, changed(5)), Verdict::Duplicate);
        assert_eq!(judge(&both, changed(6)), Verdict::Duplicate);
        assert_eq!(judge(&both, Order::default()), Verdict::Duplicate);
        assert_eq!(
            judge(&both, changed(7)),
            Verdict::Version {
                number: 3,
                latest: true
            }
        );
    }

    #[test]
    fn the_sites_sequence_outranks_its_clock() {
        let order = Order {
            sequence: Some(1),
            ..changed(9)
        };
        let later = Order {
            sequence: Some(2),
            ..changed(5)
        };
        let one = [known(1, false, order, true)];
        assert_eq!(
            judge(&one, later),
            Verdict::Version {
                number: 2,
                latest: true
            }
        );
    }
}
