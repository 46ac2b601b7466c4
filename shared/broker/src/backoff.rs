//! Pauses between attempts that grow, and that no two processes take in step.

use std::time::Duration;

/// Growing, jittered pauses.
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// For connections and channels: 0.2 s at first, 5 s at most, so that a broker that is back is used within seconds.
    pub(crate) fn connecting() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(5))
    }

    /// For a message whose handler could not do its work yet.
    pub(crate) fn holding() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(10))
    }

    fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            next: first,
        }
    }

    /// The next pause: between half and all of a value that doubles.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.most);
        jitter(pause)
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Between half and all of a pause.
pub(crate) fn jitter(pause: Duration) -> Duration {
    // Without randomness from the system we would only pause in step.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    pause.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_again() {
        let mut backoff = Backoff::connecting();
        let limits = [200, 400, 800, 1600, 3200, 5000, 5000];
        for most in limits.map(Duration::from_millis) {
            let pause = backoff.next();
            assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(200));
    }
}
