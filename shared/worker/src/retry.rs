//! When a duty is tried again: growing, jittered, bounded.

use jiff::SignedDuration;

/// The pause before the next attempt: `first`, doubled with each attempt up to `most`, and up to a fifth shorter by
/// `jitter` (0 to 1), so that what failed together does not come back together.
#[must_use]
pub fn pause(attempts: i64, first: SignedDuration, most: SignedDuration, jitter: f64) -> SignedDuration {
    let doublings = u32::try_from(attempts.clamp(1, 30) - 1).unwrap_or(0);
    let grown = first.checked_mul(1 << doublings.min(20)).unwrap_or(most).min(most);
    let factor = 1.0 - jitter.clamp(0.0, 1.0) / 5.0;
    SignedDuration::try_from_secs_f64(grown.as_secs_f64() * factor).unwrap_or(grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: SignedDuration = SignedDuration::from_secs(30);
    const MOST: SignedDuration = SignedDuration::from_hours(1);

    #[test]
    fn pauses_grow_from_the_first_to_the_most() {
        let pauses: Vec<i64> = (1..=9)
            .map(|attempt| pause(attempt, FIRST, MOST, 0.0).as_secs())
            .collect();
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(pause(i64::MAX, FIRST, MOST, 0.0), MOST);
    }

    #[test]
    fn jitter_shortens_by_at_most_a_fifth() {
        assert_eq!(pause(1, FIRST, MOST, 1.0).as_secs(), 24);
        assert_eq!(pause(9, FIRST, MOST, 0.5).as_secs(), 3240);
    }
}
