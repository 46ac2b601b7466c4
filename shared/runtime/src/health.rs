//! Whether a service can do its work: a list of checks that its parts keep up to date.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

/// A service's checks by name. Clones share them.
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<RwLock<BTreeMap<String, State>>>,
    expected: Arc<RwLock<BTreeMap<String, Expected>>>,
    prefix: Arc<str>,
}

/// A part of which news is to come regularly.
struct Expected {
    within: Duration,
    last: Instant,
    /// How much of its work is in hand, where it is work: with nothing to do it has no news.
    in_hand: Option<usize>,
}

impl Expected {
    fn is_overdue(&self) -> bool {
        self.in_hand != Some(0) && self.last.elapsed() > self.within
    }
}

#[derive(Clone, PartialEq, Eq)]
enum State {
    Up,
    Warned(String),
    Down(String),
}

impl Health {
    /// No checks yet, and so not ready: what starts has not said yet what it needs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same list, where new checks are named `prefix.name`: for several services in one process.
    #[must_use]
    pub fn scoped(&self, prefix: &str) -> Self {
        Self {
            checks: Arc::clone(&self.checks),
            expected: Arc::clone(&self.expected),
            prefix: format!("{}{prefix}.", self.prefix).into(),
        }
    }

    /// Adds a check, which is down ("starting") until it is said to be up. The same name is the same check.
    #[must_use]
    pub fn check(&self, name: &str) -> Check {
        let name = format!("{}{name}", self.prefix);
        let mut checks = self.checks.write().unwrap_or_else(PoisonError::into_inner);
        checks
            .entry(name.clone())
            .or_insert_with(|| State::Down("starting".to_owned()));
        Check {
            health: self.clone(),
            name: name.into(),
        }
    }

    /// Whether every check is up, and there is one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner);
        !checks.is_empty() && !checks.values().any(|state| matches!(state, State::Down(_)))
    }

    /// Every check with `None` where all is well, else why it is down or what is to be mended, by name.
    #[must_use]
    pub fn list(&self) -> Vec<(String, Option<String>)> {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner);
        let listed = checks.iter().map(|(name, state)| match state {
            State::Up => (name.clone(), None),
            State::Warned(why) | State::Down(why) => (name.clone(), Some(why.clone())),
        });
        listed.collect()
    }

    /// Every check by name, and whether it is up; one that only warns is.
    #[must_use]
    pub fn states(&self) -> Vec<(String, bool)> {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner);
        let states = checks.iter();
        states
            .map(|(name, state)| (name.clone(), !matches!(state, State::Down(_))))
            .collect()
    }

    /// Adds work that must get on: while any of it is in hand, some of it ends, or is said to go on, at least this often.
    /// It is no check: what it waits for is said by the checks of its peers.
    #[must_use]
    pub fn work(&self, name: &str, within: Duration) -> Work {
        let name = format!("{}{name}", self.prefix);
        let expected = Expected {
            within,
            last: Instant::now(),
            in_hand: Some(0),
        };
        let mut all = self.expected.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.clone(), expected);
        Work {
            health: self.clone(),
            name: name.into(),
        }
    }

    /// A check or work of which nothing was heard for longer than it said: it hangs.
    #[must_use]
    pub fn overdue(&self) -> Option<String> {
        let expected = self.expected.read().unwrap_or_else(PoisonError::into_inner);
        let overdue = expected.iter().find(|(_, one)| one.is_overdue());
        overdue.map(|(name, _)| name.clone())
    }

    fn news(&self, name: &str, change: impl FnOnce(&mut Expected)) {
        let mut expected = self.expected.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = expected.get_mut(name) {
            change(one);
        }
    }

    fn set(&self, name: &str, state: State) {
        let mut checks = self.checks.write().unwrap_or_else(PoisonError::into_inner);
        checks.insert(name.to_owned(), state);
        self.news(name, |one| one.last = Instant::now());
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

/// One check. Clones are the same check.
#[derive(Clone, Debug)]
pub struct Check {
    health: Health,
    name: Arc<str>,
}

impl Check {
    /// It works.
    pub fn up(&self) {
        self.health.set(&self.name, State::Up);
    }

    /// The service does its work, but something waits for an operator: said, and still ready.
    pub fn warn(&self, what: &str) {
        self.health.set(&self.name, State::Warned(what.to_owned()));
    }

    /// It does not, and why: words for an operator, without credentials or a value of any submission.
    pub fn down(&self, why: &str) {
        self.health.set(&self.name, State::Down(why.to_owned()));
    }

    /// From now on it is said anew, up or down, at least this often; where it is not, its service makes no progress.
    pub fn expect_news(&self, within: Duration) {
        let expected = Expected {
            within,
            last: Instant::now(),
            in_hand: None,
        };
        let mut all = self.health.expected.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(self.name.to_string(), expected);
    }

    /// It will not be said anew any more: its part has ended.
    pub fn expect_no_news(&self) {
        let mut expected = self.health.expected.write().unwrap_or_else(PoisonError::into_inner);
        expected.remove(&*self.name);
    }

    /// Whether it works.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let checks = self.health.checks.read().unwrap_or_else(PoisonError::into_inner);
        matches!(checks.get(&*self.name), Some(State::Up | State::Warned(_)))
    }
}

/// Work that must get on ([`Health::work`]). Clones are the same work.
#[derive(Clone, Debug)]
pub struct Work {
    health: Health,
    name: Arc<str>,
}

impl Work {
    /// Begins a piece of it, which is in hand until what this gives is dropped.
    #[must_use]
    pub fn begin(&self) -> InHand {
        self.health.news(&self.name, |one| {
            let before = one.in_hand.unwrap_or(0);
            // Where others are in hand, a new one is no sign that they get on.
            if before == 0 {
                one.last = Instant::now();
            }
            one.in_hand = Some(before + 1);
        });
        InHand(self.clone())
    }

    /// A piece in hand gets on, though it has not ended: it has many parts, or waits for a peer that is away.
    pub fn goes_on(&self) {
        self.health.news(&self.name, |one| one.last = Instant::now());
    }
}

/// A piece of work in hand: its end, however it comes, is progress.
#[derive(Debug)]
pub struct InHand(Work);

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.health.news(&self.0.name, |one| {
            one.in_hand = one.in_hand.map(|before| before.saturating_sub(1));
            one.last = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_when_every_check_is_up() {
        let health = Health::new();
        assert!(!health.is_ready(), "a service that has said nothing of itself");
        let (broker, store) = (health.check("broker"), health.check("store"));
        assert!(!health.is_ready());
        broker.up();
        store.up();
        assert!(health.is_ready() && broker.is_up());
        broker.clone().down("cannot reach 127.0.0.1:5672");
        assert!(!health.is_ready() && !broker.is_up());
        let why = Some("cannot reach 127.0.0.1:5672".to_owned());
        assert_eq!(health.list(), [("broker".to_owned(), why), ("store".to_owned(), None)]);
    }

    #[test]
    fn services_in_one_process_keep_their_checks_apart() {
        let health = Health::new();
        health.scoped("intake").check("broker").up();
        assert!(health.is_ready());
        let mailer = health.scoped("mailer").check("broker");
        assert!(!health.is_ready() && !mailer.is_up());
        assert_eq!(
            health.list()[1],
            ("mailer.broker".to_owned(), Some("starting".to_owned()))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_is_not_said_anew_in_time_is_overdue() {
        let health = Health::new();
        let (store, broker) = (health.scoped("mailer").check("store"), health.check("broker"));
        broker.up();
        store.expect_news(Duration::from_mins(1));
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(59)).await;
            assert_eq!(health.overdue(), None);
            store.down("the store cannot be used");
        }
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(health.overdue().as_deref(), Some("mailer.store"));
        store.up();
        assert_eq!(health.overdue(), None);
        store.expect_no_news();
        tokio::time::advance(Duration::from_mins(10)).await;
        assert_eq!(health.overdue(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_is_overdue_and_work_that_rests_is_not() {
        let health = Health::new();
        let work = health.scoped("mailer").work("mails", Duration::from_mins(30));
        let (night, much) = (Duration::from_hours(8), Duration::from_mins(29));
        tokio::time::advance(night).await;
        assert_eq!(health.overdue(), None, "nothing is to be done");

        let hanging = work.begin();
        for _ in 0..5 {
            tokio::time::advance(much).await;
            assert_eq!(health.overdue(), None);
            // One that hangs is not all of it, as long as others end.
            drop(work.begin());
        }
        for _ in 0..5 {
            tokio::time::advance(much).await;
            assert_eq!(health.overdue(), None);
            work.goes_on();
        }
        tokio::time::advance(much).await;
        let late = work.begin();
        tokio::time::advance(much).await;
        assert_eq!(
            health.overdue().as_deref(),
            Some("mailer.mails"),
            "that more begins is no sign that any of it gets on"
        );

        drop((hanging, late));
        tokio::time::advance(night).await;
        assert_eq!(health.overdue(), None, "what was given up is not in hand");
    }
}
