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

/// A check that is to be said anew regularly.
struct Expected {
    within: Duration,
    last: Instant,
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

    /// A check of which nothing was heard for longer than it said: the part that says it hangs.
    #[must_use]
    pub fn overdue(&self) -> Option<String> {
        let expected = self.expected.read().unwrap_or_else(PoisonError::into_inner);
        let overdue = expected.iter().find(|(_, one)| one.last.elapsed() > one.within);
        overdue.map(|(name, _)| name.clone())
    }

    fn set(&self, name: &str, state: State) {
        let mut checks = self.checks.write().unwrap_or_else(PoisonError::into_inner);
        checks.insert(name.to_owned(), state);
        let mut expected = self.expected.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = expected.get_mut(name) {
            one.last = Instant::now();
        }
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
        let mut expected = self.health.expected.write().unwrap_or_else(PoisonError::into_inner);
        let last = Instant::now();
        expected.insert(self.name.to_string(), Expected { within, last });
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
}
