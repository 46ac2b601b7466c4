//! The time, passed in: services ask their [`Clock`], tests set it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Where the time comes from. Clones show the same time.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Offset(Arc<Mutex<SignedDuration>>),
    Fixed(Arc<Mutex<Timestamp>>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// The machine's clock, ahead by this much (or behind): for tests in which time must go on by itself.
    #[must_use]
    pub fn offset(by: SignedDuration) -> Self {
        Self(Source::Offset(Arc::new(Mutex::new(by))))
    }

    /// A clock that stands still until it is [advanced](Self::advance): for tests.
    #[must_use]
    pub fn fixed(at: Timestamp) -> Self {
        Self(Source::Fixed(Arc::new(Mutex::new(at))))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => system_now(),
            Source::Offset(by) => later(system_now(), *by.lock().unwrap_or_else(PoisonError::into_inner)),
            Source::Fixed(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a clock of a test, and its clones, forward (or back). The machine's goes on by itself.
    pub fn advance(&self, by: SignedDuration) {
        match &self.0 {
            Source::System => {}
            Source::Offset(offset) => {
                let mut offset = offset.lock().unwrap_or_else(PoisonError::into_inner);
                *offset = offset.saturating_add(by);
            }
            Source::Fixed(at) => {
                let mut at = at.lock().unwrap_or_else(PoisonError::into_inner);
                *at = later(*at, by);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else asks")]
fn system_now() -> Timestamp {
    Timestamp::now()
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Clock(system)",
            Source::Offset(_) => "Clock(offset)",
            Source::Fixed(_) => "Clock(fixed)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_moves_only_when_told_and_its_clones_with_it() {
        let start: Timestamp = "2026-11-21T10:00:00Z".parse().expect("a time");
        let clock = Clock::fixed(start);
        let clone = clock.clone();
        assert_eq!(clone.now(), start);
        clock.advance(SignedDuration::from_hours(2));
        assert_eq!(clone.now(), start + SignedDuration::from_hours(2));
    }

    #[test]
    fn an_offset_clock_is_ahead_of_the_system() {
        let clock = Clock::offset(SignedDuration::from_hours(48));
        let ahead = || clock.now().duration_since(Clock::system().now()).as_hours();
        assert!((47..49).contains(&ahead()));
        clock.advance(SignedDuration::from_hours(-24));
        assert!((23..25).contains(&ahead()));
    }
}
